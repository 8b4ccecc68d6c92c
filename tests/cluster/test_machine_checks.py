"""What is asked of the machine, in words that say what to do; images and containerd's configuration."""

from __future__ import annotations

import os
import shutil
import socket
import tomllib
from pathlib import Path

import pytest

from sampan.cluster import containerd, imagebuild, images, machine, preflight, probe, status
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.node.cri.containerd import detect, render
from sampan.node.images import ctr


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")


def problems(instance: Instance) -> dict[str, str]:
    return {problem.what: problem.fix for problem in preflight.check(instance)}


def test_missing_programs_are_named_with_the_packages_they_are_in(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = problems(instance)
    missing = "not installed: containerd, ctr, nft, ip, containerd-shim-runc-v2, runc"
    assert found[missing] == "apt-get install -y containerd iproute2 nftables runc"


def test_whoever_is_not_root_is_told_so(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert problems(instance)["not running as root"].startswith("run `sudo sampan up`")


def test_a_taken_port_is_named_with_its_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        instance = Instance(ClusterSettings("one"), tmp_path, tmp_path, NodeSettings(kubelet_port=port))
        assert "--kubelet-port" in problems(instance)[f"port {port} is taken by another program"]
        running = {problem.what for problem in preflight.check(instance, running=True)}
        assert not any("taken" in what for what in running)


def test_settings_that_no_agent_begins_with_on_this_machine_are_told(tmp_path: Path) -> None:
    file = tmp_path / "k.yaml"
    head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    node = NodeSettings("n", address="192.0.2.1", kubelet_config=str(file))
    instance = Instance(ClusterSettings("one"), tmp_path, tmp_path, node=node)
    file.write_text(head + "systemReserved: {memory: 1Ki, cpu: 1m}\n")
    assert list(preflight._settings(instance)) == []
    file.write_text(head + "systemReserved: {memory: 512Pi}\nkubeReserved: {memory: 512Pi}\n")
    [problem] = preflight._settings(instance)
    told = 'invalid Node Allocatable configuration. Resource "memory" has a reservation of '
    assert problem.what.startswith(told) and problem.fatal
    file.write_text(head + "cpuManagerPolicy: static\nreservedSystemCPUs: '9999'\n")
    assert [each.what for each in preflight._settings(instance)] == [
        "reservedSystemCPUs names processors that this machine does not have: 9999"
    ]
    file.write_text(head + "memoryManagerPolicy: Static\n")
    [problem] = preflight._settings(instance)
    assert "determined by Node Allocatable feature" in problem.what
    file.write_text(head + "cpuManagerPolicy: static\nsystemReserved: {cpu: '1'}\n")
    state = instance.kubelet_root / "cpu_manager_state"
    state.parent.mkdir(parents=True)
    state.write_text('{"policyName":"static","defaultCpuSet":"0-9998","entries":{"p":{"c":"9999"}}}')
    [problem] = preflight._settings(instance)
    assert problem.what.endswith(f"drain this node, remove {state} and start it again")


def test_a_disk_too_full_for_pods_is_told_before_the_node_has_disk_pressure(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000, 860, 140))
    told = [problem for problem in preflight.check(instance) if "DiskPressure" in problem.what]
    assert [problem.fatal for problem in told] == [False]
    assert told[0].what.startswith("only 14 % of the disk below ")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000, 850, 150))
    assert not any("DiskPressure" in problem.what for problem in preflight.check(instance))


