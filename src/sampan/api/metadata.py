"""Object metadata: what the server fills in, and what may stand in it, the same for every kind.

Called by the server around a kind's own strategy and validation. Pure: time, uid and randomness are arguments.
Rules and wording: apimachinery ``api/validation/objectmeta.go`` and apiserver ``registry/rest``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import orjson

from sampan.api import errors, names
from sampan.api.clock import Random, format_time
from sampan.api.errors import FieldError
from sampan.api.kind import Kind
from sampan.api.objects import same
from sampan.api.types import Obj

ANNOTATIONS_LIMIT_BYTES = 256 * 1024
IMMUTABLE = "field is immutable"

#: Characters of generated names: no vowels and nothing that looks like another, so that no words appear.
SAFE_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_BASE_LENGTH = 63 - _SUFFIX_LENGTH

#: groups of upstream's other servers, whose finalizers may have any qualified name, as those of custom resources
_ANY_FINALIZER = frozenset(("apiextensions.k8s.io", "apiregistration.k8s.io"))
STANDARD_FINALIZERS = frozenset(("kubernetes", "orphan", "foregroundDeletion"))


# -- what the server fills in ------------------------------------------------------------------------------------


def generate_name(base: str, random: Random) -> str:
    """``base`` cut to 58 characters, and five random ones."""
    return base[:_BASE_LENGTH] + "".join(random.choice(SAFE_CHARACTERS) for _ in range(_SUFFIX_LENGTH))


def prepare_metadata_create(obj: Obj, kind: Kind, *, now: datetime, uid: str, random: Random) -> None:
    """Fills what only the server may set and wipes what a client must not. The name is generated when asked for."""
    metadata = obj.setdefault("metadata", {})
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
        metadata.pop(key, None)
    metadata["creationTimestamp"] = format_time(now)
    metadata["uid"] = uid
    metadata.pop("generation", None)
    if kind.generation:
        metadata["generation"] = 1
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generate_name(metadata["generateName"], random)
    drop_empty(metadata)


_KEPT_WHEN_UNSET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName")


def prepare_metadata_update(new: Obj, old: Obj) -> None:
    """Carries over what an update may leave out but never change (rest.BeforeUpdate)."""
    metadata, previous = new.setdefault("metadata", {}), old.get("metadata", {})
    metadata.pop("selfLink", None)
    for key in _KEPT_WHEN_UNSET:
        kept = previous.get(key)
        if kept is not None and not metadata.get(key):
            metadata[key] = kept
    if "generation" in previous:
        metadata["generation"] = previous["generation"]
    else:
        metadata.pop("generation", None)
    drop_empty(metadata)


def drop_empty(metadata: Obj) -> None:
    """Empty collections and texts are as good as absent, and are not stored."""
    if all(metadata.values()):
        return
    for key in ("labels", "annotations", "finalizers", "ownerReferences", "generateName", "namespace"):
        if key in metadata and not metadata[key]:
            del metadata[key]


def next_generation(new: Obj, old: Obj, *, status_counts: bool = False, counted: Sequence[str] = ()) -> int:
    """The generation after an update: one more when anything but metadata (and mostly status) differs. ``counted``:
    what of metadata counts too."""
    current: int = old.get("metadata", {}).get("generation", 0)
    ignored = ("metadata", "kind", "apiVersion", *(() if status_counts else ("status",)))
    changed = any(not same(new.get(key), old.get(key)) for key in {**new, **old} if key not in ignored)
    if counted and not changed:
        before, after = (obj.get("metadata", {}) for obj in (old, new))
        changed = any((before.get(key) or {}) != (after.get(key) or {}) for key in counted)
    return current + 1 if changed else current


def drop_duplicate_owners(obj: Obj) -> str | None:
    """Keeps the first of owner references that are the same; the text of the Warning when there were any."""
    metadata = obj.get("metadata", {})
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) < 2:
        return None
    kept: dict[bytes, Obj] = {}
    repeated: list[str] = []
    for owner in owners:
        if kept.setdefault(orjson.dumps(owner, option=orjson.OPT_SORT_KEYS), owner) is not owner:
            repeated.append(owner.get("uid", ""))
    if not repeated:
        return None
    metadata["ownerReferences"] = list(kept.values())
    return (
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
        "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        + ", ".join(dict.fromkeys(repeated))
    )


# -- validation --------------------------------------------------------------------------------------------------


def validate_create(obj: Obj, kind: Kind) -> list[FieldError]:
    metadata = obj.get("metadata", {})
    found: list[FieldError] = []
    check = kind.name_check
    name, base = metadata.get("name", ""), metadata.get("generateName", "")
    if base:
        found += [errors.invalid("metadata.generateName", base, text) for text in names.as_prefix(check, base)]
    if name:
        found += [errors.invalid("metadata.name", name, text) for text in check(name)]
    else:
        found.append(errors.required("metadata.name", "name or generateName is required"))
    found += _validate_namespace(metadata, kind)
    if metadata.get("generation", 0) < 0:
        found.append(
            errors.invalid("metadata.generation", metadata["generation"], "must be greater than or equal to 0")
        )
    return found + _validate_common(metadata, kind)


def _validate_namespace(metadata: Obj, kind: Kind) -> list[FieldError]:
    namespace = metadata.get("namespace", "")
    if not kind.namespaced:
        return [errors.forbidden("metadata.namespace", "not allowed on this type")] if namespace else []
    if not namespace:
        return [errors.required("metadata.namespace")]
    return [errors.invalid("metadata.namespace", namespace, text) for text in names.dns1123_label(namespace)]


def _validate_common(metadata: Obj, kind: Kind) -> list[FieldError]:
    found = validate_labels(metadata.get("labels"), "metadata.labels")
    found += validate_annotations(metadata.get("annotations"), "metadata.annotations")
    if owners := metadata.get("ownerReferences"):
        found += validate_owner_references(owners, "metadata.ownerReferences")
    if finalizers := metadata.get("finalizers"):
        found += _validate_finalizers(finalizers, kind)
    return found


def validate_embedded(metadata: Obj, path: str) -> list[FieldError]:
    """Of a resource that stands inside a custom resource: it may have any name, and none."""
    found: list[FieldError] = []
    name, base, namespace = (metadata.get(key) or "" for key in ("name", "generateName", "namespace"))
    if base:
        check = names.as_prefix(names.path_segment, base)
        found += [errors.invalid(f"{path}.generateName", base, text) for text in check]
    found += [errors.invalid(f"{path}.name", name, text) for text in (names.path_segment(name) if name else ())]
    if namespace:
        problems = names.dns1123_label(namespace)
        found += [errors.invalid(f"{path}.namespace", namespace, text) for text in problems]
    found += validate_labels(metadata.get("labels"), f"{path}.labels")
    found += validate_annotations(metadata.get("annotations"), f"{path}.annotations")
    return found + validate_owner_references(metadata.get("ownerReferences") or [], f"{path}.ownerReferences")


def validate_labels(labels: dict[str, str] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for key, value in (labels or {}).items():
        for text in names.qualified_name(key):
            found.append(errors.invalid(path, key, text))
        for text in names.label_value(value):
            found.append(errors.invalid(path, value, text))
    return found


def validate_annotations(annotations: dict[str, str] | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not annotations:
        return found
    for key in annotations:
        # Annotation keys are checked in lower case: historical ones have capitals in the prefix.
        for text in names.qualified_name(key.lower()):
            found.append(errors.invalid(path, key, text))
    if annotations_size(annotations) > ANNOTATIONS_LIMIT_BYTES:
        found.append(errors.too_long(path, ANNOTATIONS_LIMIT_BYTES))
    return found


def annotations_size(annotations: dict[str, str]) -> int:
    """Bytes of all keys and values."""
    return len("".join((*annotations, *annotations.values())).encode())


def validate_owner_references(owners: list[Obj], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    controller: str | None = None
    shown: errors.Verbatim | None = None  # all of them are shown with each that is one too many
    for owner in owners:
        if len(found) > errors.MOST_CAUSES:
            break
        if not owner.get("apiVersion", "").rpartition("/")[2]:
            found.append(errors.invalid(f"{path}.apiVersion", owner.get("apiVersion", ""), "version must not be empty"))
        for key in ("kind", "name", "uid"):
            if not owner.get(key):
                found.append(errors.invalid(f"{path}.{key}", owner.get(key, ""), "must not be empty"))
        if owner.get("kind") == "Event" and owner.get("apiVersion") in ("v1", "events.k8s.io/v1"):
            found.append(errors.invalid(path, owner, "Event is disallowed from being an owner"))
        if owner.get("controller"):
            if controller is not None:
                text = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {owner.get('name', '')}"
                )
                shown = shown or errors.Verbatim(errors.quoted(owners))
                found.append(errors.invalid(path, shown, text))
            else:
                controller = owner.get("name", "")
    return found


def _validate_finalizers(finalizers: list[str], kind: Kind) -> list[FieldError]:
    path = "metadata.finalizers"
    found: list[FieldError] = []
    builtin = not kind.custom and kind.group not in _ANY_FINALIZER
    for index, finalizer in enumerate(finalizers):
        problems = names.qualified_name(finalizer)
        found += [errors.invalid(path, finalizer, text) for text in problems]
        if builtin and not problems and "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(errors.invalid(f"{path}[{index}]", finalizer, text))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        found.append(errors.invalid(path, finalizers, text))
    return found


def resource_version_required() -> FieldError:
    """For a PUT without resourceVersion on a kind that wants one. Upstream prints the zero in Go's hexadecimal."""
    return FieldError(
        "FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update"
    )


