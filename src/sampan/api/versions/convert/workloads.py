"""What the workloads' first versions had: rollbacks by a field, generations of templates, selectors from labels.

Upstream: ``pkg/apis/{apps,extensions}/v1beta1/{conversion,defaults}.go``, last served by 1.15.
"""

from __future__ import annotations

from sampan.api.objects import deep_copy
from sampan.api.types import Obj
from sampan.api.versions.convert.parts import annotate, part, take_annotation

ROLLBACK_REVISION = "deprecated.deployment.rollback.revision"
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
#: A limit that means none.
UNLIMITED = 2**31 - 1


def labels_from_template(obj: Obj) -> None:
    """An absent selector, and absent labels, are those of the pods."""
    spec = part(obj, "spec")
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    if not labels:
        return
    if spec.get("selector") is None:
        spec["selector"] = {"matchLabels": deep_copy(labels)}
    metadata = obj.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("labels"):
        metadata["labels"] = deep_copy(labels)


def _number(text: str | None) -> int | None:
    """An int64 in decimal; anything else is nobody's number."""
    if text is None or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 20:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def to_deployment(deployment: Obj) -> Obj:
    spec = part(deployment, "spec")
    rollback = spec.pop("rollbackTo", None)
    if isinstance(rollback, dict):
        annotate(deployment, ROLLBACK_REVISION, str(rollback.get("revision", 0)))
    return deployment


def from_deployment(deployment: Obj) -> Obj:
    annotations = part(part(deployment, "metadata"), "annotations")
    revision = _number(annotations.get(ROLLBACK_REVISION))
    if revision is not None:
        take_annotation(deployment, ROLLBACK_REVISION)
        deployment.setdefault("spec", {})["rollbackTo"] = {"revision": revision} if revision else {}
    return deployment


def to_daemonset(daemon_set: Obj) -> Obj:
    generation = part(daemon_set, "spec").pop("templateGeneration", None)
    if generation:
        annotate(daemon_set, TEMPLATE_GENERATION, str(generation))
    return daemon_set


def from_daemonset(daemon_set: Obj) -> Obj:
    annotations = part(part(daemon_set, "metadata"), "annotations")
    generation = _number(annotations.get(TEMPLATE_GENERATION))
    if generation:
        take_annotation(daemon_set, TEMPLATE_GENERATION)
        daemon_set.setdefault("spec", {})["templateGeneration"] = generation
    return daemon_set
