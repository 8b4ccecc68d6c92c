"""Claims as refusals show them: upstream's internal form."""

from __future__ import annotations

from typing import Any, Final

from sampan.api.types import Obj
from sampan.api.validation.go_values import Layout, struct

_SELECTOR: Final[Layout] = {"cel": ("CEL", None, {"expression": ("Expression", "", None)})}
_TOLERATION: Final[Layout] = {
    "key": ("Key", "", None),
    "operator": ("Operator", "", None),
    "value": ("Value", "", None),
    "effect": ("Effect", "", None),
    "tolerationSeconds": ("TolerationSeconds", None, None),
}
_EXACTLY: Final[Layout] = {
    "deviceClassName": ("DeviceClassName", "", None),
    "selectors": ("Selectors", None, _SELECTOR),
    "allocationMode": ("AllocationMode", "", None),
    "count": ("Count", 0, None),
    "adminAccess": ("AdminAccess", None, None),
    "tolerations": ("Tolerations", None, _TOLERATION),
    "capacity": ("Capacity", None, {"requests": ("Requests", None, None)}),
}
_ALTERNATIVE: Final[Layout] = {
    "name": ("Name", "", None),
    **{key: value for key, value in _EXACTLY.items() if key != "adminAccess"},
}
_REQUEST: Final[Layout] = {
    "name": ("Name", "", None),
    "exactly": ("Exactly", None, _EXACTLY),
    "firstAvailable": ("FirstAvailable", None, _ALTERNATIVE),
}
_CONSTRAINT: Final[Layout] = {
    "requests": ("Requests", None, None),
    "matchAttribute": ("MatchAttribute", None, None),
    "distinctAttribute": ("DistinctAttribute", None, None),
}
_OPAQUE: Final[Layout] = {"driver": ("Driver", "", None), "parameters": ("Parameters", None, None)}
_CONFIG: Final[Layout] = {"requests": ("Requests", None, None), "opaque": ("Opaque", None, _OPAQUE)}
_DEVICES: Final[Layout] = {
    "requests": ("Requests", None, _REQUEST),
    "constraints": ("Constraints", None, _CONSTRAINT),
    "config": ("Config", None, _CONFIG),
}
_SPEC: Final[Layout] = {
    "devices": ("Devices", {"Requests": None, "Constraints": None, "Config": None}, _DEVICES),
}


def claim_spec(spec: Obj) -> Any:
    return struct(spec, _SPEC)


def template_spec(spec: Obj) -> Any:
    """Its metadata has JSON names, being part of every object."""
    given = spec.get("metadata") or {}
    metadata = {key: given[key] for key in ("labels", "annotations") if given.get(key)}
    return {**metadata, "Spec": claim_spec(spec.get("spec") or {})}
