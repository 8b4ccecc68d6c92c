"""ValidatingAdmissionWebhook at work: asks all webhooks that a write concerns at the same time; each may refuse it."""

from __future__ import annotations

import asyncio

from sampan.server.admission.matching import Asked, asked_of
from sampan.server.admission.webhooks.asking import Judging
from sampan.server.admission.webhooks.deciding import Deciding
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.admission.webhooks.subjects import Call, Subject
from sampan.server.write import Write


class ValidatingWebhooks:
    def __init__(self, deciding: Deciding, judging: Judging) -> None:
        self._deciding, self._judging = deciding, judging

    async def act(self, write: Write, hooks: tuple[Hook, ...]) -> None:
        asked, subject = asked_of(write), Subject(write)
        found = [await self._deciding.call_of(hook, write, asked, subject) for hook in hooks]
        calls = [call for call in found if call is not None]
        if len(calls) == 1:
            await self._judging.verdict(calls[0], write, asked, subject)
        elif calls:
            await self._ask_all(write, asked, subject, calls)

    async def _ask_all(self, write: Write, asked: Asked, subject: Subject, calls: list[Call]) -> None:
        """All are waited for, each within its own time: all have seen the write. Raises the first refusal."""
        for call in calls:
            await subject.prepare(call.kind)  # converted once, not by each
        refusals: list[Exception] = []

        async def ask(call: Call) -> None:
            try:
                await self._judging.verdict(call, write, asked, subject)
            except Exception as error:  # also a fault of ours must not end the other questions
                refusals.append(error)

        async with asyncio.TaskGroup() as tasks:
            for call in calls:
                tasks.create_task(ask(call), name=f"ask {call.hook.name}")
        if refusals:
            raise refusals[0]
