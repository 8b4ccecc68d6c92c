"""Filters of a rule, or of one of its back ends, as the data plane has them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from sampan.api.reading import flag, part, parts, text, texts, whole
from sampan.api.types import Obj
from sampan.edge.gateway.backends import Fault, Resolver
from sampan.edge.model import Cors, HeaderEdit, Mirror, PathEdit, Redirect, Rewrite
from sampan.records import dataclass

#: what one back end of several can have of its own
OF_BACKENDS: Final = frozenset(("RequestHeaderModifier", "ResponseHeaderModifier"))


@dataclass(slots=True)
class Filters:
    """``refused``: what is asked for and cannot be had; ``unresolved``: references that lead nowhere."""

    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    cors: Cors | None = None
    mirrors: list[Mirror] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unresolved: list[Fault] = field(default_factory=list)

    @property
    def replaces_prefix(self) -> bool:
        edits = (self.redirect.path if self.redirect else None, self.rewrite.path if self.rewrite else None)
        return any(edit is not None and edit.kind == "prefix" for edit in edits)


def read(filters: Iterable[Obj], resolver: Resolver, kind: str, namespace: str) -> Filters:
    """``kind``, ``namespace``: of the route."""
    found = Filters()
    for each in filters:
        what = text(each, "type")
        if what == "RequestHeaderModifier":
            found.request_headers = _headers(part(each, "requestHeaderModifier"))
        elif what == "ResponseHeaderModifier":
            found.response_headers = _headers(part(each, "responseHeaderModifier"))
        elif what == "RequestRedirect":
            found.redirect = _redirect(part(each, "requestRedirect"))
        elif what == "URLRewrite":
            rewrite = part(each, "urlRewrite")
            found.rewrite = Rewrite(text(rewrite, "hostname"), _path(part(rewrite, "path")))
        elif what == "CORS":
            found.cors = _cors(part(each, "cors"))
        elif what == "RequestMirror":
            _mirror(found, part(each, "requestMirror"), resolver, kind, namespace)
        elif what == "ExtensionRef":
            target = part(each, "extensionRef")
            found.refused.append(
                f"there are no extensions, so that {text(target, 'kind')} {text(target, 'name')} is none"
            )
        else:
            found.refused.append(f"filters of type {what} are not supported")
    return found


def _headers(edit: Obj) -> HeaderEdit:
    """Of names that are alike the first entry counts."""

    def pairs(name: str) -> tuple[tuple[str, str], ...]:
        kept: dict[str, tuple[str, str]] = {}
        for each in parts(edit, name):
            kept.setdefault(text(each, "name").lower(), (text(each, "name"), text(each, "value")))
        return tuple(kept.values())

    return HeaderEdit(pairs("set"), pairs("add"), tuple(texts(edit, "remove")))


def _path(edit: Obj) -> PathEdit | None:
    if text(edit, "type") == "ReplaceFullPath":
        return PathEdit("full", text(edit, "replaceFullPath"))
    if text(edit, "type") == "ReplacePrefixMatch":
        return PathEdit("prefix", text(edit, "replacePrefixMatch"))
    return None


def _redirect(redirect: Obj) -> Redirect:
    return Redirect(
        status=whole(redirect, "statusCode") or 302,
        scheme=text(redirect, "scheme"),
        host=text(redirect, "hostname"),
        port=whole(redirect, "port") or 0,
        path=_path(part(redirect, "path")),
    )


def _cors(cors: Obj) -> Cors:
    return Cors(
        origins=tuple(texts(cors, "allowOrigins")),
        methods=tuple(texts(cors, "allowMethods")),
        headers=tuple(texts(cors, "allowHeaders")),
        exposed=tuple(texts(cors, "exposeHeaders")),
        credentials=flag(cors, "allowCredentials"),
        max_age_seconds=whole(cors, "maxAge"),
    )


def _mirror(found: Filters, mirror: Obj, resolver: Resolver, kind: str, namespace: str) -> None:
    if kind != "HTTPRoute":
        found.refused.append("streams of gRPC are not copied, so that RequestMirror is not supported")
        return
    backend = resolver.resolve(part(mirror, "backendRef"), kind, namespace)
    if isinstance(backend, Fault):
        found.unresolved.append(backend)
        return
    fraction = part(mirror, "fraction")
    percent, hundred = whole(mirror, "percent"), 100
    if fraction:
        percent, hundred = whole(fraction, "numerator"), whole(fraction, "denominator") or 100
    found.mirrors.append(Mirror(backend, 100 if percent is None else percent, hundred))
