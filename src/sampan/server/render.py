"""From results to answers over HTTP: one object, a page or a watch in the form that the client asked for.

The plain JSON form is spliced from stored bytes, and a whole list's bytes are kept until something in it changes.
Table, PartialObjectMetadata, YAML, protobuf and indented JSON are made from the decoded objects; where there are many
of them, or they are long, in a thread. Called by the pipeline.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from sampan.api import errors, protobuf, table
from sampan.api.clock import Clock
from sampan.api.kind import Kind
from sampan.api.objects import deep_copy
from sampan.api.table import IncludeObject
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server import listforms
from sampan.server.forms import encode, in_version
from sampan.server.lists import ListMemo
from sampan.server.negotiation import Media, negotiate, wants_pretty
from sampan.server.request import Request, Response
from sampan.server.results import ObjectResult, Page, PageResult, PlainResult, Result, WatchResult
from sampan.server.storage import Versioned, View
from sampan.server.threads import is_heavy, paced
from sampan.server.turns import DECODED_BYTES, turns
from sampan.server.watching import Watching
from sampan.store.protocol import EntryDamaged

log = logging.getLogger(__name__)

OBJECT_FORMS: Final = frozenset({"Table", "PartialObjectMetadata"})
LIST_FORMS: Final = frozenset({"Table", "PartialObjectMetadataList"})
_NO_FORMS: Final[frozenset[str]] = frozenset()
#: more objects than the loop decodes and encodes itself
_MANY = 50


@dataclass(frozen=True, slots=True)
class Renderer:
    clock: Clock
    lists: ListMemo
    watching: Watching

    async def render(self, request: Request, result: Result) -> Response:
        """Raises NotAcceptable, BadRequest, EntryDamaged."""
        match result:
            case Response():
                return result
            case ObjectResult():
                return await self._object(request, result)
            case PageResult():
                return await self._page(request, result.view, result.page)
            case PlainResult():
                return await self._plain(request, result)
            case WatchResult():
                media = accepted(request, OBJECT_FORMS, protobuf=has_protobuf(result.view.kind), stream=True)
                response = self.watching.respond(request, result, media, include_object(request))
                return await _over_socket(request, response, media) if _wants_socket(request) else response

    async def _object(self, request: Request, result: ObjectResult) -> Response:
        view, item, status = result.view, result.item, result.status
        media = accepted(request, OBJECT_FORMS, protobuf=has_protobuf(view.kind))
        value = item.value
        plain = not media.form and media.format == "json" and not pretty(request, media)
        if plain and view.spliced and value is not None:
            return Response(status, view.served(value, item.revision) + b"\n")
        heavy = is_heavy(value)
        await paced(heavy, item.object)  # which keeps it
        obj, include, now = await view.readable(item), include_object(request), self.clock.now()

        def build() -> Obj:
            if media.form == "Table":
                metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
                return in_version(table.build_table(view.kind, [obj], now, include, metadata), media)
            return in_version(table.partial_object_metadata(obj), media) if media.form else obj

        return await encoded(request, media, build, status, slow=heavy)

    async def _plain(self, request: Request, result: PlainResult) -> Response:
        obj = result.obj
        known = protobuf.encodable(obj.get("apiVersion", ""), obj.get("kind", ""))
        if result.rows is None:
            media = accepted(request, _NO_FORMS, protobuf=known)
            return await encoded(request, media, lambda: result.obj, result.status)
        kind, rows = result.rows
        include, now = include_object(request), self.clock.now()
        media = accepted(request, LIST_FORMS if "items" in obj else OBJECT_FORMS, protobuf=known)

        def build() -> Obj:
            if media.form == "Table":
                return in_version(table.build_table(kind, list(rows), now, include), media)
            return obj

        return await encoded(request, media, build, result.status, slow=len(rows) > _MANY)

    async def _page(self, request: Request, view: View, page: Page) -> Response:
        media = accepted(request, LIST_FORMS, protobuf=has_protobuf(view.kind))
        metadata = page.metadata()
        if not media.form and media.format == "json" and view.spliced and not pretty(request, media):
            return Response(body=await self.lists.body(view, page, request.warn))
        if media.format == "protobuf" and not media.form:
            body = await self.lists.body(view, page, request.warn, listforms.PROTOBUF)
            return Response(200, body, media.content_type)
        include = include_object(request)
        now = self.clock.now()
        entries = await page.entries()
        warned: list[str] = []
        found: Sequence[Obj] | None = None
        if view.converter is not None:
            found = await view.from_stored(await decoded(view, entries, request.warn))

        def build() -> Obj:
            objects = found if found is not None else _decoded(view, entries, warned.append)
            if media.form == "Table":
                return in_version(table.build_table(view.kind, list(objects), now, include, metadata), media)
            if media.form:
                items = [in_version(table.partial_object_metadata(obj), media) for obj in objects]
                head: Obj = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
                return in_version({**head, "items": items}, media)
            return list_object(view, metadata, objects)

        slow = len(entries) > _MANY or any(map(_is_heavy, entries))
        response = await encoded(request, media, build, slow=slow)
        for text in warned:
            request.warn(text)
        return response


def _wants_socket(request: Request) -> bool:
    return "upgrade" in request.headers and request.hijack is not None


async def _over_socket(request: Request, response: Response, media: Media) -> Response:
    """A watch over WebSocket, until its end; what asks for another upgrade is answered over HTTP."""
    from sampan.server.streaming import watches, websocket  # late: hardly any watch is asked for this way

    body = response.body
    if not websocket.is_upgrade(request) or isinstance(body, bytes | AsyncIterator):
        return response
    request.surface.leave()  # what is served no longer does not wait for the end of a watch, but ends it
    try:
        return await watches.serve(request, body, text=media.format == "json")
    finally:
        request.surface.enter()  # whoever entered leaves it


def _is_heavy(entry: Versioned) -> bool:
    try:
        return is_heavy(entry.value)
    except EntryDamaged:
        return False


def list_object(view: View, metadata: Obj, objects: Sequence[Obj]) -> Obj:
    """The list of these objects, whose items have no kind and apiVersion of their own."""
    items = [{key: part for key, part in obj.items() if key not in ("kind", "apiVersion")} for obj in objects]
    return {
        "kind": view.kind.list_kind,
        "apiVersion": view.kind.api_version,
        "metadata": metadata,
        "items": items,
    }


async def decoded(view: View, entries: Sequence[Versioned], warn: Callable[[str], None]) -> list[Obj]:
    """The stored objects that can be read, the caller's own. The others are named in a warning: one damaged value must
    not hide the rest."""
    found: list[Obj] = []
    async for portion in turns(entries, DECODED_BYTES):
        found += _own(view, portion, warn)
    return found


def _decoded(view: View, entries: Sequence[Versioned], warn: Callable[[str], None]) -> list[Obj]:
    """The same in this version, in one go: for a thread, for it reads nothing but the values."""
    return [view.from_stored_now(obj) for obj in _own(view, entries, warn)]


def _own(view: View, entries: Sequence[Versioned], warn: Callable[[str], None]) -> list[Obj]:
    found = []
    for entry in entries:
        try:
            value = entry.value  # None: of a dry run, or damaged
            found.append(deep_copy(entry.object()) if value is None else view.storage.decode(value, entry.revision))
        except EntryDamaged as error:
            warn(listforms.left_out(error))
    return found


def has_protobuf(kind: Kind) -> bool:
    return not kind.custom and protobuf.encodable(kind.api_version, kind.kind)


def accepted(request: Request, forms: frozenset[str], *, protobuf: bool, stream: bool = False) -> Media:
    """Raises NotAcceptable."""
    return negotiate(request.headers.get("accept", ""), forms, protobuf=protobuf, stream=stream)


def include_object(request: Request) -> IncludeObject:
    value = request.query.get("includeObject", "") or "Metadata"
    if value not in table.INCLUDE_OBJECT_POLICIES:
        raise errors.BadRequest(f'unrecognized includeObject value "{value}"')
    return value


async def encoded(
    request: Request, media: Media, build: Callable[[], Any], status: int = 200, *, slow: bool = False
) -> Response:
    """``build`` makes the value to encode; ``slow``: it, and the encoding, are a thread's work."""
    indented = pretty(request, media)

    def made() -> bytes:
        return encode(build(), media, indented=indented)

    body = await paced(slow or media.format == "yaml", made)
    return Response(status, body, media.content_type)


def pretty(request: Request, media: Media) -> bool:
    return media.pretty or wants_pretty(request.query.get("pretty"), request.headers.get("user-agent", ""))
