"""What a request addresses: a served version of a resource, a namespace, perhaps a name."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.records import dataclass
from sampan.server.storage import ResourceStorage, View


@dataclass(frozen=True, slots=True)
class Target:
    view: View
    namespace: str
    name: str

    @property
    def storage(self) -> ResourceStorage:
        return self.view.storage

    @property
    def kind(self) -> Kind:
        """As the client addressed it."""
        return self.view.kind

    @property
    def stored_kind(self) -> Kind:
        return self.view.storage.kind

    @property
    def working_kind(self) -> Kind:
        """The version in which a write is admitted, prepared and validated."""
        return self.view.working_kind

    @property
    def key(self) -> str:
        return self.storage.key(self.namespace, self.name)

    def not_found(self) -> errors.NotFound:
        return errors.not_found(self.kind.plural, self.name, self.kind.group)

    def conflict(self, detail: str = "") -> errors.Conflict:
        return errors.conflict(self.kind.plural, self.name, self.kind.group, detail)
