"""The rules of a FlowSchema: who, and what they ask for. Spec: flowcontrol/validation ``ValidateFlowSchemaSpec``."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_KINDS = ("Group", "ServiceAccount", "User")
#: of each kind of subject: its field
_FIELDS = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_ALL = "*"


def validate(rules: Sequence[Obj], path: str) -> Errors:
    found: Errors = []
    for index, rule in enumerate(rules):
        found += _rule(rule, f"{path}[{index}]")
    return found


def _rule(rule: Obj, path: str) -> Errors:
    found: Errors = []
    subjects = rule.get("subjects") or ()
    for index, subject in enumerate(subjects):
        found += _subject(subject, f"{path}.subjects[{index}]")
    if not subjects:
        found.append(errors.required(f"{path}.subjects", "subjects must contain at least one value"))
    resources, urls = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not urls:
        text = "at least one of resourceRules and nonResourceRules has to be non-empty"
        found.append(errors.required(path, text))
    for index, each in enumerate(resources):
        found += _resource_rule(each, f"{path}.resourceRules[{index}]")
    for index, each in enumerate(urls):
        found += _url_rule(each, f"{path}.nonResourceRules[{index}]")
    return found


def _subject(subject: Obj, path: str) -> Errors:
    kind = subject.get("kind") or ""
    if kind not in _FIELDS:
        return [errors.not_supported(f"{path}.kind", kind, _KINDS)]
    field = _FIELDS[kind]
    found = _named(subject.get(field), kind, f"{path}.{field}")
    for other, key in _FIELDS.items():
        if other != kind and subject.get(key) is not None:
            text = f"{key} is forbidden when subject kind is not '{other}'"
            found.append(errors.forbidden(f"{path}.{key}", text))
    return found


def _named(who: Obj | None, kind: str, path: str) -> Errors:
    if who is None:
        return [errors.required(path, f"{_FIELDS[kind]} is required when subject kind is '{kind}'")]
    name, found = who.get("name") or "", Errors()
    if not name:
        found.append(errors.required(f"{path}.name"))
    if kind != "ServiceAccount":
        return found
    if name and name != _ALL:
        found += common.named(names.dns1123_subdomain, name, f"{path}.name")
    namespace = who.get("namespace") or ""
    if not namespace:
        found.append(errors.required(f"{path}.namespace", "must specify namespace for service account"))
        return found
    return found + common.named(names.dns1123_label, namespace, f"{path}.namespace")


def _verbs(verbs: list[str], path: str) -> Errors:
    if not verbs:
        return [errors.required(path, "verbs must contain at least one value")]
    if _ALL in verbs:
        return _alone(verbs, "verbs", path)
    return [] if set(verbs) <= set(_VERBS) else [errors.not_supported(path, verbs, _VERBS)]


def _alone(words: list[str], what: str, path: str) -> Errors:
    """Who means all names nothing besides."""
    if _ALL not in words or len(words) == 1:
        return []
    return [errors.invalid(path, words, f"if '*' is present, must not specify other {what}")]


def _resource_rule(rule: Obj, path: str) -> Errors:
    found = _verbs(rule.get("verbs") or [], f"{path}.verbs")
    for key, what, one in (("apiGroups", "api groups", "api group"), ("resources", "resources", "resource")):
        words = rule.get(key) or []
        if not words:
            found.append(errors.required(f"{path}.{key}", f"resource rules must supply at least one {one}"))
        found += _alone(words, what, f"{path}.{key}")
    namespaces, where = rule.get("namespaces") or [], f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        return [*found, errors.required(where, text)]
    if _ALL in namespaces:
        return found + _alone(namespaces, "namespaces", where)
    for index, namespace in enumerate(namespaces):
        for text in names.dns1123_label(namespace):
            text = f"each member of this list must be '*' or a DNS-1123 label; {text}"
            found.append(errors.invalid(f"{where}[{index}]", namespace, text))
    return found


def _url_rule(rule: Obj, path: str) -> Errors:
    found = _verbs(rule.get("verbs") or [], f"{path}.verbs")
    urls, where = rule.get("nonResourceURLs") or [], f"{path}.nonResourceURLs"
    if not urls:
        return [*found, errors.required(where, "nonResourceURLs must contain at least one value")]
    if _ALL in urls:
        return found + _alone(urls, "non-resource URLs", where)
    for index, url in enumerate(urls):
        if text := _url_fault(url):
            found.append(errors.invalid(f"{where}[{index}]", url, text))
    return found


def _url_fault(url: str) -> str:
    """ "" when it is one."""
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    wildcards = url.count("*")
    return "wildcard can only do suffix matching" if wildcards > 1 or (wildcards and url[-2:] != "/*") else ""
