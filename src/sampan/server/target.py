"""What a request addresses: a served version of a resource, a namespace, perhaps a name."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.server.storage import ResourceStorage, View


class Target:
    """Read-only. ``kind``: as the client addressed it; ``working_kind``: the version in which a write is admitted,
    prepared and validated."""

    __slots__ = ("kind", "name", "namespace", "storage", "view", "working_kind")

    def __init__(self, view: View, namespace: str, name: str) -> None:
        self.view, self.namespace, self.name = view, namespace, name
        self.kind: Kind = view.kind
        self.storage: ResourceStorage = view.storage
        self.working_kind: Kind = view.working_kind

    @property
    def key(self) -> str:
        return self.storage.key(self.namespace, self.name)

    def not_found(self) -> errors.NotFound:
        return errors.not_found(self.kind.plural, self.name, self.kind.group)

    def conflict(self, detail: str = "") -> errors.Conflict:
        return errors.conflict(self.kind.plural, self.name, self.kind.group, detail)
