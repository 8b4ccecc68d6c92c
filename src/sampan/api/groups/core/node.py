"""Node (v1): created by node agents, watched over by the node lifecycle controller."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sampan.api import errors, gates, names, quantity
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind, Subresource
from sampan.api.types import Obj
from sampan.api.validation import addresses, common, resources, scheduling
from sampan.api.validation.common import Errors

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _default(node: Obj) -> None:
    _match_cidrs(node.setdefault("spec", {}))
    status = node.setdefault("status", {})
    capacity = status.get("capacity")
    if status.get("allocatable") is None and capacity is not None:
        status["allocatable"] = dict(capacity)
    for key in ("capacity", "allocatable"):
        for name, amount in (status.get(key) or {}).items():
            status[key][name] = quantity.canonical(amount)


def _match_cidrs(spec: Obj) -> None:
    """The singular field is the first of the plural one; where they differ, a client knows only the singular."""
    one, many = spec.get("podCIDR"), spec.get("podCIDRs")
    if one and one != next(iter(many or ()), None):
        spec["podCIDRs"] = [one]
    elif many and not one:
        spec["podCIDR"] = many[0]


def _prepare_create(node: Obj) -> None:
    """Dynamic kubelet configuration is gone; what names one is only kept where it was."""
    node["spec"].pop("configSource", None)
    node["status"].pop("config", None)


def _prepare_update(new: Obj, old: Obj) -> None:
    if (old.get("spec") or {}).get("configSource") is None:
        new.setdefault("spec", {}).pop("configSource", None)


def _validate(node: Obj) -> Errors:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    found = _taints(spec) + _amounts(status)
    swap = (status.get("nodeInfo") or {}).get("swap") or {}
    if swap.get("capacity") is not None and swap["capacity"] <= 0:
        found.append(errors.invalid("metadata.nodeSwapStatus.capacity", swap["capacity"], "must be greater than zero"))
    return found + _features(status) + _cidrs(spec.get("podCIDRs") or [])


def _taints(spec: Obj) -> Errors:
    """Upstream looks for them in metadata."""
    found: Errors = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path, key, effect = f"metadata.taints[{index}]", taint.get("key", ""), taint.get("effect", "")
        found += common.named(names.qualified_name, key, f"{path}.key")
        if problems := names.label_value(taint.get("value", "")):
            found.append(errors.invalid(f"{path}.value", taint["value"], ";".join(problems)))
        if not effect:
            found.append(errors.required(f"{path}.effect"))
        elif effect not in scheduling.TAINT_EFFECTS:
            found.append(errors.not_supported(f"{path}.effect", effect, scheduling.TAINT_EFFECTS))
        if (key, effect) in seen:
            shown = {"Key": key, "Value": taint.get("value", ""), "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            twice = errors.duplicate(path, shown)
            detail = f"{twice.detail}: taints must be unique by key and effect pair"
            found.append(replace(twice, detail=detail))
        seen.add((key, effect))
    return found


def _amounts(status: Obj) -> Errors:
    return [
        fault
        for key in ("capacity", "allocatable")
        for name, amount in (status.get(key) or {}).items()
        for fault in resources.resource_quantity(name, amount, f"status.{key}.{name}")
    ]


_LONGEST_FEATURE = 253
_FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z0-9]+)*", re.ASCII)
_FEATURE_FORM = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


def _features(status: Obj) -> Errors:
    declared: list[str] = status.get("declaredFeatures") or []
    found: Errors = []
    for index, name in enumerate(declared):
        path, fault = f"status.declaredFeatures[{index}]", ""
        if len(name) > _LONGEST_FEATURE:
            fault = f"must be no more than {_LONGEST_FEATURE} characters"
        elif not _FEATURE.fullmatch(name):
            fault = _FEATURE_FORM
        if fault:
            found.append(errors.invalid(path, name, f"invalid feature name {errors.quoted(name)}: {fault}"))
        after, path = next(iter(declared[index + 1 : index + 2]), None), f"status.declaredFeatures[{index + 1}]"
        if after == name:
            found.append(errors.duplicate(path, after))
        elif after is not None and after < name:
            found.append(errors.invalid(path, after, "list must be sorted alphabetically"))
    return found


def _cidrs(cidrs: list[str]) -> Errors:
    path = "spec.podCIDRs"
    found = [fault for index, text in enumerate(cidrs) for fault in addresses.cidr(text, f"{path}[{index}]")]
    if len(cidrs) > 1:
        versions = [parsed[1].version if (parsed := addresses.parse_cidr(text)) else 0 for text in cidrs]
        if sorted(versions) != [4, 6]:
            text = "may specify no more than one CIDR for each IP family"
            found.append(errors.invalid(path, cidrs, text))
    seen: set[str] = set()
    for index, text in enumerate(cidrs):
        if text in seen:
            found.append(errors.duplicate(f"{path}[{index}]", text))
        seen.add(text)
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    return _status(new) + _spec_changes(new.get("spec") or {}, old.get("spec") or {})


def _validate_status(new: Obj, old: Obj) -> Errors:
    return _status(new) + _taints(new.get("spec") or {})


def _status(node: Obj) -> Errors:
    status = node.get("status") or {}
    found = _amounts(status) + _features(status)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(status.get("addresses") or ()):
        shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
        identity = (shown["Type"], shown["Address"])
        if identity in seen:
            found.append(errors.duplicate(f"status.addresses[{index}]", shown))
        seen.add(identity)
    return found


def _spec_changes(spec: Obj, before: Obj) -> Errors:
    found: Errors = []
    cidrs, cidrs_before = spec.get("podCIDRs") or [], before.get("podCIDRs") or []
    if cidrs_before and cidrs != cidrs_before:
        text = 'node updates may not change podCIDR except from "" to valid'
        same = len(cidrs) == len(cidrs_before)
        times = sum(map(operator.ne, cidrs, cidrs_before)) if same else 1
        found += [errors.forbidden("spec.podCIDRs", text)] * times
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        found.append(errors.forbidden("spec.providerID", text))
    found += _taints(spec)
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        found.append(errors.forbidden("spec.externalID", "may not be updated"))
    return found


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    spec = new.get("spec") or {}
    found: list[str] = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, text in enumerate(spec.get("podCIDRs") or ()):
        found += addresses.cidr_warnings(text, f"spec.podCIDRs[{index}]")
    return found


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
    states = ["Unknown"] if not ready else ["Ready" if ready[-1] else "NotReady"]
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
        gated=gates.NODE,
        short_names=("no",),
        status=True,
        subresources=(
            Subresource("proxy", "NodeProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        ),
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=_validate_status,
        warnings=_warnings,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
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
