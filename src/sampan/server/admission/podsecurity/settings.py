"""PodSecurityConfiguration (pod-security.admission.config.k8s.io): what holds where a namespace says nothing, and whom
it never concerns. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Final

from sampan.api import names
from sampan.api.podsecurity.policies import MODES, Policy, Standard, parse_level, parse_version
from sampan.records import dataclass
from sampan.server.admission.fields import Fields

API_GROUP: Final = "pod-security.admission.config.k8s.io"
VERSIONS: Final = ("v1", "v1beta1", "v1alpha1")


@dataclass(frozen=True, slots=True)
class PodSecuritySettings:
    defaults: Policy = field(default_factory=Policy)
    exempt_users: frozenset[str] = frozenset()
    exempt_runtime_classes: frozenset[str] = frozenset()
    exempt_namespaces: frozenset[str] = frozenset()


def read(config: Fields) -> PodSecuritySettings:
    """Raises ConfigurationError."""
    config.expect_type(API_GROUP, VERSIONS, "PodSecurityConfiguration")
    defaults = config.below("defaults")
    standards = {}
    for mode in MODES:
        level = defaults.parsed(mode, parse_level, "privileged")
        standards[mode] = Standard(level, defaults.parsed(f"{mode}-version", parse_version, "latest"))
    defaults.finish()
    exemptions = config.below("exemptions")
    users = _listed(exemptions, "usernames", lambda name: [] if name else ["must not be empty"])
    classes = _listed(exemptions, "runtimeClasses", names.dns1123_subdomain)
    namespaces = _listed(exemptions, "namespaces", names.dns1123_label)
    exemptions.finish()
    config.finish()
    return PodSecuritySettings(Policy(**standards), users, classes, namespaces)


def _listed(fields: Fields, key: str, faults_of: Callable[[str], list[str]]) -> frozenset[str]:
    found: set[str] = set()
    for index, name in enumerate(fields.texts(key)):
        if faults := faults_of(name):
            raise fields.fault(f"{key}[{index}]", f'Invalid value: "{name}": {", ".join(faults)}')
        if name in found:
            raise fields.fault(f"{key}[{index}]", f'Duplicate value: "{name}"')
        found.add(name)
    return frozenset(found)
