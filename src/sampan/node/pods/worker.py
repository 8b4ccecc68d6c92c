"""The task of one pod: follows its spec and its runtime events, acts on the plan, reports the status, ends it.

The agent makes one per pod and calls ``update``, ``deleted``, ``ended``, ``refresh``; ``run`` returns when nothing of
the pod is left. A worker's life: adopt what runs → live (plan, act, wait) → end (kill, unmount, report) → linger
until the API object is gone → forget. Only ``live`` starts anything. One event loop; no locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sampan.api.clock import parse_time
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.resources import PODS, RUNTIME_CLASSES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.images.manager import ImageError
from sampan.node.pods import messages, render, security, spec, starting, status, termination
from sampan.node.pods.context import NodeContext
from sampan.node.pods.planner import Inputs, Kill, Plan, Start, plan_pod
from sampan.node.pods.sender import StatusSender
from sampan.node.pods.state import PodState, observe
from sampan.node.probes.check import Target
from sampan.node.probes.pod_probes import PodProbes
from sampan.node.volumes.errors import VolumeError

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 10.0
_BACKOFF_RESET_SECONDS = 600.0
_SYNC_RETRY_FIRST_SECONDS = 0.5
_SYNC_RETRY_MAX_SECONDS = 60.0
_DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


def format_duration(seconds: float) -> str:
    """As Go prints a whole number of seconds: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


