"""The quality-of-service class of a pod (``status.qosClass``), which decides who goes first when memory runs out.

Upstream: ``pkg/apis/core/helper/qos``. Only cpu and memory count. Pure; never raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal

from sampan.api import quantity
from sampan.api.pods.requests import has_pod_level
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]
_COUNTED = ("cpu", "memory")


def compute_qos_class(pod: Obj) -> QosClass:
    """Guaranteed: every container limits cpu and memory and requests just that. BestEffort: nothing asked for. What
    the pod asks for as a whole stands for its containers."""
    spec = part(pod, "spec")
    requests: dict[str, Fraction] = {}
    limits: dict[str, Fraction] = {}
    guaranteed = True
    for resources in _counted(pod, spec):
        _add(requests, resources.get("requests"))
        guaranteed &= len(_add(limits, resources.get("limits"))) == len(_COUNTED)
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed and requests == limits else "Burstable"


def qos_class(pod: Obj) -> QosClass:
    """The class fixed at admission, else computed."""
    match text(part(pod, "status"), "qosClass"):
        case "Guaranteed":
            return "Guaranteed"
        case "Burstable":
            return "Burstable"
        case "BestEffort":
            return "BestEffort"
        case _:
            return compute_qos_class(pod)


def _counted(pod: Obj, spec: Obj) -> Iterable[Obj]:
    if has_pod_level(pod):
        return [part(spec, "resources")]
    listed = [*parts(spec, "containers"), *parts(spec, "initContainers")]
    return [part(container, "resources") for container in listed]


def _add(total: dict[str, Fraction], listed: Any) -> set[str]:
    """Adds the amounts above zero; which resources had one."""
    counted: set[str] = set()
    for name in _COUNTED:
        value = _parsed(listed.get(name)) if isinstance(listed, dict) else Fraction(0)
        if value > 0:
            total[name] = total.get(name, Fraction(0)) + value
            counted.add(name)
    return counted


def _parsed(written: Any) -> Fraction:
    if type(written) not in (str, int, float):
        return Fraction(0)
    try:
        return quantity.parse(written)
    except ValueError:
        return Fraction(0)