def test_all_cni_plugins_are_needed(instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(preflight, "CNI_DIRECTORIES", (tmp_path,))
    program(tmp_path / "bridge")
    assert preflight.cni_directory() is None
    for plugin in preflight.CNI_PLUGINS:
        program(tmp_path / plugin)
    assert preflight.cni_directory() == tmp_path
    (tmp_path / "loopback").chmod(0o644)  # masked
    assert preflight.cni_directory() is None


def program(path: Path) -> None:
    path.touch(mode=0o755)


def test_a_masked_shim_is_missed_before_the_first_pod_needs_it(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("containerd", "ctr", "nft", "ip", "runc", "containerd-shim-runc-v2"):
        program(tmp_path / name)
    assert not any("not installed: cont" in what for what in problems(instance))
    (tmp_path / "containerd-shim-runc-v2").chmod(0o644)
    assert problems(instance)["not installed: containerd-shim-runc-v2"] == "apt-get install -y containerd"


def test_programs_of_root_are_found_without_roots_path(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``su`` without a dash keeps a user's PATH, which has no sbin."""
    (tmp_path / "sbin").mkdir()
    program(tmp_path / "sbin" / "nft")
    monkeypatch.setattr(machine, "SBIN_DIRECTORIES", (str(tmp_path / "sbin"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    machine.complete_path()
    machine.complete_path()  # twice is once
    assert os.environ["PATH"] == f"{tmp_path}:{tmp_path}/sbin"
    assert not any("nft" in what for what in problems(instance))


def test_root_without_its_rights_is_told_which_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    status_file = tmp_path / "status"
    status_file.write_text("Name:\tx\nCapEff:\t00000000a80425fb\n")  # what Docker leaves
    (problem,) = preflight._rights(status_file)
    assert problem.what == "root lacks CAP_NET_ADMIN, CAP_SYS_ADMIN here"
    status_file.write_text("CapEff:\t000001ffffffffff\n")
    assert list(preflight._rights(status_file)) == []


def test_a_kernel_switch_that_cannot_be_turned_on_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "net" / "ipv4" / "ip_forward"
    switch.parent.mkdir(parents=True)
    switch.write_text("0\n")
    assert list(preflight._switches(tmp_path)) == []  # it can be
    monkeypatch.setattr("os.access", lambda *_: False)  # a container's read-only /proc/sys, for root too
    (problem,) = preflight._switches(tmp_path)
    assert problem.what == "net.ipv4.ip_forward is 0 and cannot be changed from here"
    switch.write_text("1\n")
    assert list(preflight._switches(tmp_path)) == []


ADDRESSES = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.17
           /32 host LOCAL
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""


#: An address of loopback, of a link, and one that others reach.
ADDRESSES_IPV6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000bc5d46fffe8b3d7e 02 40 20 80     eth0
20010db8000000000000000000000002 02 40 00 80     eth0
"""


def test_an_address_that_is_not_this_machines_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "fib_trie"
    table.write_text(ADDRESSES)
    table6 = tmp_path / "if_inet6"
    table6.write_text(ADDRESSES_IPV6)
    assert machine.own_addresses(table, table6) == ["192.0.2.2", "192.0.2.17", "2001:db8::2"]
    monkeypatch.setattr(machine.own_addresses, "__defaults__", (table, table6))
    machine.check_own("192.0.2.17")
    with pytest.raises(ClusterError) as refused:
        machine.check_own("1.2.3.4")
    assert refused.value.message == "--node-address 1.2.3.4 is not an address of this machine"
    assert refused.value.fix == "choose 192.0.2.2, 192.0.2.17 or 2001:db8::2"


def test_containerds_configuration_is_toml_and_the_instances_own(instance: Instance) -> None:
    written = tomllib.loads(render(containerd.config(instance), detect()))
    assert written["root"] == str(instance.containerd_root)
    assert written["grpc"]["address"] == str(instance.containerd_socket)
    cri = written["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["cni"]["conf_dir"] == str(instance.cni_conf)
    assert cri["containerd"]["default_runtime_name"] == "runc"


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:7", "docker.io/library/redis:7"),
        ("me/app", "docker.io/me/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        (f"example.com/a/b@sha256:{0:064}", f"example.com/a/b@sha256:{0:064}"),
    ],
)
def test_short_image_names_are_what_a_pod_would_mean(short: str, full: str) -> None:
    assert images.full_reference(short) == full


def test_a_line_of_ctr_is_an_image_unless_a_bare_digest() -> None:
    line = "docker.io/library/redis:7 application/vnd.oci.image.index.v1+json sha256:abcd 1.5 MiB linux/amd64 -"
    image = ctr.parse_line(line)
    assert image is not None
    assert (image.name, image.short_id, image.size_bytes) == ("docker.io/library/redis:7", "abcd", 3 * 2**19)
    assert ctr.parse_line(line.replace("docker.io/library/redis:7", "sha256:abcd")) is None
    missing = ctr.parse_line("a:1 application/vnd.oci.image.index.v1+json sha256:abcd - - -")
    assert missing is not None and missing.size_bytes == 0


def test_a_stopped_instance_is_seen_as_stopped(instance: Instance) -> None:
    seen = status.observe(instance)
    assert not seen.running and not seen.healthy and seen.processes == ()


def test_nobody_answering_is_told(instance: Instance) -> None:
    with pytest.raises(probe.NotAnswering, match="credentials"):
        probe.get(instance, "/readyz")
    assert not probe.is_ready(instance)


async def test_a_containerd_that_does_not_answer_is_told_with_its_log(instance: Instance) -> None:
    with pytest.raises(ClusterError, match=r"^containerd of cluster 'one': failed to connect") as told:
        async with images._cri(instance) as cri:
            await cri.image_status("x")
    assert told.value.fix == f"look at {instance.logs}/containerd.log"


def test_an_error_has_words_and_what_to_do() -> None:
    error = ClusterError("what", fix="do")
    assert (str(error), error.fix) == ("what", "do")


@pytest.mark.parametrize("name", ["", "BAD TAG", "UPPER", "a::b", "a:", "/a", "a//b", "a b", "a@b", "-a", "a:1:2"])
def test_what_is_no_image_name_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match=r"image name .* is not valid"):
        images.full_reference(name)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "nothing to put into the image"),
        ({"binaries": ("/nowhere",)}, "program /nowhere does not exist"),
        ({"binaries": ("/etc",)}, "/etc is a directory, not a program"),
        ({"binaries": ("ls",)}, "does not say where it goes"),
        ({"files": ("/nowhere:/x",)}, "/nowhere does not exist"),
        ({"files": (":",)}, "does not say where it goes"),
        ({"links": ("/bin/sh",)}, "link '/bin/sh' is not valid"),
        ({"files": ("/etc/hostname",), "user": "a b"}, "user 'a b' is not valid"),
        ({"files": ("/etc/hostname",), "env": ("A",)}, "environment variable 'A' is not valid"),
        ({"files": ("/etc/hostname",), "entrypoint": '"a'}, "No closing quotation"),
    ],
)
def test_a_recipe_that_makes_no_image_is_refused(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(ClusterError) as refused:
        imagebuild.build(imagebuild.Recipe(tag="docker.io/library/x:1", **wrong))  # type: ignore[arg-type]  # on purpose
    assert words in refused.value.message


def test_the_same_files_give_the_same_image(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    recipe = imagebuild.Recipe(tag="docker.io/library/x:1", files=(f"{tmp_path}:/a",))
    assert imagebuild.build(recipe) == imagebuild.build(recipe)
