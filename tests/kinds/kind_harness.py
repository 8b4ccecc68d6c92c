"""What a kind does with manifests, as values: the tables in ``kind_cases`` are made of these.

A path in a change is like a JSON pointer with dots: ``spec.template.spec.containers.0.image``; a key with a dot in it
is written in brackets, ``metadata.annotations[a.io/b]``; ``spec.rules.+`` adds to a list. ``GONE`` takes away.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Obj = dict[str, Any]
Change = Mapping[str, Any]
Base = Literal["minimal", "full"]


class _Gone:
    def __repr__(self) -> str:
        return "GONE"


#: as a value of a change: the field is taken away
GONE: Final = _Gone()


class _Any:
    """Equal to whatever the server made: addresses, random names, times."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any()


#: what is said of names that are no DNS-1123 subdomains, and no labels
SUBDOMAIN: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@dataclass(frozen=True, slots=True)
class Cause:
    """``Status.details.causes[]``: the wire form of the reason, the field, and the message."""

    reason: str
    field: str
    message: str


def invalid(path: str, value: str, detail: str = "") -> Cause:
    """``value`` as the message shows it: ``-1``, ``"a"`` with its quotes, ``{"a":"b"}``."""
    return Cause("FieldValueInvalid", path, f"Invalid value: {value}" + (f": {detail}" if detail else ""))


def required(path: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", path, "Required value" + (f": {detail}" if detail else ""))


def forbidden(path: str, detail: str = "") -> Cause:
    return Cause("FieldValueForbidden", path, "Forbidden" + (f": {detail}" if detail else ""))


def duplicate(path: str, value: str) -> Cause:
    return Cause("FieldValueDuplicate", path, f"Duplicate value: {value}")


def not_supported(path: str, value: str, *supported: str) -> Cause:
    listed = ", ".join(f'"{item}"' for item in supported)
    return Cause("FieldValueNotSupported", path, f"Unsupported value: {value}: supported values: {listed}")


def not_found(path: str, value: str) -> Cause:
    return Cause("FieldValueNotFound", path, f"Not found: {value}")


@dataclass(frozen=True, slots=True)
class Invalid:
    """A manifest that is refused: with 422 for its ``causes``, all of them and in order; or, if there are none, with
    ``code`` and ``message``. ``together``: two fields are each right, and not beside each other."""

    what: str
    change: Change
    causes: Sequence[Cause] = ()
    together: bool = False
    on: Base = "full"
    code: int = 422
    message: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """A change of the stored object, by PUT. Refused for ``causes``, or ``allowed``. ``through``: a subresource."""

    what: str
    change: Change
    causes: Sequence[Cause] = ()
    allowed: bool = False
    on: Base = "full"
    through: str = ""
    #: changes of the stored object (status too) before the update
    before: Change = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """What the table shows of an object one hour old, with this change of the stored form: all cells, also those that
    only ``-o wide`` shows."""

    what: str
    change: Change
    cells: Sequence[Any]
    on: Base = "minimal"


@dataclass(frozen=True, slots=True)
class Warned:
    """The Warning headers of a create that is accepted, in order."""

    what: str
    change: Change
    warnings: Sequence[str]
    on: Base = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCases:
    """``minimal`` and ``full``: manifests without apiVersion and kind; ``full`` uses every field that is on by default
    and goes together. ``*_stored``: the exact answer of a create without apiVersion, kind and metadata, defaults
    included. ``generation``: whether metadata.generation is shown."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    generation: bool = False
    minimal: Obj
    minimal_stored: Obj
    full: Obj
    full_stored: Obj
    invalid: Sequence[Invalid] = ()
    updates: Sequence[Update] = ()
    rows: Sequence[Row] = ()
    warned: Sequence[Warned] = ()
    #: why there are fewer than eight invalid manifests, or than three of fields that do not go together
    few_rules: str = ""
    #: what strategies add to metadata (labels, finalizers), of both
    metadata_adds: Obj = field(default_factory=dict)
    #: the group that refusals name, where it is not the version's own: that of what is stored
    group_said: str | None = None
    #: other objects that have to be there, whole, by the URL that makes them
    setup: Sequence[tuple[str, Obj]] = ()

    @property
    def url(self) -> str:
        group, _, _ = self.api_version.rpartition("/")
        root = f"/apis/{self.api_version}" if group else f"/api/{self.api_version}"
        return f"{root}/namespaces/default/{self.plural}" if self.namespaced else f"{root}/{self.plural}"

    def manifest(self, base: Base, change: Change | None = None) -> Obj:
        obj = {"apiVersion": self.api_version, "kind": self.kind, **copy.deepcopy(getattr(self, base))}
        return changed(obj, change or {})

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


_STEP = re.compile(r"\[([^\]]*)\]|([^.\[]+)")


def _steps(path: str) -> list[str]:
    return [bracketed or plain for bracketed, plain in _STEP.findall(path)]


def changed(obj: Obj, change: Change) -> Obj:
    """A copy of ``obj`` with each path of ``change`` set; parents that are missing are made."""
    result: Obj = copy.deepcopy(obj)
    for path, value in change.items():
        *parents, last = _steps(path)
        at: Any = result
        for step in parents:
            if isinstance(at, list):
                at = at[int(step)]
                continue
            if at.get(step) is None:
                at[step] = {}
            at = at[step]
        if value is GONE:
            del at[int(last) if isinstance(at, list) else last]
        elif isinstance(at, list):
            at[len(at) : len(at)] = [copy.deepcopy(value)] if last == "+" else []
            if last != "+":
                at[int(last)] = copy.deepcopy(value)
        else:
            at[last] = copy.deepcopy(value)
    return result
