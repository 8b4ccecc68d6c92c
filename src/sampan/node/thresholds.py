"""When a node is short of something: signals, thresholds, and the statements that configure them. Pure.

Formats, defaults and errors are the kubelet's (``pkg/kubelet/eviction``, ``apis/config/v1beta1``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from sampan.api import quantity
from sampan.node.durations import parse_duration
from sampan.records import dataclass

Signal = Literal[
    "memory.available", "allocatableMemory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available",
    "imagefs.inodesFree", "containerfs.available", "containerfs.inodesFree", "pid.available",
]  # fmt: skip
SIGNALS: tuple[Signal, ...] = get_args(Signal)

#: What is reclaimed for each, as messages name it.
RESOURCES: Mapping[str, str] = {
    "memory.available": "memory",
    "allocatableMemory.available": "memory",
    "nodefs.available": "ephemeral-storage",
    "nodefs.inodesFree": "inodes",
    "imagefs.available": "ephemeral-storage",
    "imagefs.inodesFree": "inodes",
    "containerfs.available": "ephemeral-storage",
    "containerfs.inodesFree": "inodes",
    "pid.available": "pids",
}
_CONDITION_OF_RESOURCE = {
    "memory": "MemoryPressure", "ephemeral-storage": "DiskPressure", "inodes": "DiskPressure", "pids": "PIDPressure",
}  # fmt: skip
#: The Node's conditions, in the order in which they are told.
CONDITIONS = ("MemoryPressure", "DiskPressure", "PIDPressure")

DEFAULT_HARD: Mapping[str, str] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}


def condition_of(signal: str) -> str:
    return _CONDITION_OF_RESOURCE[RESOURCES[signal]]


@dataclass(frozen=True, slots=True)
class Amount:
    """An absolute amount, or a part of the capacity."""

    units: int | None = None
    fraction: float = 0.0

    def of(self, capacity: int) -> int:
        return self.units if self.units is not None else int(float(capacity) * self.fraction)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Met while less than ``value`` is available. ``grace_seconds`` 0: a hard one, acted on at once."""

    signal: Signal
    value: Amount
    grace_seconds: float = 0.0
    minimum_reclaim: Amount | None = None

    @property
    def is_hard(self) -> bool:
        return self.grace_seconds == 0


def parse_thresholds(
    hard: Mapping[str, str],
    soft: Mapping[str, str] | None = None,
    soft_grace: Mapping[str, str] | None = None,
    minimum_reclaim: Mapping[str, str] | None = None,
    *,
    enforce_allocatable: bool = True,
) -> tuple[Threshold, ...]:
    """Raises ValueError with the kubelet's words. ``enforce_allocatable``: pods together are held to what is left for
    them, so that is watched too, with the hard threshold of memory."""
    graces = {_signal(name): _grace(text) for name, text in (soft_grace or {}).items()}
    reclaims = {_signal(name): _reclaim(name, text) for name, text in (minimum_reclaim or {}).items()}
    found: list[Threshold] = []
    for name, text in hard.items():
        if (value := _value(name, text)) is not None:
            found.append(Threshold(_signal(name), value, 0.0, reclaims.get(_signal(name))))
    for name, text in (soft or {}).items():
        value = _value(name, text)
        if value is None:
            continue
        if _signal(name) not in graces:
            raise ValueError(f"grace period must be specified for the soft eviction threshold {name}")
        found.append(Threshold(_signal(name), value, graces[_signal(name)], reclaims.get(_signal(name))))
    if enforce_allocatable:
        found += [
            Threshold("allocatableMemory.available", each.value, 0.0, each.minimum_reclaim)
            for each in found
            if each.signal == "memory.available" and each.is_hard
        ]
    return tuple(found)


def with_container_file_system(thresholds: Iterable[Threshold], *, dedicated_image_fs: bool) -> tuple[Threshold, ...]:
    """Writable layers lie where the images lie: what is asked of that file system is asked of theirs, and whatever was
    asked of ``containerfs`` itself is not counted (as upstream, which logs that)."""
    kept = [each for each in thresholds if not each.signal.startswith("containerfs.")]
    source = "imagefs." if dedicated_image_fs else "nodefs."
    copies = [
        Threshold(_signal("containerfs." + each.signal.partition(".")[2]), each.value, each.grace_seconds,
                  each.minimum_reclaim)
        for each in kept
        if each.signal.startswith(source)
    ]  # fmt: skip
    return (*kept, *copies)


def hard_amount(thresholds: Iterable[Threshold], signal: Signal, capacity: int) -> int:
    """What is kept free of a capacity, and so is no pod's."""
    return max((each.value.of(capacity) for each in thresholds if each.signal == signal and each.is_hard), default=0)


def _signal(name: str) -> Signal:
    for each in SIGNALS:
        if each == name:
            return each
    raise ValueError(f"unsupported eviction signal {name}")


def _value(name: str, text: str) -> Amount | None:
    """None: a threshold that asks for nothing (0%) or could never be satisfied (100%)."""
    _signal(name)
    if text.endswith("%"):
        if text in ("0%", "100%"):
            return None
        fraction = _percentage(text)
        if fraction < 0:
            raise ValueError(f"eviction percentage threshold {name} must be >= 0%: {text}")
        if fraction > 1:
            raise ValueError(f"eviction percentage threshold {name} must be <= 100%: {text}")
        return Amount(fraction=fraction)
    units = _units(f"eviction threshold {name}", text)
    if units <= 0:
        raise ValueError(f"eviction threshold {name} must be positive: {quantity.canonical(text)}")
    return Amount(units)


def _reclaim(name: str, text: str) -> Amount:
    if text.endswith("%"):
        fraction = _percentage(text)
        if fraction <= 0:
            raise ValueError(f"eviction percentage minimum reclaim {name} must be positive: {text}")
        return Amount(fraction=fraction)
    units = _units(f"eviction minimum reclaim {name}", text)
    if units < 0:
        raise ValueError(f"negative eviction minimum reclaim specified for {name}")
    return Amount(units)


def _units(what: str, text: str) -> int:
    """Raises ValueError that says of what (the kubelet says the fault alone)."""
    try:
        return quantity.value(text)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def _grace(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < 0:
        raise ValueError(f"invalid eviction grace period specified: {text}, must be a positive value")
    return seconds


def _percentage(text: str) -> float:
    """Of single precision, as upstream's: what is made of it shows in messages, and in what is allocatable."""
    try:
        return _single(_single(float(text.rstrip("%"))) / 100)
    except (ValueError, OverflowError):
        raise ValueError(f'strconv.ParseFloat: parsing "{text.rstrip("%")}": invalid syntax') from None


def _single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])
