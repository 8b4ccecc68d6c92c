"""The NUMA nodes of a machine: their processors, memory, huge pages and distances. Pure but for ``read_cells``.

Called cells, as cAdvisor and libvirt do: a node is a Kubernetes' one here. Used by the topology and memory managers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from sampan.api import quantity
from sampan.node.processors import Cpus, parse
from sampan.records import dataclass

_SYS = Path("/sys/devices/system/node")
_PAGES = Path("/sys/kernel/mm/hugepages")
_PREFIX = "hugepages-"
#: A distance that the firmware does not tell: what it says of a node to itself, and to another.
_HERE, _THERE = 10, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """``hugepages``: bytes by resource name (``hugepages-2Mi``), part of ``memory_bytes``. ``distances``: by id."""

    id: int
    cpus: Cpus = frozenset()
    memory_bytes: int = 0
    hugepages: Mapping[str, int] = field(default_factory=dict)
    distances: Mapping[int, int] = field(default_factory=dict)

    def distance(self, other: int) -> int:
        return self.distances.get(other, _HERE if other == self.id else _THERE)


def read_cells(memory_bytes: int, cpus: Cpus, directory: Path = _SYS, pages: Path = _PAGES) -> tuple[Cell, ...]:
    """In the order of their ids. A kernel that tells of none has one, with all that there is."""
    ids = sorted(parse(_read(directory / "online"))) if (directory / "online").exists() else []
    found = [_cell(directory / f"node{number}", number, ids) for number in ids]
    if not found:
        return (Cell(id=0, cpus=cpus, memory_bytes=memory_bytes, hugepages=_hugepages(pages)),)
    return tuple(found)


def page_sizes(pages: Path = _PAGES) -> tuple[str, ...]:
    """Resources of huge pages that the kernel can have, whether there are any or not."""
    return tuple(_hugepages(pages))


def kernel_name(resource: str) -> str:
    """``2MB`` of ``hugepages-2Mi``: as cgroups and runtimes have it."""
    size = quantity.value(resource.removeprefix(_PREFIX))
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size >> 10}KB"


def total_hugepages(cells: Iterable[Cell]) -> dict[str, int]:
    """Bytes by resource name, of the whole machine."""
    total: dict[str, int] = {}
    for cell in cells:
        for name, size in cell.hugepages.items():
            total[name] = total.get(name, 0) + size
    return total


def _cell(directory: Path, number: int, ids: Sequence[int]) -> Cell:
    words = _read(directory / "distance").split()
    return Cell(
        id=number,
        cpus=parse(_read(directory / "cpulist")),
        memory_bytes=_memory(_read(directory / "meminfo")),
        hugepages=_hugepages(directory / "hugepages"),
        distances=dict(zip(ids, map(int, words), strict=False)) if len(words) == len(ids) else {},
    )


def _memory(meminfo: str) -> int:
    """Of ``Node 0 MemTotal:  1024 kB``."""
    for line in meminfo.splitlines():
        words = line.split()
        if "MemTotal:" in words[:-1]:
            return int(words[words.index("MemTotal:") + 1]) * 1024
    return 0


def _hugepages(directory: Path) -> dict[str, int]:
    found = {}
    for folder in sorted(directory.glob(f"{_PREFIX}*kB")) if directory.is_dir() else ():
        kibibytes = int(folder.name.removeprefix(_PREFIX).removesuffix("kB"))
        name = _PREFIX + str(quantity.canonical(f"{kibibytes}Ki"))
        found[name] = int(_read(folder / "nr_hugepages") or 0) * kibibytes * 1024
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
