"""Conversion of custom resources by a webhook: many objects in one question, in portions of bounded length.

What does not answer, or answers nonsense, is the error of the request that needed it, and of nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import orjson

from sampan.api import schema
from sampan.api.customresources import reviews
from sampan.api.customresources.reviews import BadAnswer
from sampan.api.errors import InternalError
from sampan.api.kind import Kind
from sampan.api.reading import part, texts
from sampan.api.types import Obj
from sampan.server.threads import aside
from sampan.server.webhooks.client import CallError
from sampan.server.webhooks.targets import BadTarget, WebhookTarget, target_of

TIMEOUT_SECONDS: Final = 30.0
#: of the objects in one question, and how many of them
_PORTION_BYTES: Final = 2 * 1024 * 1024
_PORTION: Final = 500
#: an answer may be this much longer than its question
_GROWTH: Final = 4
_ANSWER_BYTES: Final = 4 * 1024 * 1024
#: portions that one list asks for at the same time
_CONCURRENCY: Final = 4


class Asks(Protocol):
    """``sampan.server.webhooks.client.WebhookClient``."""

    async def post(self, target: WebhookTarget, body: bytes, *, timeout_seconds: float, limit_bytes: int) -> bytes: ...


class WebhookConverter:
    """``sampan.server.storage.Converter`` of one definition."""

    def __init__(self, conversion: Obj, webhooks: Asks, new_uid: Callable[[], str]) -> None:
        webhook = part(conversion, "webhook")
        self._client, self._webhooks, self._new_uid = part(webhook, "clientConfig"), webhooks, new_uid
        self._version = reviews.review_version(list(texts(webhook, "conversionReviewVersions")))

    async def convert(self, found: Sequence[Obj], to: Kind) -> list[Obj]:
        """Raises InternalError."""
        wanted = to.api_version
        result = list(found)
        due = [index for index, obj in enumerate(result) if obj.get("apiVersion") != wanted]
        if not due:
            return result
        portions = await aside(_portions, [(index, result[index]) for index in due])
        gate = asyncio.Semaphore(_CONCURRENCY)

        async def convert(portion: list[tuple[int, Obj]], length: int) -> None:
            async with gate:
                converted = await self._ask([obj for _, obj in portion], to, length)
            for (index, _), obj in zip(portion, converted, strict=True):
                result[index] = obj

        outcomes = await asyncio.gather(*(convert(*portion) for portion in portions), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return result

    async def _ask(self, found: list[Obj], to: Kind, length: int) -> list[Obj]:
        asked = f"{found[0].get('apiVersion')}, Kind={to.kind}"
        if self._version is None:
            raise InternalError("no supported conversion review versions")
        uid = self._new_uid()
        try:
            target = target_of(self._client)
            body = await aside(reviews.question, self._version, uid, to.api_version, found)
            limit = max(_ANSWER_BYTES, _GROWTH * length)
            answer = await self._webhooks.post(target, body, timeout_seconds=TIMEOUT_SECONDS, limit_bytes=limit)
            return await aside(_taken, answer, self._version, uid, found, to)
        except (BadAnswer, BadTarget, CallError) as error:
            raise InternalError(f"conversion webhook for {asked} failed: {error}") from error
        except _WrongObject as error:
            raise InternalError(f"conversion webhook for {asked} returned {error}") from error


class _WrongObject(Exception):
    """Of the objects in an answer that is one."""


def _taken(answer: bytes, version: str, uid: str, found: Sequence[Obj], to: Kind) -> list[Obj]:
    """Raises BadAnswer, _WrongObject."""
    converted = reviews.answered(answer, version, uid)
    if len(converted) != len(found):
        raise _WrongObject(f"{len(converted)} objects, expected {len(found)}")
    result = []
    for index, (original, obj) in enumerate(zip(found, converted, strict=True)):
        try:
            taken = reviews.accept(original, obj, to.api_version)
            schema.normalise(to.node, taken)
        except BadAnswer as error:
            raise _WrongObject(f"invalid converted object at index {index}: {error}") from error
        result.append(taken)
    return result


def _portions(due: Sequence[tuple[int, Obj]]) -> list[tuple[list[tuple[int, Obj]], int]]:
    """Those that are asked about together, and how long they are."""
    portions: list[tuple[list[tuple[int, Obj]], int]] = []
    portion: list[tuple[int, Obj]] = []
    length = 0
    for index, obj in due:
        size = len(orjson.dumps(obj))
        if portion and (length + size > _PORTION_BYTES or len(portion) >= _PORTION):
            portions.append((portion, length))
            portion, length = [], 0
        portion.append((index, obj))
        length += size
    if portion:
        portions.append((portion, length))
    return portions
