"""What definitions of operators are built of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sampan.api import schema
from sampan.api.objects import deep_copy

Schema = dict[str, Any]

CORE = "io.k8s.api.core.v1."
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_WORDS = [
    "the",
    "controller",
    "uses",
    "this",
    "field",
    "to",
    "decide",
    "how",
    "objects",
    "of",
    "this",
    "kind",
    "are",
    "reconciled",
    "and",
    "what",
    "is",
    "reported",
    "in",
    "status",
    "when",
    "it",
    "is",
    "not",
    "set",
    "the",
    "default",
    "of",
    "the",
    "installation",
    "applies",
    "see",
    "the",
    "documentation",
    "of",
    "the",
    "project",
    "for",
    "examples",
    "changes",
    "take",
    "effect",
    "with",
    "the",
    "next",
    "reconciliation",
    "and",
    "are",
    "recorded",
    "as",
    "events",
    "on",
    "the",
    "object",
    "that",
    "they",
    "concern",
]


def _prose(seed: str) -> str:
    """A sentence or three, the same for the same field."""
    start = sum(map(ord, seed)) % len(_WORDS)
    words = [*_WORDS[start:], *_WORDS[:start]][: 12 + len(seed) % 30]
    return f"{seed}: {' '.join(words)}."


def text(**more: Any) -> Schema:
    return {"type": "string", **more}


def integer(**more: Any) -> Schema:
    return {"type": "integer", "format": "int32", **more}


def boolean(**more: Any) -> Schema:
    return {"type": "boolean", **more}


def duration(**more: Any) -> Schema:
    return text(
        pattern=r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$", **more
    )


_DIGITS = r"(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def quantity() -> Schema:
    return {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": rf"^(\+|-)?{_DIGITS}(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?{_DIGITS}))?$",
    }


def obj(properties: Mapping[str, Schema], *required: str, **more: Any) -> Schema:
    described = {name: {"description": _prose(name), **part} for name, part in properties.items()}
    made: Schema = {"type": "object", "properties": described, **more}
    if required:
        made["required"] = list(required)
    return made


def many(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def by_key(items: Schema, *keys: str, **more: Any) -> Schema:
    return many(items, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}, **more)


def of_texts(**more: Any) -> Schema:
    return {"type": "object", "additionalProperties": text(**more)}


def rule(expression: str, message: str, **more: Any) -> dict[str, Any]:
    return {"rule": expression, "message": message, **more}


def secret_key() -> Schema:
    return obj(
        {"name": text(default=""), "key": text(), "optional": boolean()},
        "key",
        **{"x-kubernetes-map-type": "atomic"},
    )


def conditions() -> Schema:
    condition = obj(
        {
            "type": text(
                maxLength=316, pattern=rf"^({_LABEL}(\.{_LABEL})*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
            "status": text(enum=["True", "False", "Unknown"]),
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": text(format="date-time"),
            "reason": text(minLength=1, maxLength=1024),
            "message": text(maxLength=32768),
        },
        "type",
        "status",
    )
    return by_key(condition, "type", maxItems=8)


@lru_cache(maxsize=256)
def _builtin(name: str) -> Schema:
    return _structural(schema.load().raw(name))


def builtin(name: str, **more: Any) -> Schema:
    """A type of Kubernetes itself, as definitions of operators spell it out."""
    return {**deep_copy(_builtin(name)), **more}


def _structural(raw: Mapping[str, Any]) -> Schema:
    reference = raw.get("$ref")
    if reference is not None:
        if reference.endswith("Quantity"):
            return quantity()
        if reference.endswith("IntOrString"):
            return {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
        if reference.endswith((".Time", ".MicroTime")):
            return text(format="date-time")
        return deep_copy(_builtin(reference))
    kept = ("type", "format", "enum", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type")
    made: Schema = {key: raw[key] for key in kept if key in raw}
    if raw.get("required"):
        made["required"] = list(raw["required"])
    if "properties" in raw:
        made["properties"] = {
            name: {"description": _prose(name), **_structural(part)} for name, part in raw["properties"].items()
        }
    if "items" in raw:
        made["items"] = _structural(raw["items"])
        for key in raw.get("x-kubernetes-list-map-keys", ()):
            required = made["items"].setdefault("required", [])
            if key not in required:
                required.append(key)
    if "additionalProperties" in raw:
        made["additionalProperties"] = _structural(raw["additionalProperties"])
    if not made.get("type"):
        return {"x-kubernetes-preserve-unknown-fields": True}
    if made["type"] == "object" and "properties" not in made and "additionalProperties" not in made:
        made["x-kubernetes-preserve-unknown-fields"] = True
    return made


def version(name: str, spec: Schema, status: Schema | None = None, **more: Any) -> dict[str, Any]:
    properties = {"apiVersion": text(), "kind": text(), "metadata": {"type": "object"}, "spec": spec}
    if status is not None:
        properties["status"] = status
    root = obj(properties, "spec")
    root["properties"]["metadata"] = {"type": "object"}  # nothing else may be said of it
    made: dict[str, Any] = {
        "name": name,
        "served": True,
        "storage": False,
        "schema": {"openAPIV3Schema": {"description": _prose(name), **root}},
        "additionalPrinterColumns": [
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    if status is not None:
        made["subresources"] = {"status": {}}
    return {**made, **more}


def definition(
    group: str, kind: str, *versions: dict[str, Any], scope: str = "Namespaced", **names: Any
) -> dict[str, Any]:
    """The first version stores."""
    plural = names.pop("plural", f"{kind.lower()}s")
    first, *others = versions
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {"app.kubernetes.io/part-of": group.partition(".")[0]}},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), **names},
            "versions": [{**first, "storage": True}, *others],
        },
    }
