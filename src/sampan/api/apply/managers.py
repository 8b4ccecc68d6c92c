"""``metadata.managedFields``: who owns which fields, decoded and encoded.

An entry's identity is manager, operation and subresource, of updates the version too: one manager's updates through
two versions are two entries, its applies one. Source: apimachinery ``managedfields/internal/managedfields.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from sampan.api import errors
from sampan.api.apply import sets
from sampan.api.apply.interned import SETS
from sampan.api.apply.sets import Fields
from sampan.api.errors import FieldError
from sampan.api.types import Obj

Operation = Literal["Apply", "Update"]

#: characters of a manager's name, and of a subresource's
MANAGER_LENGTH: Final = 128
_SUBRESOURCE_LENGTH: Final = 256


class Identity(NamedTuple):
    manager: str
    operation: str
    subresource: str = ""
    #: of updates only
    api_version: str = ""

    def readable(self) -> str:
        """As a conflict names it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


class Owned(NamedTuple):
    """What one manager owns. ``time`` "": nobody knows since when. ``entry``: what it was decoded from."""

    fields: Fields
    api_version: str
    time: str = ""
    entry: Obj | None = None

    @property
    def applied(self) -> bool:
        return self.entry is not None and self.entry["operation"] == "Apply"


Managed = dict[Identity, Owned]


@lru_cache(maxsize=1024)
def identity(manager: str, operation: Operation, api_version: str, subresource: str) -> Identity:
    return Identity(manager or "unknown", operation, subresource, api_version if operation == "Update" else "")


def manager_of(named: str, user_agent: str) -> str:
    """The manager that a client named, or what its user agent says it is."""
    if named:
        return named
    program = user_agent.partition("/")[0]
    if program.isprintable() and len(program) <= MANAGER_LENGTH and program.isascii():
        return program
    kept = ""
    for character in program:
        if not character.isprintable():
            continue
        if len((kept + character).encode()) > MANAGER_LENGTH:
            break
        kept += character
    return kept


def new_entry(who: Identity, api_version: str, fields: Fields, time: str) -> Obj:
    """Of who has just made an object; ``fields`` in upstream's order."""
    made = {
        "manager": who.manager,
        "operation": who.operation,
        "apiVersion": api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    if who.subresource:
        made["subresource"] = who.subresource
    return made


def decode(entries: Sequence[Obj] | None) -> Managed:
    """What the server itself wrote. Later entries of an identity win."""
    managed: Managed = {}
    for entry in entries or ():
        operation, api_version = entry["operation"], entry["apiVersion"]
        key = Identity(
            entry.get("manager", ""),
            operation,
            entry.get("subresource", ""),
            api_version if operation == "Update" else "",
        )
        managed[key] = Owned(entry.get("fieldsV1") or sets.NONE, api_version, entry.get("time") or "", entry)
    return managed


def parse(entries: Any) -> Managed:
    """What somebody sent. Raises ValueError: an entry cannot be understood."""
    checked: list[Obj] = []
    for entry in entries or ():
        if entry.get("operation") not in ("Apply", "Update"):
            raise ValueError("operation must be `Apply` or `Update`")
        if not entry.get("apiVersion"):
            raise ValueError("apiVersion must not be empty")
        fields_type = entry.get("fieldsType") or ""
        if not fields_type:
            raise ValueError("missing fieldsType in managed fields entry")
        if fields_type != "FieldsV1":
            raise ValueError(f'invalid fieldsType "{fields_type}" in managed fields entry')
        fields = sets.parse(entry.get("fieldsV1") or {})
        checked.append({**entry, "fieldsV1": fields})
    return {
        key: Owned(owned.fields, owned.api_version, owned.time, None if key.operation == "Update" else _APPLIED)
        for key, owned in decode(checked).items()
    }


#: stands for the entry of an apply that is not encoded yet
_APPLIED: Final[Obj] = {"operation": "Apply"}


def all_in(managed: Managed, api_version: str) -> bool:
    """Whether this version says all that there is."""
    for owned in managed.values():  # noqa: SIM110 (a generator takes twice as long)
        if owned.api_version != api_version:
            return False
    return True


def owned_by_apply(fields: Fields, api_version: str, time: str) -> Owned:
    return Owned(fields, api_version, time, _APPLIED)


def with_fields(owned: Owned, fields: Fields) -> Owned:
    """The same with other fields; encoded anew."""
    return Owned(fields, owned.api_version, owned.time, _APPLIED if owned.applied else None)


def encode(managed: Managed) -> list[Obj]:
    """Entries in upstream's order: applies first, then by time, manager and version."""
    entries = [_entry(key, owned) for key, owned in managed.items()]
    if len(entries) > 1:
        entries.sort(key=_place)
    return entries


def _place(entry: Obj) -> tuple[str, str, str, str, str]:
    return (
        entry["operation"],
        entry.get("time", ""),
        entry.get("manager", ""),
        entry["apiVersion"],
        entry.get("subresource", ""),
    )


def _entry(key: Identity, owned: Owned) -> Obj:
    entry = owned.entry
    if entry is not None and entry.get("fieldsV1") is owned.fields and entry.get("time", "") == owned.time:
        return entry
    fields = owned.fields
    if entry is None or entry.get("fieldsV1") is not fields:
        fields = SETS.ordered(fields)
    made: Obj = {"manager": key.manager} if key.manager else {}  # a client may have taken the name away
    made |= {"operation": key.operation, "apiVersion": owned.api_version}
    if owned.time:
        made["time"] = owned.time
    made["fieldsType"] = "FieldsV1"
    made["fieldsV1"] = fields
    if key.subresource:
        made["subresource"] = key.subresource
    return made


def same_but_times(left: Sequence[Obj], right: Sequence[Obj]) -> bool:
    """Whether two lists of entries differ in nothing but when."""
    if len(left) != len(right):
        return False
    untimed = [sorted((_untimed(entry) for entry in part), key=_place) for part in (left, right)]
    return untimed[0] == untimed[1]


def _untimed(entry: Obj) -> Obj:
    return {key: value for key, value in entry.items() if key != "time"}


def validate(entries: Sequence[Obj]) -> list[FieldError]:
    """Of entries that somebody sent (metav1 ``ValidateManagedFields``)."""
    found: list[FieldError] = []
    for index, entry in enumerate(entries):
        path = f"metadata.managedFields[{index}]"
        manager = entry.get("manager") or ""
        if len(manager) > MANAGER_LENGTH:
            found.append(errors.too_long(f"{path}.manager", MANAGER_LENGTH))
        elif not manager.isprintable():
            found.append(errors.invalid(f"{path}.manager", manager, "should only contain printable characters"))
        if len(entry.get("subresource") or "") > _SUBRESOURCE_LENGTH:
            found.append(errors.too_long(f"{path}.subresource", _SUBRESOURCE_LENGTH))
    return found


def is_reset(entries: Any) -> bool:
    """Whether a request asks that nobody owns anything: an empty list, or one empty entry."""
    return entries is not None and not any(entries) and len(entries) <= 1
