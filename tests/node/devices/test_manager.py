"""Device plug-ins over their real sockets: they come, go, fail and hang; the agent is killed and begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from tests.node.devices.conftest import TOY, Bench

from sampan.node import runtime
from sampan.node.admission import Refusal
from sampan.node.devices.manager import GONE_SECONDS
from sampan.node.devices.pb import deviceplugin_pb2 as pb
from sampan.node.devices.plan import Unavailable
from sampan.node.topology.aligning import Refused, Step
from sampan.node.topology.hints import Hint


def pod(uid: str, number: int = 1, resource: str = TOY) -> dict[str, Any]:
    limits = {resource: str(number)}
    return {"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}}


async def test_its_devices_are_the_nodes_and_are_lent_to_one_container_each(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a", "b"], ["ill"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (3, 2)})
        bench.holders = {"1", "2", "3"}
        assert manager.concerns(pod("1")) and not manager.concerns(pod("1", resource="example.com/other"))
        await asyncio.gather(manager.admit(pod("1")), manager.admit(pod("2")))
        assert sorted(plugin.allocated) == [["a"], ["b"]]
        text = "requested number of devices unavailable for example.com/toy. Requested: 1, Available: 0"
        with pytest.raises(Unavailable, match=text):
            await manager.admit(pod("3"))
        bench.holders.remove("1")
        given = (await manager.container("1", "c")).environment
        await manager.admit(pod("3"))
        assert (await manager.container("3", "c")).environment == given


async def test_devices_that_fall_ill_are_not_lent(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        await plugin.change([], ["a"])
        await bench.until(manager, {TOY: (1, 0)})
        with pytest.raises(Unavailable, match="no healthy devices present"):
            await manager.admit(pod("1"))
        await plugin.change(["a", "b"])
        await bench.until(manager, {TOY: (2, 2)})
        await manager.admit(pod("1"))


async def test_what_was_lent_is_known_to_the_next_agent_and_the_plug_in_is_not_asked_again(bench: Bench) -> None:
    bench.holders = {"1", "2"}
    async with bench.manager() as manager, bench.plugin(["a", "b"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (2, 2)})
        await manager.admit(pod("1"))
        before = await manager.container("1", "c")
    async with bench.manager() as manager:
        assert manager.amounts() == {TOY: (0, 0)}
        assert (await manager.container("1", "c")) == before
        with pytest.raises(Unavailable, match=r"cannot allocate unregistered device example\.com/toy"):
            await manager.admit(pod("2"))
        async with bench.plugin(["a", "b"]) as plugin:
            await plugin.register()
            await bench.until(manager, {TOY: (2, 2)})
            await manager.admit(pod("1"))
            assert plugin.allocated == []
            await manager.admit(pod("2"))
            assert plugin.allocated == [["b"]]


async def test_a_plug_in_that_goes_takes_its_devices_along(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.manager() as manager:
        async with bench.plugin(["a"]) as plugin:
            await plugin.register()
            await bench.until(manager, {TOY: (1, 1)})
        await bench.until(manager, {TOY: (1, 0)})
        loop = asyncio.get_running_loop()
        later = loop.time() + GONE_SECONDS + 1
        monkeypatch.setattr(loop, "time", lambda: later, raising=False)
        assert manager.amounts() == {TOY: (0, 0)}


async def test_one_that_registers_again_replaces_itself(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        plugin.healthy = {"x", "y"}
        await plugin.register()
        await bench.until(manager, {TOY: (2, 2)})
        bench.holders = {"1"}
        await manager.admit(pod("1", 2))
        assert plugin.allocated == [["x", "y"]]


async def test_a_refused_pod_holds_nothing(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        bench.holders = {"1", "2"}
        plugin.refuses = "out of order"
        with pytest.raises(Unavailable, match="rpc error: code = Internal desc = out of order"):
            await manager.admit(pod("1"))
        plugin.refuses = ""
        await manager.admit(pod("2"))


async def test_while_one_plug_in_hangs_the_pods_of_others_are_served(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin, bench.plugin(["z"], name="z.sock") as other:
        await plugin.register()
        await other.register("example.com/other")
        await bench.until(manager, {TOY: (1, 1), "example.com/other": (1, 1)})
        bench.holders = {"1", "2", "3"}
        plugin.gate.clear()
        hung = asyncio.create_task(manager.admit(pod("1")))
        await manager.admit(pod("2", resource="example.com/other"))
        with pytest.raises(Unavailable, match="Available: 0"):
            await manager.admit(pod("3"))  # the one that is asked for already is nobody else's
        assert not hung.done()
        plugin.gate.set()
        await hung


async def test_everything_that_a_plug_in_answers_reaches_the_container(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        plugin.options.pre_start_required = True
        plugin.answer = pb.ContainerAllocateResponse(
            envs={"TOY": "a"},
            mounts=[pb.Mount(container_path="/toy", host_path="/var/toy", read_only=True)],
            devices=[pb.DeviceSpec(container_path="/dev/toy", host_path="/dev/null", permissions="rw")],
            annotations={"toy": "yes"},
        )
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        bench.holders = {"1"}
        await manager.admit(pod("1"))
        given = await manager.container("1", "c")
        assert given.environment == {"TOY": "a"} and given.annotations == {"toy": "yes"}
        assert given.mounts == (runtime.Mount("/var/toy", "/toy", readonly=True),)
        assert given.devices == (runtime.Device("/dev/null", "/dev/toy", "rw"),)
        await manager.pre_start("1", "c")
        assert plugin.prepared == [["a"]]


async def test_devices_by_their_cdi_names_are_resolved_by_the_node(bench: Bench) -> None:
    bench.cdi.mkdir()
    edits = {"env": ["TOY=by name"], "deviceNodes": [{"path": "/dev/toy", "hostPath": "/dev/null"}]}
    toys = {"cdiVersion": "0.6.0", "kind": "vendor.com/toy", "devices": [{"name": "a", "containerEdits": edits}]}
    (bench.cdi / "toys.json").write_bytes(orjson.dumps(toys))
    async with bench.manager() as manager, bench.plugin(["a", "b"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (2, 2)})
        bench.holders = {"1", "2"}
        plugin.answer = pb.ContainerAllocateResponse(cdi_devices=[pb.CDIDevice(name="vendor.com/toy=a")])
        await manager.admit(pod("1"))
        given = await manager.container("1", "c")
        assert given.environment == {"TOY": "by name"}
        assert given.devices == (runtime.Device("/dev/null", "/dev/toy", "rwm"),)
        plugin.answer = pb.ContainerAllocateResponse(cdi_devices=[pb.CDIDevice(name="vendor.com/toy=x")])
        await manager.admit(pod("2"))
        with pytest.raises(ValueError, match=r"unresolvable CDI devices vendor\.com/toy=x"):
            await manager.container("2", "c")


async def test_a_plug_ins_preference_is_asked_and_taken(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a", "b", "c"]) as plugin:
        plugin.options.get_preferred_allocation_available = True
        plugin.prefers = ["c", "a"]
        await plugin.register()
        await bench.until(manager, {TOY: (3, 3)})
        bench.holders = {"1"}
        await manager.admit(pod("1", 2))
        assert plugin.allocated == [["c", "a"]]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"version": "v9"},
            r'requested API version "v9" is not supported by kubelet. Supported versions are \["v1beta1"\]',
        ),
        ({"resource": "cpu"}, 'the ResourceName "cpu" is invalid'),
        ({"endpoint": "../x.sock"}, r'the Endpoint "\.\./x\.sock" is not the name of a socket in '),
        ({"endpoint": "nobody.sock"}, "failed to dial device plugin: rpc error: code = Unavailable"),
    ],
)
async def test_who_cannot_be_registered_is_told_why(bench: Bench, more: Any, text: str) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        with pytest.raises(runtime.RuntimeCallError, match=text):
            await plugin.register(**more)
        assert manager.amounts() == {}


async def test_a_list_without_bound_is_not_taken(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        await plugin.change([f"d{number}" for number in range(10_001)])
        await bench.until(manager, {TOY: (1, 0)})


@pytest.mark.logs_errors("cannot be read and was moved")
async def test_a_damaged_record_is_moved_aside(bench: Bench) -> None:
    bench.record.write_bytes(b'{"version": 1, "allocations": [["1"]]}')
    async with bench.manager() as manager:
        assert manager.amounts() == {}
    assert bench.record.with_suffix(".damaged").exists()


async def test_where_its_devices_are_counts_for_the_topology_manager_and_the_plug_in_chooses_near_the_rest(
    bench: Bench,
) -> None:
    async with bench.manager() as manager, bench.plugin(["a", "b", "c"]) as plugin:
        plugin.nodes = {"a": (0,), "b": (1,), "c": (1,)}
        plugin.options.get_preferred_allocation_available = True
        plugin.prefers = ["a", "c"]
        await plugin.register()
        await bench.until(manager, {TOY: (3, 3)})
        bench.holders = {"1", "2"}
        placing, first = manager.placing([0, 1]), pod("1")
        near = {TOY: [Hint(0b01, True), Hint(0b10, True), Hint(0b11, False)]}
        assert placing.hints(first, first["spec"]["containers"][0]) == placing.pod_hints(first) == near
        await manager.admit(first, [Step("c", 0b10)])
        assert plugin.allocated == [["c"]]
        assert placing.hints(first, first["spec"]["containers"][0]) == {TOY: [Hint(0b10, True), Hint(0b11, False)]}
        assert placing.pod_hints(pod("2", 2)) == {TOY: [Hint(0b11, False)]}
        assert manager.nodes() == {TOY: plugin.nodes}


async def test_a_pod_whose_next_container_is_refused_by_others_has_no_devices(bench: Bench) -> None:
    def steps() -> Iterator[Step]:
        yield Step("c", 1)
        raise Refused(Refusal("Full", "of processors"))

    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        bench.holders = {"1", "2"}
        with pytest.raises(Refused):
            await manager.admit(pod("1"), steps())
        await manager.admit(pod("2"))
        assert plugin.allocated == [["a"], ["a"]]
