"""What admission plugins share: a base with nothing to do, and the wording of their refusals."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.errors import Forbidden, forbidden_error
from sampan.api.kind import Kind
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.server.attributes import AdmissionAttributes


class Plugin:
    """Lets everything pass; plugins override what is theirs."""

    name = ""
    #: (group, plural) of the only resources the plugin has a say in; None: it is asked about all
    resources: frozenset[tuple[str, str]] | None = None

    async def admit(self, attributes: AdmissionAttributes) -> None:
        return None

    async def validate(self, attributes: AdmissionAttributes) -> None:
        return None

    def takes(self, kind: Kind, namespace: str) -> bool:
        """Whether ``validate`` may take something for a write there, to be settled by the write's true end."""
        return False


def refuse(attributes: AdmissionAttributes, detail: str, causes: Sequence[Obj] = ()) -> Forbidden:
    """The 403 of a plugin: ``pods "x" is forbidden: DETAIL``."""
    meta = part(attributes.obj, "metadata")
    name = attributes.name or text(meta, "name") or text(meta, "generateName") or "Unknown"
    return forbidden_error(attributes.kind.plural, name, detail, attributes.kind.group, causes)


def is_for(attributes: AdmissionAttributes, resource: str, *operations: str, group: str = "") -> bool:
    """Whether this is one of the operations on the resource itself, not on a subresource."""
    return (
        attributes.kind.plural == resource
        and attributes.kind.group == group
        and not attributes.subresource
        and attributes.operation in operations
    )
