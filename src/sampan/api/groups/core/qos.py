"""The quality-of-service class of a pod (``status.qosClass``), which decides who goes first when memory runs out.

Upstream: ``pkg/apis/core/helper/qos``. Only cpu and memory count. Used by the Pod strategy and by the node.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

from sampan.api import quantity
from sampan.api.types import Obj

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]
_COUNTED = ("cpu", "memory")


def _add(total: dict[str, Fraction], amounts: Obj | None) -> set[str]:
    counted: set[str] = set()
    for name in _COUNTED:
        if (amount := (amounts or {}).get(name)) is not None and (value := quantity.parse(amount)) > 0:
            total[name] = total.get(name, Fraction(0)) + value
            counted.add(name)
    return counted


def _all_containers(spec: Obj) -> Iterable[Obj]:
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def compute_qos_class(pod: Obj) -> QosClass:
    """Guaranteed: every container limits cpu and memory and requests just that. BestEffort: nothing asked for."""
    spec = pod.get("spec") or {}
    requests: dict[str, Fraction] = {}
    limits: dict[str, Fraction] = {}
    guaranteed = True
    if own := spec.get("resources"):
        _add(requests, own.get("requests"))
        guaranteed = len(_add(limits, own.get("limits"))) == len(_COUNTED)
    if not requests and not limits:
        for container in _all_containers(spec):
            resources = container.get("resources") or {}
            _add(requests, resources.get("requests"))
            if len(_add(limits, resources.get("limits"))) < len(_COUNTED):
                guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and requests == limits:
        return "Guaranteed"
    return "Burstable"


def qos_class(pod: Obj) -> QosClass:
    """The class fixed at admission, else computed."""
    fixed: QosClass | None = (pod.get("status") or {}).get("qosClass")
    return fixed or compute_qos_class(pod)
