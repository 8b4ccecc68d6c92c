"""The headers that every answer has, those of flow control among them, as they are at the moment.

Upstream names the flow schema and the priority level that let a request in; here it is one of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api.resources import FLOW_SCHEMAS, PRIORITY_LEVELS, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.authz.union import PRIVILEGED_GROUP
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

#: what every JSON answer says of itself
_JSON_HEAD: Final = b"Cache-Control: no-cache, private\r\nContent-Type: application/json\r\nServer: sampan\r\n"


class FlowHeaders:
    """``follow`` it once the objects are there."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._headers: dict[bool, Mapping[str, str]] = {}
        self._heads = {True: _JSON_HEAD, False: _JSON_HEAD}

    def follow(self) -> None:
        for resource in (FLOW_SCHEMAS, PRIORITY_LEVELS):
            self._reader.subscribe(resource, self._changed)
        self._find()

    def of(self, user: UserInfo) -> Mapping[str, str]:
        return self._headers.get(PRIVILEGED_GROUP in user.groups, {})

    def json_head(self, user: UserInfo) -> bytes:
        """The same and what JSON says of itself, as the lines of a head."""
        return self._heads[PRIVILEGED_GROUP in user.groups]

    def _changed(self, kind: EventType, obj: Obj, previous: Obj | None, revision: int) -> None:
        self._find()

    def _find(self) -> None:
        for privileged, schema_name, level in ((True, "exempt", "exempt"), (False, "global-default", "global-default")):
            flow = self._uid(FLOW_SCHEMAS, schema_name)
            priority = self._uid(PRIORITY_LEVELS, level) or self._uid(PRIORITY_LEVELS, "catch-all")
            headers = {"X-Kubernetes-PF-FlowSchema-UID": flow or self._uid(FLOW_SCHEMAS, "catch-all")}
            headers["X-Kubernetes-PF-PriorityLevel-UID"] = priority
            self._headers[privileged] = {name: uid for name, uid in headers.items() if uid}
            lines = "".join(f"{name}: {uid}\r\n" for name, uid in self._headers[privileged].items())
            self._heads[privileged] = _JSON_HEAD + lines.encode()

    def _uid(self, resource: Resource, name: str) -> str:
        obj: Obj | None = self._reader.get(resource, None, name)
        return str(obj["metadata"].get("uid", "")) if obj is not None else ""
