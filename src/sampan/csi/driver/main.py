"""The driver as a program: its three services on one socket, and its registration with the kubelet on another."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

from sampan.api.clock import Clock, SystemClock
from sampan.csi.driver import NAME
from sampan.csi.driver.controller import ControllerService, Options
from sampan.csi.driver.devices import Devices, LinuxDevices
from sampan.csi.driver.files import Files
from sampan.csi.driver.jobs import Jobs
from sampan.csi.driver.node import NodeService
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.pb import pluginregistration_pb2 as registration
from sampan.csi.server import serve
from sampan.records import dataclass

log = logging.getLogger(__name__)

_VERSION = "1"


@dataclass(frozen=True, slots=True)
class DriverConfig:
    """``registration``: where the kubelet looks for sockets of plug-ins; None: somebody else registers the driver.
    ``kubelet_socket``: the path of ``socket`` as the kubelet sees it."""

    socket: Path
    root: Path
    options: Options
    registration: Path | None = None
    kubelet_socket: str = ""


class Driver:
    """All three services: identity is here, the calls of the others are theirs."""

    def __init__(self, files: Files, devices: Devices, options: Options, clock: Clock) -> None:
        self._jobs = Jobs()
        self.node = NodeService(files, devices, options, self._jobs)
        self.controller = ControllerService(files, devices, options, self._jobs, clock)
        self._services = (self.controller, self.node)

    def __getattr__(self, name: str) -> Any:
        for service in self._services:
            if name[:1].isupper() and hasattr(service, name):
                return getattr(service, name)
        raise AttributeError(name)

    async def close(self) -> None:
        """Ends what calls have begun. A copy ends, and thaws what it has frozen, in its thread, which the end of the
        program waits for."""
        self.controller.close()
        await self._jobs.close()

    async def GetPluginInfo(self, request: Any) -> Any:  # noqa: N802
        return csi.GetPluginInfoResponse(name=NAME, vendor_version=_VERSION)

    async def GetPluginCapabilities(self, request: Any) -> Any:  # noqa: N802
        capability = csi.PluginCapability
        service, expansion = capability.Service, capability.VolumeExpansion
        services = (service.CONTROLLER_SERVICE, service.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        listed = [capability(service=service(type=each)) for each in services]
        online = capability(volume_expansion=expansion(type=expansion.ONLINE))
        return csi.GetPluginCapabilitiesResponse(capabilities=[*listed, online])

    async def Probe(self, request: Any) -> Any:  # noqa: N802
        return csi.ProbeResponse()


class Registration:
    """What the kubelet asks of a plug-in that it has found."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def GetInfo(self, request: Any) -> Any:  # noqa: N802
        return registration.PluginInfo(
            type="CSIPlugin", name=NAME, endpoint=self._endpoint, supported_versions=["1.0.0"]
        )

    async def NotifyRegistrationStatus(self, request: Any) -> Any:  # noqa: N802
        if request.plugin_registered:
            log.info("the kubelet has registered the driver")
        else:
            log.error("the kubelet does not register the driver: %s", request.error)
        return registration.RegistrationStatusResponse()


async def run(config: DriverConfig, devices: Devices | None = None, clock: Clock | None = None) -> None:
    """Until SIGTERM or SIGINT. Raises OSError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    files = Files(config.root)
    await asyncio.to_thread(files.open)
    driver = Driver(files, devices or LinuxDevices(), config.options, clock or SystemClock())
    for mount in await driver.node.thaw_all():
        log.warning("%s was frozen by a copy that did not end; it is thawed", mount)
    config.socket.parent.mkdir(parents=True, exist_ok=True)
    sockets = [config.socket]
    servers = [await serve(str(config.socket), driver)]
    log.info("driver %s of node %s answers at %s", NAME, config.options.node, config.socket)
    if config.registration is not None:
        sockets.append(config.registration / f"{NAME}-reg.sock")
        servers.append(await serve(str(sockets[-1]), Registration(config.kubelet_socket or str(config.socket))))
    try:
        await stop.wait()
    finally:
        await driver.close()
        for server in servers:
            await server.stop(5)
        for socket in sockets:  # gone is how the kubelet learns that the driver is
            socket.unlink(missing_ok=True)
