"""Which families of addresses a Service has, from what was asked for and what the cluster has (upstream: alloc.go,
``initIPFamilyFields``). Pure, but that it completes the Service in place.

The order of the checks is upstream's, and so are its special cases: a Service that prefers both families and is not
changed stays as it is when the cluster has become another, and one without addresses and selector may have any.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sampan.api import errors
from sampan.api.types import Obj

FAMILY_FIELDS = ("ipFamilies", "ipFamilyPolicy")
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_WITH_ADDRESSES = ("ClusterIP", "NodePort", "LoadBalancer")
_POLICY, _HEADLESS = "spec.ipFamilyPolicy", "None"


def complete_families(service: Obj, old: Obj | None, configured: Sequence[str]) -> list[errors.FieldError]:
    """Sets ``ipFamilyPolicy`` and ``ipFamilies``; gives what is wrong. ``configured``: the cluster's families, the
    first one first. The Service needs addresses or is headless: it is none that stands for a name."""
    spec, before = service["spec"], (old or {}).get("spec") or {}
    if old is not None and _stays_as_it_is(spec, before):
        return []
    headless = spec.get("clusterIP") == _HEADLESS or (spec.get("clusterIPs") or [""])[0] == _HEADLESS
    unselected = headless and not spec.get("selector")
    spec["ipFamilyPolicy"] = policy = (
        spec.get("ipFamilyPolicy")
        or before.get("ipFamilyPolicy")
        or ("RequireDualStack" if unselected else "SingleStack")
    )
    faults = _of_update(spec, before, policy) if old is not None else []
    faults += _of_policy(spec, policy)
    faults += _infer(spec, configured)
    if faults:
        return faults
    families: list[str] = list(spec.get("ipFamilies") or ())
    if not unselected:
        faults = _of_cluster(policy, families, configured)
        if faults:
            return faults
    families = families or [configured[0]]
    if policy != "SingleStack" and len(families) == 1 and (unselected or len(configured) == 2):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families
    return []


def _stays_as_it_is(spec: Obj, before: Obj) -> bool:
    return (
        spec.get("ipFamilyPolicy") == "PreferDualStack"
        and before.get("ipFamilyPolicy") in (None, "PreferDualStack")
        and spec.get("type") == before.get("type")
        and spec.get("type") in _WITH_ADDRESSES
        and _same(spec, before, "clusterIPs")
        and _same(spec, before, "ipFamilies")
    )


def _same(spec: Obj, before: Obj, key: str) -> bool:
    return (spec.get(key) or []) == (before.get(key) or [])


def _of_update(spec: Obj, before: Obj, policy: str) -> list[errors.FieldError]:
    if policy == "SingleStack":
        release_second(spec, before)
        return []
    return [
        errors.invalid(_POLICY, policy, f"must be 'SingleStack' to release the secondary {what}")
        for key, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family"))
        if spec.get(key) and len(spec[key]) < len(before.get(key) or ())
    ]


def release_second(spec: Obj, before: Obj) -> None:
    """Whoever sets the policy to one family, and changes nothing else, means that the second one goes."""
    for key in ("clusterIPs", "ipFamilies"):
        if len(spec.get(key) or ()) > 1 and _same(spec, before, key):
            spec[key] = spec[key][:1]


def _of_policy(spec: Obj, policy: str) -> list[errors.FieldError]:
    if policy != "SingleStack":
        return []
    return [
        errors.invalid(
            _POLICY, policy, f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
        )
        for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(key) or ()) == 2
    ]


def _infer(spec: Obj, configured: Sequence[str]) -> list[errors.FieldError]:
    """Families that are not named are those of the addresses."""
    found: list[errors.FieldError] = []
    families: list[str] = list(spec.get("ipFamilies") or ())
    for index, text in enumerate(spec.get("clusterIPs") or ()):
        if text == _HEADLESS:
            break
        if index < len(families):
            continue
        try:
            family = f"IPv{ipaddress.ip_address(text).version}"
        except ValueError:  # validation says so
            break
        if family in configured:
            families.append(family)
        else:
            reason = f"{family} is not configured on this cluster"
            found.append(errors.invalid(f"spec.clusterIPs[{index}]", spec["clusterIPs"], reason))
    if families:
        spec["ipFamilies"] = families
    return found


def _of_cluster(policy: str, families: Sequence[str], configured: Sequence[str]) -> list[errors.FieldError]:
    found: list[errors.FieldError] = []
    if policy == "RequireDualStack" and len(configured) < 2:
        found.append(errors.invalid(_POLICY, policy, "this cluster is not configured for dual-stack services"))
    found += [
        errors.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(families)
        if family not in configured
    ]
    return found
