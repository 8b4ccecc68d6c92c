"""What the kernel tells of processors and NUMA nodes, read from folders that look like its own."""

from __future__ import annotations

from pathlib import Path

from sampan.node.numa import Cell, kernel_name, page_sizes, read_cells, total_hugepages
from sampan.node.processors import Place, parse, read_topology

MIB = 1 << 20


def fill(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def test_nodes_are_read_with_their_processors_memory_huge_pages_and_distances(tmp_path: Path) -> None:
    fill(tmp_path, {
        "online": "0,2\n",
        "node0/cpulist": "0-1,4-5\n", "node0/meminfo": "Node 0 MemTotal:       2048 kB\nNode 0 MemFree:  10 kB\n",
        "node0/distance": "10 32\n", "node0/hugepages/hugepages-2048kB/nr_hugepages": "3\n",
        "node0/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
        "node2/cpulist": "2-3\n", "node2/meminfo": "Node 2 MemTotal:       1024 kB\n", "node2/distance": "32 10\n",
        "node2/hugepages/hugepages-2048kB/nr_hugepages": "1\n",
        "node2/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
    })  # fmt: skip
    cells = read_cells(0, frozenset(), tmp_path, tmp_path / "none")
    assert cells == (
        Cell(
            id=0, cpus=parse("0-1,4-5"), memory_bytes=2 * MIB, distances={0: 10, 2: 32},
            hugepages={"hugepages-2Mi": 6 * MIB, "hugepages-1Gi": 0},
        ),
        Cell(
            id=2, cpus=parse("2-3"), memory_bytes=MIB, distances={0: 32, 2: 10},
            hugepages={"hugepages-2Mi": 2 * MIB, "hugepages-1Gi": 0},
        ),
    )  # fmt: skip
    assert cells[0].distance(2) == 32 and Cell(id=0).distance(1) == 20 and Cell(id=0).distance(0) == 10
    assert total_hugepages(cells) == {"hugepages-2Mi": 8 * MIB, "hugepages-1Gi": 0}


def test_a_kernel_that_tells_of_no_nodes_has_one_with_all_that_there_is(tmp_path: Path) -> None:
    fill(tmp_path, {"pages/hugepages-2048kB/nr_hugepages": "2"})
    assert read_cells(5 * MIB, parse("0-1"), tmp_path / "none", tmp_path / "pages") == (
        Cell(id=0, cpus=parse("0-1"), memory_bytes=5 * MIB, hugepages={"hugepages-2Mi": 4 * MIB}),
    )


def test_sizes_of_pages_have_the_names_that_cgroups_give_them(tmp_path: Path) -> None:
    names = ("hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB")
    fill(tmp_path, {f"{name}/nr_hugepages": "0" for name in names})
    sizes = page_sizes(tmp_path)
    assert {size: kernel_name(size) for size in sizes} == {
        "hugepages-64Ki": "64KB", "hugepages-2Mi": "2MB", "hugepages-1Gi": "1GB",
    }  # fmt: skip


def test_a_processor_is_of_a_socket_a_core_a_node_and_a_cache_as_far_as_the_kernel_tells(tmp_path: Path) -> None:
    fill(tmp_path, {
        "cpu0/topology/physical_package_id": "1", "cpu0/topology/core_id": "7", "cpu0/cache/index3/id": "4",
        "cpu1/topology/physical_package_id": "-1", "cpu1/topology/core_id": "3",
    })  # fmt: skip
    (tmp_path / "cpu0" / "node2").mkdir()
    (tmp_path / "cpu2" / "node1").mkdir(parents=True)
    assert read_topology(tmp_path, [0, 1, 2]).places == {0: Place(1, 7, 2, 4), 1: Place(0, 3), 2: Place(0, 2, 1)}


def test_this_machine_is_read() -> None:
    topology = read_topology()
    cells = read_cells(1 << 30, topology.cpus)
    assert topology.cpus <= frozenset().union(*(cell.cpus for cell in cells))
    assert all(cell.memory_bytes > 0 for cell in cells)
    assert {place.node for place in topology.places.values()} <= {cell.id for cell in cells}
