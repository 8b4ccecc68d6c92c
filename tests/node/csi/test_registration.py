"""Plugins make themselves known by a socket: the API learns of drivers, and of their going; who hangs harms nobody."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from csi_faults import DRIVER, FaultyDriver, Registrar, until

from sampan.api.resources import CSI_NODES, NODES
from sampan.csi.pb import csi_pb2 as csi
from sampan.node.plugins import paths
from sampan.node.volumes.csi.nodeinfo import DriverInfo, InfoRefused, plan_node_patch

Bench = Any  # the fixture of conftest.py


async def drivers(bench: Bench) -> list[Any]:
    return list((await bench.admin.get(CSI_NODES, "n1"))["spec"].get("drivers") or ())


async def test_a_driver_that_registers_is_in_the_csi_node_and_on_the_node(bench: Bench) -> None:
    driver = FaultyDriver()
    driver.most_volumes, driver.topology = 16, {"disk.example.com/zone": "z1"}
    await bench.register(driver)
    assert await drivers(bench) == [
        {
            "name": DRIVER, "nodeID": "node-7", "topologyKeys": ["disk.example.com/zone"],
            "allocatable": {"count": 16},
        }
    ]  # fmt: skip
    meta = (await bench.admin.get(NODES, "n1"))["metadata"]
    assert orjson.loads(meta["annotations"]["csi.volume.kubernetes.io/nodeid"]) == {DRIVER: "node-7"}
    assert meta["labels"]["disk.example.com/zone"] == "z1"
    owner = (await bench.admin.get(CSI_NODES, "n1"))["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Node", meta["uid"])


async def test_a_driver_whose_socket_goes_is_known_no_more(bench: Bench) -> None:
    await bench.register(FaultyDriver())
    (bench.root / "plugins_registry" / f"{DRIVER}-reg.sock").unlink()

    async def is_gone() -> bool:
        meta = (await bench.admin.get(NODES, "n1"))["metadata"]
        return not await drivers(bench) and not meta.get("annotations")

    await until(is_gone)


async def test_a_socket_that_is_replaced_is_another_plugin(bench: Bench) -> None:
    driver = FaultyDriver()
    await bench.register(driver)
    driver.node_id = "node-8"
    again = Registrar(f"/var/lib/kubelet/plugins/{DRIVER}/csi.sock")
    await bench.announce(again, f"{DRIVER}-reg.sock")
    assert (await again.told.get()).plugin_registered

    async def is_new() -> bool:
        return [each["nodeID"] for each in await drivers(bench)] == ["node-8"]

    await until(is_new)


async def test_a_driver_that_goes_while_it_is_asked_takes_no_other_with_it(bench: Bench) -> None:
    gone, other = FaultyDriver(name="gone.example.com"), FaultyDriver()
    await bench.register(gone)
    await bench.register(other)
    drivers = bench.csi.plugin._drivers
    gone.fault = lambda method: "hung" if method == "NodeGetInfo" else ""
    asked = len(gone.said("NodeGetInfo"))
    looking = asyncio.create_task(bench.csi.handler.run())
    await until(lambda: len(gone.said("NodeGetInfo")) > asked)
    await drivers.remove(gone.name, drivers.get(gone.name).socket)
    await asyncio.wait((looking,), timeout=0.05)
    found = drivers.get(other.name)
    answer = await asyncio.to_thread(drivers.call, found, "NodeGetInfo", csi.NodeGetInfoRequest())
    assert answer.node_id == "node-7"
    assert not looking.done()
    looking.cancel()
    await asyncio.wait((looking,))


@pytest.mark.parametrize(
    ("registrar", "words"),
    [
        (Registrar("/x", kind="GamePlugin"), "no handler registered for plugin type: GamePlugin at socket"),
        (Registrar("/x", versions=()), "Plugin returned an empty list for supported versions"),
        (Registrar("/x", versions=("0.3", "2.1")), 'None of the versions specified ["0.3" "2.1"] are supported'),
        (Registrar("/nowhere.sock"), "rpc error: code = Unavailable"),
        (Registrar("/no\0where.sock"), "holds what no path does"),
    ],
)
async def test_a_plugin_that_is_not_taken_is_told_why(bench: Bench, registrar: Registrar, words: str) -> None:
    await bench.announce(registrar)
    status = await registrar.told.get()
    assert not status.plugin_registered
    assert words in status.error


async def test_a_driver_without_a_name_for_the_node_is_told(bench: Bench) -> None:
    driver = FaultyDriver()
    driver.node_id = ""
    await bench.serve(driver)
    registrar = Registrar(f"/var/lib/kubelet/plugins/{DRIVER}/csi.sock")
    await bench.announce(registrar)
    assert (await registrar.told.get()).error.endswith("driverNodeID must not be empty")
    driver.node_id = "node-7"
    assert (await registrar.told.get()).plugin_registered, "it is asked again, without a new socket"


async def test_plugins_that_hang_hold_up_no_other(bench: Bench) -> None:
    folder = bench.root / "plugins_registry"
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "a.sock"))
        silent.listen()
        (folder / "dead.sock").touch()  # no socket at all
        await bench.register(FaultyDriver())
    assert [each["name"] for each in await drivers(bench)] == [DRIVER]


def test_a_topology_that_contradicts_the_nodes_labels_is_refused() -> None:
    info = DriverInfo(name="d", node_id="n", most_volumes=0, topology={"zone": "z2"})
    with pytest.raises(InfoRefused, match='driver reported "zone":"z2" but existing label is "zone":"z1"'):
        plan_node_patch({"metadata": {"labels": {"zone": "z1"}}}, info)


def test_paths_below_the_kubelets_directory_are_the_nodes_own() -> None:
    root = Path("/srv/node")
    assert paths.on_machine(Path("/var/lib/kubelet/plugins/d"), root) == root / "plugins/d"
    assert paths.on_machine(Path("/var/lib/kubelet"), root) == root
    assert paths.on_machine(Path("/var/lib/kubelets"), root) == Path("/var/lib/kubelets")
    assert paths.as_seen(root / "pods/u", root, paths.KUBELET) == "/var/lib/kubelet/pods/u"


async def test_a_program_of_the_machine_sees_the_root_where_it_is(tmp_path: Path, bench: Bench) -> None:
    await bench.serve(FaultyDriver())
    server = bench.root / "plugins" / DRIVER / "csi.sock"
    assert await asyncio.to_thread(paths.root_seen_by, server, bench.root) == bench.root


#: As a driver's container is: it sees the pods' directory at the kubelet's, and not where it is on the machine.
_IN_A_POD = """
import socket, subprocess, sys
from pathlib import Path
root, server = sys.argv[1], socket.socket(socket.AF_UNIX)
pods = Path("/var/lib/kubelet/pods")
subprocess.run(["mount", "-t", "tmpfs", "t", "/var/lib"], check=True)
pods.mkdir(parents=True)
subprocess.run(["mount", "--bind", root + "/pods", pods], check=True)
server.bind(root + "/plugin.sock")
server.listen()
subprocess.run(["mount", "-t", "tmpfs", "t", root], check=True)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_a_program_in_a_pod_sees_the_root_at_the_kubelets_directory(bench: Bench) -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        "unshare", "-m", sys.executable, "-c", _IN_A_POD, str(bench.root), stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert child.stdout is not None
    try:
        if not await child.stdout.readline():
            pytest.skip("this sandbox may not mount")
        found = await asyncio.to_thread(paths.root_seen_by, bench.root / "plugin.sock", bench.root)
    finally:
        await child.communicate(b"")
    assert found == paths.KUBELET
