"""Asks a cluster what the rules want to know, with the rights of whoever asks, and no more than that.

One event loop; bounded in rounds, questions, and objects a question. What may not be read, or not be had in time, is an
answer with a fault, and the explanation says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

from sampan.api.errors import ApiError, NotFound, Timeout
from sampan.api.reading import part, parts, text, whole
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.scheduler.records import PATH
from sampan.why.engine import explain
from sampan.why.model import Explanation, Ref
from sampan.why.subjects import REFUSAL, from_discovery
from sampan.why.world import MOST_OBJECTS, Answer, Query, Wanted, World

T = TypeVar("T")
Ask = Callable[[Query], Awaitable[Answer]]

MOST_ROUNDS: Final = 24
MOST_QUERIES: Final = 400
AT_ONCE: Final = 16
_SECONDS: Final = 10.0


class Reader:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._few = asyncio.Semaphore(AT_ONCE)

    async def ask(self, query: Query) -> Answer:
        async with self._few:
            try:
                async with asyncio.timeout(_SECONDS):
                    return await self._answer(query)
            except NotFound:
                return Answer()
            except ApiError as error:
                return Answer(fault=error.message)
            except TimeoutError:
                return Answer(fault=f"no answer within {_SECONDS:g} s")

    async def _answer(self, query: Query) -> Answer:
        if query.subresource == "attempts":
            return await self._attempts(query)
        if query.name:
            found = await self._client.get(query.resource, query.name, query.namespace or None)
            return Answer((of_kind(query, found),))
        page = await self._client.list(
            query.resource,
            query.namespace or None,
            label_selector=query.labels,
            field_selector=query.fields,
            limit=MOST_OBJECTS,
        )
        items = tuple(of_kind(query, each) for each in parts(page, "items"))
        meta = page.get("metadata") or {}
        more = bool(text(meta, "continue"))
        return Answer(items, more=more, total=len(items) + (whole(meta, "remainingItemCount") or 0))

    async def _attempts(self, query: Query) -> Answer:
        where = {"namespace": query.namespace, "pod": query.name, "limit": "1"}
        found = await self._client.raw("GET", PATH, query=where)
        return Answer(tuple(parts(found, "items")) if isinstance(found, dict) else ())


def of_kind(query: Query, obj: Obj) -> Obj:
    """Objects in lists do not say what they are."""
    return {**obj, "apiVersion": query.resource.api_version, "kind": query.resource.kind}


async def explained(ask: Ask, subject: Ref, now: datetime) -> Explanation:
    """Asks and explains until nothing is missing."""
    answers: dict[Query, Answer] = {}
    for _ in range(MOST_ROUNDS):
        found = explain(subject, World(answers, now))
        if isinstance(found, Explanation):
            return found
        asked = [query for query in found if query not in answers][: MOST_QUERIES - len(answers)]
        if not asked:
            break
        answers |= dict(zip(asked, await asyncio.gather(*map(ask, asked)), strict=True))
    found = explain(subject, World(answers, now, closed=True))
    assert isinstance(found, Explanation)  # a closed world wants nothing
    return found


async def explain_refusal(ask: Ask, message: str, namespace: str, now: datetime) -> Explanation:
    """Of the words of an error."""
    refusal: Obj = {"kind": REFUSAL.kind, "metadata": {"name": "request"}, "message": message, "namespace": namespace}

    async def answer(query: Query) -> Answer:
        return Answer((refusal,)) if query.resource == REFUSAL else await ask(query)

    return await explained(answer, Ref(REFUSAL, "request"), now)


async def discovered(client: Client, word: str) -> Resource | None:
    """A kind by a name that only the cluster knows (custom resources). Raises ApiError."""
    groups = await client.raw("GET", "/apis")
    versions = [text(part(each, "preferredVersion"), "groupVersion") for each in parts(groups, "groups")]
    few = asyncio.Semaphore(AT_ONCE)

    async def listed(version: str) -> Obj:
        async with few:
            try:
                found: Obj = await client.raw("GET", f"/apis/{version}")
            except ApiError:
                return {}  # an aggregated server that is away says nothing of its kinds
            return found

    return from_discovery(word, await asyncio.gather(*map(listed, versions[:MOST_QUERIES])))


async def explain_in(client: Client, subject: Ref, now: datetime) -> Explanation:
    return await explained(Reader(client).ask, subject, now)


async def asked(ask: Ask, work: Callable[[World], T], now: datetime) -> tuple[T, list[str]]:
    """What a pure function of a world gives, once it has what it asks for; and what could not be seen."""
    answers: dict[Query, Answer] = {}
    for _ in range(MOST_ROUNDS):
        world = World(answers, now)
        try:
            return work(world), world.unseen
        except Wanted as wanted:
            missing = [query for query in dict.fromkeys(wanted.queries) if query not in answers]
            answers |= dict(zip(missing, await asyncio.gather(*map(ask, missing)), strict=True))
    raise Timeout("the rules asked for more and more")


__all__ = ["Reader", "asked", "discovered", "explain_in", "explain_refusal", "explained"]
