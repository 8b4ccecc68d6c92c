"""What nodes say of dropped connections, put together for people and programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api.reading import parts, text, texts, whole
from sampan.api.types import Obj

_COLUMNS = ("LAST", "NODE", "POD", "DIRECTION", "FROM", "TO", "PORT", "PACKETS", "POLICIES")


def listed(reports: Mapping[str, Obj]) -> list[dict[str, Any]]:
    """Of all nodes, the last one first."""
    found = [{"node": node, **drop} for node, report in reports.items() for drop in parts(report, "drops")]
    return sorted(found, key=lambda drop: text(drop, "last"), reverse=True)


def words(drops: list[dict[str, Any]]) -> str:
    if not drops:
        return "No connection was dropped by a network policy lately."
    rows = [_COLUMNS, *map(_row, drops)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(drop: dict[str, Any]) -> tuple[str, ...]:
    port = whole(drop, "port")
    return (
        text(drop, "last"),
        text(drop, "node"),
        text(drop, "pod"),
        text(drop, "direction"),
        text(drop, "source"),
        text(drop, "target"),
        f"{port}/{text(drop, 'protocol')}" if port else text(drop, "protocol"),
        str(whole(drop, "packets") or 0),
        ", ".join(texts(drop, "policies")),
    )
