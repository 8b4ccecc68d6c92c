"""Evaluates expressions for a write: quickly on the event loop or else in a thread, with an authorizer to ask.

What is evaluated is pure (``sampan.api.expressions``), and is done anew when it turns out to need a thread, or an
answer that has to be waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sampan.api.expressions.authorizer import Decide, Pending, Question, Verdict
from sampan.api.expressions.evaluation import Spending, TooLong
from sampan.server.admission.matching import Asked
from sampan.server.attributes import AuthorizationAttributes, Authorizer
from sampan.server.identity import account_groups, user_name, with_authenticated
from sampan.server.request import UserInfo
from sampan.server.threads import aside

#: what is spent on the event loop: a unit takes up to a microsecond
QUICK: Final = 4_000

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Evaluating:
    authorizer: Authorizer

    async def carry_out(self, work: Callable[[Decide, Spending], R], limit: int, user: UserInfo) -> R:
        """What ``work`` gives, which may spend ``limit`` and asks for ``user``. Raises what it raises.

        Each answer costs a good part of the budget, so that there are few.
        """
        answers: dict[Question, Verdict] = {}

        def decide(question: Question) -> Verdict:
            found = answers.get(question)
            if found is None:
                raise Pending(question)
            return found

        quick = True
        while True:
            try:
                if quick:
                    return work(decide, Spending(limit, QUICK))
                return await aside(work, decide, Spending(limit))
            except TooLong:
                quick = False
            except Pending as pending:
                answers[pending.question] = await self._answer(pending.question, user)

    async def _answer(self, question: Question, user: UserInfo) -> Verdict:
        if question.service_account is not None:
            namespace, name = question.service_account
            user = with_authenticated(UserInfo(user_name(namespace, name), account_groups(namespace)))
        attributes = AuthorizationAttributes(
            user,
            question.verb,
            question.group,
            "*" if question.resource else "",
            question.resource,
            question.subresource,
            question.namespace,
            question.name,
            question.path,
        )
        decision = await self.authorizer.authorize(attributes)
        return Verdict(decision.allowed, decision.reason)


def question_of(asked: Asked) -> Question:
    """What ``authorizer.requestResource`` is about."""
    return Question(
        group=asked.group,
        resource=asked.plural,
        subresource=asked.subresource,
        namespace=asked.namespace,
        name=asked.name,
    )
