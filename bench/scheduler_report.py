"""What ``scheduler_perf.py`` measured: a row of a table for each run, and the picture of all of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PICTURE = DOCS / "scheduler_perf.svg"
TABLE_BEGINS, TABLE_ENDS = "<!-- scheduler_perf.py writes this -->\n", "<!-- to here -->\n"


@dataclass
class Result:
    workload: str
    nodes: int
    pods: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    #: with --apart, of the processes beside the load generator's
    cpu_of: dict[str, float] = field(default_factory=dict)
    per_second: list[float] = field(default_factory=list)
    #: from a pod's creation to its binding
    latencies_ms: list[float] = field(default_factory=list)
    resident_mib: float = 0.0
    bound: int = 0

    @property
    def average(self) -> float:
        return self.bound / self.seconds if self.seconds else 0.0


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def line(result: Result) -> str:
    samples = result.per_second[:-1] or [result.average]
    return (
        f"| {result.workload} | {result.nodes:,} | {result.bound:,} | {result.average:,.0f} "
        f"| {quantile(samples, 0.5):,.0f} / {quantile(samples, 0.1):,.0f} "
        f"| {quantile(result.latencies_ms, 0.5):,.0f} / {quantile(result.latencies_ms, 0.99):,.0f} "
        f"| {processor(result)} | {result.resident_mib:,.0f} |"
    )


def processor(result: Result) -> str:
    """Milliseconds a pod; of each process, where there are several."""
    taken = {**result.cpu_of, "load" if result.cpu_of else "": result.cpu_seconds}
    return " + ".join(f"{name} {s / max(result.bound, 1) * 1000:.2f}".strip() for name, s in taken.items())


HEAD = (
    "| workload | nodes | pods | pods/s | in a second: p50 / p10 | ms to be bound: p50 / p99 | processor ms a pod "
    "| MiB |"
    "\n|---|---|---|---|---|---|---|---|"
)


class Report:
    """Results and failures in the order in which they came, and what memory was taken ("": not measured)."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._rows: list[str] = []
        self.memory = ""

    def add(self, result: Result) -> str:
        self.results.append(result)
        self._rows.append(line(result))
        return self._rows[-1]

    def failed(self, workload: str, nodes: int, why: str) -> str:
        self._rows.append(f"| {workload} | {nodes:,} | | {why} | | | | |")
        return self._rows[-1]

    def write(self) -> None:
        """Table and memory into the documents, in place of what stands between the marks there; and the picture."""
        document = DOCS / "benchmarks.md"
        head, begins, rest = document.read_text().partition(TABLE_BEGINS)
        _, ends, tail = rest.partition(TABLE_ENDS)
        if not ends:
            raise SystemExit(f"{document}: where is {TABLE_BEGINS.strip()} … {TABLE_ENDS.strip()}?")
        load = "/".join(f"{each:.1f}" for each in os.getloadavg())
        taken = f"Taken on {datetime.now(UTC):%Y-%m-%d}, load of the machine {load} (1, 5, 15 minutes) at the end."
        table = "\n".join([taken, "", HEAD, *self._rows])
        memory = f"\n{self.memory}\n" if self.memory else ""
        document.write_text(f"{head}{begins}{table}\n{memory}{ends}{tail}")
        PICTURE.write_text(svg(self.results))


def render(path: Path) -> None:
    """The table and the picture of a file with a result a line."""
    results = [Result(**json.loads(text)) for text in path.read_text().splitlines()]
    print("\n".join([HEAD, *map(line, results)]))
    PICTURE.write_text(svg(results))
    print(f"\npicture: {PICTURE}")


def svg(results: list[Result]) -> str:
    """Bars of pods a second, a row a workload, a bar a size."""
    names = list(dict.fromkeys(result.workload for result in results))
    sizes = sorted({result.nodes for result in results})
    colours = ("#9ecae1", "#4292c6", "#08519c")
    row, left, width = 14 * len(sizes) + 12, 220, 560
    longest = max((result.average for result in results), default=0.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{row * len(names) + 50}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for place, size in enumerate(sizes):
        parts.append(f'<rect x="{left + place * 130}" y="10" width="12" height="12" fill="{colours[place % 3]}"/>')
        parts.append(f'<text x="{left + place * 130 + 18}" y="20">{size:,} nodes</text>')
    for index, name in enumerate(names):
        top = 40 + index * row
        parts.append(f'<text x="{left - 8}" y="{top + row / 2}" text-anchor="end">{name}</text>')
        for place, size in enumerate(sizes):
            found = [r.average for r in results if r.workload == name and r.nodes == size]
            if found:
                length, y = found[-1] / longest * width, top + place * 14
                parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="12" fill="{colours[place % 3]}"/>')
                parts.append(f'<text x="{left + length + 4:.1f}" y="{y + 10}">{found[-1]:,.0f}</text>')
    return "\n".join([*parts, "</svg>", ""])
