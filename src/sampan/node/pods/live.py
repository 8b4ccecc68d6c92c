"""The plan of a living pod: what is to be done now, in which order, and when to look again.

Called by ``machine`` after every event while the pod's phase is live. It notes in the record what it decided (a
container is being stopped, a restart backs off); the operations themselves are the machine's to begin.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta

from sampan.api.types import Obj
from sampan.node.pods import operations, resizing, spec
from sampan.node.pods.absorb import new_stop
from sampan.node.pods.operations import Key, Operation, Tell
from sampan.node.pods.planner import Inputs, Kill, Plan, plan_pod
from sampan.node.pods.record import PodRecord, Stop, hook_of, ran_seconds, without
from sampan.node.pods.status import Waiting
from sampan.records import dataclass

FIRST_DELAY_SECONDS = 10.0
_BACKOFF_RESET_SECONDS = 600.0
#: How long a container whose input is one client's is not told to be ready.
ATTACH_SECONDS = 1.0
#: How many containers of one name are kept: the newest, and the one whose log ``--previous`` shows.
_KEPT = 2


@dataclass(slots=True)
class Steps:
    """``operations`` that are under way already are not begun again. ``due``: when to look again at the latest."""

    operations: list[Operation] = field(default_factory=list)
    cancel: list[Key] = field(default_factory=list)
    tells: list[Tell] = field(default_factory=list)
    due: datetime | None = None
    #: Something became known that has to be looked at at once (a phase's condition).
    again: bool = False

    def ask(self, operation: Operation) -> None:
        self.operations.append(operation)

    def wait_until(self, moment: datetime) -> None:
        self.due = moment if self.due is None else min(self.due, moment)


def plan_looks(record: PodRecord, steps: Steps) -> bool:
    """Asks for what has to be read again; True when the runtime's view is not to be relied on meanwhile."""
    if record.doubted or not record.viewed:
        steps.ask(operations.Observe(since=record.changes))
        return True
    for runtime_id in sorted(record.to_look):
        steps.ask(operations.Look(runtime_id))
    return bool(record.to_look) or any(kind == "Look" for kind, _ in record.under_way)


def plan_live(record: PodRecord, now: datetime) -> Steps:
    steps = Steps()
    if record.deadline is not None:
        steps.wait_until(record.deadline)
    _hold_readiness(record, now, steps)
    looking = plan_looks(record, steps)
    if not record.mounted:
        steps.ask(operations.MountVolumes())
    _plan_post_start(record, steps)
    if looking:
        plan_stops(record, now, steps)
        return steps
    if _plan_restart_of_all(record, now, steps):
        plan_stops(record, now, steps)
        return steps
    plan = plan_pod(record.pod, record.state, _inputs(record, now))
    if plan.finished and not record.starting():
        record.finished = steps.again = True
        return steps
    _note_backoffs(record, plan, steps)
    if plan.requeue_after is not None:
        steps.wait_until(now + timedelta(seconds=plan.requeue_after))
    for kill in plan.kill:
        _begin_kill(record, kill, now, steps)
    if plan.create_sandbox:
        _plan_sandbox(record, plan, now, steps)
    else:
        for sandbox_id in plan.stop_sandboxes:
            steps.ask(operations.StopSandbox(sandbox_id))
        due = _plan_resize(record, now, steps)
        # A container that begins anew with more fits into the pod's cgroup only when that has grown.
        if not due or record.resize_error:
            _plan_starts(record, plan, steps)
        _plan_prune(record, steps)
    plan_stops(record, now, steps)
    return steps


def _hold_readiness(record: PodRecord, now: datetime, steps: Steps) -> None:
    """``kubectl run -i`` attaches when a pod is ready, and sees what is printed from then on. A command that takes less
    than a second is over by the time it is told of: its client then reads all of it from the log."""
    held = set()
    for container in record.state.running():
        found = record.container(container.id)
        if found is None or container.started_at is None or not (found[1].get("stdin") and found[1].get("stdinOnce")):
            continue
        until = container.started_at + timedelta(seconds=ATTACH_SECONDS)
        if container.started_at <= now < until:
            held.add(container.id)
            steps.wait_until(until)
    if record.unready != held:
        record.unready = frozenset(held)
        record.serial += 1


def _inputs(record: PodRecord, now: datetime) -> Inputs:
    return Inputs(
        now=now,
        failed_liveness=record.probes.failed_liveness,
        failed_startup=record.probes.failed_startup,
        started=record.probes.started - record.held,
        delays=record.delays,
        not_before=record.not_before,
        starting=record.starting(),
        replace=record.replace,
        reset=record.reset,
    )


# Beginning anew as a whole.


