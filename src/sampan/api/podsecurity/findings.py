"""What a check sees of a pod and what it says of it, in upstream's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sampan.api.pods.containers import FIELDS
from sampan.api.reading import part, parts, text, text_map
from sampan.api.types import Obj
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a check forbids a pod: ``reason`` in a few words, ``detail`` with the names of what is to blame."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    declared: Obj
    security: Obj


class Subject:
    """A pod, or the template of one. What is not of its type counts as absent."""

    __slots__ = ("annotations", "containers", "security", "spec")

    def __init__(self, metadata: Obj, spec: Obj) -> None:
        self.annotations: Mapping[str, str] = text_map(metadata, "annotations")
        self.spec = spec
        self.security = part(spec, "securityContext")
        #: init, main and ephemeral ones
        self.containers = [
            Container(text(declared, "name"), declared, part(declared, "securityContext"))
            for field in FIELDS.values()
            for declared in parts(spec, field)
        ]

    def names(self, is_bad: Callable[[Container], bool]) -> list[str]:
        return [container.name for container in self.containers if is_bad(container)]

    @property
    def is_windows(self) -> bool:
        return text(part(self.spec, "os"), "name") == "windows"

    @property
    def has_user_namespace(self) -> bool:
        return self.spec.get("hostUsers") is False


Check = Callable[[Subject], Finding | None]


def plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


def quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def containers(names: Sequence[str]) -> str:
    """``container "a"``, ``containers "a", "b"``."""
    return f"{plural('container', 'containers', len(names))} {quoted(names)}"


def setters(pod: bool, names: Sequence[str]) -> str:
    """``pod and container "a"``: who set what must not be."""
    return " and ".join([*(["pod"] if pod else []), *([containers(names)] if names else [])])


def unique(items: Iterable[str]) -> list[str]:
    return sorted(set(items))


def skipping(check: Check, skipped: Callable[[Subject], bool]) -> Check:
    """The check, for pods other than ``skipped``."""
    return lambda subject: None if skipped(subject) else check(subject)
