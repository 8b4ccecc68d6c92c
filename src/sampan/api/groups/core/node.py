"""Node (v1): created by node agents, watched over by the node lifecycle controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names, quantity
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind, Subresource
from sampan.api.types import Obj
from sampan.api.validation import common, resources, scheduling
from sampan.api.validation.common import Errors

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _default(node: Obj) -> None:
    node.setdefault("spec", {})
    status = node.setdefault("status", {})
    capacity = status.get("capacity")
    if status.get("allocatable") is None and capacity is not None:
        status["allocatable"] = dict(capacity)
    for key in ("capacity", "allocatable"):
        for name, amount in (status.get(key) or {}).items():
            status[key][name] = quantity.canonical(amount)


def _validate(node: Obj) -> Errors:
    spec = node.get("spec") or {}
    found = scheduling.taints(spec.get("taints"), "spec.taints")
    cidrs = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    for index, cidr in enumerate(cidrs):
        found += common.named(names.cidr, cidr, f"spec.podCIDRs[{index}]")
    if len(cidrs) > 2:
        text = "may specify no more than one CIDR for each IP family"
        found.append(errors.invalid("spec.podCIDRs", cidrs, text))
    return found + _status(node)


def _status(node: Obj) -> Errors:
    status = node.get("status") or {}
    found: Errors = []
    for key in ("capacity", "allocatable"):
        for name, amount in (status.get(key) or {}).items():
            found += resources.resource_quantity(name, amount, f"status.{key}.{name}")
    seen: set[tuple[tuple[str, Any], ...]] = set()
    for index, address in enumerate(status.get("addresses") or ()):
        identity = tuple(sorted(address.items()))
        if identity in seen:
            found.append(errors.duplicate(f"status.addresses[{index}]", address))
        seen.add(identity)
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    found: Errors = []
    for key in ("podCIDR", "podCIDRs"):
        if old_spec.get(key) and spec.get(key) != old_spec[key]:
            text = 'node updates may not change podCIDR except from "" to valid'
            found.append(errors.forbidden(f"spec.{key}", text))
    if old_spec.get("providerID") and spec.get("providerID") != old_spec["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        found.append(errors.forbidden("spec.providerID", text))
    return found


def _validate_status(new: Obj, old: Obj) -> Errors:
    return _status(new)


def _selectable(node: Obj) -> Mapping[str, str]:
    return {"spec.unschedulable": "true" if (node.get("spec") or {}).get("unschedulable") else "false"}


def _address(node: Obj, kind: str) -> str:
    for address in (node.get("status") or {}).get("addresses") or ():
        if address.get("type") == kind:
            return str(address.get("address", ""))
    return printing.NONE


def _states(node: Obj) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = [c.get("status") == "True" for c in conditions if c.get("type") == "Ready"]
    states = ["Unknown"] if not ready else ["Ready" if ready[0] else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    return ",".join(states)


def _roles(node: Obj) -> str:
    roles: set[str] = set()
    for key, value in (node.get("metadata", {}).get("labels") or {}).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            roles.add(key[len(_ROLE_PREFIX) :])
        elif key == _ROLE_LABEL and value:
            roles.add(value)
    return ",".join(sorted(roles)) or printing.NONE


def _row(node: Obj, now: datetime) -> Sequence[Any]:
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return (
        printing.name(node),
        _states(node),
        _roles(node),
        printing.age(node, now),
        info.get("kubeletVersion", ""),
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.get("osImage") or printing.UNKNOWN,
        info.get("kernelVersion") or printing.UNKNOWN,
        info.get("containerRuntimeVersion") or printing.UNKNOWN,
    )


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Node",
        plural="nodes",
        singular="node",
        namespaced=False,
        schema="io.k8s.api.core.v1.Node",
        short_names=("no",),
        status=True,
        subresources=(
            Subresource("proxy", "NodeProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        ),
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=_validate_status,
        columns=(
            printing.NAME,
            Column("Status"),
            Column("Roles"),
            printing.AGE,
            Column("Version"),
            printing.wide("Internal-IP"),
            printing.wide("External-IP"),
            printing.wide("OS-Image"),
            printing.wide("Kernel-Version"),
            printing.wide("Container-Runtime"),
        ),
        row=_row,
        selectable_fields=_selectable,
        selectable_names=("spec.unschedulable",),
    ),
)
