"""What conversions share: parts of objects of any shape, and annotations that carry what a version cannot say."""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api import schema
from sampan.api.errors import BadRequest
from sampan.api.types import Obj

#: The prefix of annotations that only Sampan writes.
OWN = "versions.sampan.io/"


def part(obj: Obj, key: str) -> Obj:
    """The object below ``key``; an unattached empty one where there is none."""
    found = obj.get(key)
    return found if isinstance(found, dict) else {}


def parts(obj: Obj, key: str) -> list[Obj]:
    found = obj.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def annotate(obj: Obj, key: str, value: str) -> None:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    annotations = metadata.get("annotations")
    if not isinstance(annotations, dict):
        annotations = metadata["annotations"] = {}
    annotations[key] = value


def take_annotation(obj: Obj, key: str) -> str | None:
    """The value, which the object has no longer."""
    annotations = part(part(obj, "metadata"), "annotations")
    value = annotations.pop(key, None)
    if value is not None and not annotations:
        obj["metadata"].pop("annotations", None)
    return value if isinstance(value, str) else None


def annotate_json(obj: Obj, key: str, value: Any) -> None:
    annotate(obj, key, orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def take_json(obj: Obj, key: str) -> Any:
    """What an annotation carried; None: nothing, or what anybody else wrote there and is no JSON."""
    text = take_annotation(obj, key)
    if text is None:
        return None
    try:
        return schema.parse_json(text.encode())[0]
    except BadRequest:
        return None


def rename(obj: Obj, old: str, new: str) -> None:
    if old in obj:
        obj[new] = obj.pop(old)
