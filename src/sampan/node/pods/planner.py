"""Which containers of one pod are to be started, killed or left: a pure function from spec and runtime state.

Called by ``live`` after every event; it does no I/O and reads no clock. It follows the kubelet's
``computePodActions`` (sandbox, init containers in order, sidecars, restart policies, probes). When and in which order
the steps are taken is ``live``'s matter; termination is ``ending``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal

from sampan.api.pods.containers import find_status
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods import spec
from sampan.node.pods.state import HASH_ANNOTATION, PodState, restart_count
from sampan.records import dataclass

KillReason = Literal["liveness", "startup", "changed", "unknown", "resize"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Besides spec and state. All mappings are by container id or name as said."""

    now: datetime
    #: Container ids whose liveness or startup probe has failed for good.
    failed_liveness: frozenset[str] = frozenset()
    failed_startup: frozenset[str] = frozenset()
    #: Container ids that passed their startup probe (or have none).
    started: frozenset[str] = frozenset()
    #: Container name to the present restart delay (CrashLoopBackOff), in seconds.
    delays: Mapping[str, float] = field(default_factory=dict)
    #: Container name to the moment before which no further start is tried (failed start, failed pull).
    not_before: Mapping[str, datetime] = field(default_factory=dict)
    #: Names of containers that are just being started.
    starting: frozenset[str] = frozenset()
    #: Names of containers that run again whatever the policy: they were stopped because their definition changed.
    replace: frozenset[str] = frozenset()
    #: Containers (by id) of a round that is over: all begin anew.
    reset: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Start:
    name: str
    sort: spec.Sort
    attempt: int


@dataclass(frozen=True, slots=True)
class Kill:
    container_id: str
    name: str
    reason: KillReason
    message: str


@dataclass(slots=True)
class Plan:
    """In order: stop other sandboxes, create one, kill, start. ``finished``: nothing will ever run again."""

    stop_sandboxes: tuple[str, ...] = ()
    create_sandbox: bool = False
    sandbox_attempt: int = 0
    kill: list[Kill] = field(default_factory=list)
    start: list[Start] = field(default_factory=list)
    #: Container name to the remaining seconds of its CrashLoopBackOff.
    backing_off: dict[str, float] = field(default_factory=dict)
    requeue_after: float | None = None
    finished: bool = False

    def wait(self, seconds: float) -> None:
        self.requeue_after = seconds if self.requeue_after is None else min(self.requeue_after, seconds)


def plan_pod(pod: Obj, state: PodState, inputs: Inputs) -> Plan:
    latest = state.latest_sandbox
    if latest is None or not latest.ready:
        return _plan_sandbox(pod, state, inputs)
    plan = Plan(
        stop_sandboxes=tuple(item.id for item in state.sandboxes.values() if item.ready and item.id != latest.id)
    )
    initialized = _plan_init(pod, state, inputs, latest.id, plan)
    if plan.finished:
        return plan
    for container in spec.containers(pod, "ephemeral"):
        if state.latest(container["name"]) is None:
            _start(plan, pod, state, container, "ephemeral", inputs)
    if not initialized:
        return plan
    kept = [_plan_main(pod, container, state, inputs, plan) for container in spec.containers(pod, "main")]
    if not any(kept):
        # Sidecars serve the others: they do not keep a pod alive, and do not begin again at its end.
        return Plan(finished=True)
    return plan


def _plan_sandbox(pod: Obj, state: PodState, inputs: Inputs) -> Plan:
    latest = state.latest_sandbox
    wanted = [
        container
        for container in spec.containers(pod, "main")
        if (last := state.latest(container["name"])) is None
        or last.state != "exited"
        or container["name"] in inputs.replace
        or last.id in inputs.reset
        or spec.should_restart(pod, "main", container, last.exit_code)
    ]
    if latest is not None and state.containers and (spec.restart_policy(pod) == "Never" or not wanted):
        # Nothing may run a second time: the pod is over.
        return Plan(finished=True)
    return Plan(create_sandbox=True, sandbox_attempt=0 if latest is None else latest.attempt + 1)


def _plan_init(pod: Obj, state: PodState, inputs: Inputs, sandbox_id: str, plan: Plan) -> bool:
    """Adds the next step of initialization; True when main containers may run."""
    begun = any(
        container["name"] in inputs.starting
        or ((last := state.latest(container["name"])) is not None and _counts(last, sandbox_id, inputs))
        for container in spec.containers(pod, "main")
    )
    for container in spec.containers(pod, "init"):
        last = state.latest(container["name"])
        if last is not None and not _counts(last, sandbox_id, inputs):
            last = None  # of an earlier sandbox or round: the new one is initialized again
        if spec.is_sidecar("init", container):
            if not _plan_sidecar(pod, container, last, state, inputs, plan) and not begun:
                return False
        elif not begun and not _plan_regular_init(pod, container, last, state, inputs, plan):
            return False
    return True


