"""Speaks to Prometheus (HTTP API v1): which series there are, and what a query gives. Bounded in bytes and time.

What it answers is read in a thread where it is long; what cannot be read is no answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp
import orjson

from sampan.metricsadapter.catalog import Series
from sampan.records import dataclass

ANSWER_SECONDS: Final = 20.0
ANSWER_BYTES: Final = 64 << 20
T = TypeVar("T")
#: bytes that take some milliseconds to decode
_LONG: Final = 64 << 10
MOST_SERIES: Final = 50_000
_LONGEST_LABEL: Final = 200
_CHUNK: Final = 256 << 10


class Unanswered(Exception):
    """The message says what Prometheus did instead; it is for the log."""


@dataclass(frozen=True, slots=True)
class Sample:
    """``time``: seconds of the epoch."""

    labels: Mapping[str, str]
    time: float
    value: float


class Prometheus:
    """Close it in the end."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def series(self, query: str, start: float, end: float) -> list[Series]:
        """Names and labels of the series that had a value in that time. Raises Unanswered."""
        form = {"match[]": query, "start": f"{start:.3f}", "end": f"{end:.3f}"}
        return await _read(await self._post("/api/v1/series", form), _series)

    async def query(self, query: str, time: float) -> list[Sample]:
        """A vector, or a number as a vector of one without labels. Raises Unanswered."""
        return await _read(await self._post("/api/v1/query", {"query": query, "time": f"{time:.3f}"}), _samples)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, path: str, form: Mapping[str, str]) -> bytes:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        try:
            async with self._session.post(f"{self._url}{path}", data=form, allow_redirects=False) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > ANSWER_BYTES:
                        raise Unanswered("its answer is too long")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unanswered("it takes too long" if isinstance(error, TimeoutError) else _fault(error)) from error
        if answer.status not in (200, 400, 422, 503):
            raise Unanswered(f"it answers {path} with {answer.status}")
        return bytes(body)


async def _read(body: bytes, read: Callable[[bytes], T]) -> T:
    return await asyncio.to_thread(read, body) if len(body) > _LONG else read(body)


def _fault(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "the connection failed"


def _data(body: bytes) -> Any:
    """Raises Unanswered."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        raise Unanswered("its answer is not JSON") from None
    if not isinstance(answer, dict):
        raise Unanswered("its answer makes no sense")
    if answer.get("status") != "success":
        raise Unanswered(f"it says: {str(answer.get('error', 'no reason'))[:200]}")
    return answer.get("data")


def _series(body: bytes) -> list[Series]:
    """Raises Unanswered."""
    data = _data(body)
    if not isinstance(data, list):
        raise Unanswered("its answer makes no sense")
    found: dict[Series, None] = {}
    for each in data:
        if not isinstance(each, dict) or not isinstance(each.get("__name__"), str):
            continue
        labels = frozenset(name for name in each if name != "__name__" and len(name) <= _LONGEST_LABEL)
        if len(each["__name__"]) <= _LONGEST_LABEL:
            found[each["__name__"], labels] = None
        if len(found) >= MOST_SERIES:
            break
    return list(found)


def _samples(body: bytes) -> list[Sample]:
    """Raises Unanswered."""
    data = _data(body)
    try:
        if data["resultType"] == "scalar":
            return [_sample({}, data["result"])]
        if data["resultType"] == "vector":
            return [_sample(each["metric"], each["value"]) for each in data["result"]]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise Unanswered("its answer makes no sense") from None
    raise Unanswered("the query gives neither a vector nor a number")


def _sample(labels: Any, value: Any) -> Sample:
    """Raises LookupError, TypeError, ValueError."""
    time, number = value
    return Sample({str(key): str(text) for key, text in labels.items()}, float(time), float(number))


def milli(value: float) -> int:
    """Thousandths, cut off as Go cuts them; what is no number is none."""
    return int(min(max(value * 1000, -(2.0**63)), 2.0**63 - 1024)) if not math.isnan(value) else 0
