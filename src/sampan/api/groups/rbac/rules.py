"""Rules, subjects and role references: what the four kinds of RBAC share."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
from sampan.api.validation.common import Errors

GROUP = "rbac.authorization.k8s.io"


#: a roleRef as refusals show it
_REFERENCE: go_values.Layout = {
    "apiGroup": ("APIGroup", "", None), "kind": ("Kind", "", None), "name": ("Name", "", None),
}  # fmt: skip


def validate_rules(rules: list[Obj] | None, *, namespaced: bool) -> Errors:
    found: Errors = []
    for index, rule in enumerate(rules or ()):
        found += _rule(rule, f"rules[{index}]", namespaced=namespaced)
    return found


def _rule(rule: Obj, path: str, *, namespaced: bool) -> Errors:
    found: Errors = []
    if not rule.get("verbs"):
        found.append(errors.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            found.append(errors.invalid(f"{path}.nonResourceURLs", urls, text))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(errors.invalid(f"{path}.nonResourceURLs", urls, text))
        return found
    if not rule.get("apiGroups"):
        found.append(errors.required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        found.append(errors.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return found


def default_binding(binding: Obj) -> None:
    reference = binding.setdefault("roleRef", {})
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in binding.get("subjects") or ():
        if not subject.get("apiGroup"):
            if subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP
            else:
                subject.pop("apiGroup", None)


def validate_binding(binding: Obj, *, namespaced: bool) -> Errors:
    reference = binding.get("roleRef") or {}
    found = common.in_list(reference.get("apiGroup") or "", (GROUP,), "roleRef.apiGroup")
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if reference.get("kind") not in kinds:
        found.append(errors.not_supported("roleRef.kind", reference.get("kind", ""), kinds))
    if not reference.get("name"):
        found.append(errors.required("roleRef.name"))
    else:
        found += common.named(names.path_segment, reference["name"], "roleRef.name")
    for index, subject in enumerate(binding.get("subjects") or ()):
        found += _subject(subject, f"subjects[{index}]", namespaced=namespaced)
    return found


def _subject(subject: Obj, path: str, *, namespaced: bool) -> Errors:
    found: Errors = []
    name, kind, group = subject.get("name", ""), subject.get("kind", ""), subject.get("apiGroup", "")
    if not name:
        found.append(errors.required(f"{path}.name"))
    match kind:
        case "ServiceAccount":
            if name:
                found += common.named(names.dns1123_subdomain, name, f"{path}.name")
            if group:
                found.append(errors.not_supported(f"{path}.apiGroup", group, ("",)))
            if not namespaced and not subject.get("namespace"):
                found.append(errors.required(f"{path}.namespace"))
        case "User" | "Group":
            if group != GROUP:
                found.append(errors.not_supported(f"{path}.apiGroup", group, (GROUP,)))
        case _:
            found.append(errors.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
    return found


def validate_binding_update(new: Obj, old: Obj) -> Errors:
    if new.get("roleRef") == old.get("roleRef"):
        return []
    return [errors.invalid("roleRef", go_values.struct(new.get("roleRef") or {}, _REFERENCE), "cannot change roleRef")]


def subjects_by_kind(binding: Obj) -> tuple[str, str, str]:
    """Users, groups and service accounts, as the wide columns show them."""
    users: list[str] = []
    groups: list[str] = []
    accounts: list[str] = []
    for subject in binding.get("subjects") or ():
        match subject.get("kind"):
            case "ServiceAccount":
                accounts.append(f"{subject.get('namespace', '')}/{subject.get('name', '')}")
            case "User":
                users.append(subject.get("name", ""))
            case "Group":
                groups.append(subject.get("name", ""))
    return ", ".join(users), ", ".join(groups), ", ".join(accounts)
