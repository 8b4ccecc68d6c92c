"""Device plug-ins and drivers written from the published interfaces, and a manager that they register with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from sampan.client import tasks
from sampan.csi.pb import pluginregistration_pb2 as registration
from sampan.node.cri.rpc import Channel
from sampan.node.devices.manager import DeviceManager
from sampan.node.devices.pb import deviceplugin_pb2 as pb
from sampan.node.devices.pb import dra_pb2 as dra

TOY = "example.com/toy"
DRIVER = "gpu.example.com"


class Plugin:
    """``healthy`` and ``ill`` are its devices; ``listed`` is how often it has told them."""

    def __init__(
        self, directory: Path, healthy: Iterable[str], ill: Iterable[str] = (), name: str = "toy.sock"
    ) -> None:
        self.directory, self.name = directory, name
        self.healthy, self.ill = set(healthy), set(ill)
        self.options = pb.DevicePluginOptions()
        #: on which NUMA nodes a device is; one that is not here says nothing of it
        self.nodes: dict[str, tuple[int, ...]] = {}
        self.prefers: list[str] = []
        self.refuses = ""
        self.answer: pb.ContainerAllocateResponse | None = None
        self.allocated: list[list[str]] = []
        self.prepared: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        #: somebody wants a device of it
        self.asked = asyncio.Event()
        self._news = asyncio.Condition()
        self._changes = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        unary = grpc.unary_unary_rpc_method_handler
        handlers = {
            "GetDevicePluginOptions": unary(self._get_options, pb.Empty.FromString, _encode),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._list, pb.Empty.FromString, _encode),
            "GetPreferredAllocation": unary(self._prefer, pb.PreferredAllocationRequest.FromString, _encode),
            "Allocate": unary(self._allocate, pb.AllocateRequest.FromString, _encode),
            "PreStartContainer": unary(self._prepare, pb.PreStartContainerRequest.FromString, _encode),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers),))
        server.add_insecure_port(f"unix:{self.directory / self.name}")
        await server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def register(self, resource: str = TOY, version: str = "v1beta1", endpoint: str | None = None) -> None:
        request = pb.RegisterRequest(version=version, endpoint=endpoint or self.name, resource_name=resource)
        channel = Channel(str(self.directory / "kubelet.sock"))
        try:
            await channel.call("/v1beta1.Registration/Register", request, pb.Empty, 20)
        finally:
            await channel.close()

    async def change(self, healthy: Iterable[str], ill: Iterable[str] = ()) -> None:
        async with self._news:
            self.healthy, self.ill = set(healthy), set(ill)
            self._changes += 1
            self._news.notify_all()

    async def _get_options(self, request: Any, context: Any) -> pb.DevicePluginOptions:
        return self.options

    async def _list(self, request: Any, context: Any) -> AsyncIterator[pb.ListAndWatchResponse]:
        while True:
            told = self._changes
            devices = [
                pb.Device(ID=name, health="Healthy", topology=self._topology(name)) for name in sorted(self.healthy)
            ]
            devices += [pb.Device(ID=name, health="Unhealthy") for name in sorted(self.ill)]
            yield pb.ListAndWatchResponse(devices=devices)
            async with self._news:  # who reads it may have changed them before this goes on
                while self._changes == told:
                    await self._news.wait()

    def _topology(self, name: str) -> pb.TopologyInfo | None:
        nodes = self.nodes.get(name)
        return None if nodes is None else pb.TopologyInfo(nodes=[pb.NUMANode(ID=node) for node in nodes])

    async def _prefer(self, request: Any, context: Any) -> pb.PreferredAllocationResponse:
        chosen = pb.ContainerPreferredAllocationResponse(deviceIDs=self.prefers)
        return pb.PreferredAllocationResponse(container_responses=[chosen])

    async def _allocate(self, request: Any, context: Any) -> pb.AllocateResponse:
        self.asked.set()
        await self.gate.wait()
        if self.refuses:
            await context.abort(grpc.StatusCode.INTERNAL, self.refuses)
        devices = list(request.container_requests[0].devices_ids)
        self.allocated.append(devices)
        answer = self.answer or pb.ContainerAllocateResponse(envs={"TOYS": ",".join(devices)})
        return pb.AllocateResponse(container_responses=[answer])

    async def _prepare(self, request: Any, context: Any) -> pb.PreStartContainerResponse:
        self.prepared.append(list(request.devices_ids))
        return pb.PreStartContainerResponse()


class GpuDriver:
    """A driver of dynamic resources written from the published interface: both on one socket."""

    def __init__(self, socket: Path, version: str = "v1") -> None:
        self.socket, self._version = socket, version
        self.prepared: list[str] = []
        self.given_back: list[str] = []
        self.refuses = ""
        self.silent = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[GpuDriver]:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        unary = grpc.unary_unary_rpc_method_handler
        handlers = {
            "NodePrepareResources": unary(self._prepare, dra.NodePrepareResourcesRequest.FromString, _encode),
            "NodeUnprepareResources": unary(self._give_back, dra.NodeUnprepareResourcesRequest.FromString, _encode),
        }
        service = f"k8s.io.kubelet.pkg.apis.dra.{self._version}.DRAPlugin"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        registering = {
            "GetInfo": unary(self._info, registration.InfoRequest.FromString, _encode),
            "NotifyRegistrationStatus": unary(self._told, registration.RegistrationStatus.FromString, _encode),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("pluginregistration.Registration", registering),)
        )
        server.add_insecure_port(f"unix:{self.socket}")
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)

    async def _prepare(self, request: Any, context: Any) -> dra.NodePrepareResourcesResponse:
        answers = {}
        for claim in request.claims:
            self.prepared.append(claim.name)
            device = dra.PreparedDevice(request_names=["gpu"], cdi_device_ids=["example.com/gpu=one"])
            answers[claim.uid] = dra.NodePrepareResourceResponse(devices=[device], error=self.refuses)
        return dra.NodePrepareResourcesResponse(claims={} if self.silent else answers)

    async def _give_back(self, request: Any, context: Any) -> dra.NodeUnprepareResourcesResponse:
        self.given_back += [claim.name for claim in request.claims]
        answers = {claim.uid: dra.NodeUnprepareResourceResponse(error=self.refuses) for claim in request.claims}
        return dra.NodeUnprepareResourcesResponse(claims=answers)

    async def _info(self, request: Any, context: Any) -> registration.PluginInfo:
        versions = [f"{self._version}.DRAPlugin"]
        return registration.PluginInfo(
            type="DRAPlugin", name=DRIVER, endpoint=str(self.socket), supported_versions=versions
        )

    async def _told(self, request: Any, context: Any) -> registration.RegistrationStatusResponse:
        return registration.RegistrationStatusResponse()


def _encode(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


class Bench:
    """``holders``: uids of the pods that have a part of the node."""

    def __init__(self, root: Path) -> None:
        self.directory, self.record, self.cdi = root / "device-plugins", root / "devices.json", root / "cdi"
        self.holders: set[str] = set()
        self._changes = asyncio.Condition()
        self._news = asyncio.Event()

    @asynccontextmanager
    async def manager(self) -> AsyncIterator[DeviceManager]:
        """One life of the node's agent."""
        manager = DeviceManager(
            self.directory,
            self.record,
            holders=lambda: self.holders,
            changed=lambda: self._news.set(),
            cdi_directories=[self.cdi],
        )
        await manager.load()
        running = tasks.detach(manager.run(), "devices")
        try:
            await manager.serving.wait()
            yield manager
        finally:
            await tasks.cancel_and_wait(running)

    @asynccontextmanager
    async def plugin(
        self, healthy: Iterable[str], ill: Iterable[str] = (), name: str = "toy.sock"
    ) -> AsyncIterator[Plugin]:
        plugin = Plugin(self.directory, healthy, ill, name)
        await plugin.start()
        try:
            yield plugin
        finally:
            await plugin.stop()

    async def until(self, manager: DeviceManager, amounts: dict[str, tuple[int, int]]) -> None:
        """The manager says so; pytest's own timeout ends the wait."""
        while manager.amounts() != amounts:
            await self._news.wait()
            self._news.clear()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
