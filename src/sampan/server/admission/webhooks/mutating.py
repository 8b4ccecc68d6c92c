"""MutatingAdmissionWebhook at work: asks one webhook after the other, each about what the one before has left."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sampan.api import errors, objects
from sampan.api.errors import BadRequest
from sampan.api.reading import part
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.matching import Asked, asked_of
from sampan.server.admission.webhooks.asking import Judging
from sampan.server.admission.webhooks.deciding import Deciding
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.admission.webhooks.reviews import Verdict, operations_of
from sampan.server.admission.webhooks.subjects import Call, Subject, internal_error
from sampan.server.threads import is_heavy, paced
from sampan.server.write import Reinvocation, Write


@dataclass(slots=True)
class _Memory:
    """Of one write, for its second round: who has to be asked again when something changes, and who is."""

    eligible: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    #: what the first round left, if it matters
    left: Any = None

    def something_changed(self) -> None:
        self.due |= self.eligible
        self.eligible.clear()


class MutatingWebhooks:
    def __init__(self, deciding: Deciding, judging: Judging) -> None:
        self._deciding, self._judging = deciding, judging

    async def act(self, write: Write, hooks: tuple[Hook, ...]) -> None:
        asked = asked_of(write)
        if write.reinvocation is None:
            write.reinvocation = Reinvocation()
        again, memory = write.reinvocation.again, _memory(write.reinvocation)
        if again and memory.left is not None and memory.left != write.obj:
            memory.something_changed()  # the server's own plugins did, in this round
        subject = Subject(write)
        for hook in hooks:
            if again and hook.uid not in memory.due:
                continue  # nobody is asked in the second round who was not in the first
            call = await self._deciding.call_of(hook, write, asked, subject)
            if call is None:
                continue
            verdict = await self._judging.verdict(call, write, asked, subject)
            if verdict is not None and verdict.patch and await self._change(call, write, asked, subject, verdict):
                memory.something_changed()
                write.reinvocation.wanted = True
            if hook.reinvocable:
                memory.eligible.add(hook.uid)
        if memory.eligible and write.reinvocation.wanted and not again:
            memory.left = await paced(write.request.heavy, objects.deep_copy, write.obj)

    async def _change(self, call: Call, write: Write, asked: Asked, subject: Subject, verdict: Verdict) -> bool:
        """Raises InternalError, BadRequest."""
        try:
            operations = await paced(is_heavy(verdict.patch), operations_of, verdict.patch)
        except BadRequest as error:
            raise internal_error(error.message) from error
        if not operations:
            return False
        if write.obj is None:
            text = f'admission webhook "{call.hook.name}" attempted to modify the object, which is not supported'
            raise internal_error(f"{text} for this operation")
        changed = await subject.patch(call.kind, operations)
        if changed:
            _check_place(write, write.obj)
        return changed


def _memory(reinvocation: Reinvocation) -> _Memory:
    found: _Memory = reinvocation.memory.setdefault("MutatingAdmissionWebhook", _Memory())
    return found


def _check_place(write: Write, obj: Obj | None) -> None:
    """An object stays in the namespace that the request is for. Raises BadRequest."""
    meta = part(obj, "metadata")
    if write.operation == "CREATE" and write.kind.namespaced and not write.subresource:
        if meta.get("namespace", write.namespace) != write.namespace:
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise errors.BadRequest(text)
        meta["namespace"] = write.namespace
