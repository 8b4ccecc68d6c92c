"""What is said of an eviction: status, Event and condition of the pod, in the kubelet's words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.api import quantity
from sampan.api.pods.requests import has_pod_level
from sampan.api.reading import part, parts
from sampan.api.types import Obj
from sampan.node.eviction.pressure import Observations
from sampan.node.eviction.usage import PodUsage
from sampan.node.thresholds import RESOURCES, Threshold

REASON = "Evicted"


def node_was_low(
    resource: str, pod: Obj, usage: PodUsage | None, thresholds: Iterable[Threshold], observations: Observations
) -> str:
    message = f"The node was low on resource: {resource}. "
    for each in thresholds:
        observed = observations.get(each.signal)
        if RESOURCES[each.signal] == resource and observed is not None:
            wanted = _amount(each.value.of(observed.capacity), binary=True)
            available = _amount(observed.available, binary=resource in ("memory", "ephemeral-storage"))
            message += f"Threshold quantity: {wanted}, available: {available}. "
            break
    return message if usage is None else message + _who(resource, pod, usage)


def render_metrics(evictions: Mapping[str, int]) -> str:
    """Of the kubelet's metrics, the one that counts evictions by signal."""
    name = "kubelet_evictions"
    lines = [f"# HELP {name} [ALPHA] Cumulative number of pod evictions by eviction signal", f"# TYPE {name} counter"]
    lines += [f'{name}{{eviction_signal="{signal}"}} {count}' for signal, count in sorted(evictions.items())]
    return "\n".join(lines) + "\n"


def _who(resource: str, pod: Obj, usage: PodUsage) -> str:
    message = ""
    spec = part(pod, "spec")
    if resource == "memory" and has_pod_level(pod) and (asked := _requests(spec).get(resource)) is not None:
        message += _consumption("Pod", pod["metadata"]["name"], usage.memory_bytes, asked, resource)
    for container in (*parts(spec, "containers"), *parts(spec, "initContainers")):
        used = usage.containers.get(container["name"])
        if used is None or resource not in ("memory", "ephemeral-storage"):
            continue
        amount = used.memory_bytes if resource == "memory" else used.rootfs.used_bytes + used.logs.used_bytes
        asked = _requests(container).get(resource, "0")
        if amount > quantity.value(asked):
            message += _consumption("Container", container["name"], amount, asked, resource)
    return message


def _consumption(kind: str, name: str, used: int, asked: str | int, resource: str) -> str:
    return (
        f"{kind} {name} was using {_amount(used, binary=True)}, request is {quantity.canonical(asked)}, "
        f"has larger consumption of {resource}. "
    )


def _requests(holder: Obj) -> Obj:
    return part(part(holder, "resources"), "requests")


def _amount(value: int, *, binary: bool) -> str:
    return quantity.format_quantity(value, "BinarySI" if binary else "DecimalSI")
