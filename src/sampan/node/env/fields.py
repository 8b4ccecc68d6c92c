"""The downward API's values: pod fields and container resources as text (upstream pkg/fieldpath).

Used for variables (``fieldRef``, ``resourceFieldRef``) and for downwardAPI volumes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from sampan.api import quantity
from sampan.api.types import Obj
from sampan.node.env.sources import all_containers
from sampan.records import dataclass

_SUBSCRIPT = re.compile(r"^(metadata\.(?:labels|annotations))\['(.*)'\]$")
#: of these a container without a limit may use all the node has
_NODE_BOUND = ("cpu", "memory", "ephemeral-storage")


class FieldPathError(ValueError):
    """The path names nothing that the downward API offers."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the node knows and the pod's spec does not say. ``allocatable`` is the node's, as quantities."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


def format_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as lines ``key="value"`` in key order; the last line has no newline."""
    return "\n".join(f"{key}={_quote(values[key])}" for key in sorted(values))


def field_value(pod: Obj, path: str, facts: PodFacts) -> str:
    """Raises FieldPathError."""
    meta, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.match(path):
        section = match.group(1).removeprefix("metadata.")
        return str((meta.get(section) or {}).get(match.group(2), ""))
    values = {
        "metadata.name": meta.get("name", ""),
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path in ("metadata.labels", "metadata.annotations"):
        return format_map(meta.get(path.removeprefix("metadata.")) or {})
    if path not in values:
        raise FieldPathError(f"unsupported fieldPath: {path}")
    return str(values[path])


def resource_value(pod: Obj, container: Obj, reference: Obj, facts: PodFacts) -> str:
    """``resourceFieldRef``: the quantity divided by the divisor, rounded up. Raises FieldPathError."""
    name = reference.get("containerName")
    if name and name != container.get("name"):
        found = next((each for each in all_containers(pod) if each["name"] == name), None)
        if found is None:
            raise FieldPathError(f'container "{name}" not found')
        container = found
    path = str(reference["resource"])
    section, _, resource = path.partition(".")
    if section not in ("limits", "requests") or not (
        resource in _NODE_BOUND or (resource.startswith("hugepages-") and len(resource) > len("hugepages-"))
    ):
        raise FieldPathError(f"unsupported container resource : {path}")
    resources = container.get("resources") or {}
    amount = (resources.get(section) or {}).get(resource)
    if amount is None and section == "requests":
        amount = (resources.get("limits") or {}).get(resource)
    if amount is None and section == "limits" and resource in _NODE_BOUND:
        amount = facts.allocatable.get(resource)
    measure = quantity.millis if resource == "cpu" else quantity.value
    divisor = measure(str(reference.get("divisor") or "1")) or measure("1")
    return str(-(-measure(str(amount or "0")) // divisor))


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b",
            "\f": "\\f", "\v": "\\v"}  # fmt: skip


def _quote(text: str) -> str:
    """As Go's ``%q``: printable characters stay, others become escapes."""
    out = []
    for char in text:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        elif ord(char) < 0x80:
            out.append(f"\\x{ord(char):02x}")
        elif ord(char) < 0x10000:
            out.append(f"\\u{ord(char):04x}")
        else:
            out.append(f"\\U{ord(char):08x}")
    return '"' + "".join(out) + '"'
