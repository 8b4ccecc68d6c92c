"""The annotation of client-side ``kubectl apply``, as long as both kinds of apply meet on one object.

Only the manager named kubectl is upgraded: what the annotation says it applied, and what still is so, it may take from
the entry of its client-side updates without force; and while the annotation is there it is kept true. Source:
apimachinery ``managedfields/internal/lastapplied*.go``.
"""

from __future__ import annotations

from typing import Final

import orjson

from sampan.api import errors, metadata, schema
from sampan.api.apply import sets
from sampan.api.apply.comparing import compare
from sampan.api.apply.extraction import set_of
from sampan.api.apply.managers import Identity
from sampan.api.apply.sets import NONE, Fields
from sampan.api.apply.shapes import Shape
from sampan.api.types import Obj

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER: Final = "kubectl"


def _annotated(obj: Obj) -> str:
    found = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
    return found if isinstance(found, str) else ""


def settles(found: dict[Identity, Fields], live: Obj, shape: Shape, api_version: str) -> dict[Identity, Fields]:
    """The conflicts that stay when those are left out that client-side apply had settled before."""
    allowed = _allowed(live, shape, api_version)
    left = {who: sets.difference(fields, allowed) for who, fields in found.items()}
    return {who: fields for who, fields in left.items() if fields}


def _allowed(live: Obj, shape: Shape, api_version: str) -> Fields:
    text = _annotated(live)
    if not text:
        return NONE
    try:
        applied, _ = schema.parse_json(text.encode())
    except errors.BadRequest:
        return NONE
    if not isinstance(applied, dict) or applied.get("apiVersion") != api_version:
        return NONE
    fields = set_of(shape, applied)
    for changed in compare(shape, applied, live):
        fields = sets.difference(fields, changed)
    return fields


def keep_true(obj: Obj, config: Obj) -> None:
    """The annotation of ``obj``, if it has one, says what was applied now; it goes when it would be too long."""
    if not _annotated(obj):
        return
    applied = {**config, "metadata": _without_annotation(config.get("metadata") or {})}
    if not applied["metadata"]:
        del applied["metadata"]
    text = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    annotations = {**obj["metadata"]["annotations"], ANNOTATION: text}
    if metadata.annotations_size(annotations) > metadata.ANNOTATIONS_LIMIT_BYTES:
        del annotations[ANNOTATION]
    obj["metadata"]["annotations"] = annotations


def _without_annotation(meta: Obj) -> Obj:
    annotations = meta.get("annotations")
    if not isinstance(annotations, dict) or ANNOTATION not in annotations:
        return meta
    rest = {key: value for key, value in annotations.items() if key != ANNOTATION}
    kept = {key: value for key, value in meta.items() if key != "annotations"}
    return {**kept, "annotations": rest} if rest else kept