def _counts(last: runtime.Container, sandbox_id: str, inputs: Inputs) -> bool:
    return last.sandbox_id == sandbox_id and last.id not in inputs.reset


def _plan_sidecar(
    pod: Obj, container: Obj, last: runtime.Container | None, state: PodState, inputs: Inputs, plan: Plan
) -> bool:
    """True when it has started, so that the next container may."""
    if last is not None and last.state in ("running", "unknown"):
        if (kill := _must_kill(pod, "init", container, last, inputs)) is not None:
            plan.kill.append(kill)  # started again by the next plan, after its back-off
            return False
        return last.id in inputs.started
    _start(plan, pod, state, container, "init", inputs)
    return False


def _plan_regular_init(
    pod: Obj, container: Obj, last: runtime.Container | None, state: PodState, inputs: Inputs, plan: Plan
) -> bool:
    """True when it has completed."""
    if last is None or last.state == "created":
        _start(plan, pod, state, container, "init", inputs)
        return False
    if last.state in ("running", "unknown"):
        if last.state == "unknown" and (kill := _must_kill(pod, "init", container, last, inputs)) is not None:
            plan.kill.append(kill)
        return False
    if last.exit_code == 0:
        return True
    if spec.should_restart(pod, "init", container, last.exit_code):
        _start(plan, pod, state, container, "init", inputs)
    elif container["name"] not in inputs.starting:
        plan.finished = True
    return False


def _plan_main(pod: Obj, container: Obj, state: PodState, inputs: Inputs, plan: Plan) -> bool:
    """True when it runs, or is going to."""
    name = container["name"]
    last = state.latest(name)
    if last is None or last.state not in ("running", "unknown"):
        again = (
            last is None
            or last.state == "created"
            or name in inputs.starting
            or name in inputs.replace
            or last.id in inputs.reset
            or spec.should_restart(pod, "main", container, last.exit_code)
        )
        if again:
            _start(plan, pod, state, container, "main", inputs)
        return again
    if (kill := _must_kill(pod, "main", container, last, inputs)) is not None:
        plan.kill.append(kill)
    return True


def _must_kill(pod: Obj, sort: spec.Sort, container: Obj, last: runtime.Container, inputs: Inputs) -> Kill | None:
    name = container["name"]
    if last.state == "unknown":
        return Kill(last.id, name, "unknown", 'Container is in "unknown" state, try killing it before restart')
    restart = ", will be restarted" if spec.restart_policy(pod) != "Never" or sort == "init" else ""
    known_hash = last.annotations.get(HASH_ANNOTATION)
    if known_hash is not None and known_hash != spec.container_hash(container):
        return Kill(last.id, name, "changed", f"Container {name} definition changed, will be restarted")
    if last.id in inputs.failed_liveness:
        return Kill(last.id, name, "liveness", f"Container {name} failed liveness probe{restart}")
    if last.id in inputs.failed_startup:
        return Kill(last.id, name, "startup", f"Container {name} failed startup probe{restart}")
    return None


def _start(plan: Plan, pod: Obj, state: PodState, container: Obj, sort: spec.Sort, inputs: Inputs) -> None:
    """Adds a start, unless the container is backing off or just being started."""
    name = container["name"]
    if name in inputs.starting:
        return
    last = state.latest(name)
    if last is not None and last.state == "exited" and last.finished_at is not None:
        delay = inputs.delays.get(name, 0.0)
        remaining = (last.finished_at + timedelta(seconds=delay) - inputs.now).total_seconds()
        if delay > 0 and remaining > 0 and last.annotations.get(HASH_ANNOTATION) == spec.container_hash(container):
            plan.backing_off[name] = remaining
            plan.wait(remaining)
            return
    not_before = inputs.not_before.get(name)
    if not_before is not None and not_before > inputs.now:
        plan.wait((not_before - inputs.now).total_seconds())
        plan.backing_off.setdefault(name, 0.0)
        return
    plan.start.append(Start(name, sort, next_attempt(pod, state, sort, name)))


def next_attempt(pod: Obj, state: PodState, sort: spec.Sort, name: str) -> int:
    """One more than the runtime knows of; what it has lost, the status still counts."""
    known = [restart_count(item) for item in state.history(name)]
    if known:
        return max(known) + 1
    shown = find_status(pod, sort, name) or {}
    # Of a container that is seen to be lost the status has counted the restart already.
    return int(shown.get("restartCount") or 0) + ("waiting" not in (shown.get("state") or {"waiting": {}}))
