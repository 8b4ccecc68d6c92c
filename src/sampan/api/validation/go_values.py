"""Values of upstream's internal types, as its messages show them: Go's names, every field, what is unset too.

A message about an object of an API group shows the JSON of a Go struct that has no JSON names. Used where a fault
concerns such an object as a whole. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api.types import Obj

#: Of one field: its name in Go, its zero, and the layout of what it holds.
Layout = Mapping[str, tuple[str, Any, "Layout | None"]]


def plain(*names: str, zero: Any = None) -> dict[str, tuple[str, Any, Layout | None]]:
    """Fields that hold nothing deeper, and whose names in Go only begin with a capital."""
    return {name: (name[0].upper() + name[1:], zero, None) for name in names}


TOLERATION: Final[Layout] = {**plain("key", "operator", "value", "effect", zero=""), **plain("tolerationSeconds")}
POD_RESOURCE_CLAIM: Final[Layout] = {
    **plain("name", zero=""),
    **plain("resourceClaimName", "resourceClaimTemplateName"),
}
PROFILE: Final[Layout] = {**plain("type", zero=""), **plain("localhostProfile")}
_REQUIREMENT: Final[Layout] = {**plain("key", "operator", zero=""), **plain("values")}
NODE_SELECTOR_TERM: Final[Layout] = {
    "matchExpressions": ("MatchExpressions", None, _REQUIREMENT),
    "matchFields": ("MatchFields", None, _REQUIREMENT),
}
SECURITY_CONTEXT: Final[Layout] = {
    "capabilities": ("Capabilities", None, plain("add", "drop")),
    **plain("privileged"),
    "seLinuxOptions": ("SELinuxOptions", None, plain("user", "role", "type", "level", zero="")),
    "windowsOptions": (
        "WindowsOptions",
        None,
        {
            "gmsaCredentialSpecName": ("GMSACredentialSpecName", None, None),
            "gmsaCredentialSpec": ("GMSACredentialSpec", None, None),
            **plain("runAsUserName", "hostProcess"),
        },
    ),
    **plain("runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation"),
    **plain("procMount"),
    "seccompProfile": ("SeccompProfile", None, PROFILE),
    "appArmorProfile": ("AppArmorProfile", None, PROFILE),
}
TRUST_BUNDLE_PROJECTION: Final[Layout] = {
    **plain("name", "signerName", "labelSelector"),
    **plain("path", zero=""),
    **plain("optional"),
}


def struct(value: Obj | None, layout: Layout) -> Obj | None:
    """The struct for a message. None stays None: a pointer to nothing."""
    if value is None:
        return None
    return {
        name: zero if value.get(key) is None else _held(value[key], inner)
        for key, (name, zero, inner) in layout.items()
    }


def _held(value: Any, layout: Layout | None) -> Any:
    if layout is None:
        return value
    return [struct(item, layout) for item in value] if isinstance(value, list) else struct(value, layout)
