"""The addresses of a Service: cluster IPs with their families, external ones, and what of them may change."""

from __future__ import annotations

from collections.abc import Sequence, Set

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation import addresses
from sampan.api.validation.common import Errors

_FAMILIES = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_PATH = "spec.clusterIPs"
_ONCE = "may not change once set"


def is_headless(spec: Obj) -> bool:
    return (spec.get("clusterIPs") or ()) == ["None"]


def check(spec: Obj, known: Set[str]) -> Errors:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy. ``known``: the addresses before an update."""
    if spec.get("type") == "ExternalName":
        return []
    many: list[str] = spec.get("clusterIPs") or []
    found = _agree(spec.get("clusterIP"), many)
    families: list[str] = spec.get("ipFamilies") or []
    seen: set[str] = set()
    for index, family in enumerate(families):
        if family not in _FAMILIES:
            found.append(errors.not_supported(f"spec.ipFamilies[{index}]", family, _FAMILIES))
        if family in seen:
            found.append(errors.duplicate(f"spec.ipFamilies[{index}]", family))
        seen.add(family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        found.append(errors.not_supported("spec.ipFamilyPolicy", policy, _POLICIES))
    faults = _each(many, known)
    found += faults
    if len(many) > 2:
        found.append(errors.invalid(_PATH, many, "may only hold up to 2 values"))
    if faults:
        return found
    if len(many) > 1 and len({addresses.is_v6(text) for text in many}) < 2:
        found.append(errors.invalid(_PATH, many, "may specify no more than one IP for each IP family"))
    return found if is_headless(spec) else found + _of_families(many, families)


def _agree(one: str | None, many: list[str]) -> Errors:
    if not one:
        return [errors.invalid(_PATH, many, "must be empty when `clusterIP` is not specified")] if many else []
    if not many:
        return [errors.required(_PATH)]
    return [] if many[0] == one else [errors.invalid(_PATH, many, "first value must match `clusterIP`")]


def _each(many: list[str], known: Set[str]) -> Errors:
    found: Errors = []
    for index, text in enumerate(many):
        if index or text != "None":
            found += addresses.ip(text, f"{_PATH}[{index}]", known)
        elif len(many) > 1:
            found.append(errors.invalid(_PATH, many, "'None' must be the first and only value"))
    return found


def _of_families(many: list[str], families: list[str]) -> Errors:
    found: Errors = []
    for index, (text, family) in enumerate(zip(many, families, strict=False)):
        if family in _FAMILIES and (family == "IPv6") != addresses.is_v6(text):
            reason = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            found.append(errors.invalid(f"{_PATH}[{index}]", text, reason))
    return found


def external(given: Sequence[str], known: Set[str]) -> Errors:
    found: Errors = []
    for index, text in enumerate(given):
        path = f"spec.externalIPs[{index}]"
        found += addresses.ip(text, path, known) or addresses.not_special(text, path)
    return found


def changes(spec: Obj, before: Obj) -> Errors:
    """A second address and family may come and go; the first ones stay, unless names take their place."""
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    headless, was_headless = is_headless(spec), is_headless(before)
    if headless and was_headless:
        return []
    found = _changed_addresses(spec, before)
    return found if headless or was_headless else found + _changed_families(spec, before)


def _changed_addresses(spec: Obj, before: Obj) -> Errors:
    new: list[str] = spec.get("clusterIPs") or []
    old: list[str] = before.get("clusterIPs") or []
    if len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [errors.invalid(f"{_PATH}[{i}]", new, _ONCE) for i, (was, now) in pairs if was != now]
    found: Errors = []
    if not new:
        found.append(errors.invalid(f"{_PATH}[0]", errors.NIL, "primary clusterIP can not be unset"))
    elif old and new[0] != old[0]:
        found.append(errors.invalid(f"{_PATH}[0]", new, _ONCE))
    if len(new) == 1 and len(old) > 1:
        found += _released(spec, "clusterIP")
    return found


def _changed_families(spec: Obj, before: Obj) -> Errors:
    new: list[str] = spec.get("ipFamilies") or []
    old: list[str] = before.get("ipFamilies") or []
    path = "spec.ipFamilies[0]"
    if len(old) == len(new):
        return [errors.invalid(path, new, _ONCE) for was, now in zip(old, new, strict=True) if was != now]
    found: Errors = []
    if len(old) > len(new) and not spec.get("clusterIPs"):
        found.append(errors.invalid(path, new or errors.NIL, "primary ipFamily can not be unset"))
    if old and new and new[0] != old[0]:
        found.append(errors.invalid(path, spec.get("clusterIPs") or errors.NIL, _ONCE))
    if len(new) == 1 and len(old) > 1:
        found += _released(spec, "ipFamily")
    return found


def _released(spec: Obj, what: str) -> Errors:
    policy = spec.get("ipFamilyPolicy")
    if policy == "SingleStack":
        return []
    text = f"must be set to 'SingleStack' when releasing the secondary {what}"
    return [errors.invalid("spec.ipFamilyPolicy", policy, text)]


def warnings(spec: Obj) -> list[str]:
    found: list[str] = []
    one, given = spec.get("clusterIP"), spec.get("externalIPs") or ()
    headless = spec.get("type") == "ClusterIP" and one == "None"
    if one and one != "None":
        for index, text in enumerate(spec.get("clusterIPs") or ()):
            found += addresses.ip_warnings(text, f"{_PATH}[{index}]")
    if headless:
        if spec.get("loadBalancerIP"):
            found.append("spec.loadBalancerIP is ignored for headless services")
        if given:
            found.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity") != "None":
            found.append("spec.SessionAffinity is ignored for headless services")
    for index, text in enumerate(given):
        found += addresses.ip_warnings(text, f"spec.externalIPs[{index}]")
    if given and not headless and spec.get("type") != "ExternalName":
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("loadBalancerIP"):
        found += addresses.ip_warnings(spec["loadBalancerIP"], "spec.loadBalancerIP")
    for index, text in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += addresses.cidr_warnings(text, f"spec.loadBalancerSourceRanges[{index}]")
    return found
