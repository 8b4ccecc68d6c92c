"""Which Secret a class names for a call of a driver: parameters of storage classes and snapshot classes. Pure.

``csi.storage.k8s.io/<use>-secret-name`` and ``-namespace`` are templates; what may stand in one is what upstream's
sidecars allow for that use. A parameter below ``csi.storage.k8s.io/`` is never the driver's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from sampan.api import names

PREFIX: Final = "csi.storage.k8s.io/"
_TOKEN: Final = re.compile(r"\$\{([^{}]*)\}")


class SecretRef(NamedTuple):
    namespace: str
    name: str


def resolve(
    parameters: Mapping[str, str], use: str, for_namespace: Mapping[str, str], for_name: Mapping[str, str]
) -> SecretRef | None:
    """``use``: ``provisioner``, ``node-stage`` … ; None: the class names none. Raises ValueError."""
    name_key, namespace_key = f"{PREFIX}{use}-secret-name", f"{PREFIX}{use}-secret-namespace"
    name, namespace = parameters.get(name_key), parameters.get(namespace_key)
    if name is None and namespace is None:
        return None
    if not name or not namespace:
        raise ValueError(f"either name and namespace for {use} secrets specified, Both must be specified")
    found_namespace = _expand(namespace, for_namespace, namespace_key)
    if names.dns1123_label(found_namespace):
        shown = f"{namespace_key} parameter {namespace!a} resolved to {found_namespace!a}".replace("'", '"')
        raise ValueError(f"{shown} which is not a valid namespace name")
    found_name = _expand(name, for_name, name_key)
    if names.dns1123_subdomain(found_name):
        shown = f"{name_key} parameter {name!a} resolved to {found_name!a}".replace("'", '"')
        raise ValueError(f"{shown} which is not a valid secret name")
    return SecretRef(found_namespace, found_name)


def _expand(template: str, values: Mapping[str, str], key: str) -> str:
    missing = sorted({each for each in _TOKEN.findall(template) if each not in values})
    if missing:
        listed = " ".join(f'"{each}"' for each in missing)
        raise ValueError(f'error resolving value "{template}" of {key}: invalid tokens: [{listed}]')
    return _TOKEN.sub(lambda match: values[match[1]], template)


def of_driver(parameters: Mapping[str, str]) -> dict[str, str]:
    """What of a class's parameters is for the driver."""
    return {key: value for key, value in parameters.items() if not key.startswith(PREFIX)}
