"""Answers: one object or a page of them in the form the client asked for.

The plain JSON form is spliced from stored bytes; Table, PartialObjectMetadata, YAML and indented JSON are made from the
decoded objects. Calls from this process get objects, never bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
import yaml

from sampan.api import errors, table
from sampan.api.table import IncludeObject
from sampan.api.types import Obj
from sampan.server.negotiation import Media, negotiate, wants_pretty
from sampan.server.registry import Versioned, View
from sampan.server.request import Request, Response
from sampan.server.rest.context import RestContext

OBJECT_FORMS = frozenset({"Table", "PartialObjectMetadata"})
LIST_FORMS = frozenset({"Table", "PartialObjectMetadataList"})
_NO_FORMS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, all of it as of ``revision``. ``remaining`` None: not known, or nothing follows."""

    entries: Sequence[Versioned]
    revision: int
    continue_token: str = ""
    remaining: int | None = None

    def metadata(self) -> Obj:
        metadata: Obj = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            metadata["continue"] = self.continue_token
            if self.remaining is not None:
                metadata["remainingItemCount"] = self.remaining
        return metadata


def accepted(request: Request, forms: frozenset[str]) -> Media:
    """Raises NotAcceptable."""
    return negotiate(request.headers.get("accept", ""), forms)


def include_object(request: Request) -> IncludeObject:
    value = request.query.get("includeObject", "") or "Metadata"
    if value not in table.INCLUDE_OBJECT_POLICIES:
        raise errors.BadRequest(f'unrecognized includeObject value "{value}"')
    return value


def object_response(ctx: RestContext, request: Request, view: View, item: Versioned, status: int = 200) -> Response:
    if request.in_process:
        return Response(status, obj=view.writable(item))
    media = accepted(request, OBJECT_FORMS)
    if not media.form:
        value = item.value
        if value is not None and media.format == "json" and not _pretty(request, media):
            return Response(status, view.served(value, item.revision) + b"\n")
        return encoded(request, media, view.readable(item), status)
    obj = view.readable(item)
    if media.form == "PartialObjectMetadata":
        return encoded(request, media, table.partial_object_metadata(obj), status)
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    rows = table.build_table(view.kind, [obj], ctx.clock.now(), include_object(request), metadata)
    return encoded(request, media, rows, status)


def list_response(ctx: RestContext, request: Request, view: View, page: Page) -> Response:
    kind = view.kind
    metadata = page.metadata()
    head: Obj = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
    if request.in_process:
        return Response(obj={**head, "items": [view.writable(entry) for entry in page.entries]})
    media = accepted(request, LIST_FORMS)
    if not media.form:
        item = view.item
        items = b",".join([item(cast(bytes, entry.value), entry.revision) for entry in page.entries])
        body = b'%s%s,"items":[%s]}\n' % (view.list_head, orjson.dumps(metadata), items)
        if media.format == "json" and not _pretty(request, media):
            return Response(body=body)
        return encoded(request, media, orjson.loads(body))
    objects = [view.readable(entry) for entry in page.entries]
    if media.form == "Table":
        return encoded(
            request, media, table.build_table(kind, objects, ctx.clock.now(), include_object(request), metadata)
        )
    head |= {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
    return encoded(request, media, {**head, "items": [table.partial_object_metadata(obj) for obj in objects]})


def plain_response(request: Request, obj: Obj, status: int = 200) -> Response:
    """An object that is not stored: Status, Scale, a review."""
    if request.in_process:
        return Response(status, obj=obj)
    return encoded(request, accepted(request, _NO_FORMS), obj, status)


def encoded(request: Request, media: Media, obj: Any, status: int = 200) -> Response:
    if media.format == "yaml":
        text = yaml.dump(obj, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        return Response(status, text.encode(), media.content_type)
    option = orjson.OPT_INDENT_2 if _pretty(request, media) else 0
    return Response(status, orjson.dumps(obj, option=option) + b"\n", media.content_type)


def _pretty(request: Request, media: Media) -> bool:
    return media.pretty or wants_pretty(request.query.get("pretty"), request.headers.get("user-agent", ""))
