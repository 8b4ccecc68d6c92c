"""Device plug-ins and drivers that do their worst, and agents that are killed while they ask one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from tests.node.devices.conftest import TOY, Bench, GpuDriver

from sampan.client import tasks
from sampan.node import runtime
from sampan.node.devices.drivers import ClaimName, DriverFailed, Drivers
from sampan.node.devices.endpoint import Endpoint
from sampan.node.devices.pb import deviceplugin_pb2 as pb
from sampan.node.devices.pb import dra_pb2 as dra
from sampan.node.devices.plan import Unavailable
from sampan.node.plugins.registry import PluginRegistry

OTHER = "example.com/other"
CLAIM = ClaimName("ns", "one", "uid-one")


def pod(uid: str, resource: str = TOY) -> dict[str, Any]:
    limits = {resource: "1"}
    return {"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}}


@asynccontextmanager
async def speaking(socket: Path, service: str, **methods: Callable[[bytes], Awaitable[bytes]]) -> AsyncIterator[None]:
    """A server that answers with whatever bytes it is told to."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)])

    def handler(method: Callable[[bytes], Awaitable[bytes]]) -> Any:
        async def answer(request: bytes, context: Any) -> bytes:
            return await method(request)

        return grpc.unary_unary_rpc_method_handler(answer)

    handlers = {name: handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def saying(answer: bytes) -> Callable[[bytes], Awaitable[bytes]]:
    async def method(request: bytes) -> bytes:
        return answer

    return method


async def test_a_pod_whose_plug_in_is_replaced_while_it_is_asked_is_refused_not_forgotten(bench: Bench) -> None:
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1)})
        bench.holders = {"1"}
        plugin.gate.clear()
        asking = asyncio.create_task(manager.admit(pod("1")))
        await plugin.asked.wait()
        await plugin.register()
        with pytest.raises(Unavailable, match="code = Canceled desc = grpc: the client connection is closing"):
            await asking


async def test_a_connection_that_was_closed_is_told_as_one_that_is_not_there(bench: Bench) -> None:
    async with bench.manager(), bench.plugin(["a"]) as plugin:
        endpoint = Endpoint(plugin.directory / plugin.name)
        await endpoint.connect()
        await endpoint.close()
        with pytest.raises(runtime.RuntimeUnavailable):
            await endpoint.allocate(["a"])


async def test_whoever_waits_for_an_answer_can_be_cancelled_all_the_same(bench: Bench) -> None:
    async with bench.manager(), bench.plugin(["a"]) as plugin:
        endpoint = Endpoint(plugin.directory / plugin.name)
        plugin.gate.clear()
        asking = asyncio.create_task(endpoint.allocate(["a"]))
        await plugin.asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await endpoint.close()


async def test_an_agent_that_is_killed_while_a_plug_in_is_asked_asks_it_again(bench: Bench) -> None:
    bench.holders = {"1", "2"}
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin, bench.plugin(["z"], name="z.sock") as other:
        await plugin.register()
        await other.register(OTHER)
        await bench.until(manager, {TOY: (1, 1), OTHER: (1, 1)})
        plugin.gate.clear()
        asking = asyncio.create_task(manager.admit(pod("1")))
        await plugin.asked.wait()
        await manager.admit(pod("2", OTHER))
        left_on_disk = bench.record.read_bytes()
        asking.cancel()
        await asyncio.wait([asking])
    bench.record.write_bytes(left_on_disk)
    async with bench.manager() as manager, bench.plugin(["a"]) as plugin:
        await plugin.register()
        await bench.until(manager, {TOY: (1, 1), OTHER: (0, 0)})
        await manager.admit(pod("1"))
        assert (await manager.container("1", "c")).environment == {"TOYS": "a"}


