"""Answers ``/api``, ``/apis`` and below: negotiates the form, caches the bytes, honours ETags.

Called by ``discovery.router``. Documents are encoded once for a registry and thrown away when it is replaced (custom
resources).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

import orjson

from sampan.api.errors import MethodNotAllowed, NotAcceptable
from sampan.api.types import Obj
from sampan.server.discovery import documents
from sampan.server.request import Request, Response

_JSON = "application/json"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


class Elsewhere(Protocol):
    """What API servers behind this one serve (``sampan.server.aggregation``)."""

    @property
    def changes(self) -> int:
        """Another number whenever an answer is another."""
        ...

    def groups(self, local: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """All groups and their versions in order: ``local`` ones and theirs."""
        ...

    def version(self, group: str, version: str) -> Obj | None:
        """The entry of aggregated discovery of one of theirs; None: it is none."""
        ...

    def resource_list(self, group: str, version: str) -> Obj | None:
        """The older document of one of theirs that is answered here all the same; None: it is none."""
        ...


class _Nowhere:
    changes = 0

    def groups(self, local: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return dict(local)

    def version(self, group: str, version: str) -> Obj | None:
        return None

    def resource_list(self, group: str, version: str) -> Obj | None:
        return None


class DiscoveryHandlers:
    """``address`` is where this server is reached (host:port). Documents are those of the request's surface, and of
    what is served elsewhere."""

    def __init__(self, address: Callable[[], str], elsewhere: Elsewhere | None = None) -> None:
        self._address = address
        self._elsewhere: Elsewhere = elsewhere or _Nowhere()
        self._encoded: dict[tuple[str, str], tuple[bytes, str, Obj] | None] = {}
        self._encoded_for: tuple[documents.Kinds | None, int] = (None, 0)

    def handle(self, request: Request) -> Response | None:
        """None: there is no such document. Raises MethodNotAllowed, NotAcceptable."""
        path = request.raw_path.rstrip("/")
        if path not in ("/api", "/apis") and not path.startswith(("/api/", "/apis/")):
            return None
        form = _form(request, path)
        kinds = request.surface.kinds
        changes = self._elsewhere.changes
        if kinds is not self._encoded_for[0] or changes != self._encoded_for[1]:
            self._encoded, self._encoded_for = {}, (kinds, changes)
        key = (path, form)
        if key not in self._encoded:
            document = self._document(kinds, path, form)
            self._encoded[key] = _encode(document) if document is not None else None
        found = self._encoded[key]
        if found is None:
            del self._encoded[key]  # unknown paths are the caller's to invent: they must not fill the memory
            return None
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return _respond(request, form, *found)

    def _document(self, kinds: documents.Kinds, path: str, form: str) -> Obj | None:
        if form:
            of_apis = path == "/apis"
            groups = {name: versions for name, versions in self._groups(kinds).items() if bool(name) == of_apis}
            return documents.aggregated(kinds, groups, form, self._elsewhere.version)
        match path.split("/")[1:]:
            case ["api"]:
                return documents.api_versions(self._address())
            case ["apis"]:
                return documents.api_group_list(self._groups(kinds))
            case ["api", version]:
                return documents.api_resource_list(kinds, "", version)
            case ["apis", group] if group:
                return documents.api_group(self._groups(kinds), group)
            case ["apis", group, version] if group:
                own = documents.api_resource_list(kinds, group, version)
                return own if own is not None else self._elsewhere.resource_list(group, version)
        return None

    def _groups(self, kinds: documents.Kinds) -> dict[str, tuple[str, ...]]:
        return self._elsewhere.groups(kinds.groups())


def _encode(document: Obj) -> tuple[bytes, str, Obj]:
    body = orjson.dumps(document)
    return body, f'"{hashlib.sha512(body).hexdigest().upper()}"', document


def _form(request: Request, path: str) -> str:
    """``v2`` or ``v2beta1`` when the aggregated form is the client's first acceptable choice, "" for the legacy one."""
    accept = request.headers.get("accept", "") or "*/*"
    offers: list[tuple[float, int, str]] = []
    for position, clause in enumerate(accept.split(",")):
        media, *parameters = (part.strip().lower() for part in clause.split(";"))
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media not in (_JSON, "*/*", "application/*", "application/yaml"):
            continue
        form = _clause_form(values, path)
        if form is not None:
            offers.append((-_quality(values.get("q", "1")), position, form))
    if not offers:
        text = "only the following media types are accepted: application/json, application/yaml"
        raise NotAcceptable(text)
    return min(offers)[2]


def _clause_form(values: dict[str, str], path: str) -> str | None:
    if "as" not in values:
        return ""
    known = values["as"] == "apigroupdiscoverylist" and values.get("g") == "apidiscovery.k8s.io"
    if known and values.get("v") in ("v2", "v2beta1") and path in ("/api", "/apis"):
        return values["v"]
    return None


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _respond(request: Request, form: str, body: bytes, etag: str, document: Obj) -> Response:
    headers = {"Vary": "Accept"}
    content_type = _AGGREGATED.format(form) if form else _JSON
    if form:
        headers |= {"ETag": etag, "Cache-Control": "public"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(304, b"", content_type, headers)
    return Response(200, body, content_type, headers, obj=document)