def _plan_restart_of_all(record: PodRecord, now: datetime, steps: Steps) -> bool:
    """A container that ended by a rule of its own has all others end, without their hooks; then everything begins as at
    the first time, in the same sandbox and with the same volumes. True until they have ended."""
    if not record.restarting_all:
        if not spec.may_restart_all(record.pod) or not _has_asked_for_all(record):
            return False
        record.restarting_all = True
        record.serial += 1
    for container in record.state.running():
        found = record.container(container.id)
        if found is not None and found[0] != "ephemeral" and container.id not in record.stops:
            record.stops[container.id] = new_stop(record, container.id, container.name, 0, now)
            message = f"Container {container.name} is restarted with all others of the pod"
            steps.tells.append(Tell("Normal", "Killing", message, container.name))
    if record.stops or record.starting():
        return True
    record.restarting_all = False
    record.reset = frozenset(
        each.id
        for each in record.state.containers.values()
        if (found := record.container(each.id)) is not None and found[0] != "ephemeral"
    )
    record.serial += 1
    return False


def _has_asked_for_all(record: PodRecord) -> bool:
    for sort, container in spec.all_containers(record.pod):
        last = record.state.latest(container["name"])
        if sort == "ephemeral" or last is None or last.state != "exited" or last.id in record.reset:
            continue
        if spec.restarts_all(container, last.exit_code):
            return True
    return False


# Starting.


def _plan_sandbox(record: PodRecord, plan: Plan, now: datetime, steps: Steps) -> None:
    """What is left of the one before goes first: its containers, then its network."""
    for container in record.state.running():
        if container.id not in record.stops:
            stop = new_stop(record, container.id, container.name, 0, now)
            stop.minimum_seconds = 0
            record.stops[container.id] = stop
    left = [each for each in record.state.sandboxes if each not in record.stopped_sandboxes]
    if record.state.running() or record.starting():
        return
    for sandbox_id in left:
        steps.ask(operations.StopSandbox(sandbox_id))
    if not left:
        steps.ask(operations.RunSandbox(attempt=plan.sandbox_attempt))
    # Only what is started first: later images may be many, and their pull may not be needed at all.
    first: spec.Sort = "init" if spec.containers(record.pod, "init") else "main"
    for wanted in spec.containers(record.pod, first):
        name = wanted["name"]
        waits = record.not_before.get(name)
        if name not in record.pulled and (waits is None or waits <= now):
            steps.ask(operations.PullImage(name))


def _plan_starts(record: PodRecord, plan: Plan, steps: Steps) -> None:
    held_back = _held_back(record)
    for start in plan.start:
        if start.name not in record.pulled:
            steps.ask(operations.PullImage(start.name))
        elif record.mounted and start.name not in held_back:
            given = record.allocated.get(start.name)
            if given is None:
                given = spec.resources_of(record.pod, start.name)
            steps.ask(operations.StartContainer(start.name, start.sort, start.attempt, given))
            if _waits_for_hook(record, start.name):
                held_back |= _names_after(record, start.name)


def _held_back(record: PodRecord) -> set[str]:
    """Main containers behind one whose postStart hook has not ended: as upstream, they start after it."""
    running = {container.name for container in record.state.running() if container.id in record.held}
    held: set[str] = set()
    for name in running | {name for name in record.starting() if _waits_for_hook(record, name)}:
        held |= _names_after(record, name)
    return held


def _waits_for_hook(record: PodRecord, name: str) -> bool:
    found = spec.find_container(record.pod, name)
    return found is not None and hook_of(found[1], "postStart") is not None


def _names_after(record: PodRecord, name: str) -> set[str]:
    names = [container["name"] for container in spec.containers(record.pod, "main")]
    return set(names[names.index(name) + 1 :]) if name in names else set()


def note_begun(record: PodRecord, operation: Operation) -> list[Tell]:
    """What beginning an operation changes in the record, and the Events it is worth."""
    if isinstance(operation, operations.StartContainer):
        record.pulled = without(record.pulled, operation.subject)
        _advance_backoff(record, operation.subject)
    elif isinstance(operation, operations.Look):
        record.to_look = without(record.to_look, operation.subject)
    elif isinstance(operation, operations.RunHook):
        if operation.hook == "preStop":
            record.stops[operation.subject].hook = "running"
    elif isinstance(operation, operations.RunSandbox) and operation.attempt > 0 and operation.key not in record.retries:
        message = "Pod sandbox changed, it will be killed and re-created."
        return [Tell("Normal", "SandboxChanged", message)]
    return []


def _plan_post_start(record: PodRecord, steps: Steps) -> None:
    for container in record.state.running():
        if container.id in record.held and container.id not in record.stops:
            steps.ask(operations.RunHook(container.id, name=container.name, hook="postStart"))


# Resizing.


