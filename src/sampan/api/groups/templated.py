"""What the kinds that make pods from a template have in common: the selector, the template, counters of a status.

The order of checks is the reference's, and it differs from kind to kind: who calls puts them together.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api import errors, labels
from sampan.api.types import Obj
from sampan.api.validation import common, pod
from sampan.api.validation.common import Errors

MISMATCH: Final = "`selector` does not match template `labels`"


def selector(value: Obj | None, path: str, owner: str) -> Errors:
    """Present and not empty. ``owner`` is the kind, for messages."""
    if value is None:
        return [errors.required(path)]
    return common.label_selector(value, path) + not_empty(value, path, owner)


def not_empty(value: Obj | None, path: str, owner: str) -> Errors:
    if value is None or not common.selector_is_empty(value):
        return []
    return [errors.invalid(path, shown_selector(value), f"empty selector is invalid for {owner}")]


def selects(value: Obj | None, template: Obj, path: str) -> Errors:
    """Whether the template's pods are those that are selected: nothing selects nothing, an empty selector all.
    ``path``: of the template. For a selector without faults."""
    labels_of = (template.get("metadata") or {}).get("labels") or {}
    if labels.from_label_selector(value).matches(labels_of):
        return []
    return [errors.invalid(f"{path}.metadata.labels", shown_map(labels_of), MISMATCH)]


def always_restarted(template: Obj, path: str, owner: str) -> Errors:
    spec = template.get("spec") or {}
    found: Errors = []
    policy = spec.get("restartPolicy", "")
    if policy != "Always":
        found.append(errors.not_supported(f"{path}.spec.restartPolicy", policy, ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {owner} is not Supported"
        found.append(errors.forbidden(f"{path}.spec.activeDeadlineSeconds", text))
    return found


def template_of(obj: Obj | None) -> Obj | None:
    """That in the spec of a workload, if there is one."""
    found: Obj | None = ((obj or {}).get("spec") or {}).get("template")
    return found


def replica_template(spec: Obj, path: str, before: Obj | None) -> Errors:
    """Selector and template of a ReplicaSet, and of a Deployment, which hands them on. ``path``: of the spec;
    ``before``: the template before an update."""
    value, template = spec.get("selector"), spec.get("template") or {}
    found = selector(value, f"{path}.selector", "deployment")
    if value is not None and common.label_selector(value, ""):
        return [*found, errors.invalid(f"{path}.selector", shown_selector(value), "invalid label selector")]
    found += selects(value, template, f"{path}.template")
    found += pod.pod_template(template, f"{path}.template", before)
    return found + always_restarted(template, f"{path}.template", "ReplicaSet")


def same_selector(new: Obj, old: Obj) -> Errors:
    value = (new.get("spec") or {}).get("selector")
    if value == (old.get("spec") or {}).get("selector"):
        return []
    return [errors.invalid("spec.selector", None if value is None else shown_selector(value), common.IMMUTABLE)]


# -- status ------------------------------------------------------------------------------------------------------


def counters(status: Obj, *keys: str) -> Errors:
    return [fault for key in keys for fault in common.non_negative(status.get(key), f"status.{key}")]


def not_more(status: Obj, most: str, *keys: str, said: str = "") -> Errors:
    """Counters that are parts of another. ``said``: what the other is called in messages."""
    limit, text = status.get(most) or 0, f"cannot be greater than {said or f'status.{most}'}"
    return [
        errors.invalid(f"status.{key}", status.get(key) or 0, text) for key in keys if (status.get(key) or 0) > limit
    ]


def collisions_only_grow(new: Obj, old: Obj) -> Errors:
    now, before = ((obj.get("status") or {}).get("collisionCount") for obj in (new, old))
    if before is None or (now is not None and now >= before):
        return []
    return [errors.invalid("status.collisionCount", now or 0, "cannot be decremented")]


# -- as messages show them ---------------------------------------------------------------------------------------


def shown_map(value: dict[str, str] | None) -> Any:
    return dict(sorted(value.items())) if value else errors.NIL


def shown_selector(value: Obj) -> Obj:
    """A LabelSelector in its own order."""
    shown: Obj = {}
    if matched := value.get("matchLabels"):
        shown["matchLabels"] = dict(sorted(matched.items()))
    if expressions := value.get("matchExpressions"):
        order = ("key", "operator", "values")
        shown["matchExpressions"] = [{key: item[key] for key in order if key in item} for item in expressions]
    return shown
