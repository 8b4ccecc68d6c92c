"""Definitions to judge, and what is told of them."""

from __future__ import annotations

from typing import Any

from sampan.api import registry, schema
from sampan.api.strategies import MAIN

KIND = next(kind for kind in registry.registry().kinds() if kind.kind == "CustomResourceDefinition")
AT = "spec.validation.openAPIV3Schema"
Obj = dict[str, Any]


def definition(root: Obj | None = None, *, spec: Obj | None = None, **version: Any) -> Obj:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Boat", "plural": "boats"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"} if root is None else root},
                    **version,
                }
            ],
            **(spec or {}),
        },
    }


def of(properties: Obj, **more: Any) -> Obj:
    """A definition whose spec has these properties."""
    return definition({"type": "object", "properties": {"spec": {"type": "object", "properties": properties, **more}}})


def created(given: Obj) -> Obj:
    assert schema.decode(KIND.node, given).error is None
    KIND.default(given)
    KIND.prepare_create(given)
    return given


def told(given: Obj) -> list[str]:
    return [fault.message() for fault in KIND.validate(created(given))]


def updated(old: Obj, new: Obj, *, established: bool = True) -> list[str]:
    created(old)
    if established:
        old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    created(new)
    return [fault.message() for fault in MAIN.validate(KIND, MAIN.merge(KIND, new, old), old)]
