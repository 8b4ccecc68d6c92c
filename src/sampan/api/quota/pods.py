"""What a pod uses, and what it must say, where a quota limits computing resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, TypeVar

from sampan.api import durations, quantity
from sampan.api.pods.requests import Amounts as Numbers
from sampan.api.pods.requests import has_pod_level, pod_limits, pod_requests
from sampan.api.quota.amounts import ONE, Amount
from sampan.api.reading import moment, part, parts, text, whole
from sampan.api.types import Obj
from sampan.api.validation.resources import is_extended, is_huge_page, is_native

T = TypeVar("T")

_REQUESTED: Final = ("cpu", "memory", "ephemeral-storage")
_COMPUTE: Final = frozenset(
    {"pods", *_REQUESTED, *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _REQUESTED)}
)
#: Upstream's mistake, kept for compatibility: of these, and of no others, each container must say something.
_MUST_BE_SAID: Final = frozenset({
    "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
})  # fmt: skip
_DEVICE_CLASS = "deviceclass.resource.kubernetes.io/"


def is_counted(name: str) -> bool:
    """Whether a quota's resource is one that pods use."""
    if name in _COMPUTE or is_huge_page(name) or is_huge_page(name.removeprefix("requests.")):
        return True
    asked = name.removeprefix("requests.")
    return asked != name and (not is_native(name) or asked.startswith(_DEVICE_CLASS))


def has_deadline(pod: Obj) -> bool:
    """The scope Terminating: the pod says how long it may run."""
    seconds = whole(part(pod, "spec"), "activeDeadlineSeconds")
    return seconds is not None and seconds >= 0


def is_charged(pod: Obj, now: datetime) -> bool:
    """Whether it uses anything but its own existence: it has not ended, and is not overdue to go (of a lost node)."""
    if text(part(pod, "status"), "phase") in ("Failed", "Succeeded"):
        return False
    ends = overdue_at(pod)
    return ends is None or now <= ends


def overdue_at(pod: Obj) -> datetime | None:
    """The moment from which a pod that is being deleted no longer counts."""
    metadata = part(pod, "metadata")
    deleted, grace = moment(metadata, "deletionTimestamp"), whole(metadata, "deletionGracePeriodSeconds")
    return None if deleted is None or grace is None else deleted + durations.span(grace)


def usage(pod: Obj) -> dict[str, Amount]:
    spec = part(pod, "spec")
    requests = written(spec, "requests", pod_requests(pod))
    return {"pods": ONE, **_named(requests, written(spec, "limits", pod_limits(pod)))}


def _named(requests: Mapping[str, T], limits: Mapping[str, T]) -> dict[str, T]:
    """Amounts under the names that quotas have for them."""
    found: dict[str, T] = {}
    for name, amount in requests.items():
        if name in _REQUESTED or is_huge_page(name):
            found[name] = found[f"requests.{name}"] = amount
        elif is_extended(name) or name.startswith(_DEVICE_CLASS):
            found[f"requests.{name}"] = amount
    return found | {f"limits.{name}": amount for name, amount in limits.items() if name in _REQUESTED}


def written(spec: Obj, field: str, numbers: Numbers) -> dict[str, Amount]:
    """What a pod asks for (or may use) in all, each amount in the notation in which the pod first names it."""
    found: dict[str, Amount] = {}
    for name, number in numbers.items():
        nanos = number * (10**6 if name == "cpu" else 10**9)
        found[name] = Amount(nanos, _notation(spec, field, name))
    return found


def _notation(spec: Obj, field: str, name: str) -> quantity.Format:
    for holder in _holders(spec):
        written = part(part(holder, "resources"), field).get(name)
        if isinstance(written, str) and written not in ("", "0"):
            try:
                return quantity.parse_with_format(written)[1]
            except ValueError:
                continue
    return "DecimalSI"


def _holders(spec: Obj) -> Iterator[Obj]:
    yield spec
    yield from parts(spec, "containers")
    yield from parts(spec, "initContainers")


def missing(required: set[str], pod: Obj) -> str:
    """``must specify limits.cpu for: a,b; memory for: a``; "": it says all that it must."""
    needed = required & _MUST_BE_SAID
    if not needed or has_pod_level(pod):
        return ""
    silent: dict[str, set[str]] = {}
    spec = part(pod, "spec")
    for field in ("containers", "initContainers"):
        for container in parts(spec, field):
            resources = part(container, "resources")
            said = _named(dict(part(resources, "requests")), dict(part(resources, "limits")))
            for name in needed - said.keys():
                silent.setdefault(name, set()).add(text(container, "name"))
    listed = "; ".join(f"{name} for: {','.join(sorted(silent[name]))}" for name in sorted(silent))
    return f"must specify {listed}" if listed else ""
