"""ConfigMap (v1): keys, size, immutability."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

LIMIT_BYTES = 1024 * 1024


def _validate(config_map: Obj) -> Errors:
    found: Errors = []
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        for text in names.config_map_key(key):
            found.append(errors.invalid(f"data[{key}]", key, text))
        if key in binary:
            found.append(errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value.encode())
    for key, value in binary.items():
        found += common.named(names.config_map_key, key, f"binaryData[{key}]")
        size += decoded_length(value)
    if size > LIMIT_BYTES:
        found.append(errors.too_long("[]", LIMIT_BYTES))
    return found


def decoded_length(text: str) -> int:
    """Of a text in base64, without decoding it."""
    return len(text) * 3 // 4 - text.endswith("=") - text.endswith("==")


def frozen(new: Obj, old: Obj, *keys: str) -> Errors:
    """What ``immutable`` forbids; a Secret has the same."""
    if not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    found = [] if new.get("immutable") else [errors.forbidden("immutable", text)]
    return found + [errors.forbidden(key, text) for key in keys if (new.get(key) or {}) != (old.get(key) or {})]


def _validate_update(new: Obj, old: Obj) -> Errors:
    return frozen(new, old, "data", "binaryData") + _validate(new)


def _row(config_map: Obj, now: datetime) -> Sequence[Any]:
    count = len(config_map.get("data") or ()) + len(config_map.get("binaryData") or ())
    return (printing.name(config_map), count, printing.age(config_map, now))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ConfigMap",
        plural="configmaps",
        singular="configmap",
        namespaced=True,
        schema="io.k8s.api.core.v1.ConfigMap",
        short_names=("cm",),
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        columns=(printing.NAME, Column("Data"), printing.AGE),
        row=_row,
    ),
)
