"""What a write to a pod's /status may say (upstream: ``ValidatePodStatusUpdate``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from sampan.api import errors, names
from sampan.api.groups.core import pod_update
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors

_SYSTEM_CONDITIONS: Final = ("PodScheduled", "Ready", "Initialized")
_STATUSES: Final = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_HEALTH: Final = ("Healthy", "Unhealthy", "Unknown")
_MAX_ID: Final = 2**31 - 1
_NOT_NEGATIVE: Final = "must be a non-negative integer"


def validate_status(new: Obj, old: Obj) -> Errors:
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    status, old_status = new.get("status") or {}, old.get("status") or {}
    found = pod_update.changed_annotations(new, old)
    for index, condition in enumerate(status.get("conditions") or ()):
        where = f"status.conditions[{index}]"
        if condition.get("observedGeneration", 0) < 0:
            value = condition["observedGeneration"]
            found.append(errors.invalid(f"{where}.observedGeneration", value, _NOT_NEGATIVE))
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            found += common.named(names.qualified_name, condition.get("type", ""), f"{where}.Type")
    if spec.get("nodeName") != old_spec.get("nodeName"):
        found.append(errors.forbidden("status.nodeName", "may not be changed directly"))
    found += _nominated(status.get("nominatedNodeName", ""), old_status.get("nominatedNodeName", ""), old_spec)
    if status.get("observedGeneration", 0) < 0:
        found.append(errors.invalid("status.observedGeneration", status["observedGeneration"], _NOT_NEGATIVE))
    if status.get("qosClass", "") != old_status.get("qosClass", ""):
        found.append(errors.invalid("status.qosClass", status.get("qosClass", ""), common.IMMUTABLE))
    found += _transitions(status, old_status, old_spec)
    found += _claims(status, spec)
    found += _addresses(status, old_status)
    for key in _STATUSES:
        for index, each in enumerate(status.get(key) or ()):
            if each.get("user") is not None:
                found += _user(each["user"], f"status.{key}[{index}].user", spec)
    for key, kind in zip(_STATUSES, ("containers", "initContainers", None), strict=True):
        found += _allocated(status.get(key) or (), f"status.{key}", spec.get(kind) or [] if kind else None)
    return found


def _nominated(name: str, before: str, old_spec: Obj) -> Errors:
    if not name or name == before:
        return []
    found = common.named(names.dns1123_subdomain, name, "status.nominatedNodeName")
    if old_spec.get("nodeName"):
        text = "may not be set on pods that are already bound to a node"
        found.append(errors.forbidden("status.nominatedNodeName", text))
    return found


# -- containers that have ended ----------------------------------------------------------------------------------


def _transitions(status: Obj, old: Obj, spec: Obj) -> Errors:
    """A container that has ended and is not to be restarted stays ended."""
    found: Errors = []
    listed = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    rules = [rule for container in listed for rule in container.get("restartPolicyRules") or ()]
    any_may = any(rule.get("action") == "RestartAllContainers" for rule in rules)
    for key, kind in zip(_STATUSES, ("containers", "initContainers", None), strict=True):
        if any_may and kind:
            continue
        now = _by_name(status.get(key) or ())
        own = _by_name(spec.get(kind) or ()) if kind else {}
        for index, before in enumerate(old.get(key) or ()):
            ended = (before.get("state") or {}).get("terminated")
            after = now.get(before.get("name"))
            if ended is None or after is None or (after.get("state") or {}).get("terminated") is not None:
                continue
            container = own.get(before.get("name"))
            if container is None or not should_restart(container, spec, ended.get("exitCode", 0)):
                text = "may not be transitioned to non-terminated state"
                found.append(errors.forbidden(f"status.{key}[{index}].state", text))
    return found


def _by_name(listed: Sequence[Obj]) -> dict[str | None, Obj]:
    """Of those with the same name, the first."""
    return {each.get("name"): each for each in reversed(listed)}


def should_restart(container: Obj, spec: Obj, exit_code: int) -> bool:
    """By its rules, by its own policy, by the pod's: the first that says something."""
    policy = container.get("restartPolicy")
    if policy is None:
        policy = spec.get("restartPolicy", "Always")
    else:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            if (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
                return True
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


# -- claims ------------------------------------------------------------------------------------------------------


def _claims(status: Obj, spec: Obj) -> Errors:
    found: Errors = []
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for index, each in enumerate(status.get("resourceClaimStatuses") or ()):
        where, name = f"status.resourceClaimStatuses[{index}].name", each.get("name", "")
        if name not in known:
            text = "must match the name of an entry in `spec.resourceClaims`"
            found.append(errors.invalid(where, name, text))
        if name in seen:
            found.append(errors.duplicate(where, name))
        seen.add(name)
        if each.get("resourceClaimName") is not None:
            found += common.named(names.dns1123_subdomain, each["resourceClaimName"], where)
    if status.get("extendedResourceClaimStatus") is not None:
        found += _extended(status["extendedResourceClaimStatus"], spec, "status.extendedResourceClaimStatus")
    return found


def _extended(claim: Obj, spec: Obj, path: str) -> Errors:
    by_name = {
        container.get("name"): container
        for key in ("initContainers", "containers")
        for container in spec.get(key) or ()
    }
    mappings = claim.get("requestMappings") or []
    found = [] if mappings else [
        errors.required(f"{path}.requestMappings", "at least one request mapping is required")
    ]  # fmt: skip
    seen: set[tuple[str, ...]] = set()
    for index, mapping in enumerate(mappings):
        where = f"{path}.requestMappings[{index}]"
        key = tuple(mapping.get(part, "") for part in ("containerName", "resourceName", "requestName"))
        container, resource, request = key
        if container not in by_name:
            text = "must match the name of an entry in spec.initContainers.name or spec.containers.name"
            found.append(errors.invalid(f"{where}.containerName", container, text))
        elif resource not in ((by_name[container].get("resources") or {}).get("requests") or {}):
            text = (
                "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
                "spec.containers.resources.requests"
            )
            found.append(errors.invalid(f"{where}.resourceName", resource, text))
        found += common.named(names.dns1123_label, request, f"{path}.requestName")
        if key in seen:
            found += [
                errors.duplicate(f"{where}.{part}", value)
                for part, value in zip(("containerName", "resourceName", "requestName"), key, strict=True)
            ]
        seen.add(key)
    if not claim.get("resourceClaimName"):
        return [*found, errors.required(f"{path}.resourceClaimName")]
    return found + common.named(names.dns1123_subdomain, claim["resourceClaimName"], f"{path}.resourceClaimName")


# -- addresses, users, devices -----------------------------------------------------------------------------------


def _addresses(status: Obj, old: Obj) -> Errors:
    found: Errors = []
    host_ips = status.get("hostIPs") or []
    if host_ips and status.get("hostIP", "") != host_ips[0].get("ip", ""):
        first = host_ips[0].get("ip", "")
        host = [errors.invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`")]
    else:
        host = []
    for key, before in (("podIPs", found), ("hostIPs", host)):
        known = frozenset(each.get("ip", "") for each in old.get(key) or ())
        listed = [each.get("ip", "") for each in status.get(key) or ()]
        for index, text in enumerate(listed):
            before += addresses.ip(text, f"status.{key}[{index}]", known)
        if len(listed) > 1 and (len(listed) > 2 or addresses.is_v6(listed[0]) == addresses.is_v6(listed[1])):
            shown = [{"IP": text} for text in listed]
            text = "may specify no more than one IP for each IP family"
            before.append(errors.invalid(f"status.{key}", shown, text))
    return found + host


def _user(user: Obj, path: str, spec: Obj) -> Errors:
    linux = user.get("linux")
    if linux is None:
        return []
    if (spec.get("os") or {}).get("name") == "windows":
        return [errors.forbidden(f"{path}.linux", "cannot be set for a windows pod")]
    ids = [(f"{path}.linux.{key}", linux.get(key, 0)) for key in ("uid", "gid")]
    ids += [
        (f"{path}.linux.supplementalGroups[{index}]", group)
        for index, group in enumerate(linux.get("supplementalGroups") or ())
    ]
    text = f"must be between 0 and {_MAX_ID}, inclusive"
    return [errors.invalid(where, value, text) for where, value in ids if not 0 <= value <= _MAX_ID]


def _allocated(statuses: Any, path: str, containers: list[Obj] | None) -> Errors:
    """Health of devices. ``containers``: None where there may be none (ephemeral ones)."""
    found: Errors = []
    by_name = _by_name(containers or ())
    for index, status in enumerate(statuses):
        listed = status.get("allocatedResourcesStatus") or []
        where = f"{path}[{index}].allocatedResourcesStatus"
        if containers is None:
            if listed:
                found.append(errors.forbidden(where, "must not be specified in container status"))
            continue
        own = by_name.get(status.get("name"))
        known = None if own is None or not listed else _devices(own)
        for position, each in enumerate(listed):
            found += _health(each, f"{where}[{position}]", known)
    return found


def _devices(container: Obj) -> Set[str]:
    """What a container may have devices of: its requests, and its claims as a status calls them."""
    resources = container.get("resources") or {}
    claims = {
        f"claim:{claim.get('name', '')}" + (f"/{claim['request']}" if claim.get("request") else "")
        for claim in resources.get("claims") or ()
    }
    return claims.union(resources.get("requests") or ())


def _health(each: Mapping[str, Any], path: str, known: Set[str] | None) -> Errors:
    """``known``: None of a container that the pod does not have."""
    found: Errors = []
    name = each.get("name", "")
    if known is not None and name not in known:
        text = "must match one of the container's resource requests"
        if name.startswith("claim:"):
            text = (
                "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                "'claim:<claimName>' if request is empty"
            )
        found.append(errors.invalid(f"{path}.name", name, text))
    seen: set[str] = set()
    for index, device in enumerate(each.get("resources") or ()):
        where, device_id = f"{path}.resources[{index}]", device.get("resourceID", "")
        if device.get("health", "") not in _HEALTH:
            found.append(errors.not_supported(f"{where}.health", device.get("health", ""), _HEALTH))
        if device_id in seen:
            found.append(errors.duplicate(f"{where}.resourceID", device_id))
        seen.add(device_id)
    return found