def _plan_resize(record: PodRecord, now: datetime, steps: Steps) -> bool:
    """A wish is weighed once, and again while it is deferred. What was promised is given to the pod as a whole, once
    those of its containers that have to begin anew for it have ended. True while that is due."""
    wish = resizing.wished(record.pod)
    if wish == record.allocated:
        if record.verdict is not None:
            record.verdict, record.weigh_at = None, None  # it wants to be as it is again
            record.serial += 1
    elif record.weighed != wish or (record.weigh_at is not None and record.weigh_at <= now):
        steps.ask(operations.WeighResize(wish=wish))
    elif record.weigh_at is not None and record.verdict is not None and record.verdict.reason == "Deferred":
        steps.wait_until(record.weigh_at)
    running: dict[str, str] = {}
    behind = restarting = False
    for container in record.state.running():
        promised = record.allocated.get(container.name)
        given = record.applied.setdefault(container.id, promised or {})
        if promised is None or container.id in record.stops:
            continue
        if given != promised and resizing.needs_restart(record.pod, container.name, given, promised):
            restarting = True
            message = f"Container {container.name} resize requires restart"
            _begin_kill(record, Kill(container.id, container.name, "resize", message), now, steps)
        else:
            running[container.id] = container.name
            behind |= given != promised
    restarting |= any(stop.replace for stop in record.stops.values())
    due = behind or record.cgroup != record.allocated
    if due and not restarting and not record.starting():
        steps.ask(operations.ResizePod(allocated=record.allocated, containers=running))
    if record.resizing and not due and not restarting and not record.starting() and not record.replace:
        record.resizing = False
        record.serial += 1
        steps.tells.append(resizing.completed(record.pod, record.allocated))
    return due


def _advance_backoff(record: PodRecord, name: str) -> None:
    last = record.state.latest(name)
    if last is None or last.state != "exited":
        return
    delay = record.delays.get(name, 0.0)
    fresh = delay == 0.0 or ran_seconds(last) >= _BACKOFF_RESET_SECONDS
    record.delays[name] = FIRST_DELAY_SECONDS if fresh else min(delay * 2, record.max_delay_seconds)


def _note_backoffs(record: PodRecord, plan: Plan, steps: Steps) -> None:
    for name, remaining in plan.backing_off.items():
        if remaining <= 0:
            continue
        where = f"container {name} in pod {spec.full_name(record.pod)}({record.pod['metadata']['uid']})"
        delay = format_duration(record.delays.get(name, FIRST_DELAY_SECONDS))
        waiting = Waiting(
            "CrashLoopBackOff",
            f"back-off {delay} restarting failed container={name} pod={spec.full_name(record.pod)}"
            f"({record.pod['metadata']['uid']})",
        )
        if record.waiting.get(name) != waiting:
            record.waiting[name] = waiting
            record.serial += 1
            steps.tells.append(Tell("Warning", "BackOff", f"Back-off restarting failed {where}", name))


def format_duration(seconds: float) -> str:
    """As Go prints a whole number of seconds: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _plan_prune(record: PodRecord, steps: Steps) -> None:
    names = {container.name for container in record.state.containers.values()}
    if len(names) == len(record.state.containers):
        return
    for name in sorted(names):
        for old in record.state.history(name)[_KEPT:]:
            if old.state != "running":
                steps.ask(operations.RemoveContainer(old.id))
    latest = record.state.latest_sandbox
    holding = {container.sandbox_id for container in record.state.containers.values()}
    for sandbox_id in record.stopped_sandboxes & set(record.state.sandboxes) - holding:
        if latest is None or sandbox_id != latest.id:
            steps.ask(operations.RemoveSandbox(sandbox_id))


# Stopping one container.


def _begin_kill(record: PodRecord, kill: Kill, now: datetime, steps: Steps) -> None:
    if kill.container_id in record.stops:
        return
    stop = new_stop(record, kill.container_id, kill.name, _kill_grace(record.pod, kill), now)
    stop.replace = kill.reason in ("changed", "resize")
    record.stops[kill.container_id] = stop
    steps.tells.append(Tell("Normal", "Killing", kill.message, kill.name))


def _kill_grace(pod: Obj, kill: Kill) -> int:
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    grace = 30 if grace is None else int(grace)
    found = spec.find_container(pod, kill.name)
    field_name = {"liveness": "livenessProbe", "startup": "startupProbe"}.get(kill.reason)
    if found and field_name:
        own = (found[1].get(field_name) or {}).get("terminationGracePeriodSeconds")
        grace = int(own) if own is not None else grace
    return grace


def plan_stops(record: PodRecord, now: datetime, steps: Steps, waiting: frozenset[str] = frozenset()) -> None:
    """The next step of every container that is being stopped. ``waiting``: by id, whose turn has not come."""
    for container_id, stop in record.stops.items():
        left = (stop.deadline - now).total_seconds()
        if stop.hook == "due" and left > 0:
            steps.ask(operations.RunHook(container_id, name=stop.name, hook="preStop", timeout_seconds=left))
        elif (stop.hook == "running" and left > 0) or (container_id in waiting and left > 0):
            steps.wait_until(stop.deadline)
        else:
            _plan_signal(record, stop, left, steps)


def _plan_signal(record: PodRecord, stop: Stop, left: float, steps: Steps) -> None:
    if stop.hook == "running":
        steps.cancel.append(operations.RunHook(stop.container_id).key)  # its time is over
        stop.hook = "done"
    operation = operations.StopContainer(
        stop.container_id, name=stop.name, grace_seconds=max(round(left), stop.minimum_seconds)
    )
    if operation.key in record.under_way:
        if stop.sent is not None and (stop.sent - stop.deadline).total_seconds() > 0.5:
            steps.cancel.append(operation.key)  # asked to be quicker: begun anew when it has ended
        return
    stop.sent = stop.deadline
    steps.ask(operation)
