"""A typed-by-address client over a ``Transport``: every method is one request.

Used by every component. Errors are ``sampan.api.errors``; nothing is retried here. Safe for concurrent use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, Transport, WatchEvent
from sampan.api.types import Obj

PatchType = Literal["json", "merge", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_PATCH_CONTENT_TYPES: dict[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Client:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def get(self, resource: Resource, name: str, namespace: str | None = None, subresource: str = "") -> Obj:
        """Raises NotFound."""
        return await self._object(Call("GET", resource.path(namespace, name, subresource)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Obj:
        """The list object (``items``, ``metadata.resourceVersion``). ``namespace`` None: all of them."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            resourceVersion=resource_version,
            limit=str(limit) if limit else "",
        )
        if continue_token:
            query["continue"] = continue_token
        return await self._object(Call("GET", resource.path(namespace), query))

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
        bookmarks: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Changes after ``resource_version``. An ERROR event carries a Status (410: list again)."""
        query = _query(
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            timeoutSeconds=str(timeout_seconds) if timeout_seconds else "",
            allowWatchBookmarks="true" if bookmarks else "",
        )
        query["watch"] = "1"
        return self.transport.watch(Call("GET", resource.path(namespace), query))

    async def create(
        self,
        resource: Resource,
        obj: Obj,
        namespace: str | None = None,
        *,
        name: str = "",
        subresource: str = "",
        shared: bool = False,
    ) -> Obj:
        """``namespace`` None: the object's own. ``name`` with ``subresource``: pods/binding, serviceaccounts/token.
        ``shared``: see ``Call``."""
        namespace = namespace or obj.get("metadata", {}).get("namespace")
        path = resource.path(namespace, name or None, subresource)
        return await self._object(Call("POST", path, body=obj, shared=shared))

    async def update(self, resource: Resource, obj: Obj, subresource: str = "") -> Obj:
        """PUT; the object's resourceVersion is the precondition. Raises Conflict, NotFound, Invalid."""
        meta = obj["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        return await self._object(Call("PUT", path, body=obj))

    async def update_status(self, resource: Resource, obj: Obj) -> Obj:
        return await self.update(resource, obj, "status")

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        shared: bool = False,
    ) -> Obj:
        """``shared``: see ``Call``."""
        path = resource.path(namespace, name, subresource)
        content_type = _PATCH_CONTENT_TYPES[patch_type]
        return await self._object(Call("PATCH", path, body=patch, content_type=content_type, shared=shared))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Propagation | None = None,
        grace_period_seconds: int | None = None,
    ) -> Obj:
        """Returns the object while it lingers, else a Status. Raises NotFound; Conflict when a precondition fails."""
        options: Obj = {"kind": "DeleteOptions", "apiVersion": "v1"}
        preconditions = _query(uid=uid, resourceVersion=resource_version)
        if preconditions:
            options["preconditions"] = preconditions
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        return await self._object(Call("DELETE", resource.path(namespace, name), body=options))

    async def raw(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
        """Any other request: discovery, /version, proxies. Text answers come back as str."""
        return await self.transport.call(Call(method, path, query or {}, body))

    def cache_view(self, resource: Resource) -> CacheView | None:
        return self.transport.cache_view(resource)

    async def close(self) -> None:
        await self.transport.close()

    async def _object(self, call: Call) -> Obj:
        answer = await self.transport.call(call)
        if not isinstance(answer, dict):
            raise TypeError(f"{call.method} {call.path}: expected an object, got {type(answer).__name__}")
        return answer


def _query(**values: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}