class PodWorker:
    """Invariants: ``state`` is the runtime's view of this pod alone; after ``_must_end`` nothing is started."""

    def __init__(
        self,
        context: NodeContext,
        pod: Obj,
        state: PodState | None = None,
        *,
        claim: Callable[[str], None] = lambda _: None,
        rejection: tuple[str, str] | None = None,
    ) -> None:
        self.context = context
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.state = state or PodState()
        self.sender = StatusSender(context.client, pod)
        self.probes: PodProbes | None = None
        self.gone = False
        self._claim = claim
        self._failure = rejection
        self._finished = self._terminal = self._interrupted = False
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._start_time: datetime = context.clock.now()
        self._waiting: dict[str, status.Waiting] = {}
        self._delays: dict[str, float] = {}
        self._not_before: dict[str, datetime] = {}
        self._messages: dict[str, str] = {}
        self._out_of_memory: set[str] = set()
        self._held: set[str] = set()
        self._images: dict[str, asyncio.Future[runtime.Image]] = {}
        self._mounted: Any = None
        self._failures = 0
        #: Counts what this worker itself changed in the runtime, so that an older view never replaces a newer one.
        self._changes = 0

    # What the agent calls; none of these blocks.

    def update(self, pod: Obj) -> None:
        if pod["metadata"].get("labels") != self.pod["metadata"].get("labels") or pod["metadata"].get(
            "annotations"
        ) != self.pod["metadata"].get("annotations"):
            self.context.volumes.pod_changed(pod)
        self.pod = pod
        self.sender.observe(pod)
        self._wake.set()

    def deleted(self, pod: Obj) -> None:
        """The API object is gone."""
        self.pod = pod
        self.gone = self.sender.gone = True
        self._wake.set()

    def evict(self, reason: str, message: str) -> None:
        self._failure = self._failure or (reason, message)
        self._wake.set()

    def ended(self, runtime_id: str) -> None:
        """A container or sandbox of this pod ended."""
        if self._group is not None:
            tasks.spawn(self._group, self._look(runtime_id), "look")

    def out_of_memory(self, container_id: str) -> None:
        self._out_of_memory.add(container_id)

    def objects_changed(self) -> None:
        """A ConfigMap or Secret of this pod changed: what failed for want of it is tried at once."""
        for name in [name for name, why in self._waiting.items() if why.reason == "CreateContainerConfigError"]:
            self._not_before.pop(name, None)
        self._wake.set()

    def refresh(self) -> None:
        """Events may have been lost: read everything again."""
        if self._group is not None and not self._terminal:
            tasks.spawn(self._group, self._reobserve(), "reobserve")

    def wake(self) -> None:
        self._wake.set()

    # Life.

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            sender = tasks.spawn_eternal(group, self.sender.run(), "status")
            self.probes = PodProbes(group, self.context.runtime, self._wake.set, self._report_probe)
            try:
                self._adopt()
                await self._live()
                await self._end()
                await self._linger()
                await self._forget()
                await self._wait_gone()
            finally:
                self._group = None
                self.probes.stop()
                sender.cancel()
                for task in self._images.values():
                    task.cancel()

    def _adopt(self) -> None:
        present = self.sender.present
        if text := present.get("startTime"):
            self._start_time = parse_time(text)
        if spec.is_terminal(present.get("phase", "")):
            self._finished = True
        ready = {
            str(item.get("containerID", "")).rpartition("/")[2]
            for field in ("initContainerStatuses", "containerStatuses")
            for item in present.get(field) or ()
            if item.get("ready")
        }
        for sandbox_id in self.state.sandboxes:
            self._claim(sandbox_id)
        for container in self.state.containers.values():
            self._record(container)
        assert self.probes is not None
        self.probes.adopt(ready & {container.id for container in self.state.running()})

    async def _live(self) -> None:
        while not self._must_end():
            self._wake.clear()
            self._publish()
            delay = await self._interruptible(self._sync())
            if self._must_end():
                return
            self._publish()
            delay = self._until_deadline(delay)
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _must_end(self) -> bool:
        if self.gone or self._finished or self.pod["metadata"].get("deletionTimestamp"):
            return True
        if self._failure is None and self._until_deadline(None) == 0:
            self._failure = ("DeadlineExceeded", _DEADLINE_MESSAGE)
            self.context.recorder.event(self.pod, "Normal", "DeadlineExceeded", _DEADLINE_MESSAGE)
        return self._failure is not None

    def _until_deadline(self, delay: float | None) -> float | None:
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        if limit is None:
            return delay
        left = (self._start_time + timedelta(seconds=limit) - self.context.clock.now()).total_seconds()
        return max(left, 0.0) if delay is None else min(max(left, 0.0), delay)

    async def _interruptible(self, work: Coroutine[Any, Any, float | None]) -> float | None:
        """Runs ``work``, publishing status meanwhile; cancels it when the pod must end."""
        assert self._group is not None
        task = tasks.spawn(self._group, work, "sync")
        pending = False
        while not task.done():
            waker = tasks.spawn(self._group, self._wake.wait(), "wake")
            try:
                await asyncio.wait({task, waker}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waker.cancel()
            if self._wake.is_set() and not task.done():
                self._wake.clear()
                pending = True
                if self._must_end():
                    self._interrupted = True
                    await tasks.cancel_and_wait(task)
                    return None
                self._publish()
        if pending:
            self._wake.set()
        result: float | None = task.result()
        return result

    async def _sync(self) -> float | None:
        """One round of plan and action; returns the seconds until the next, None: when something happens."""
        try:
            delay = await self._step()
        except (runtime.RuntimeCallError, VolumeError, ApiError, OSError) as error:
            if isinstance(error, VolumeError):
                self._event("Warning", "FailedMount", str(error))
            else:
                log.warning("pod %s: %s", spec.full_name(self.pod), error)
        except Exception:
            # Our own bug: this pod backs off, the others go on.
            log.exception("pod %s: sync failed", spec.full_name(self.pod))
        else:
            self._failures = 0
            return delay
        self._failures += 1
        return float(min(_SYNC_RETRY_FIRST_SECONDS * 2 ** (self._failures - 1), _SYNC_RETRY_MAX_SECONDS))

    async def _step(self) -> float | None:
        while True:
            plan = plan_pod(self.pod, self.state, self._inputs())
            self._note_backoffs(plan)
            if plan.finished:
                self._finished = True
                return None
            for sandbox_id in plan.stop_sandboxes:
                await self.context.runtime.stop_sandbox(sandbox_id)
                await self._look(sandbox_id)
            if plan.create_sandbox:
                await self._create_sandbox(plan.sandbox_attempt)
                continue
            for kill in plan.kill:
                await self._kill(kill)
            for start in plan.start:
                await self._start(start)
            if not plan.start and not plan.kill:
                return plan.requeue_after

    def _inputs(self) -> Inputs:
        probes = self.probes
        assert probes is not None
        probes.sync(self.pod, self.state, self._pod_ip(), frozenset(self._held))
        return Inputs(
            now=self.context.clock.now(),
            failed_liveness=frozenset(probes.failed_liveness),
            failed_startup=frozenset(probes.failed_startup),
            started=frozenset(probes.started),
            delays=self._delays,
            not_before=self._not_before,
        )

    def _note_backoffs(self, plan: Plan) -> None:
        for name, remaining in plan.backing_off.items():
            if remaining > 0:
                self._crash_loop(name)

    def _crash_loop(self, name: str) -> None:
        where = f"container {name} in pod {spec.full_name(self.pod)}({self.uid})"
        before = self._waiting.get(name)
        text = (
            f"back-off {format_duration(self._delays.get(name, FIRST_DELAY_SECONDS))} restarting failed "
            f"container={name} pod={spec.full_name(self.pod)}({self.uid})"
        )
        self._waiting[name] = status.Waiting("CrashLoopBackOff", text)
        if before != self._waiting[name]:
            self._event("Warning", "BackOff", f"Back-off restarting failed {where}", name)

    # Actions.

    async def _create_sandbox(self, attempt: int) -> None:
        context, pod = self.context, self.pod
        for container in self.state.running():
            await context.runtime.stop_container(container.id, 0)
            await self._look(container.id)
        for old in self.state.sandboxes.values():
            if old.ready:
                await context.runtime.stop_sandbox(old.id)
        self._not_before.clear()
        if attempt > 0:
            self._event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        for sort, wanted in spec.all_containers(pod):
            # Only what is started first: later images may be many, and their pull may not be needed at all.
            if sort == ("init" if spec.containers(pod, "init") else "main"):
                self._prefetch(sort, wanted)
        log_dir = context.config.pod_log_dir(pod["metadata"]["namespace"], pod["metadata"]["name"], self.uid)
        await context.host.make_directory(log_dir)
        handler = await self._runtime_handler()
        async with context.starts:
            parent = await context.host.create_cgroup(pod)
            config = render.sandbox_config(pod, context.config, context.host_dns, attempt, parent)
            mounting = asyncio.ensure_future(context.volumes.mount_pod(pod, context.facts()))
            try:
                security.verify_sandbox(pod, context.features(), handler)
                sandbox_id = await context.runtime.run_sandbox(config, handler)
            except runtime.RuntimeCallError as error:
                await asyncio.wait({mounting})
                _ = mounting.exception()  # tried again, and told then
                self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
                raise
            except asyncio.CancelledError:
                mounting.cancel()
                raise
            self._claim(sandbox_id)
            self._changes += 1
            self.state.sandboxes[sandbox_id] = await context.runtime.sandbox_status(sandbox_id)
            self._mounted = await mounting

    async def _runtime_handler(self) -> str:
        """The handler that the pod's RuntimeClass names; "" is the runtime's default."""
        name = self.pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        return str((await self.context.client.get(RUNTIME_CLASSES, name)).get("handler", ""))

    def _prefetch(self, sort: spec.Sort, container: Obj) -> asyncio.Future[runtime.Image]:
        """The image, on its way while the sandbox is made; asked for once a start."""
        name = container["name"]
        future = self._images.get(name)
        if future is None:
            assert self._group is not None
            future = self._images[name] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            tasks.spawn(self._group, self._fetch(future, sort, container), f"image {name}")
        return future

    async def _fetch(self, future: asyncio.Future[runtime.Image], sort: spec.Sort, container: Obj) -> None:
        try:
            image = await starting.ensure_image(self.context, self.pod, sort, container)
        except runtime.RuntimeCallError as error:
            outcome: Exception = ImageError("ImageInspectError", str(error), starting.RETRY_SECONDS)
        except Exception as error:  # handed to whoever awaits the image
            outcome = error
        else:
            if not future.done():
                future.set_result(image)
            return
        if not future.done():
            future.set_exception(outcome)

    async def _start(self, start: Start) -> None:
        context = self.context
        found = spec.find_container(self.pod, start.name)
        sandbox = self.state.ready_sandbox
        if found is None or sandbox is None:
            return
        sort, container = found
        last = self.state.latest(start.name)
        self._advance_backoff(start.name, last)
        image = self._prefetch(sort, container)
        if not image.done():
            self._publish()
        if self._mounted is None:
            self._mounted = await context.volumes.mount_pod(self.pod, context.facts())
        parent = context.host.cgroup_path(self.pod)
        config = render.sandbox_config(self.pod, context.config, context.host_dns, sandbox.attempt, parent)
        around = starting.Surroundings(
            pod=self.pod,
            sandbox=sandbox,
            sandbox_config=config,
            mounted=self._mounted,
            target_id=self._target(container),
        )
        log_dir = context.config.pod_log_dir(self.pod["metadata"]["namespace"], self.pod["metadata"]["name"], self.uid)
        await context.host.make_directory(log_dir / start.name)
        before = set(self.state.containers)
        try:
            container_id = await starting.start_container(context, around, start, container, image)
        except starting.StartError as error:
            await self._start_failed(start, error, before)
            return
        finally:
            self._images.pop(start.name, None)
        self._claim(container_id)
        self._changes += 1
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            self._held.add(container_id)
        self._not_before.pop(start.name, None)
        self._waiting.pop(start.name, None)
        self.state.put(await context.runtime.container_status(container_id), sandbox.id)
        self._record(self.state.containers[container_id])
        if hook:
            await self._post_start(container, container_id, hook)
        self._publish()
        await self._prune(start.name)

    async def _start_failed(self, start: Start, error: starting.StartError, before: set[str]) -> None:
        now = self.context.clock.now()
        self._waiting[start.name] = status.Waiting(error.reason, error.message)
        self._not_before[start.name] = now + timedelta(seconds=error.retry_after_seconds)
        if error.reason in ("RunContainerError", "CreateContainerError"):
            # A container may have been made: know it, so that the next one gets another number.
            await self._reobserve()
        self._publish()

    def _advance_backoff(self, name: str, last: runtime.Container | None) -> None:
        if last is None or last.state != "exited":
            return
        delay = self._delays.get(name, 0.0)
        ran = (last.finished_at - last.started_at).total_seconds() if last.finished_at and last.started_at else 0.0
        limit = self.context.config.max_container_backoff_seconds
        fresh = delay == 0.0 or ran >= _BACKOFF_RESET_SECONDS
        self._delays[name] = min(FIRST_DELAY_SECONDS if fresh else delay * 2, limit)

    def _target(self, container: Obj) -> str:
        name = container.get("targetContainerName")
        target = self.state.latest(name) if name else None
        return target.id if target is not None else ""

    async def _post_start(self, container: Obj, container_id: str, hook: Obj) -> None:
        target = Target(container_id, container, self._pod_ip())
        outcome = await starting.run_hook(self.context, hook, target)
        self._held.discard(container_id)
        if outcome.result == "success":
            return
        name = container["name"]
        self._event("Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.output}", name)
        self._waiting[name] = status.Waiting("PostStartHookError", outcome.output)
        await self._kill(Kill(container_id, name, "not-needed", "FailedPostStartHook"))

    async def _kill(self, kill: Kill) -> None:
        container = self.state.containers[kill.container_id]
        grace = self._probe_grace(kill)
        await termination.kill_container(
            self.context, self.pod, container, pod_ip=self._pod_ip(), grace_seconds=grace, message=kill.message
        )
        await self._look(kill.container_id)

    def _probe_grace(self, kill: Kill) -> int:
        grace = self.pod["spec"].get("terminationGracePeriodSeconds")
        grace = 30 if grace is None else int(grace)
        found = spec.find_container(self.pod, kill.name)
        field = {"liveness": "livenessProbe", "startup": "startupProbe"}.get(kill.reason)
        if found and field:
            own = (found[1].get(field) or {}).get("terminationGracePeriodSeconds")
            grace = int(own) if own is not None else grace
        return grace

    async def _prune(self, name: str) -> None:
        """Keeps the newest container and the one before it, whose log ``--previous`` shows."""
        for old in self.state.history(name)[2:]:
            if old.state != "running":
                await self.context.runtime.remove_container(old.id)
                self.state.containers.pop(old.id, None)
                self._messages.pop(old.id, None)

    # Looking.

    async def _look(self, runtime_id: str) -> None:
        """Reads one container or sandbox again."""
        latest = self.state.ready_sandbox
        if latest is not None and latest.id != runtime_id:
            # A container often ends because its sandbox did; a start in a dead sandbox would only fail.
            await self._read(latest.id)
        await self._read(runtime_id)
        self._wake.set()

    async def _read(self, runtime_id: str) -> None:
        try:
            if runtime_id in self.state.sandboxes:
                self.state.sandboxes[runtime_id] = await self.context.runtime.sandbox_status(runtime_id)
            else:
                self.state.put(await self.context.runtime.container_status(runtime_id))
                self._changes += 1
                self._record(self.state.containers[runtime_id])
        except runtime.RuntimeNotFound:
            self._changes += 1
            self.state.containers.pop(runtime_id, None)
            self.state.sandboxes.pop(runtime_id, None)
        except runtime.RuntimeCallError as error:
            log.warning("pod %s: %s", spec.full_name(self.pod), error)

    async def _reobserve(self) -> None:
        try:
            while True:
                changes = self._changes
                state = await observe(self.context.runtime, self.uid)
                if changes == self._changes:
                    break
        except runtime.RuntimeCallError as error:
            log.warning("pod %s: %s", spec.full_name(self.pod), error)
            return
        self.state = state
        for sandbox_id in state.sandboxes:
            self._claim(sandbox_id)
        for container in state.containers.values():
            self._record(container)
        self._wake.set()

    def _record(self, container: runtime.Container) -> None:
        self._claim(container.id)
        if container.state == "exited" and container.id not in self._messages:
            file = starting.termination_file(self.context, self.pod, container.name, container.attempt)
            self._messages[container.id] = messages.read_termination_message(self.context.host, container, file)

    def _pod_ip(self) -> str:
        sandbox = self.state.latest_sandbox
        return sandbox.ips[0] if sandbox is not None and sandbox.ips else self.context.config.host_ip

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        found = spec.find_container(self.pod, container) if container else None
        path = starting.field_path(found[0], container) if found else ""
        self.context.recorder.event(self.pod, kind, reason, message, field_path=path)

    def _report_probe(self, container: Obj, kind: str, reason: str, message: str) -> None:
        self._event(kind, reason, message, container["name"])

    def _publish(self) -> None:
        probes = self.probes
        if probes is None or self.gone:
            return
        if not self._terminal:
            probes.sync(self.pod, self.state, self._pod_ip(), frozenset(self._held))
        facts = status.Facts(
            now=self.context.clock.now(),
            host_ips=self.context.config.addresses,
            start_time=self._start_time,
            waiting=self._waiting,
            ready=frozenset(probes.ready),
            started=frozenset(probes.started),
            termination_messages=self._messages,
            terminal=self._terminal,
            failure=self._failure,
            out_of_memory=frozenset(self._out_of_memory),
        )
        view = {**self.pod, "status": self.sender.present}
        self.sender.want(status.render_status(view, self.state, facts))

    # Ending.

    async def _end(self) -> None:
        assert self.probes is not None
        if self._interrupted:
            await self._reobserve()
        self.probes.stop(keep_readiness=True)
        self._publish()
        await self._kill_running()
        self._terminal = True
        self.probes.stop()
        for sandbox_id in list(self.state.sandboxes):
            await self._insist(partial(self.context.runtime.stop_sandbox, sandbox_id))
            await self._look(sandbox_id)
        self._publish()
        await self._insist(lambda: self.context.volumes.unmount_pod(self.uid))
        await self.context.host.remove_cgroup(self.pod)
        if not self.gone:
            await self.sender.idle.wait()

    async def _kill_running(self) -> None:
        announced = False
        loop = asyncio.get_running_loop()
        while self.state.running():
            grace = spec.termination_grace_seconds(self.pod)
            deadline = loop.time() + grace
            assert self._group is not None
            task = tasks.spawn(self._group, self._kill_once(grace, announced=announced), "kill")
            announced = True
            while not task.done():
                self._wake.clear()
                waker = tasks.spawn(self._group, self._wake.wait(), "wake")
                await asyncio.wait({task, waker}, return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
                self._publish()
                if deadline - loop.time() > spec.termination_grace_seconds(self.pod) + 0.5:
                    await tasks.cancel_and_wait(task)  # asked to be quicker
            await self._reobserve()

    async def _kill_once(self, grace: int, *, announced: bool) -> None:
        try:
            await termination.kill_all(self.context, self.pod, self.state, grace, announced=announced)
        except* runtime.RuntimeCallError as group:
            log.warning("pod %s: %s", spec.full_name(self.pod), group.exceptions[0])
            await asyncio.sleep(1.0)

    async def _insist(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Until it works: leaving something behind is worse than waiting."""
        delay = _SYNC_RETRY_FIRST_SECONDS
        while True:
            try:
                await step()
                return
            except (runtime.RuntimeCallError, VolumeError) as error:
                log.warning("pod %s: %s", spec.full_name(self.pod), error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _SYNC_RETRY_MAX_SECONDS)

    async def _linger(self) -> None:
        """A pod that has ended stays until it is deleted; a deleted one is removed from the API now."""
        while not self.gone:
            if self.pod["metadata"].get("deletionTimestamp"):
                await self.sender.idle.wait()
                if await self._delete_object():
                    return
                continue
            self._wake.clear()
            await self._wake.wait()

    async def _delete_object(self) -> bool:
        meta = self.pod["metadata"]
        try:
            await self.context.client.delete(
                PODS, meta["name"], meta["namespace"], uid=self.uid, grace_period_seconds=0
            )
        except (NotFound, Conflict):
            self.gone = True
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("delete of pod %s: %s", spec.full_name(self.pod), error)
            await asyncio.sleep(1.0)
            return False
        return True

    async def _forget(self) -> None:
        for sandbox_id in list(self.state.sandboxes):
            await self._insist(partial(self.context.runtime.remove_sandbox, sandbox_id))
        meta = self.pod["metadata"]
        directory = self.context.config.pod_log_dir(meta["namespace"], meta["name"], self.uid)
        await self.context.host.remove_tree(directory)

    async def _wait_gone(self) -> None:
        """Finalizers may keep the object: a worker that left earlier would be made again by the next change."""
        while not self.gone:
            self._wake.clear()
            await self._wake.wait()
