"""CSINode (storage.k8s.io/v1): the storage drivers of a node."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common, volumes
from sampan.api.validation.common import Errors

_LONGEST_NODE_ID = 256


def _validate(obj: Obj) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        path = f"spec.drivers[{index}]"
        found += _driver(driver, path)
        name = driver.get("name") or ""
        if name in seen:
            found.append(errors.duplicate(f"{path}.name", name))
        seen.add(name)
        found += _topology_keys(driver.get("topologyKeys") or (), path)
    return found


def _driver(driver: Obj, path: str) -> Errors:
    found = volumes.csi_driver(driver.get("name") or "", f"{path}.name")
    node_id = driver.get("nodeID") or ""
    if not node_id:
        found.append(errors.required(f"{path}.nodeID"))
    if len(node_id.encode()) > _LONGEST_NODE_ID:
        text = f"must be {_LONGEST_NODE_ID} characters or less"
        found.append(errors.invalid(f"{path}.nodeID", node_id, text))
    return found + common.non_negative((driver.get("allocatable") or {}).get("count"), f"{path}.allocatable.count")


def _topology_keys(keys: Sequence[str], path: str) -> Errors:
    """Faults are told of the driver, not of the key."""
    found: Errors = []
    seen: set[str] = set()
    for key in keys:
        if not key:
            found.append(errors.required(path))
        if key in seen:
            found.append(errors.duplicate(path, key))
        seen.add(key)
        found += common.named(names.qualified_name, key, path)
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    """Of a driver that stays, how many volumes fit is all that changes."""
    found: Errors = []
    after = {driver.get("name"): driver for driver in (new.get("spec") or {}).get("drivers") or ()}
    for driver in (old.get("spec") or {}).get("drivers") or ():
        other = after.get(driver.get("name"))
        if other is not None and _identity(other) != _identity(driver):
            found.append(errors.invalid("spec.drivers", _as_go(other), common.IMMUTABLE))
    return found


def _identity(driver: Obj) -> Obj:
    return {key: value for key, value in driver.items() if key != "allocatable" and value}


def _as_go(driver: Obj) -> Obj:
    """As upstream's refusals show a driver: its internal form, which has no JSON names."""
    return {
        "Name": driver.get("name", ""),
        "NodeID": driver.get("nodeID", ""),
        "TopologyKeys": driver.get("topologyKeys"),
        "Allocatable": None,
    }


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    drivers = (obj.get("spec") or {}).get("drivers") or ()
    return (printing.name(obj), len(drivers), printing.age(obj, now))


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="CSINode",
        plural="csinodes",
        singular="csinode",
        namespaced=False,
        schema="io.k8s.api.storage.v1.CSINode",
        returns_deleted=True,
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            printing.number("Drivers"),
            printing.AGE,
        ),
        row=_row,
    ),
)
