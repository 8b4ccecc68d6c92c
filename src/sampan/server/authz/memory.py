"""What an authorizer remembers of its own answers: bounded in count and bytes, whoever asks whatever.

An answer covers every name at once, so that reading a thousand objects is one question. Each user has a memory of
their own: one who asks nonsense by the thousand pushes out their own answers, not those of others. Questions of the
unauthenticated and overlong ones are not remembered at all.
"""

from __future__ import annotations

from sampan.records import dataclass
from sampan.server.attributes import Decision
from sampan.server.request import UserInfo

USERS = 2048
ANSWERS_EACH = 512
MEMORY_BYTES = 8 * 1024 * 1024
_LONGEST_TEXTS = 1024
_ENTRY_BYTES = 350  # a dict entry, a key of five texts, an Answer
_NAMED_BYTES = 150  # the names themselves are the rule's
_UNAUTHENTICATED = "system:unauthenticated"

Question = tuple[str, str, str, str, str]
_Who = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """``named``: the decisions that hold for some names only, in order of precedence."""

    named: tuple[tuple[tuple[str, ...], Decision], ...]
    otherwise: Decision

    def for_name(self, name: str) -> Decision:
        for names, decision in self.named:
            if name in names:
                return decision
        return self.otherwise


class Memory:
    """Invariant: ``bytes`` is about what ``_users`` holds, and never above ``MEMORY_BYTES``."""

    def __init__(self) -> None:
        self._users: dict[_Who, dict[Question, Answer]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return sum(len(answers) for answers in self._users.values())

    def clear(self) -> None:
        self._users.clear()
        self.bytes = 0

    def of(self, user: UserInfo) -> dict[Question, Answer] | None:
        """What is remembered for the user. Read-only."""
        return self._users.get((user.name, user.groups))

    def remember(self, user: UserInfo, question: Question, answer: Answer) -> None:
        if sum(map(len, question)) > _LONGEST_TEXTS or _UNAUTHENTICATED in user.groups:
            return
        who = (user.name, user.groups)
        answers = self._users.get(who)
        cost = _cost(question, answer)
        if answers is None:
            own = len(user.name) + sum(map(len, user.groups))
            if own > _LONGEST_TEXTS:
                return
            cost += _ENTRY_BYTES + own
        if self.bytes + cost > MEMORY_BYTES or (answers is None and len(self._users) >= USERS):
            self.clear()
            answers = None
        if answers is None:
            answers = self._users[who] = {}
        elif len(answers) >= ANSWERS_EACH:
            self.bytes -= sum(_cost(old, held) for old, held in answers.items())
            answers.clear()
        answers[question] = answer
        self.bytes += cost


def _cost(question: Question, answer: Answer) -> int:
    return _ENTRY_BYTES + sum(map(len, question)) + _NAMED_BYTES * len(answer.named)
