"""Secret (v1): types, keys, size, immutability; ``stringData`` is folded into ``data``."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names, schema
from sampan.api.groups import printing, selectable
from sampan.api.groups.core import tls_pair
from sampan.api.groups.core.configmap import LIMIT_BYTES, decoded_length, frozen
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_REDACTED = "<secret contents redacted>"
SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
#: Keys that each well-known type must have.
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_TYPES = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")


def _default(secret: Obj) -> None:
    texts = secret.pop("stringData", None)
    if texts:
        data = secret.setdefault("data", {})
        for key, text in texts.items():
            data[key] = base64.b64encode(text.encode()).decode()
    if not secret.get("type"):
        secret["type"] = "Opaque"


def _validate(secret: Obj) -> Errors:
    found: Errors = []
    data = secret.get("data") or {}
    size = 0
    for key, value in data.items():
        found += common.named(names.config_map_key, key, f"data[{key}]")
        size += decoded_length(value)
    if size > LIMIT_BYTES:
        found.append(errors.too_long("data", LIMIT_BYTES))
    return found + _validate_type(secret, secret.get("type", ""), data)


def _validate_type(secret: Obj, kind: str, data: Obj) -> Errors:
    found = [errors.required(f"data[{key}]") for key in _REQUIRED_KEYS.get(kind, ()) if key not in data]
    if kind in _JSON_TYPES and not found:
        key = _REQUIRED_KEYS[kind][0]
        if fault := _map_fault(base64.b64decode(data[key])):
            found.append(errors.invalid(f"data[{key}]", _REDACTED, fault))
    if kind == "kubernetes.io/basic-auth" and not ({"username", "password"} & data.keys()):
        found += [errors.required("data[username]"), errors.required("data[password]")]
    if kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        found.append(errors.required("data[ssh-privatekey]"))
    if kind == "kubernetes.io/service-account-token":
        annotations = secret.get("metadata", {}).get("annotations") or {}
        if not annotations.get(SERVICE_ACCOUNT_NAME):
            found.append(errors.required(f"metadata.annotations[{SERVICE_ACCOUNT_NAME}]"))
    return found


#: by the first byte of a text in JSON, what Go calls the value; an object or null: nothing to complain of
_GO_KINDS = {b"[": "array", b'"': "string", b"t": "bool", b"f": "bool", b"{": "", b"n": ""}


def _map_fault(text: bytes) -> str | None:
    """What is wrong with a text that should be a JSON object, in Go's words."""
    if fault := schema.json_fault(text):
        return fault
    kind = _GO_KINDS.get(text.lstrip()[:1], "number")
    return f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}" if kind else None


def _validate_update(new: Obj, old: Obj) -> Errors:
    found = common.immutable(new.get("type"), old.get("type"), "type")
    return found + frozen(new, old, "data") + _validate(new)


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if new.get("type") != "kubernetes.io/tls":
        return ()
    data = new.get("data") or {}
    fault = tls_pair.fault(*(base64.b64decode(data.get(key) or "") for key in ("tls.crt", "tls.key")))
    return (fault,) if fault else ()


def _row(secret: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(secret), secret.get("type", ""), len(secret.get("data") or ()), printing.age(secret, now))


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Secret",
        plural="secrets",
        singular="secret",
        namespaced=True,
        schema="io.k8s.api.core.v1.Secret",
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        warnings=_warnings,
        columns=(printing.NAME, Column("Type"), Column("Data"), printing.AGE),
        row=_row,
        selectable_fields=selectable.fields_at("type"),
        selectable_names=("type",),
    ),
)
