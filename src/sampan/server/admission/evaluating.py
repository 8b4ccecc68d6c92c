"""Evaluates expressions: on the event loop what is short, in a thread what is not; and asks authorizers.

An evaluation has no effects. So it is tried within a little time first, and done anew in a thread if that was not
enough; and done anew when an answer is there that had to be waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sampan.api.expressions.authorizer import Decide, Pending, Question, Verdict
from sampan.api.expressions.evaluation import TooLong
from sampan.server.admission.matching import Asked
from sampan.server.attributes import AuthorizationAttributes, Authorizer, Decision
from sampan.server.authz.stage import pinned_fields
from sampan.server.identity import account_groups, user_name
from sampan.server.request import UserInfo
from sampan.server.threads import aside
from sampan.server.write import Write

T = TypeVar("T")
#: Evaluates with an answerer, within so much cost (None: as much as it may).
Work = Callable[[Decide, int | None], T]

#: Cost that takes a few milliseconds at worst.
QUICK: Final = 10_000
#: Questions that one evaluation may wait for: its budget pays for fewer.
_MAX_QUESTIONS: Final = 100


class Answers:
    """What authorizers have answered for one write."""

    def __init__(self, authorizer: Authorizer, user: UserInfo) -> None:
        self._authorizer, self._user = authorizer, user
        self._known: dict[Question, Verdict] = {}

    def now(self, question: Question) -> Verdict:
        """Raises Pending. On the event loop."""
        found = self._known.get(question)
        if found is None:
            decision = self._authorizer.decide_now(self._attributes(question))
            if decision is None:
                raise Pending(question)
            found = self._keep(question, decision)
        return found

    def known(self, question: Question) -> Verdict:
        """Raises Pending. In any thread."""
        found = self._known.get(question)
        if found is None:
            raise Pending(question)
        return found

    async def ask(self, question: Question) -> None:
        self._keep(question, await self._authorizer.authorize(self._attributes(question)))

    def _keep(self, question: Question, decision: Decision) -> Verdict:
        verdict = self._known[question] = Verdict(decision.allowed, decision.reason)
        return verdict

    def _attributes(self, question: Question) -> AuthorizationAttributes:
        user = self._user
        if question.service_account is not None:
            namespace, name = question.service_account
            user = UserInfo(user_name(namespace, name), (*account_groups(namespace), "system:authenticated"))
        if question.path:
            return AuthorizationAttributes(user, question.verb, path=question.path)
        return AuthorizationAttributes(
            user,
            question.verb,
            question.group,
            "*",
            question.resource,
            question.subresource,
            question.namespace,
            question.name,
            fields=pinned_fields(question.field_selector) if question.field_selector else (),
        )


class Judging:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def answers(self, write: Write) -> Answers:
        return Answers(self._authorizer, write.user)

    async def run(self, write: Write, answers: Answers, work: Work[T]) -> T:
        in_thread = write.request.heavy
        for _ in range(_MAX_QUESTIONS):
            try:
                if in_thread:
                    return await aside(work, answers.known, None)
                return work(answers.now, QUICK)
            except TooLong:
                in_thread = True
            except Pending as pending:
                await answers.ask(pending.question)
        return await aside(work, _unanswered, None)


def question_of(write: Write, asked: Asked) -> Question:
    """What ``authorizer.requestResource`` is about."""
    return Question(
        group=asked.group,
        resource=asked.plural,
        subresource=asked.subresource,
        namespace=write.namespace,
        name=asked.name,
    )


def _unanswered(question: Question) -> Verdict:
    return Verdict(allowed=False, error="too many authorization checks")
