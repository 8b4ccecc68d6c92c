"""RuntimeClass of node.k8s.io/v1alpha1 and node.k8s.io/v1: what is at the top was below ``spec``."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part

_FIELDS = {"runtimeHandler": "handler", "overhead": "overhead", "scheduling": "scheduling"}


def to_runtimeclass(runtime_class: Obj) -> Obj:
    spec = part(runtime_class, "spec")
    runtime_class.pop("spec", None)
    for old, new in _FIELDS.items():
        if old in spec:
            runtime_class[new] = spec[old]
    return runtime_class


def from_runtimeclass(runtime_class: Obj) -> Obj:
    runtime_class["spec"] = {old: runtime_class.pop(new) for old, new in _FIELDS.items() if new in runtime_class}
    return runtime_class
