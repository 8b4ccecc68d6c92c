"""The table of a custom resource: its printer columns as cells (apiextensions ``tableconvertor``). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson

from sampan.api import humanize
from sampan.api.customresources.jsonpath import BadPath, Find, Patience, compile_path
from sampan.api.kind import Column
from sampan.api.types import Obj

Row = Callable[[Obj, datetime], Sequence[Any]]

_NAME = Column("Name", format="name", description="The name, unique in its namespace.")
_INT64 = 2**63
#: of a version that declares no columns
_AGE: Obj = {
    "name": "Age",
    "type": "date",
    "description": "When the object was created.",
    "jsonPath": ".metadata.creationTimestamp",
}


def columns_of(version: Obj) -> tuple[tuple[Column, ...], Row]:
    """The columns of a version of a definition, and what makes a row of them. An unreadable path shows nothing."""
    declared: list[Obj] = version.get("additionalPrinterColumns") or [_AGE]
    columns = (_NAME, *(_column(one) for one in declared))
    cells = [_cell(one) for one in declared]

    def row(obj: Obj, now: datetime) -> Sequence[Any]:
        patience = Patience()  # one for all columns: there may be thousands of them
        return (obj.get("metadata", {}).get("name", ""), *(cell(obj, now, patience) for cell in cells))

    return columns, row


def _column(declared: Obj) -> Column:
    path = declared.get("jsonPath", "")
    description = declared.get("description") or f"Custom resource definition column (in JSONPath format): {path}"
    return Column(
        declared.get("name", ""),
        declared.get("type", ""),
        declared.get("format", ""),
        description,
        declared.get("priority", 0),
    )


def _cell(declared: Obj) -> Callable[[Obj, datetime, Patience], Any]:
    show = _SHOWN.get(declared.get("type", ""), _nothing)
    path, find = declared.get("jsonPath", ""), None

    def cell(obj: Obj, now: datetime, patience: Patience) -> Any:
        nonlocal find
        if find is None:
            find = _compiled(path)
        found = find(obj, patience)
        return show(found[0], now) if found else None

    return cell


def _compiled(path: str) -> Find:
    try:
        return compile_path(path)
    except BadPath:
        return lambda obj, patience: []


def _nothing(value: Any, now: datetime) -> Any:
    return None


def _integer(value: Any, now: datetime) -> Any:
    """What no int64 holds is what Go's conversion makes of it on amd64."""
    if type(value) not in (int, float):
        return None
    whole = int(value)
    return whole if -_INT64 <= whole < _INT64 else -_INT64


def _number(value: Any, now: datetime) -> Any:
    return value if type(value) in (int, float) else None


def _boolean(value: Any, now: datetime) -> Any:
    return value if isinstance(value, bool) else None


def _date(value: Any, now: datetime) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return humanize.since(value, now)
    except ValueError:
        return "<invalid>"


def _text(value: Any, now: datetime) -> Any:
    """As Go prints a value."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


_SHOWN: dict[str, Callable[[Any, datetime], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
}
