"""Reads a KubeletConfiguration strictly: unknown fields and wrong types are named. Pure but for ``load``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sampan.api.errors import BadRequest
from sampan.api.faults import fault
from sampan.api.schema import parse_yaml
from sampan.api.types import Obj
from sampan.node.durations import parse_duration
from sampan.node.kubeletconfig.fields import TYPES

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
#: longer than any configuration, and little to read
_MAX_BYTES = 1024 * 1024


class BadKubeletConfig(ValueError):
    """What is wrong, in one line."""


def load(path: Path) -> Obj:
    """Raises BadKubeletConfig."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadKubeletConfig(fault(error, "open")) from error
    return parse(content)


def parse(content: bytes) -> Obj:
    """The document with its durations as seconds. Raises BadKubeletConfig."""
    if len(content) > _MAX_BYTES:
        raise BadKubeletConfig(f"longer than {_MAX_BYTES} bytes")
    try:
        document, problems = parse_yaml(content)
    except BadRequest as error:
        raise BadKubeletConfig(" ".join(str(error).split())) from error
    if problems:
        raise BadKubeletConfig(f'strict decoding error: key "{problems[0]}" already set in map')
    if not isinstance(document, dict):
        raise BadKubeletConfig("not an object")
    given = document.get("apiVersion"), document.get("kind")
    if given != (API_VERSION, KIND):
        shown = ", ".join(_shown(value) for value in given)
        raise BadKubeletConfig(f"apiVersion and kind are {shown}; they must be {API_VERSION}, {KIND}")
    return {
        name: _value(name, value)
        for name, value in document.items()
        if name not in ("apiVersion", "kind") and value is not None
    }


def _value(name: str, value: Any) -> Any:
    kind = TYPES.get(name)
    if kind is None:
        raise BadKubeletConfig(f'strict decoding error: unknown field "{name}"')
    if kind == "duration":
        return duration(name, value)
    if not _CHECKS[kind](value):
        if kind in _ENTRIES and isinstance(value, dict):
            key, wrong = next(each for each in value.items() if not isinstance(each[1], _ENTRIES[kind]))
            words = "a text (in quotes)" if kind == "text map" else "true or false"
            raise BadKubeletConfig(f'{name}["{str(key)[:60]}"] must be {words}, not {_shown(wrong)}')
        if kind in _ITEMS and isinstance(value, list):
            check, words = _ITEMS[kind]
            number, wrong = next(each for each in enumerate(value) if not check(each[1]))
            raise BadKubeletConfig(f"{name}[{number}] must be {words}, not {_shown(wrong)}")
        raise BadKubeletConfig(f"{name} must be {_WORDS[kind]}, not {_shown(value)}")
    return value


def duration(name: str, value: Any) -> float:
    """Seconds. Raises BadKubeletConfig."""
    if not isinstance(value, str):
        raise BadKubeletConfig(f"{name} must be a duration such as 30s or 5m, not {_shown(value)}")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise BadKubeletConfig(f"{name}: {error}") from error


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _all(value: Any, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(check(item) for item in value)


def _map(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(item, kind) for item in value.values())


#: of lists: what each of them is
_ITEMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "texts": (lambda value: isinstance(value, str), "a text (in quotes)"),
    "numbers": (_whole, "a whole number"),
    "objects": (lambda value: isinstance(value, dict), "an object"),
}
_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "switch": lambda value: isinstance(value, bool),
    "number": _whole,
    "fraction": lambda value: type(value) in (int, float),
    **{kind: partial(_all, check=check) for kind, (check, _) in _ITEMS.items()},
    "object": lambda value: isinstance(value, dict),
    "map": lambda value: isinstance(value, dict),
    "text map": lambda value: _map(value, str),
    "switch map": lambda value: _map(value, bool),
}
_ENTRIES: Mapping[str, type] = {"text map": str, "switch map": bool}
_WORDS = {
    "text": "a text", "switch": "true or false", "number": "a whole number", "fraction": "a number",
    "texts": "a list of texts", "numbers": "a list of whole numbers", "objects": "a list of objects",
    "object": "an object", "map": "a map", "text map": "a map of texts", "switch map": "a map of true and false",
}  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value[:60]}"' if value else "missing"
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else str(value)[:60]
