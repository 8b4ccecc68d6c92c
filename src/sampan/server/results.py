"""What a verb answers, before anybody decides how it travels.

The pipeline hands these to ``render`` (HTTP) or ``local`` (callers in this process); audit reads them. What is no
object (discovery, metrics, logs, proxied answers, upgraded connections) is a ``Response`` already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from sampan.api.errors import ApiError
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.options import ListOptions
from sampan.server.request import Response
from sampan.server.selection import Selection
from sampan.server.storage import ResourceStorage, Versioned, View
from sampan.store.cache import CacheEvent


class ObjectResult(NamedTuple):
    """One object of a stored kind."""

    view: View
    item: Versioned
    status: int = 200


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, all of it as of ``revision``. ``remaining`` None: not known, or nothing follows.

    ``entries`` is to be awaited before anything else is: it begins with a snapshot, which belongs to ``revision`` only
    until then.
    ``question`` and ``version``: all that a selection sees of a cache that last changed at ``version``, so that the
    bytes may be kept under the two; None: a page, or history.
    """

    entries: Callable[[], Awaitable[Sequence[Versioned]]]
    revision: int
    continue_token: str = ""
    remaining: int | None = None
    question: tuple[object, ...] | None = None
    version: int = 0

    @classmethod
    def of(cls, entries: Sequence[Versioned], revision: int, token: str = "", remaining: int | None = None) -> Page:
        async def given() -> Sequence[Versioned]:
            return entries

        return cls(given, revision, token, remaining)

    def metadata(self) -> Obj:
        metadata: Obj = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            metadata["continue"] = self.continue_token
            if self.remaining is not None:
                metadata["remainingItemCount"] = self.remaining
        return metadata


@dataclass(frozen=True, slots=True)
class PageResult:
    view: View
    page: Page


@dataclass(frozen=True, slots=True)
class PlainResult:
    """An object that is not stored: Status, Scale, a review. ``rows``: these objects of a kind are its Table."""

    obj: Obj
    status: int = 200
    rows: tuple[Kind, Sequence[Obj]] | None = None


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Everything up to ``revision`` was delivered. ``initial_end``: these were the initial events."""

    revision: int
    initial_end: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """The watch ends with this error."""

    error: ApiError


Step: TypeAlias = Sequence[CacheEvent] | Bookmark | Failure


@dataclass(frozen=True, slots=True)
class WatchResult:
    """A watch that has been asked for and not yet begun."""

    view: View
    options: ListOptions
    selection: Selection
    seconds: float
    #: waits until the cache may answer at a revision (None: the newest), as reads do; raises ApiError
    settle: Callable[[ResourceStorage, int | None], Awaitable[None]]


Result: TypeAlias = ObjectResult | PageResult | PlainResult | WatchResult | Response
