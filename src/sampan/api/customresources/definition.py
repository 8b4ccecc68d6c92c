"""What a CustomResourceDefinition may say (apiextensions ``validation/validation.go``, v1.37).

Upstream judges its internal form, in which what all versions share stands once: so a fault in the schema of a
definition with one version, or with the same schema in all, is told under ``spec.validation``, a printer column's
under ``spec.additionalPrinterColumns``, and a webhook's under ``spec.conversion.webhookClientConfig``. People search
for these words. What an update did not change of the schemas is not judged again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sampan.api import errors, names
from sampan.api.customresources import conversion, versionrules
from sampan.api.customresources.paths import Path
from sampan.api.errors import FieldError
from sampan.api.types import Obj
from sampan.api.validation import common

Errors = list[FieldError]

APPROVED: Final = "api-approved.kubernetes.io"
_PULL: Final = "see https://github.com/kubernetes/enhancements/pull/1111"
SPEC: Final = Path(None, ".spec")


def validate_definition(new: Obj, old: Obj | None = None) -> Errors:
    """All faults of a definition that is created, or replaces ``old``. Generic metadata is judged elsewhere."""
    spec: Mapping[str, Any] = new.get("spec") or {}
    before: Mapping[str, Any] | None = (old.get("spec") or {}) if old is not None else None
    found = _name(new) if old is None else []
    found += _spec(spec, before, established=old is not None and is_true(old, "Established"))
    if before is not None:
        found += _unchanged(spec, before, established=is_true(old, "Established"))
    status = new.get("status") or {}
    found += _names(status.get("acceptedNames") or {}, "status.acceptedNames")
    found += _stored_versions(status.get("storedVersions") or [], spec.get("versions") or [])
    return found + _approval(new, old) + _preserve(spec, before)


def validate_status(new: Obj, old: Obj) -> Errors:
    return _names((new.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def is_true(definition: Obj | None, condition: str) -> bool:
    found = ((definition or {}).get("status") or {}).get("conditions") or ()
    return any(item.get("type") == condition and item.get("status") == "True" for item in found)


def _name(definition: Obj) -> Errors:
    spec = definition.get("spec") or {}
    name = (definition.get("metadata") or {}).get("name", "")
    if name == f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        return []
    return [errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')]


def _spec(spec: Mapping[str, Any], old: Mapping[str, Any] | None, *, established: bool) -> Errors:
    declared: Mapping[str, Any] = spec.get("names") or {}
    found = _group(spec.get("group") or "")
    found += common.one_of(spec.get("scope"), ("Cluster", "Namespaced"), "spec.scope", must=True)
    found += versionrules.validate(spec, old)
    for key in ("plural", "singular", "kind", "listKind"):
        if not declared.get(key):
            found.append(errors.required(f"spec.names.{key}"))
    found += _names(declared, "spec.names")
    before = old.get("conversion") if old is not None else None
    return found + conversion.validate(spec.get("conversion"), before, old is not None, established=established)


def _group(group: str) -> Errors:
    if not group:
        return [errors.required("spec.group")]
    if problems := names.dns1123_subdomain(group):
        return [errors.invalid("spec.group", group, ",".join(problems))]
    if "." not in group:
        return [errors.invalid("spec.group", group, "should be a domain with at least one dot")]
    return []


def _names(declared: Mapping[str, Any], path: str) -> Errors:
    found: Errors = []
    for key in ("plural", "singular"):
        found += _label(declared.get(key) or "", f"{path}.{key}")
    for key in ("kind", "listKind"):
        text = declared.get(key) or ""
        if text and (problems := names.dns1035_label(text.lower())):
            detail = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            found.append(errors.invalid(f"{path}.{key}", text, detail))
    for index, text in enumerate(declared.get("shortNames") or ()):
        found += _label(text, f"{path}.shortNames[{index}]", must=True)
    if declared.get("kind") and declared.get("kind") == declared.get("listKind"):
        text = "kind and listKind may not be the same"
        found.append(errors.invalid(f"{path}.listKind", declared["listKind"], text))
    for index, text in enumerate(declared.get("categories") or ()):
        found += _label(text, f"{path}.categories[{index}]", must=True)
    return found


def _label(text: str, path: str, *, must: bool = False) -> Errors:
    problems = names.dns1035_label(text) if text or must else []
    return [errors.invalid(path, text, ",".join(problems))] if problems else []


def _unchanged(spec: Mapping[str, Any], old: Mapping[str, Any], *, established: bool) -> Errors:
    """The group and the plural are the definition's name; scope and kind are what stored objects have."""
    declared, before = spec.get("names") or {}, old.get("names") or {}
    found: Errors = []
    if established:
        found += common.immutable(spec.get("scope"), old.get("scope"), "spec.scope")
        found += common.immutable(declared.get("kind"), before.get("kind"), "spec.names.kind")
    found += common.immutable(spec.get("group"), old.get("group"), "spec.group")
    return found + common.immutable(declared.get("plural"), before.get("plural"), "spec.names.plural")


def _stored_versions(stored: list[str], versions: list[Mapping[str, Any]]) -> Errors:
    path = "status.storedVersions"
    if not stored:
        return [errors.invalid(path, stored, "must have at least one stored version")]
    declared = [version.get("name", "") for version in versions]
    found = [
        errors.invalid(path, stored, f"must have the storage version {version.get('name', '')}")
        for version in versions
        if version.get("storage") and version.get("name", "") not in stored
    ]
    for index, name in enumerate(stored):
        if name not in declared:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            found.append(errors.invalid(f"{path}[{index}]", name, text))
    return found


# --- groups of the community, and what is no longer done


def _approval(new: Obj, old: Obj | None) -> Errors:
    group = (new.get("spec") or {}).get("group") or ""
    if not any(group == suffix or group.endswith(f".{suffix}") for suffix in ("k8s.io", "kubernetes.io")):
        return []
    value = _annotation(new)
    state, problem = _approval_state(value)
    if not problem or (old is not None and _approval_state(_annotation(old))[0] == state):
        return []
    path = f"metadata.annotations[{APPROVED}]"
    return [errors.invalid(path, value, problem) if value else errors.required(path, problem)]


def _annotation(definition: Obj) -> str:
    return str(((definition.get("metadata") or {}).get("annotations") or {}).get(APPROVED) or "")


def _approval_state(value: str) -> tuple[str, str]:
    """missing, bypassed, approved or invalid; and what is wrong with it."""
    opening = f'protected groups must have approval annotation "{APPROVED}"'
    if not value:
        return "missing", f"{opening}, {_PULL}"
    if value.startswith("unapproved"):
        return "bypassed", ""
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme and parts.netloc:
        return "approved", ""
    return "invalid", f'{opening} with either a URL or a reason starting with "unapproved", {_PULL}'


def _preserve(spec: Mapping[str, Any], old: Mapping[str, Any] | None) -> Errors:
    if not spec.get("preserveUnknownFields") or (old is not None and old.get("preserveUnknownFields")):
        return []
    text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [errors.invalid("spec.preserveUnknownFields", True, text)]
