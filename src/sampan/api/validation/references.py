"""References from a pod to values elsewhere: its own fields, its containers' resources."""

from __future__ import annotations

import re
from typing import Final

from sampan.api import errors, names, quantity
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_SUBSCRIPT: Final = re.compile(r"([^\[]+)\['(.*)'\]", re.DOTALL)
#: Fields that exist at all (ConvertDownwardAPIFieldLabel); which of them may be used is said by each place.
_KNOWN: Final = frozenset((
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
    "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName", "status.phase", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs", "spec.terminationGracePeriodSeconds",
))  # fmt: skip

_RESOURCES: Final = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip
_HUGE_PAGES: Final = ("limits.hugepages-", "requests.hugepages-")
_OF_BYTES: Final = ("1", *(f"1{unit}" for unit in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")))


def field(reference: Obj, path: str, supported: tuple[str, ...]) -> Errors:
    """``supported``: the fields without a subscript, sorted."""
    text = reference.get("fieldPath", "")
    if text in supported and reference.get("apiVersion") == "v1":
        return []
    version = reference.get("apiVersion", "")
    if not version:
        return [errors.required(f"{path}.apiVersion")]
    if not text:
        return [errors.required(f"{path}.fieldPath")]
    problem = _conversion_problem(version, text)
    if problem:
        return [errors.invalid(f"{path}.fieldPath", text, f"error converting fieldPath: {problem}")]
    text = "spec.nodeName" if text == "spec.host" else text
    if match := _SUBSCRIPT.fullmatch(text):
        base, subscript = match.groups()
        if base == "metadata.annotations":
            return common.named(names.qualified_name, subscript.lower(), path)
        if base == "metadata.labels":
            return common.named(names.qualified_name, subscript, path)
        return [errors.invalid(path, base, "does not support subscript")]
    return [] if text in supported else [errors.not_supported(f"{path}.fieldPath", text, supported)]


def _conversion_problem(version: str, text: str) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    if match := _SUBSCRIPT.fullmatch(text):
        base = match[1]
        if base not in ("metadata.annotations", "metadata.labels"):
            return f"field label does not support subscript: {text}"
        return ""
    return "" if text in _KNOWN or text == "spec.host" else f"field label not supported: {text}"


def resource(reference: Obj, path: str, *, of_volume: bool) -> Errors:
    name = reference.get("resource", "")
    found: Errors = []
    if of_volume and not reference.get("containerName"):
        found.append(errors.required(f"{path}.containerName"))
    elif not name:
        found.append(errors.required(f"{path}.resource"))
    elif name not in _RESOURCES and not name.startswith(_HUGE_PAGES):
        found.append(errors.not_supported(f"{path}.resource", name, _RESOURCES))
    return found + _divisor(name, reference.get("divisor"), path)


def _divisor(name: str, divisor: str | None, path: str) -> Errors:
    if divisor is None or divisor == "0" or quantity.parse(divisor) == 0:
        return []
    allowed: tuple[str, ...] = _OF_BYTES
    if name in ("limits.cpu", "requests.cpu"):
        allowed, of = ("1m", "1"), "cpu"
    elif name.startswith(_HUGE_PAGES):
        of = "hugepages"
    elif name in _RESOURCES:
        of = "memory" if name.endswith("memory") else "local ephemeral storage"
    else:
        return []
    if quantity.canonical(divisor) in allowed:
        return []
    listed = "1m and 1" if of == "cpu" else ", ".join(allowed)
    text = f"only divisor's values {listed} are supported with the {of} resource"
    return [errors.invalid(f"{path}.divisor", name, text)]
