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


def _plain(*names: str, zero: Any = None) -> dict[str, tuple[str, Any, Layout | None]]:
    return {name: (name[0].upper() + name[1:], zero, None) for name in names}


TOLERATION: Final[Layout] = {**_plain("key", "operator", "value", "effect", zero=""), **_plain("tolerationSeconds")}
POD_RESOURCE_CLAIM: Final[Layout] = {
    **_plain("name", zero=""),
    **_plain("resourceClaimName", "resourceClaimTemplateName"),
}
PROFILE: Final[Layout] = {**_plain("type", zero=""), **_plain("localhostProfile")}
_REQUIREMENT: Final[Layout] = {**_plain("key", "operator", zero=""), **_plain("values")}
NODE_SELECTOR_TERM: Final[Layout] = {
    "matchExpressions": ("MatchExpressions", None, _REQUIREMENT),
    "matchFields": ("MatchFields", None, _REQUIREMENT),
}
SECURITY_CONTEXT: Final[Layout] = {
    "capabilities": ("Capabilities", None, _plain("add", "drop")),
    **_plain("privileged"),
    "seLinuxOptions": ("SELinuxOptions", None, _plain("user", "role", "type", "level", zero="")),
    "windowsOptions": (
        "WindowsOptions",
        None,
        {
            "gmsaCredentialSpecName": ("GMSACredentialSpecName", None, None),
            "gmsaCredentialSpec": ("GMSACredentialSpec", None, None),
            **_plain("runAsUserName", "hostProcess"),
        },
    ),
    **_plain("runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation"),
    **_plain("procMount"),
    "seccompProfile": ("SeccompProfile", None, PROFILE),
    "appArmorProfile": ("AppArmorProfile", None, PROFILE),
}
TRUST_BUNDLE_PROJECTION: Final[Layout] = {
    **_plain("name", "signerName", "labelSelector"),
    **_plain("path", zero=""),
    **_plain("optional"),
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
