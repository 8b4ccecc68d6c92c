"""Policies as they are followed: what is compiled, and when; and evaluations that have to be done anew."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.expressions.authorizer import Decide, Question
from sampan.api.expressions.evaluation import TooLong
from sampan.server.admission.evaluating import QUICK, Judging
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.request import UserInfo

from .conftest import MAPS, Policies, config_map


class Slow:
    """An authorizer that cannot answer at once."""

    def __init__(self) -> None:
        self.asked: list[AuthorizationAttributes] = []

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision | None:
        return None

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        self.asked.append(attributes)
        await asyncio.sleep(0)
        return Decision(attributes.verb == "get", "because")


class FakeRequest:
    heavy = False


class FakeWrite:
    request = FakeRequest()
    user = UserInfo("somebody")


async def test_what_an_authorizer_has_to_be_asked_is_asked_once_and_evaluated_anew() -> None:
    slow = Slow()
    judging = Judging(slow)
    write: Any = FakeWrite()
    rounds = []

    def work(decide: Decide, quick: int | None) -> list[bool]:
        rounds.append(quick)
        return [decide(Question(verb, resource="pods")).allowed for verb in ("get", "delete", "get")]

    assert await judging.run(write, judging.answers(write), work) == [True, False, True]
    assert [attributes.verb for attributes in slow.asked] == ["get", "delete"]
    assert rounds == [QUICK] * 3


async def test_what_takes_too_long_for_the_event_loop_is_done_anew_without_that_limit() -> None:
    judging = Judging(Slow())
    write: Any = FakeWrite()

    def work(decide: Decide, quick: int | None) -> str:
        if quick is not None:
            raise TooLong
        return "done"

    assert await judging.run(write, judging.answers(write), work) == "done"


async def test_an_evaluation_that_is_dear_and_allowed_has_its_value(api: Any, policies: Policies) -> None:
    """Far more than the event loop has time for, far less than a policy may spend."""
    keys = "object.data"
    rule = f"{keys}.all(a, {keys}.all(b, {keys}.all(c, a + b + c != '')))"
    await policies.validating(validations=[{"expression": rule}])
    answer = await api("POST", MAPS, config_map(data={f"key{n:03}": "v" for n in range(30)}))
    assert answer.status == 201, answer.message
