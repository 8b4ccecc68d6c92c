"""LIST: pages of entries at one revision, by the rules of resourceVersion, resourceVersionMatch, limit and continue.

The newest state comes from the watch cache; an older one, as of an exact resourceVersion or the first page of a paged
list, from the store's history.
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Sequence

import orjson

from sampan.api import errors
from sampan.api.schema.json_text import json_fault
from sampan.api.types import Obj
from sampan.server.horizon import Horizon
from sampan.server.options import MAX_INT64, ListOptions, parse_list_options, parse_resource_version
from sampan.server.request import Request
from sampan.server.rest.context import RestContext
from sampan.server.rest.get import settle
from sampan.server.results import Page, PageResult
from sampan.server.selection import Selection
from sampan.server.storage import ResourceStorage, Versioned
from sampan.server.target import Target
from sampan.server.turns import DECODED_BYTES, turns
from sampan.store.cache import CachedEntry
from sampan.store.protocol import Compacted, Entry, FutureRevision

_TOKEN_VERSION = "meta.k8s.io/v1"
_INCONSISTENT = -1
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9_-]")
#: how much of a token that is refused is said back
_SHOWN = 64
#: several times what the longest key makes
_LONGEST_TOKEN = 8 * 1024
_FOREIGN = "it is no token that this server made"
#: how many entries of history are read at a time when a selector may drop most of them
_HISTORY_PAGE = 1000


class ExpiredContinue(errors.Expired):
    """410 that offers another token, with which the rest of the list can still be read, inconsistently."""

    def __init__(self, token: str) -> None:
        super().__init__(
            "The provided continue parameter is too old to display a consistent list result. You can start a new "
            "list without the continue parameter, or use the continue token in this response to retrieve the "
            "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
            "that were created, modified, or deleted between the time the first chunk was returned and now may show "
            "up in the list."
        )
        self._token = token

    def status(self) -> Obj:
        return {**super().status(), "metadata": {"continue": self._token}}


async def list_(ctx: RestContext, request: Request) -> PageResult:
    target = ctx.target(request)
    options = parse_list_options(request.query, target.kind, watch=False)
    return PageResult(target.view, await read_page(ctx, target, options))


async def read_page(ctx: RestContext, target: Target, options: ListOptions) -> Page:
    """Raises BadRequest, Expired, Timeout."""
    selection = Selection(target, options)
    if options.continue_token:
        return await _continued(selection, options, ctx.horizon)
    revision = parse_resource_version(options.resource_version)
    storage = target.storage
    exact = options.match == "Exact" or (not options.match and bool(options.limit) and bool(revision))
    if exact and revision:
        await settle(storage, revision)
        if revision != storage.cache.revision:
            _check_horizon(ctx.horizon, revision)
            return await _historical(selection, revision, options.limit, "")
    else:
        await settle(storage, revision)
    limit = 0 if revision == 0 and not exact else options.limit
    return await _current(selection, limit, "")


async def _current(selection: Selection, limit: int, after: str) -> Page:
    """From the cache. Entries and revision belong together: both are taken before anything is awaited."""
    cache = selection.storage.cache
    revision = cache.revision
    if not limit and not after:
        version = cache.version(selection.prefix)
        return Page(selection.entries, revision, question=selection.kept_as, version=version)
    remaining = cache.count(selection.prefix, after=after or None) - limit if selection.everything else None
    return _cut(selection, await selection.entries(after, limit), revision, limit, remaining)


def _check_horizon(horizon: Horizon, revision: int) -> None:
    """Raises Compacted: the store may still know that revision, but no client may count on it any more."""
    if revision < horizon.oldest:
        raise Compacted(revision, horizon.oldest)


def _cut(selection: Selection, entries: Sequence[Versioned], revision: int, limit: int, remaining: int | None) -> Page:
    """The page of these entries, of which there is at least one more than ``limit`` if there are more at all."""
    if not limit or len(entries) <= limit:
        return Page.of(entries, revision)
    token = make_token(revision, entries[limit - 1].key.removeprefix(selection.prefix) + "\0")
    return Page.of(entries[:limit], revision, token, remaining)


async def _continued(selection: Selection, options: ListOptions, horizon: Horizon) -> Page:
    revision, start = parse_token(options.continue_token)
    if options.resource_version not in ("", "0"):
        raise errors.BadRequest("specifying resource version is not allowed when using continue")
    after = (selection.prefix + start).removesuffix("\0")
    storage = selection.storage
    await settle(storage, None)
    if revision in (_INCONSISTENT, storage.cache.revision):
        return await _current(selection, options.limit, after)
    try:
        _check_horizon(horizon, revision)
        return await _historical(selection, revision, options.limit, after)
    except (Compacted, errors.Expired) as error:
        raise ExpiredContinue(make_token(_INCONSISTENT, start)) from error
    except FutureRevision as error:
        raise _bad_token(f"resource version {revision} is in the future") from error


async def _historical(selection: Selection, revision: int, limit: int, after: str) -> Page:
    """As of an older revision. Raises Compacted (410 Expired)."""
    storage = selection.storage
    if selection.everything:
        found = await storage.store.range(selection.prefix, limit=limit, after=after or None, revision=revision)
        entries = await _described(storage, found.entries)
        if not found.remaining:
            return Page.of(entries, revision)
        token = make_token(revision, entries[-1].key.removeprefix(selection.prefix) + "\0")
        return Page.of(entries, revision, token, found.remaining)
    matching: list[CachedEntry] = []
    while True:
        found = await storage.store.range(selection.prefix, limit=_HISTORY_PAGE, after=after or None, revision=revision)
        matching += await selection.of(await _described(storage, found.entries))
        if not found.remaining or (limit and len(matching) > limit):
            return _cut(selection, matching, revision, limit, None)
        after = found.entries[-1].key


async def _described(storage: ResourceStorage, entries: Sequence[Entry]) -> list[CachedEntry]:
    """Entries of history as the cache has them: its own where nothing has changed since. The others are decoded, so
    that what cannot be read is known as damaged."""
    cache = storage.cache
    described: list[CachedEntry] = []
    async for portion in turns(entries, DECODED_BYTES):
        for entry in portion:
            present = cache.get(entry.key)
            unchanged = present is not None and present.revision == entry.revision
            described.append(present if present is not None and unchanged else cache.wrap(entry))
    return described


def make_token(revision: int, start: str) -> str:
    """Upstream's continue token: base64url of JSON; ``start`` is relative to the listed prefix."""
    text = orjson.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def parse_token(token: str) -> tuple[int, str]:
    """Raises BadRequest for anything that this server would not have made."""
    key = "continue key is not valid"
    if len(token) > _LONGEST_TOKEN:
        raise _bad_token(f"{key}: {_FOREIGN}")
    at = _corrupt_at(token)
    if at is not None:
        raise _bad_token(f"{key}: illegal base64 data at input byte {at}")
    text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    fault = json_fault(text)
    if fault is not None:
        raise _bad_token(f"{key}: {fault}")
    try:
        value = orjson.loads(text.decode(errors="replace"))
    except orjson.JSONDecodeError as error:  # half a surrogate, for one
        raise _bad_token(f"{key}: {_FOREIGN}") from error
    said = value if isinstance(value, dict) else {}
    version, revision, start = said.get("v", ""), said.get("rv", 0), said.get("start", "")
    if not (isinstance(version, str) and isinstance(revision, int) and isinstance(start, str)):
        raise _bad_token(f"{key}: {_FOREIGN}")
    if version != _TOKEN_VERSION:
        raise _bad_token(f"{key}: server does not recognize this encoded version {version[:_SHOWN]}")
    if not revision or not -MAX_INT64 <= revision <= MAX_INT64:
        raise _bad_token(f"{key}: incorrect encoded start resourceVersion (version {_TOKEN_VERSION})")
    if not start:
        raise _bad_token(f"{key}: encoded start key empty (version {_TOKEN_VERSION})")
    path = start if start.startswith("/") else "/" + start
    if posixpath.normpath(path) != path or path.startswith("//"):
        raise _bad_token(f"{key}: {start[:_SHOWN]}")
    return max(revision, _INCONSISTENT), path[1:]


def _bad_token(text: str) -> errors.BadRequest:
    return errors.BadRequest(f"invalid continue token: {text}")


def _corrupt_at(token: str) -> int | None:
    """Where unpadded base64 for URLs stops being that, as Go's decoder counts; None: nowhere."""
    foreign = _NOT_BASE64.search(token)
    if foreign is not None:
        return foreign.start()
    return len(token) - 1 if len(token) % 4 == 1 else None