_IMMUTABLE_FIELDS = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp")
_UNSET = ("",) * len(_IMMUTABLE_FIELDS)


def validate_update(new: Obj, old: Obj, kind: Kind) -> list[FieldError]:
    """For a (new, old) pair that ``prepare_metadata_update`` saw."""
    metadata, previous = new.get("metadata", {}), old.get("metadata", {})
    found: list[FieldError] = []
    if [*map(metadata.get, _IMMUTABLE_FIELDS, _UNSET)] != [*map(previous.get, _IMMUTABLE_FIELDS, _UNSET)]:
        found += (
            errors.invalid(f"metadata.{key}", metadata.get(key, ""), IMMUTABLE)
            for key in _IMMUTABLE_FIELDS
            if metadata.get(key, "") != previous.get(key, "")
        )
    grace, previous_grace = metadata.get("deletionGracePeriodSeconds"), previous.get("deletionGracePeriodSeconds")
    if previous.get("deletionTimestamp") and grace != previous_grace:
        found.append(errors.invalid("metadata.deletionGracePeriodSeconds", grace, IMMUTABLE))
    if metadata.get("generation", 0) < previous.get("generation", 0):
        found.append(errors.invalid("metadata.generation", metadata.get("generation", 0), "must not be decremented"))
    if previous.get("deletionTimestamp"):
        added = sorted(set(metadata.get("finalizers") or ()) - set(previous.get("finalizers") or ()))
        if added:
            listed = ", ".join(orjson.dumps(item).decode() for item in added)
            text = (
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{listed}}}"
            )
            found.append(errors.forbidden("metadata.finalizers", text))
    return found + _validate_common(metadata, kind)
