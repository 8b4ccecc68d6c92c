"""What is asked about, and what an answer is made of. Values only."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final, Literal

from sampan.api.reading import part, text
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.records import dataclass

Confidence = Literal["certain", "likely", "possible"]
#: How a change is made: ``patch`` merges, ``json`` is a JSON Patch, ``replace`` deletes the object and makes it anew,
#: ``status`` merges into the status (approval of a certificate request: ``approve``).
Verb = Literal["patch", "json", "create", "delete", "replace", "approve"]

CONFIDENCES: Final = ("certain", "likely", "possible")


@dataclass(frozen=True, slots=True)
class Ref:
    """An object, by its address."""

    resource: Resource
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.resource.kind.lower()}/{self.name}"

    @property
    def place(self) -> str:
        """With its namespace, as people say it: ``pod shop/web-1``."""
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {where}{self.name}"

    def wire(self) -> Obj:
        return {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            **({"namespace": self.namespace} if self.namespace else {}),
            "name": self.name,
        }


def ref_of(resource: Resource, obj: Obj) -> Ref:
    meta = part(obj, "metadata")
    return Ref(resource, text(meta, "name"), text(meta, "namespace") if resource.namespaced else "")


@dataclass(frozen=True, slots=True)
class Action:
    """One change, for programs; ``fixes.command`` writes it for a shell. ``body``: patch or object."""

    verb: Verb
    ref: Ref
    body: Any = None
    subresource: str = ""

    def wire(self) -> Obj:
        return {
            "verb": self.verb,
            "object": self.ref.wire(),
            **({"subresource": self.subresource} if self.subresource else {}),
            **({"body": self.body} if self.body is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Fix:
    """``text``: what to do, in words. ``actions``: the same for programs, in order; none where it is not a change of an
    object, or where only a person knows the value. ``risk``: what the actions take away or give beyond
    the cause (data, a check, a right): nobody is to apply them without having read it."""

    text: str
    actions: tuple[Action, ...] = ()
    risk: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """``sentence`` stands alone. ``rule`` and ``subject`` are filled in by the engine: which rule found it, of which
    object. ``rank``: of two causes that are as certain, the smaller is told first."""

    sentence: str
    evidence: tuple[str, ...] = ()
    fix: Fix | None = None
    confidence: Confidence = "certain"
    rank: int = 50
    rule: str = ""
    subject: Ref | None = None
    #: the objects that lead from what was asked about to ``subject``
    path: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Lead:
    """The cause lies with another object; ``note`` says how the two hang together."""

    ref: Ref
    note: str = ""
    rank: int = 50


@dataclass(frozen=True, slots=True)
class Condition:
    """How an object is. ``well`` None: its kind says nothing about that."""

    well: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``found`` False: there is no such object (``near``: what there is instead). ``checked``: the rules that looked;
    ``unseen``: what could not be read, so that a cause may hide there."""

    subject: Ref
    state: Condition
    causes: tuple[Cause, ...] = ()
    checked: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    found: bool = True
    near: tuple[str, ...] = ()
    last_events: tuple[str, ...] = field(default=())

    @property
    def healthy(self) -> bool:
        return self.found and not self.causes and self.state.well is not False
