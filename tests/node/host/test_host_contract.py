"""What every ``Host`` does, the real one and the one in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.host_linux import LinuxHost
from sampan.node.host_memory import MemoryHost, hollow_machine

POD = {"metadata": {"uid": "u1", "name": "p", "namespace": "d"}, "spec": {"containers": [{"name": "c"}]}}


@pytest.fixture(params=["linux", "memory"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    if request.param == "memory":
        return MemoryHost(hollow_machine("n1"), resolv_conf="nameserver 192.0.2.53")
    config = NodeConfig(
        node_name="n1", addresses=("192.0.2.1",), root_dir=tmp_path / "node", log_dir=tmp_path / "logs",
        cgroup_root="", resolv_conf=tmp_path / "resolv.conf",
    )  # fmt: skip
    config.resolv_conf.write_text("nameserver 192.0.2.53\n")
    return LinuxHost(config)


async def test_what_is_written_is_read(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "file"
    await host.write(file, b"one", 0o644)
    await host.write(file, b"two", 0o644)
    assert host.read(file, 100) == b"two"
    assert host.read(file, 2) == b"tw"


async def test_a_tail_begins_with_a_whole_line(host: Host, tmp_path: Path) -> None:
    await host.write(tmp_path / "log", b"first\nsecond\nthird\n", 0o644)
    assert host.read(tmp_path / "log", 10, tail=True) == b"third\n"
    assert host.read(tmp_path / "log", 100, tail=True) == b"first\nsecond\nthird\n"


async def test_what_is_not_there_or_no_file_reads_as_nothing(host: Host, tmp_path: Path) -> None:
    await host.make_directory(tmp_path / "directory")
    assert host.read(tmp_path / "absent", 100) == b""
    assert host.read(tmp_path / "directory", 100) == b""


async def test_a_tree_goes_with_all_that_is_in_it_and_nothing_beside_it(host: Host, tmp_path: Path) -> None:
    await host.write(tmp_path / "pods" / "u1" / "etc-hosts", b"1", 0o644)
    await host.write(tmp_path / "pods" / "u12" / "etc-hosts", b"2", 0o644)
    await host.make_directory(tmp_path / "pods" / "u1" / "deep" / "er")
    await host.remove_tree(tmp_path / "pods" / "u1")
    await host.remove_tree(tmp_path / "pods" / "u1")
    assert host.read(tmp_path / "pods" / "u1" / "etc-hosts", 9) == b""
    assert host.read(tmp_path / "pods" / "u12" / "etc-hosts", 9) == b"2"


async def test_making_a_directory_again_changes_nothing(host: Host, tmp_path: Path) -> None:
    await host.write(tmp_path / "d" / "file", b"1", 0o644)
    await host.make_directory(tmp_path / "d")
    assert host.read(tmp_path / "d" / "file", 9) == b"1"


async def test_a_directory_where_a_file_is_wanted_is_an_error_and_so_is_the_reverse(host: Host, tmp_path: Path) -> None:
    await host.make_directory(tmp_path / "d" / "below")
    with pytest.raises(OSError):
        await host.write(tmp_path / "d", b"", 0o644)
    await host.write(tmp_path / "file", b"", 0o644)
    with pytest.raises(OSError):
        await host.make_directory(tmp_path / "file")
    with pytest.raises(OSError):
        await host.make_directory(tmp_path / "file" / "below")


async def test_cgroups_come_and_go_any_number_of_times(host: Host) -> None:
    assert await host.create_cgroup(POD) == await host.create_cgroup(POD) == host.cgroup_path(POD)
    await host.remove_cgroup(POD)
    await host.remove_cgroup(POD)


def test_facts_are_whole_and_stay(host: Host) -> None:
    machine = host.machine()
    assert machine == host.machine()
    assert machine.cpus > 0 < machine.memory_bytes and machine.boot_id and machine.architecture
    assert 0 < host.disk().free_bytes <= host.disk().total_bytes
    assert host.disk("/no/such/place") == host.disk()
    assert host.load().memory_available_bytes
    assert host.resolv_conf() == "nameserver 192.0.2.53"
    assert "localhost" in host.hosts_file()


async def test_the_real_one_follows_no_link_that_a_container_left(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "message"
    secret.write_text("secret")
    link.symlink_to(secret)
    host = LinuxHost(NodeConfig(node_name="n", addresses=("192.0.2.1",), root_dir=tmp_path, cgroup_root=""))
    assert host.read(link, 100) == b""
    (tmp_path / "file").write_text("x")
    await host.write(tmp_path / "file", b"y", 0o666)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666
