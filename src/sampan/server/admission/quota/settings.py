"""ResourceQuotaConfiguration (apiserver.config.k8s.io): what may be used only where a quota allows it. Pure."""

from __future__ import annotations

from typing import Final

from sampan.api.quota.charging import Limited
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.fields import Fields

API_GROUPS: Final = {"apiserver.config.k8s.io": ("v1",), "resourcequota.admission.k8s.io": ("v1beta1", "v1alpha1")}
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True)
class QuotaSettings:
    limited: tuple[Limited, ...] = ()


def read(config: Fields) -> QuotaSettings:
    """Raises ConfigurationError."""
    config.expect_one_of_types(API_GROUPS, ("ResourceQuotaConfiguration", "Configuration"))
    limited = [_limited(entry) for entry in config.each("limitedResources")]
    config.finish()
    return QuotaSettings(tuple(limited))


def _limited(entry: Fields) -> Limited:
    group, plural = entry.text("apiGroup"), entry.text("resource")
    if not plural:
        raise entry.fault("resource", "Required value")
    contains = tuple(entry.texts("matchContains"))
    scopes = tuple(_term(term) for term in entry.each("matchScopes"))
    if not contains and not scopes:
        raise entry.fault("matchContains", "Required value: or matchScopes")
    entry.finish()
    return Limited((group, plural), contains, scopes)


def _term(term: Fields) -> Obj:
    name, operator, values = term.text("scopeName"), term.text("operator"), term.texts("values")
    if not name:
        raise term.fault("scopeName", "Required value")
    if operator not in _OPERATORS:
        raise term.fault("operator", f'Unsupported value: "{operator}"')
    term.finish()
    return {"scopeName": name, "operator": operator, "values": values}
