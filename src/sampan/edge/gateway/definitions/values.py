"""The values that fields of the Gateway API hold, as structural schemas: names, references, conditions, header lists.

Limits and patterns are those of the published API reference. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api.types import Obj

GROUP_NAME: Final = "gateway.networking.k8s.io"

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_PATH: Final = r"\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+"
#: a qualified name, as keys of labels and annotations are; within CEL and messages
QUALIFIED: Final = rf"^({DOMAIN}/)?([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]$"
HOSTNAME_PATTERN: Final = rf"^(\*\.)?{DOMAIN}$"

#: (message, rule)
Rule = tuple[str, str]


def rules(*wanted: Rule) -> Obj:
    return {"x-kubernetes-validations": [{"message": message, "rule": rule} for message, rule in wanted]}


def text(most: int = 0, least: int = 0, pattern: str = "", *, default: str | None = None, **more: Any) -> Obj:
    found: Obj = {"type": "string", **more}
    if most:
        found["maxLength"] = most
    if least:
        found["minLength"] = least
    if pattern:
        found["pattern"] = pattern
    if default is not None:
        found["default"] = default
    return found


def choice(*values: str, **more: Any) -> Obj:
    return {"type": "string", "enum": list(values), **more}


def whole(low: int | None = None, high: int | None = None, bits: int = 32, **more: Any) -> Obj:
    found: Obj = {"type": "integer", "format": f"int{bits}", **more}
    if low is not None:
        found["minimum"] = low
    if high is not None:
        found["maximum"] = high
    return found


def record(properties: Obj, *required: str, **more: Any) -> Obj:
    found: Obj = {"type": "object", "properties": properties, **more}
    return found | ({"required": list(required)} if required else {})


def listed(items: Obj, most: int = 0, least: int = 0, kind: str = "atomic", *keys: str, **more: Any) -> Obj:
    found: Obj = {"type": "array", "items": items, "x-kubernetes-list-type": kind, **more}
    if most:
        found["maxItems"] = most
    if least:
        found["minItems"] = least
    if keys:
        found["x-kubernetes-list-map-keys"] = list(keys)
    return found


def text_map(most: int, value: Obj, **more: Any) -> Obj:
    return {"type": "object", "additionalProperties": value, "maxProperties": most, **more}


GROUP: Final = text(253, 0, rf"^$|^{DOMAIN}$")
KIND: Final = text(63, 1, r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
NAME: Final = text(253, 1)
NAMESPACE: Final = text(63, 1, rf"^{_LABEL}$")
SECTION: Final = text(253, 1, rf"^{DOMAIN}$")
HOSTNAME: Final = text(253, 1, HOSTNAME_PATTERN)
PRECISE_HOSTNAME: Final = text(253, 1, rf"^{DOMAIN}$")
PORT: Final = whole(1, 65535)
CONTROLLER: Final = text(253, 1, rf"^{DOMAIN}{_PATH}$")
ANNOTATION: Final = text(4096)
HEADER_NAME: Final = text(256, 1, r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")
DURATION: Final = text(0, 0, r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
ADDRESS_TYPE: Final = text(253, 1, rf"^Hostname|IPAddress|NamedAddress|{DOMAIN}{_PATH}$", default="IPAddress")

CONDITION: Final = record(
    {
        "lastTransitionTime": text(format="date-time"),
        "message": text(32768),
        "observedGeneration": whole(0, bits=64),
        "reason": text(1024, 1, r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
        "status": choice("True", "False", "Unknown"),
        "type": text(316, 0, rf"^({DOMAIN}/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"),
    },
    *("lastTransitionTime", "message", "reason", "status", "type"),
)


def conditions(least: int = 0, **more: Any) -> Obj:
    return listed(CONDITION, 8, least, "map", "type", **more)


def pending(*types: str, reason: str = "Pending") -> list[Obj]:
    """The conditions of an object that no controller has seen."""
    return [
        {
            "lastTransitionTime": "1970-01-01T00:00:00Z",
            "message": "Waiting for controller",
            "reason": reason,
            "status": "Unknown",
            "type": each,
        }
        for each in types
    ]


LOCAL_REFERENCE: Final = record({"group": GROUP, "kind": KIND, "name": NAME}, "group", "kind", "name")
OBJECT_REFERENCE: Final = record(
    {"group": GROUP, "kind": KIND, "name": NAME, "namespace": NAMESPACE}, "group", "kind", "name"
)
SECRET_REFERENCE: Final = record(
    {"group": {**GROUP, "default": ""}, "kind": {**KIND, "default": "Secret"}, "name": NAME, "namespace": NAMESPACE},
    "name",
)

_BACKEND: Final[Obj] = {**SECRET_REFERENCE["properties"], "kind": {**KIND, "default": "Service"}, "port": PORT}
_BACKEND_RULE: Final = rules(
    ("Must have port for Service reference", "self.group != '' || self.kind != 'Service' || has(self.port)")
)
BACKEND_OBJECT: Final = record(_BACKEND, "name", **_BACKEND_RULE)


def backend(**more: Obj) -> Obj:
    """A back end with its weight; ``more``: fields that one kind of route adds."""
    return record({**_BACKEND, "weight": whole(0, 1_000_000, default=1), **more}, "name", **_BACKEND_RULE)


PARENT: Final = record(
    {
        "group": {**GROUP, "default": GROUP_NAME},
        "kind": {**KIND, "default": "Gateway"},
        "name": NAME,
        "namespace": NAMESPACE,
        "port": PORT,
        "sectionName": SECTION,
    },
    "name",
)

_SELECTOR_VALUES: Final = listed({"type": "string"})
SELECTOR: Final = record(
    {
        "matchExpressions": listed(
            record({"key": text(), "operator": text(), "values": _SELECTOR_VALUES}, "key", "operator")
        ),
        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    **{"x-kubernetes-map-type": "atomic"},
)


def _same(field: str) -> str:
    """That two references have the same text in an optional field, or neither has one."""
    one, two = (f"(has({each}.{field}) ? {each}.{field} : '')" for each in ("p", "q"))
    return f"{one} == {two}"


def distinct_sections(list_name: str, what: str, *more: str) -> Obj:
    """That references of a list to one object tell its sections apart. ``more``: what else makes it one object."""
    same_object = " && ".join(("p.group == q.group", "p.kind == q.kind", "p.name == q.name", *more))
    named = "(has({0}.sectionName) && {0}.sectionName != '')"
    same_shape = f"{named.format('p')} == {named.format('q')}"
    again = f"when {list_name} includes 2 or more references to the same {what}"
    return rules(
        (f"sectionName must be specified {again}", f"self.all(p, self.all(q, !({same_object}) || {same_shape}))"),
        (
            f"sectionName must be unique {again}",
            f"self.all(p, self.exists_one(q, {same_object} && {_same('sectionName')}))",
        ),
    )


def parents() -> Obj:
    return listed(PARENT, 32, **distinct_sections("parentRefs", "parent", _same("__namespace__")))


def route_status() -> Obj:
    """What each kind of route tells of its parents."""
    parent = record(
        {"conditions": conditions(1), "controllerName": CONTROLLER, "parentRef": PARENT},
        *("conditions", "controllerName", "parentRef"),
    )
    return record({"parents": listed(parent, 32)}, "parents")
