"""Structure and defaults of a version's objects, without judging their values."""

from __future__ import annotations

from sampan.api import schema
from sampan.api.errors import FieldError
from sampan.api.schema import Node
from sampan.api.types import Obj


class PlainVersion:
    demanding = False

    def __init__(self, kind: str, raw: Obj) -> None:
        self.node: Node = schema.node_from_openapi(raw, type_name=kind, root=True)

    def default(self, obj: Obj) -> None:
        schema.apply_defaults(self.node, obj)

    def prune(self, obj: Obj) -> None:
        schema.normalise(self.node, obj)

    def validate(self, obj: Obj) -> list[FieldError]:
        return []

    def validate_update(self, new: Obj, old: Obj) -> list[FieldError]:
        return []

    def validate_status(self, new: Obj, old: Obj) -> list[FieldError]:
        return []


def compile_version(definition: Obj, version: str) -> PlainVersion:
    """KeyError: there is none of this name."""
    spec = definition["spec"]
    found = {one["name"]: one for one in spec["versions"]}[version]
    return PlainVersion(spec["names"]["kind"], found["schema"]["openAPIV3Schema"])
