"""Values of upstream's internal types, as its messages show them: Go's names, every field, what is unset too.

A message about an object of an API group shows the JSON of a Go struct that has no JSON names. Used where a fault
concerns such an object as a whole, and where what differs between two is shown. The layouts of a pod's types are
compiled (``tools/compile_pod_layout.py``) and read when the first such message is made; other kinds write theirs down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import orjson

from sampan.api.types import Obj

#: Of one field: its name in Go ("": the fields of what it holds stand in its place), its zero, and the layout of what
#: it holds. The zero ``{}`` is a struct of which nothing is set.
Layout = Mapping[str, tuple[str, Any, "Layout | None"]]


def plain(*names: str, zero: Any = None) -> dict[str, tuple[str, Any, Layout | None]]:
    """Fields that hold nothing deeper, and whose names in Go only begin with a capital."""
    return {name: (name[0].upper() + name[1:], zero, None) for name in names}


TOLERATION: Final[Layout] = {**plain("key", "operator", "value", "effect", zero=""), **plain("tolerationSeconds")}
_REQUIREMENT: Final[Layout] = {**plain("key", "operator", zero=""), **plain("values")}
NODE_SELECTOR_TERM: Final[Layout] = {
    "matchExpressions": ("MatchExpressions", None, _REQUIREMENT),
    "matchFields": ("MatchFields", None, _REQUIREMENT),
}


@cache
def _compiled() -> Mapping[str, Sequence[tuple[str, str, Any, str]]]:
    """By type: of each field its JSON name, its Go name, its zero, the type of what it holds ("": no struct)."""
    source = files("sampan.api.validation").joinpath("data/pod-layout.json")
    found: Mapping[str, Sequence[tuple[str, str, Any, str]]] = orjson.loads(source.read_bytes())
    return found


@cache
def of_pods(name: str) -> Layout:
    """A type that pods are made of: ``SecurityContext``."""
    return {key: (go, zero, of_pods(inner) if inner else None) for key, go, zero, inner in _compiled()[name]}


def struct(value: Obj | None, layout: Layout) -> Obj | None:
    """The struct for a message. None stays None: a pointer to nothing."""
    if value is None:
        return None
    found: Obj = {}
    for key, (go_name, zero, inner) in layout.items():
        held = _held(value.get(key), zero, inner)
        if go_name:
            found[go_name] = held
        elif isinstance(held, dict):
            found |= held
    return found


def _held(value: Any, zero: Any, layout: Layout | None) -> Any:
    if value is None:
        return struct({}, layout) if zero == {} and layout is not None else zero
    if layout is None:
        # Go sorts the keys of a map; what else is a dict here has JSON names, and an order, of its own.
        is_map = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        return dict(sorted(value.items())) if is_map else value
    return [struct(item, layout) for item in value] if isinstance(value, list) else struct(value, layout)


def pod_spec(spec: Obj) -> Obj | None:
    """What a pod shares with the host stands in its security context there, which is never absent."""
    shared = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
    context = {**(spec.get("securityContext") or {}), **{key: spec[key] for key in shared if key in spec}}
    return struct({**spec, "securityContext": context}, of_pods("PodSpec"))
