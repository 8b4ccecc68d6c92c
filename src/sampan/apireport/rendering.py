"""How a report looks: a table for people, data for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.types import Obj
from sampan.apireport.findings import Finding, Span
from sampan.records import dataclass

_COLUMNS = ("SOURCE", "KIND", "NAME", "VERSION", "CHANGE", "SINCE", "USE")


@dataclass(frozen=True, slots=True)
class Report:
    """``skipped``: what was not looked at, and why; ``unreadable``: what could not be."""

    span: Span
    looked_at: int
    findings: Sequence[Finding]
    skipped: Sequence[str] = ()
    unreadable: Sequence[str] = ()

    @property
    def removed(self) -> int:
        return sum(finding.change == "removed" for finding in self.findings)

    def wire(self) -> Obj:
        return {
            "from": str(self.span.start),
            "to": str(self.span.end),
            "objects": self.looked_at,
            "findings": [finding.wire() for finding in self.findings],
            "skipped": list(self.skipped),
            "unreadable": list(self.unreadable),
        }


def table(report: Report) -> str:
    rows = [
        (
            finding.source,
            finding.kind,
            f"{finding.namespace}/{finding.name}" if finding.namespace else finding.name,
            finding.api_version,
            finding.change,
            f"v{finding.since}" if finding.since is not None else "",
            finding.replacement or "nothing",
        )
        for finding in report.findings
        if finding.change != "hint"
    ]
    lines: list[str] = []
    if rows:
        widths = [max(len(row[index]) for row in (_COLUMNS, *rows)) for index in range(len(_COLUMNS))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (_COLUMNS, *rows)
        ]
    hints = [finding for finding in report.findings if finding.change == "hint"]
    if hints:
        lines += [*([""] if rows else []), "Hints:"]
        lines += [f"  {finding.source} {finding.kind} {finding.name}: {finding.message}" for finding in hints]
    lines += [f"Skipped {each}" for each in report.skipped]
    lines += [f"Unreadable: {each}" for each in report.unreadable]
    deprecated = sum(finding.change == "deprecated" for finding in report.findings)
    span = f"from v{report.span.start} to v{report.span.end}"
    lines.append(
        f"{report.looked_at} objects, {span}: {report.removed} use what is removed, {deprecated} what is deprecated"
    )
    return "\n".join(lines)
