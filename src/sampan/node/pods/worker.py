"""The executor of one pod's machine: feeds it events, carries out what it asks, sends the status, keeps the probes.

The agent makes one per pod and calls the methods of the first section; ``run`` returns when nothing of the pod is left.
It decides nothing about the pod. A fault of the machine is the pod's alone: it is told, and a new machine begins with
what is there. One event loop; no locks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sampan.api.errors import ApiError
from sampan.api.faults import fault
from sampan.api.pods import origin
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.signal import Signal
from sampan.node import runtime
from sampan.node.pods import events, operations, resizing, resizing_shown, spec, status
from sampan.node.pods.actions import OperationFailed, PodActions
from sampan.node.pods.context import NodeContext
from sampan.node.pods.files import PodFiles
from sampan.node.pods.machine import PodMachine
from sampan.node.pods.probing import PodProbes
from sampan.node.pods.record import NONE, PodRecord, ready_before
from sampan.node.pods.sender import StatusSender
from sampan.node.pods.state import PodState
from sampan.node.pods.teller import PodTeller
from sampan.node.volumes.errors import VolumeError

log = logging.getLogger(__name__)

#: The first status of a pod waits so long for something worth telling; so do the Events of its start. Where there are
#: many pods each step takes long: who gets on is waited for longer, but not for ever.
_HOLD_SECONDS = 2.0
_HOLD_MOST_SECONDS = 10.0
_FAULT_FIRST_SECONDS = 1.0
_FAULT_MAX_SECONDS = 60.0
_SYNC_FAULT = "Error syncing pod, skipping: internal error, see the node's log"


class PodWorker:
    """Invariant: every task under way is an operation that the machine asked for, or a probe, or the status sender."""

    __slots__ = (
        "_adopted", "_begun_at", "_claim", "_done_at", "_inbox", "_rejection", "_rendered", "_tasks", "_wake",
        "actions", "context", "gone", "machine", "pod", "probes", "sender", "teller", "told", "uid",
    )  # fmt: skip

    def __init__(
        self, context: NodeContext, pod: Obj, state: PodState | None = None, *, claim: Callable[[str], None]
    ) -> None:
        """``claim`` is told the id of everything in the runtime that is the pod's."""
        self.context = context
        self.uid: str = pod["metadata"]["uid"]
        self.sender = StatusSender(context.client, pod, self._status_sent, static=origin.is_static(pod))
        self.teller = PodTeller(context.recorder, pod)
        self.pod = pod
        self.gone = False
        #: the API has a status of this worker
        self.told = Signal()
        self._claim = claim
        self._rejection: events.Evicted | None = None
        self._inbox: list[events.Event] = []
        self._wake = Signal()
        self._tasks: dict[operations.Key, asyncio.Task[None]] = {}
        self._begun_at: datetime = context.clock.now()
        #: when an operation was done last
        self._done_at = self._begun_at
        self._rendered = 0
        self._begin(state)

    # What the agent calls; none of these blocks.

    def update(self, pod: Obj) -> None:
        before, after = self.pod["metadata"], pod["metadata"]
        if any(before.get(name) != after.get(name) for name in ("labels", "annotations")):
            self.context.volumes.pod_changed(pod)
        self.pod = self.teller.pod = pod
        self.sender.observe(pod)
        self._post(events.PodChanged(pod))

    def mirrored(self, mirror: Obj | None) -> None:
        """A static pod is shown by this object of the API; None: by none."""
        self.sender.follow(mirror)

    def deleted(self, pod: Obj) -> None:
        """The API object is gone."""
        self.pod = self.teller.pod = pod
        self.gone = self.sender.gone = True
        self.told.set()
        self._post(events.ObjectGone(pod))

    def evict(self, reason: str, message: str, *, grace_seconds: int | None = None, disruption: bool = False) -> None:
        """The node cannot run it, or no longer. See ``events.Evicted``."""
        self._rejection = self._rejection or events.Evicted(reason, message, grace_seconds, disruption)
        self._post(self._rejection)

    def ended(self, runtime_id: str) -> None:
        self._post(events.RuntimeEnded(runtime_id))

    def out_of_memory(self, container_id: str) -> None:
        self._post(events.OutOfMemory(container_id))

    def objects_changed(self) -> None:
        self._post(events.ObjectsChanged())

    def refresh(self) -> None:
        """Events may have been lost: read everything again."""
        self._post(events.ViewDoubted())

    def wake(self) -> None:
        self._post(events.TimePassed())

    @property
    def state(self) -> PodState:
        return self.record.state

    @property
    def has_been_told(self) -> bool:
        """The API knows how it ended."""
        return self.machine.phase in ("lingering", "gone")

    @property
    def is_cleaned_up(self) -> bool:
        """Nothing of it runs, and its volumes and its cgroup are gone."""
        record = self.record
        return record.phase in ("lingering", "gone") or (record.terminal and record.unmounted and record.cgroup_removed)

    @property
    def record(self) -> PodRecord:
        return self.machine.record

    # Life.

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self.sender.begin(group)
            self.probes = PodProbes(group, self.context.runtime, self._probed, self._report_probe)
            faults = 0
            try:
                while not self.machine.is_gone:
                    try:
                        self._turn(group)
                        if not self.machine.is_gone:
                            await self._sleep()
                        faults = 0
                    except Exception:
                        # A bug of ours in one pod must not take the node down, nor leave the pod to itself.
                        log.exception("pod %s: the worker begins anew", spec.full_name(self.pod))
                        self.teller.tell("Warning", "FailedSync", _SYNC_FAULT)
                        await self._end_tasks()
                        await asyncio.sleep(min(_FAULT_FIRST_SECONDS * 2**faults, _FAULT_MAX_SECONDS))
                        faults = min(faults + 1, 16)
                        self._begin(None)
            finally:
                self.sender.end()
                self.probes.stop()
                for task in self._tasks.values():
                    task.cancel()
                self.teller.release()

    def _begin(self, state: PodState | None) -> None:
        """A machine that knows nothing but the pod, and perhaps what the runtime has of it."""
        now = self.context.clock.now()
        limit = self.context.config.max_container_backoff_seconds
        kept = PodFiles(self.context.host, self.context.config, self.pod).kept()
        view = {**self.pod, "status": self.sender.present}
        self.machine = PodMachine(view, now, state, max_delay_seconds=limit, checkpoint=kept)
        self.actions = PodActions(self.context, self.record, self.teller)
        self.record.kernel.update(self.actions.held(each.id for each in self.state.running()))
        self._adopted = False
        self._inbox[:] = [events.TimePassed()]
        if self._rejection is not None:
            self._inbox.append(self._rejection)
        if self.gone:
            self._inbox.append(events.ObjectGone(self.pod))
        self._wake.set()

    async def _end_tasks(self) -> None:
        running = list(self._tasks.values())
        self._tasks.clear()
        await tasks.cancel_and_wait(*running)

    def _post(self, event: events.Event) -> None:
        self._inbox.append(event)
        self._wake.set()

    async def _sleep(self) -> None:
        now = self.context.clock.now()
        moments = [moment for moment in (self.machine.due, self._held_until(now)) if moment is not None]
        try:
            async with asyncio.timeout(max((min(moments) - now).total_seconds(), 0) if moments else None):
                await self._wake.wait()
        except TimeoutError:
            self._inbox.append(events.TimePassed())

    def _turn(self, group: asyncio.TaskGroup) -> None:
        """Everything that happened since the last turn, and what follows from it."""
        self._wake.clear()
        while self._inbox:
            event = self._inbox.pop(0)
            for instruction in self.machine.handle(event, self.context.clock.now()):
                self._carry_out(group, instruction)
            self._sync_probes()
        self._publish()

    # Instructions.

    def _carry_out(self, group: asyncio.TaskGroup, instruction: operations.Instruction) -> None:
        if isinstance(instruction, operations.Tell):
            self.teller.tell(instruction.kind, instruction.reason, instruction.message, instruction.container)
        elif isinstance(instruction, operations.Cancel):
            if (task := self._tasks.get(instruction.key)) is not None:
                task.cancel()
        else:
            name = " ".join(instruction.key)
            self._tasks[instruction.key] = tasks.spawn(group, self._operate(instruction), name)

    async def _operate(self, operation: operations.Operation) -> None:
        """Never raises but when it is cancelled; its answer is always posted."""
        answer: events.Event = events.Cancelled(operation)
        try:
            answer = self._done(operation, await self.actions.carry_out(operation))
        except OperationFailed as error:
            answer = events.Failed(operation, error.reason, error.message, error.retry_after_seconds)
        except (runtime.RuntimeCallError, VolumeError, ApiError, TimeoutError) as error:
            log.info("pod %s: %s: %s", spec.full_name(self.pod), type(operation).__name__, error)
            answer = events.Failed(operation, message=str(error))
        except OSError as error:
            answer = events.Failed(operation, message=fault(error, type(operation).__name__))
        except Exception:  # a bug in one operation is its failure, which the machine knows how to go on from
            log.exception("pod %s: %s", spec.full_name(self.pod), type(operation).__name__)
            answer = events.Failed(operation, message="internal error")
        finally:
            if self._tasks.get(operation.key) is asyncio.current_task():
                del self._tasks[operation.key]
                if not self._tasks:
                    self._tasks = {}  # one that was emptied keeps the room that it had
                self._post(answer)

    def _done(self, operation: operations.Operation, result: events.Result) -> events.Done:
        """With the messages of containers that ended, and the pod's claim on what was seen."""
        self._done_at = self.context.clock.now()
        seen: list[runtime.Container] = []
        if isinstance(result, PodState):
            seen = list(result.containers.values())
            for sandbox_id in result.sandboxes:
                self._claim(sandbox_id)
        elif isinstance(result, runtime.Container):
            seen = [result]
        elif isinstance(result, runtime.Sandbox):
            self._claim(result.id)
        for container in seen:
            self._claim(container.id)
        left = {
            container.id: self.actions.files.termination_message(container)
            for container in seen
            if container.state == "exited" and container.id not in self.record.messages
        }
        running = [each.id for each in seen if each.state == "running"]
        if isinstance(operation, operations.ResizePod):
            running += operation.containers
        return events.Done(operation, result, left, self.actions.held(running) if running else {})

    # Probes.

    def _sync_probes(self) -> None:
        record = self.record
        if not record.viewed:
            return
        if not self._adopted:
            self._adopted = True
            for runtime_id in (*record.state.sandboxes, *record.state.containers):
                self._claim(runtime_id)
            self.probes.adopt(set(ready_before(record.pod, record.state)))
        self.probes.sync(
            record.pod,
            record.state,
            record.pod_ip() or self.context.config.host_ip,
            held=record.held,
            stopping=frozenset(record.stops) if record.stops else NONE,
            ending=record.phase != "live",
        )
        probed = self.probes.results()
        if probed != record.probes:
            self._post(probed)

    def _probed(self) -> None:
        self._post(self.probes.results())

    def _report_probe(self, container: Obj, kind: str, reason: str, message: str) -> None:
        self.teller.tell("Warning", reason, message, container["name"])

    # The status.

    def _held_until(self, now: datetime) -> datetime | None:
        """While a pod is being started for the first time, and nothing went wrong, there is nothing to tell yet."""
        record = self.record
        if self.sender.present.get("startTime") or record.waiting or record.phase != "live":
            return None
        if record.state.containers and not record.starting():
            return None
        until = min(
            self._done_at + timedelta(seconds=_HOLD_SECONDS), self._begun_at + timedelta(seconds=_HOLD_MOST_SECONDS)
        )
        return until if until > now else None

    def _publish(self) -> None:
        record, now = self.record, self.context.clock.now()
        if not record.viewed or self.gone:
            self.teller.release()
            return
        if self._held_until(now) is not None:
            self.teller.hold()
            return
        if record.serial != self._rendered:
            self._rendered = record.serial
            self.sender.want(status.render_status(self._view(), record.state, self._facts(now)), record.serial)
        elif self.sender.idle:
            self.teller.release()

    def _view(self) -> Obj:
        return {**self.pod, "status": self.sender.present}

    def _facts(self, now: datetime) -> status.Facts:
        record = self.record
        return status.Facts(
            now=now,
            host_ips=self.context.config.addresses,
            start_time=record.start_time,
            waiting=record.waiting,
            ready=record.probes.ready - record.unready,
            started=record.probes.started,
            termination_messages=record.messages,
            terminal=record.terminal,
            failure=record.failure,
            disrupted=record.disrupted,
            out_of_memory=record.out_of_memory,
            resources=self._shown(),
            whole=self._whole(),
            allocated=record.allocated,
            restarting_all=record.restarting_all,
            reset=record.reset,
            resize=resizing.conditions(record.verdict, under_way=record.resizing, error=record.resize_error),
        )

    def _shown(self) -> dict[str, Obj]:
        """Resources of running containers, by id, as the kernel holds them."""
        record = self.record
        written = resizing.with_allocated(record.pod, record.cgroup)
        found: dict[str, Obj] = {}
        for known in record.state.running():
            declared = record.container(known.id)
            if declared is not None and known.id in record.applied:
                given, held = record.applied[known.id], record.kernel.get(known.id)
                found[known.id] = resizing_shown.of_container(written, declared[1], given, held)
        return found

    def _whole(self) -> tuple[Obj, Obj] | None:
        """The status' own ``resources`` and ``allocatedResources``."""
        record = self.record
        shown = resizing_shown.of_pod(record.pod, record.cgroup, record.kernel.get(resizing.WHOLE))
        allocated = resizing_shown.allocated_to_pod(record.pod, record.allocated)
        return None if shown is None or allocated is None else (shown, allocated)

    def room(self) -> None:
        """A resize that waits has been granted, or may be."""
        self._post(events.RoomMade())

    def _status_sent(self, serial: int) -> None:
        self.told.set()
        self._post(events.StatusSent(serial))
        if self.record.terminal:
            self.context.room_made()
