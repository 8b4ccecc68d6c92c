"""LimitRanger: fills in default requests and limits from LimitRanges, and refuses pods and claims outside of them.

The arithmetic is pure (``apply_defaults``, ``violations``); the plugin only finds the namespace's LimitRanges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeAlias

from sampan.api import quantity
from sampan.api.pods.requests import pod_limits, pod_requests
from sampan.api.quota import amounts
from sampan.api.quota.pods import written
from sampan.api.reading import part, parts, text
from sampan.api.resources import LIMIT_RANGES
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, is_for, refuse
from sampan.server.admission.followed import Followed
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader
from sampan.server.threads import paced

_Violations: TypeAlias = Callable[[Obj, Iterable[Obj]], Iterator[str]]
_ANNOTATION = "kubernetes.io/limit-ranger"
#: how many violations a refusal names
_MOST_FAULTS = 200


class LimitRanger(Plugin):
    name = "LimitRanger"
    resources = frozenset({("", "pods"), ("", "persistentvolumeclaims")})

    def __init__(self, reader: ObjectReader) -> None:
        self._ranges = Followed(reader, LIMIT_RANGES)

    def _items(self, attributes: AdmissionAttributes) -> list[Obj]:
        """Every entry of every LimitRange of the namespace, in the order of the ranges' names."""
        ranges = self._ranges.of(attributes.namespace)
        return [item for name in sorted(ranges) for item in parts(part(ranges[name], "spec"), "limits")]

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is not None and is_for(attributes, "pods", "CREATE"):
            items = self._items(attributes)
            if items:
                await paced(attributes.request.heavy, apply_defaults, attributes.obj, items)

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.obj is None:
            return
        if is_for(attributes, "pods", "CREATE") or is_resize(attributes):
            violations_of: _Violations = pod_violations
        elif is_for(attributes, "persistentvolumeclaims", "CREATE", "UPDATE"):
            violations_of = claim_violations
        else:
            return
        items = self._items(attributes)
        if items:
            await paced(attributes.request.heavy, _check, attributes, violations_of, attributes.obj, items)


def _check(attributes: AdmissionAttributes, violations_of: _Violations, obj: Obj, items: list[Obj]) -> None:
    """Raises Forbidden, with the first faults: an object of thousands may have one for each."""
    found = violations_of(obj, items)
    faults = list(islice(found, _MOST_FAULTS))
    if more := sum(1 for _ in found):
        faults.append(f"and {more} more")
    if faults:
        raise refuse(attributes, faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")


def is_resize(attributes: AdmissionAttributes) -> bool:
    """A running pod's resources change: its limits are those of a new one (KEP-1287)."""
    where = (attributes.kind.group, attributes.kind.plural, attributes.subresource)
    return where == ("", "pods", "resize") and attributes.operation == "UPDATE"


def apply_defaults(pod: Obj, items: Iterable[Obj]) -> None:
    """Completes the pod's containers in place and notes what was set in an annotation, as upstream words it."""
    limits: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    for item in items:
        if item.get("type") == "Container":
            # What one LimitRange has filled in, the next finds there.
            limits = part(item, "default") | limits
            requests = part(item, "defaultRequest") | requests
    notes: list[str] = []
    for key, word in (("containers", "container"), ("initContainers", "init container")):
        for container in parts(part(pod, "spec"), key):
            resources = _own(container, "resources")
            for field, defaults, what in (("requests", requests, "request"), ("limits", limits, "limit")):
                added = _fill(resources, field, defaults)
                if added:
                    notes.append(f"{', '.join(sorted(added))} {what} for {word} {text(container, 'name')}")
    if notes:
        annotations = _own(_own(pod, "metadata"), "annotations")
        annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def _own(holder: Obj, key: str) -> Obj:
    """The object below ``key``, made if need be."""
    if not isinstance(holder.get(key), dict):
        holder[key] = {}
    made: Obj = holder[key]
    return made


def _fill(resources: Obj, field: str, defaults: dict[str, Any]) -> list[str]:
    present = part(resources, field)
    added = [name for name in defaults if name not in present]
    if added:
        resources[field] = {**present, **{name: defaults[name] for name in added}}
    return added


def pod_violations(pod: Obj, items: Iterable[Obj]) -> Iterator[str]:
    spec = part(pod, "spec")
    for item in items:
        kind = item.get("type")
        if kind == "Container":
            for key in ("containers", "initContainers"):
                for container in parts(spec, key):
                    resources = part(container, "resources")
                    yield from violations(kind, item, part(resources, "requests"), part(resources, "limits"))
        elif kind == "Pod":
            requests = amounts.write(written(spec, "requests", pod_requests(pod, use_status=False, overhead=False)))
            limits = amounts.write(written(spec, "limits", pod_limits(pod, overhead=False)))
            yield from violations(kind, item, requests, limits)


def claim_violations(claim: Obj, items: Iterable[Obj]) -> Iterator[str]:
    requests = part(part(part(claim, "spec"), "resources"), "requests")
    for item in items:
        if item.get("type") == "PersistentVolumeClaim":
            for name, bound in part(item, "min").items():
                if name not in requests or _less(requests[name], bound):
                    yield _usage("minimum", name, "PersistentVolumeClaim", bound, "request", requests.get(name))
            for name, bound in part(item, "max").items():
                if name not in requests or _less(bound, requests[name]):
                    yield _usage("maximum", name, "PersistentVolumeClaim", bound, "request", requests.get(name))


def violations(kind: str, item: Obj, requests: Obj, limits: Obj) -> Iterator[str]:
    """What of the item's min, max and ratio these requests and limits break. Pure."""
    for name, bound in sorted(part(item, "min").items()):
        if name not in requests:
            yield _usage("minimum", name, kind, bound, "request", None)
        elif _less(requests[name], bound):
            yield _usage("minimum", name, kind, bound, "request", requests[name])
        elif name in limits and _less(limits[name], bound):
            yield _usage("minimum", name, kind, bound, "limit", limits[name])
    for name, bound in sorted(part(item, "max").items()):
        if name not in limits:
            yield _usage("maximum", name, kind, bound, "limit", None)
        elif _less(bound, limits[name]):
            yield _usage("maximum", name, kind, bound, "limit", limits[name])
        elif name in requests and _less(bound, requests[name]):
            yield _usage("maximum", name, kind, bound, "request", requests[name])
    for name, bound in sorted(part(item, "maxLimitRequestRatio").items()):
        fault = _ratio_fault(name, kind, bound, requests.get(name), limits.get(name))
        if fault:
            yield fault


def _ratio_fault(name: str, kind: str, bound: str, request: str | None, limit: str | None) -> str:
    text = f"{name} max limit to request ratio per {kind} is {bound}, but "
    if not request or quantity.parse(request) == 0:
        return text + "no request is specified or request is 0"
    if not limit or quantity.parse(limit) == 0:
        return text + "no limit is specified or limit is 0"
    ratio = quantity.parse(limit) / quantity.parse(request)
    return f"{text}provided ratio is {float(ratio):f}" if ratio > quantity.parse(bound) else ""


def _usage(bound_word: str, name: str, kind: str, bound: str, word: str, found: str | None) -> str:
    text = f"{bound_word} {name} usage per {kind} is {bound}"
    return f"{text}.  No {word} is specified" if found is None else f"{text}, but {word} is {found}"


def _less(left: str, right: str) -> bool:
    return quantity.compare(left, right) < 0
