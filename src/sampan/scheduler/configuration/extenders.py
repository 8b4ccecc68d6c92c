"""The ``extenders`` of a configuration, checked as upstream does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sampan.api import names
from sampan.api.durations import parse as parse_duration
from sampan.api.errors import FieldError, invalid
from sampan.api.types import Obj
from sampan.scheduler.configuration.fields import BadConfiguration
from sampan.scheduler.extending.settings import DEFAULT_SECONDS, ExtenderConfig, TlsConfig

_NATIVE: Final = ("kubernetes.io/",)
_TEXTS: Final = {
    "serverName": "server_name", "certFile": "cert_file", "keyFile": "key_file", "caFile": "ca_file",
    "certData": "cert_data", "keyData": "key_data", "caData": "ca_data",
}  # fmt: skip


def read_extenders(listed: Sequence[Obj], faults: list[FieldError]) -> tuple[ExtenderConfig, ...]:
    """What is wrong is added to ``faults``. Raises BadConfiguration."""
    found: list[ExtenderConfig] = []
    managed: set[str] = set()
    for index, given in enumerate(listed):
        path, weight = f"extenders[{index}]", given.get("weight", 0)
        if given.get("prioritizeVerb") and weight <= 0:
            faults.append(invalid(f"{path}.weight", weight, "must have a positive weight applied to it"))
        for place, resource in enumerate(given.get("managedResources") or ()):
            _managed(resource.get("name", ""), f"{path}.managedResources[{place}].name", managed, faults)
        found.append(_extender(given, path))
    binders = sum(bool(extender.bind_verb) for extender in found)
    if binders > 1:
        problem = "only one extender can implement bind"
        faults.append(invalid("extenders", f"found {binders} extenders implementing bind", problem))
    return tuple(found)


def _managed(name: str, path: str, managed: set[str], faults: list[FieldError]) -> None:
    problems = names.qualified_name(name)
    faults += [invalid(path, name, problem) for problem in problems]
    if not problems and ("/" not in name or name.startswith(("requests.", *_NATIVE))):
        faults.append(invalid(path, name, "is an invalid extended resource name"))
    if name in managed:
        faults.append(invalid(path, name, "duplicate extender managed resource name"))
    managed.add(name)


def _extender(given: Obj, path: str) -> ExtenderConfig:
    try:
        seconds = parse_duration(given.get("httpTimeout", "0")) or DEFAULT_SECONDS
    except ValueError as error:
        raise BadConfiguration(f"{path}.httpTimeout: {error}") from error
    tls = given.get("tlsConfig")
    resources = given.get("managedResources") or ()
    return ExtenderConfig(
        given.get("urlPrefix", ""),
        filter_verb=given.get("filterVerb", ""),
        preempt_verb=given.get("preemptVerb", ""),
        prioritize_verb=given.get("prioritizeVerb", ""),
        bind_verb=given.get("bindVerb", ""),
        weight=given.get("weight", 0),
        https=given.get("enableHTTPS", False),
        tls=None
        if tls is None
        else TlsConfig(tls.get("insecure", False), **{ours: tls.get(theirs, "") for theirs, ours in _TEXTS.items()}),
        timeout_seconds=seconds,
        node_cache_capable=given.get("nodeCacheCapable", False),
        managed_resources=frozenset(resource.get("name", "") for resource in resources),
        ignored_resources=frozenset(r.get("name", "") for r in resources if r.get("ignoredByScheduler")),
        ignorable=given.get("ignorable", False),
    )
