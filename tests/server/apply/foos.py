"""A custom kind with every type of list and map, made by hand: the Foo of the recorded scripts."""

from __future__ import annotations

from typing import Any

from sampan.api.kind import Kind, ScalePaths
from sampan.api.schema import apply_defaults, node_from_openapi
from sampan.api.types import Obj
from sampan.server.app import Server
from sampan.server.surface import Surface

TEXT = {"type": "string"}


def keyed(*keys: str, **properties: Any) -> dict[str, Any]:
    items = {"type": "object", "properties": properties}
    return {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys), "items": items
    }  # fmt: skip


SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "a": {"type": "array", "items": TEXT},
                "s": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
                "m": keyed("k", "p", k=TEXT, v=TEXT, p={"type": "string", "default": "TCP"}),
                "o": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
                "g": {"type": "object", "additionalProperties": TEXT},
                "d": {"type": "string", "default": "x"},
                "n": {"type": "integer"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"n": {"type": "integer"}, "conditions": keyed("type", type=TEXT, v=TEXT)}},
    },
}  # fmt: skip
NODE = node_from_openapi(SCHEMA, root=True)


def _default(obj: Obj) -> None:
    apply_defaults(NODE, obj)


FOO = Kind(
    group="mf.io",
    version="v1",
    kind="Foo",
    plural="foos",
    singular="foo",
    namespaced=True,
    schema="",
    own_node=lambda: NODE,
    status=True,
    generation=True,
    default=_default,
    scale=ScalePaths(("spec", "n"), ("status", "n"), None),
)


async def serve_foos(server: Server) -> None:
    def with_foos(surface: Surface) -> Surface:
        return Surface.build(surface.kinds.extended({"mf.io": ("v1",)}, [FOO]), server.store, kept=surface)

    await server._surfaces.replace(with_foos)
