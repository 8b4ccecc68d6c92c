"""The life of one pod on its node as a state machine: events in, instructions out, time as an argument.

The pod's worker feeds it one event after the other and carries out what it asks. It reads no clock, does no I/O, knows
no task: the same events at the same times give the same instructions. What is known is ``record``'s, how an event
changes it ``absorb``'s, the phases and the ways between them ``phases``', what a phase asks for ``live``'s and
``ending``'s. This module puts them together: one operation a key, no operation that the phase does not allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sampan.api.types import Obj
from sampan.node.pods import ending, events, live, phases
from sampan.node.pods.absorb import absorb
from sampan.node.pods.live import Steps
from sampan.node.pods.operations import Cancel, Instruction, Key, Operation
from sampan.node.pods.record import Phase, PodRecord, new_record
from sampan.node.pods.resizing_checkpoint import Checkpoint
from sampan.node.pods.state import PodState

_PLANS: Mapping[Phase, Callable[[PodRecord, datetime], Steps]] = {
    "adopting": ending.plan_adopting,
    "live": live.plan_live,
    "ending": ending.plan_ending,
    "lingering": ending.plan_lingering,
    "gone": lambda record, now: Steps(),
}


class PodMachine:
    """Invariants: phases follow ``phases.TRANSITIONS``; every operation under way is allowed in the present phase or
    was cancelled; after ``ending`` nothing is started."""

    def __init__(
        self,
        pod: Obj,
        now: datetime,
        state: PodState | None = None,
        *,
        max_delay_seconds: float = 300,
        checkpoint: Checkpoint | None = None,
    ):
        """``state``: what the runtime has of the pod, if it was read already."""
        self.record = new_record(pod, now, state, checkpoint)
        self.record.max_delay_seconds = max_delay_seconds
        #: When to tell ``TimePassed`` at the latest; None: only when something happens.
        self.due: datetime | None = None

    @property
    def phase(self) -> Phase:
        return self.record.phase

    @property
    def is_gone(self) -> bool:
        """Nothing of the pod is left: the machine is done."""
        return self.record.phase == "gone"

    def handle(self, event: events.Event, now: datetime) -> list[Instruction]:
        out: list[Instruction] = [*absorb(self.record, event, now)]
        while True:
            self._follow_table(now, out)
            steps = _PLANS[self.phase](self.record, now)
            out += steps.tells
            if not steps.again:
                break
        self.due = steps.due
        for key in steps.cancel:
            self._cancel(key, out)
        for operation in steps.operations:
            self._begin(operation, now, out)
        return out

    def _follow_table(self, now: datetime, out: list[Instruction]) -> None:
        record = self.record
        while True:
            for row in phases.TRANSITIONS:
                if row.source == record.phase and row.holds(record, now):
                    break
            else:
                return
            record.phase = row.target
            record.serial += row.target == "ending"
            out += row.effect(record)
            for key, operation in record.under_way.items():
                if not phases.is_allowed(record.phase, operation):
                    self._cancel(key, out)

    def _begin(self, operation: Operation, now: datetime, out: list[Instruction]) -> None:
        record, key = self.record, operation.key
        if key in record.under_way:
            return
        assert phases.is_allowed(record.phase, operation), (record.phase, operation)
        retry = record.retries.get(key)
        if retry is not None and retry.not_before > now:
            self.due = retry.not_before if self.due is None else min(self.due, retry.not_before)
            return
        out += live.note_begun(record, operation)
        record.under_way[key] = operation
        out.append(operation)

    def _cancel(self, key: Key, out: list[Instruction]) -> None:
        if key in self.record.under_way and key not in self.record.cancelling:
            self.record.cancelling |= {key}
            out.append(Cancel(key))
