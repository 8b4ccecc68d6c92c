"""``matchConditions``: whether a webhook that rules and selectors lead to wants to see this write after all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sampan.api.errors import Forbidden, forbidden_error
from sampan.api.expressions import authorizer as asking
from sampan.api.expressions.authorizer import Decide, Question
from sampan.api.expressions.evaluation import OutOfBudget, Spending, aggregated, conditions_hold
from sampan.api.expressions.limits import MATCH_CONDITIONS
from sampan.server.admission.evaluating import Judging, question_of
from sampan.server.admission.matching import Asked
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.admission.webhooks.metrics import WebhookMetrics
from sampan.server.admission.webhooks.reviews import request_of
from sampan.server.admission.webhooks.subjects import Call, Subject
from sampan.server.write import Write


class Conditions:
    def __init__(self, judging: Judging, metrics: WebhookMetrics) -> None:
        self._judging, self._metrics = judging, metrics

    async def hold(self, call: Call, write: Write, asked: Asked, subject: Subject) -> bool:
        """One that is false decides; one that fails is judged by the webhook's failure policy.

        Raises Forbidden, InternalError.
        """
        hook = call.hook
        if not hook.conditions:
            return True
        await subject.prepare(call.kind)
        shown = await subject.shown(call.kind)
        bindings: dict[str, Any] = {
            "object": shown.obj,
            "oldObject": shown.old,
            "request": request_of(write, asked, call.kind, shown.gvk),
            "namespaceObject": None,
        }
        work = partial(_evaluate, hook, bindings, question_of(write, asked))
        try:
            holds, failures = await self._judging.run(write, self._judging.answers(write), work)
        except OutOfBudget as error:
            holds, failures = True, [str(error)]
        for _ in failures:
            self._metrics.condition_failed(hook, write.operation)
        if failures and not hook.ignores_failures:
            raise _forbidden(asked, aggregated(failures))
        if failures or not holds:
            self._metrics.excluded(hook, write.operation)
            return False
        return True


def _evaluate(
    hook: Hook, bindings: Mapping[str, Any], question: Question, decide: Decide, quick: int | None
) -> tuple[bool, list[str]]:
    """Pure; may run in a thread."""
    seen = {
        **bindings,
        "authorizer": asking.authorizer(decide),
        "authorizer.requestResource": asking.request_resource(decide, question),
    }
    return conditions_hold(hook.conditions, seen, Spending(MATCH_CONDITIONS, quick))


def _forbidden(asked: Asked, text: str) -> Forbidden:
    return forbidden_error(asked.plural, asked.name, text, asked.group)
