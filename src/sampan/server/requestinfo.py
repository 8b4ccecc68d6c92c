"""What a URL and method ask for: the first stage of the pipeline (apiserver ``RequestInfoFactory``).

Pure. The path is read as sent: nothing is normalised, every segment is decoded once and on its own.
"""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import unquote

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.server.request import Request, RequestInfo

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: what may follow /namespaces/NAME without being a resource in that namespace
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
#: what follows is the backend's path and none of ours: it may hold empty segments
_PROXIED = re.compile(r"/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy/")
LONG_RUNNING_SUBRESOURCES = frozenset({"exec", "attach", "portforward", "proxy", "log"})


class Kinds(Protocol):
    """The part of ``sampan.api.registry.Registry`` that is needed."""

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None: ...


def parse(request: Request, kinds: Kinds) -> RequestInfo:
    """A resource request whose ``kind`` is None asks for something that is not there: 404, once it is authorized.

    Raises BadRequest.
    """
    path = request.raw_path
    if "//" in path and not _PROXIED.match(path):
        return RequestInfo(False, request.method.lower(), path)
    if path.startswith("/api/"):
        parts = path[5:].rstrip("/").split("/")
        group = ""
    elif path.startswith("/apis/"):
        group, _, rest = path[6:].rstrip("/").partition("/")
        parts = rest.split("/")
    else:
        return RequestInfo(False, request.method.lower(), path)
    version, parts = parts[0], parts[1:]
    if not parts:  # discovery of a group or a version
        return RequestInfo(False, request.method.lower(), path)
    return _resource_request(request, kinds, group, version, parts)


def _resource_request(request: Request, kinds: Kinds, group: str, version: str, parts: list[str]) -> RequestInfo:
    verb = _VERBS.get(request.method) or request.method.lower()
    old_watch = parts[0] == "watch" and len(parts) > 1
    if old_watch:
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = _decode(parts[1])
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource = parts[0]
    name = _decode(parts[1]) if len(parts) > 1 else ""
    subresource = proxy_path = ""
    if len(parts) > 2:
        subresource, proxy_path = parts[2], "/".join(parts[3:])
        if parts[2:] == ["proxy"] and request.raw_path.endswith("/"):
            proxy_path = "/"
    kind = kinds.by_resource(group, version, resource)
    if kind is not None and (_misplaced(kind, namespace, name) or (len(parts) > 3 and subresource != "proxy")):
        kind = None
    if not name or old_watch or verb in ("list", "watch"):
        verb, name = _collection_verb(request, verb, name, old_watch)
    return RequestInfo(
        True, verb, request.raw_path, group, version, resource, subresource, namespace, name, proxy_path, kind
    )


def _misplaced(kind: Kind, namespace: str, name: str) -> bool:
    """A cluster-scoped resource below a namespace, or a namespaced object without one."""
    if kind.namespaced:
        return bool(name) and not namespace
    return bool(namespace) and not (kind.plural == "namespaces" and not kind.group and name == namespace)


def _collection_verb(request: Request, verb: str, name: str, old_watch: bool) -> tuple[str, str]:
    if verb == "get" and old_watch:
        verb = "watch"
    elif verb == "get" and not name:
        verb = "watch" if is_true(request.query.get("watch")) else "list"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    if verb in ("list", "watch", "deletecollection") and not name:
        # So that RBAC's resourceNames can allow a list or watch of one object.
        name = name_from_selector(request.query.get("fieldSelector", ""))
    return verb, name


def name_from_selector(selector: str) -> str:
    """The name in ``metadata.name=x``, when the selector pins one."""
    for term in selector.split(","):
        key, _, value = term.partition("=")
        if key.strip() == "metadata.name" and value:
            return value.lstrip("=").strip()
    return ""


def is_true(value: str | None) -> bool:
    """A boolean query parameter as upstream reads it: present, even without a value, and neither false nor 0."""
    return value is not None and value.lower() not in ("0", "false")


def is_long_running(info: RequestInfo) -> bool:
    """Requests without a deadline, which do not count as in flight."""
    return info.verb == "watch" or (info.is_resource and info.subresource in LONG_RUNNING_SUBRESOURCES)


def _decode(segment: str) -> str:
    if "%" not in segment:
        name = segment
    else:
        try:
            name = unquote(segment, errors="strict")
        except UnicodeDecodeError as error:
            raise errors.BadRequest(f'invalid URL escape in "{segment[:64]}"') from error
        if "/" in name:
            raise errors.NotFound("the server could not find the requested resource")
    if name in (".", "..") or "%" in name or "\x00" in name:
        detail = f"may not be '{name}'" if name in (".", "..") else "may not contain '%' or NUL"
        raise errors.BadRequest(f'Name parameter invalid: "{name}": {detail}'.replace("\x00", "\\x00"))
    return name
