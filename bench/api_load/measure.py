"""What other processes use: CPU time to the microsecond, resident memory; and one line of a table."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes used so far, all their threads, the ended ones too."""
    # The CPU-time clock of a process is numbered so (clock_getcpuclockid(3)): finer than the ticks of /proc/PID/stat.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def resident_mib(pids: Iterable[int]) -> float:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def wait_until_idle(pids: Sequence[int], *, seconds: float = 60) -> None:
    """Until these processes use less than 3 % of a core: what a server does after its start is not the row's cost."""
    deadline = time.monotonic() + seconds
    while pids and time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(0.5)
        if cpu_seconds(pids) - before < 0.015:
            return


@dataclass(frozen=True, slots=True)
class Latency:
    """In milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: list[float]) -> Latency | None:
        ordered = sorted(seconds)
        if not ordered:
            return None
        p50, p99 = (ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 for share in (0.5, 0.99))
        return cls(p50, p99)


@dataclass(kw_only=True)
class Row:
    """One line. ``cpu`` is the server's, ``client_cpu`` the load generator's, both in seconds, over ``count`` units."""

    name: str
    what: str
    count: int
    seconds: float
    cpu: float | None = None
    client_cpu: float | None = None
    latency: Latency | None = None
    failed: int = 0
    generator: str = ""
    notes: list[str] = field(default_factory=list)
    #: figures that fit no column: MiB and the like
    extra: dict[str, float] = field(default_factory=dict)
    server: str = "sampan"

    @property
    def rate(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def cpu_us(self) -> float | None:
        return None if self.cpu is None or not self.count else self.cpu / self.count * 1e6

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "rate": round(self.rate, 1), "cpu_us": self.cpu_us}


HEAD = (
    f"{'row':<34}{'rate':>10}{'CPU':>10}{'p50':>10}{'p99':>10}{'server':>8}{'client':>8}{'failed':>7}"
    "  generator, notes\n"
    f"{'':<34}{'1/s':>10}{'µs each':>10}{'ms':>10}{'ms':>10}{'busy':>8}{'busy':>8}"
)


def line(row: Row) -> str:
    def busy(cpu: float | None) -> str:
        return f"{cpu / row.seconds * 100:.0f} %" if cpu is not None and row.seconds else ""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"

    p50, p99 = (row.latency.p50, row.latency.p99) if row.latency else (None, None)
    rate = f"{row.rate:,.0f}" if row.count else ""
    name = row.what if row.server == "sampan" else f"{row.what} ({row.server})"
    rest = "; ".join([row.generator, *(f"{key} {value:,.1f}" for key, value in row.extra.items()), *row.notes])
    return (
        f"{name:<34}{rate:>10}{number(row.cpu_us):>10}{number(p50):>10}{number(p99):>10}"
        f"{busy(row.cpu):>8}{busy(row.client_cpu):>8}{row.failed or '':>7}  {rest}"
    ).rstrip(" ;")


def to_json(rows: Sequence[Row], about: dict[str, Any]) -> str:
    return json.dumps({**about, "rows": [row.as_json() for row in rows]}, indent=1, ensure_ascii=False)