async def test_a_container_starts_again_while_its_plug_in_is_away_unless_that_wants_to_be_asked(bench: Bench) -> None:
    async with bench.manager() as manager:
        for wants, uid in ((False, "1"), (True, "2")):
            async with bench.plugin(["a"]) as plugin:
                plugin.options.pre_start_required = wants
                await plugin.register()
                await bench.until(manager, {TOY: (1, 1)})
                bench.holders = {uid}
                await manager.admit(pod(uid))
            await bench.until(manager, {TOY: (1, 0)})
            if wants:
                with pytest.raises(ValueError, match=r"PreStartContainer rpc failed with err: endpoint .* stopped"):
                    await manager.pre_start(uid, "c")
            else:
                await manager.pre_start(uid, "c")
    async with bench.manager() as manager:
        await manager.pre_start("2", "c")  # what the plug-in wants is not known: as the kubelet does


@pytest.mark.parametrize("answer", [b"\xff\xff\xff", b"\x0a\x7f"])
async def test_an_answer_that_is_none_is_an_error_of_the_call(tmp_path: Path, answer: bytes) -> None:
    socket = tmp_path / "odd.sock"
    async with speaking(socket, "v1beta1.DevicePlugin", Allocate=saying(answer)):
        endpoint = Endpoint(socket)
        with pytest.raises(runtime.RuntimeCallError, match="code = Internal desc = grpc: failed to unmarshal"):
            await endpoint.allocate(["a"])
        await endpoint.close()


@pytest.mark.parametrize(("size", "text"), [(5 << 20, "code = ResourceExhausted"), (2 << 20, "is longer than")])
async def test_an_answer_without_bound_is_not_taken(tmp_path: Path, size: int, text: str) -> None:
    socket = tmp_path / "large.sock"
    large = pb.AllocateResponse(container_responses=[pb.ContainerAllocateResponse(envs={"A": "x" * size})])
    async with speaking(socket, "v1beta1.DevicePlugin", Allocate=saying(large.SerializeToString())):
        endpoint = Endpoint(socket)
        with pytest.raises((runtime.RuntimeCallError, ValueError), match=text):
            await endpoint.allocate(["a"])
        await endpoint.close()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"\xff\xff\xff", "failed to unmarshal"),
        (b"", "NodePrepareResources skipped the claim"),
        (
            dra.NodePrepareResourcesResponse(
                claims={
                    CLAIM.uid: dra.NodePrepareResourceResponse(
                        devices=[dra.PreparedDevice(cdi_device_ids=["example.com/gpu=" + "x" * (64 << 10)])]
                    )
                }
            ).SerializeToString(),
            "names are longer than 65536 bytes",
        ),
    ],
)
async def test_what_a_driver_answers_is_checked(tmp_path: Path, answer: bytes, text: str) -> None:
    """It also registers as stock manifests have it: its service is below the kubelet's directory, as it sees it."""
    drivers = Drivers(tmp_path)
    await drivers.register(
        "odd.example.com", "/var/lib/kubelet/odd.sock", ["v1.DRAPlugin"], tmp_path / "registration.sock"
    )
    service = "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"
    async with speaking(tmp_path / "odd.sock", service, NodePrepareResources=saying(answer)):
        with pytest.raises(DriverFailed, match=text):
            await drivers.prepare("odd.example.com", CLAIM)


# The registry may be ended while it tells the plug-in that it is registered: grpc's server logs that.
@pytest.mark.logs_errors("plugin at ", "servicer method [/pluginregistration.Registration/NotifyRegistrationStatus]")
async def test_a_fault_of_a_handler_costs_its_plug_in_one_try(tmp_path: Path) -> None:
    known = asyncio.Event()

    class Faulty:
        async def register(self, name: str, endpoint: str, versions: Any, socket: Path) -> None:
            if not self.tried:
                self.tried = True
                raise RuntimeError("ours")
            known.set()

        async def deregister(self, name: str, socket: Path) -> None: ...

        tried = False

    async with GpuDriver(tmp_path / "gpu.sock").serving():
        running = tasks.detach(PluginRegistry(tmp_path, {"DRAPlugin": Faulty()}).run(), "plugins")
        await known.wait()
        await tasks.cancel_and_wait(running)
