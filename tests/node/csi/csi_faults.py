"""A driver written from the interface's text, whose answers fail as one asks: it also judges whoever calls it.

Its volumes are what its sets say, or real mounts (``mount``). It does what the interface demands of a driver: asked
again for what it has done, it says so and does nothing. What a caller must not do it notes in ``violations``.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import grpc.aio

from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.pb import pluginregistration_pb2 as registration
from sampan.csi.server import Refusal, serve
from sampan.node.volumes.mount import LinuxMounter

DRIVER = "disk.example.com"
NODE_CAPABILITIES = ("STAGE_UNSTAGE_VOLUME", "EXPAND_VOLUME", "SINGLE_NODE_MULTI_WRITER")

#: what becomes of one call: "", or "refused" (nothing was done), "lost" (it was done), "nonsense" (it was done),
#: "hung" (it was done, and is never answered)
Fault = Callable[[str], str]


class Mount(Protocol):
    """What makes a volume appear in the file system."""

    def stage(self, path: Path, volume: str) -> None: ...

    def publish(self, path: Path, staged: Path | None) -> None: ...

    def take_off(self, path: Path) -> None: ...


class Nothing:
    def stage(self, path: Path, volume: str) -> None: ...

    def publish(self, path: Path, staged: Path | None) -> None:
        path.mkdir(exist_ok=True)

    def take_off(self, path: Path) -> None:
        if path.is_dir() and path.name == "mount":
            path.rmdir()


class RealMount:
    """Each volume is a tmpfs, bound to where it is published."""

    def __init__(self) -> None:
        self._mounter = LinuxMounter()

    def stage(self, path: Path, volume: str) -> None:
        self._mounter.mount_tmpfs(path, 1 << 20)

    def publish(self, path: Path, staged: Path | None) -> None:
        assert staged is not None
        path.mkdir(exist_ok=True)
        source = os.open(staged, os.O_PATH)
        try:
            self._mounter.bind(source, path)
        finally:
            os.close(source)

    def take_off(self, path: Path) -> None:
        self._mounter.unmount(path)


class FaultyDriver:
    def __init__(
        self, capabilities: Collection[str] = NODE_CAPABILITIES, mount: Mount | None = None, name: str = DRIVER
    ) -> None:
        self.name = name
        self.capabilities = capabilities
        self.mount: Mount = mount or Nothing()
        #: volume -> where it is staged
        self.staged: dict[str, str] = {}
        #: target -> volume
        self.published: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.calls: list[tuple[str, Any]] = []
        self.violations: list[str] = []
        self.fault: Fault = lambda method: ""
        self.node_id = "node-7"
        #: what is said of every volume's health; None: nothing
        self.ailment: str | None = None
        self.most_volumes = 0
        self.topology: dict[str, str] = {}

    def said(self, method: str) -> list[Any]:
        """The requests of this call, in order."""
        return [request for name, request in self.calls if name == method]

    def answer(self, method: str, request: Any) -> Any:
        """With the fault that is due. Raises Refusal; asyncio.CancelledError stands for no answer at all."""
        self.calls.append((method, request))
        fault = self.fault(method)
        if fault == "refused":
            raise Refusal("INTERNAL", "the disk is on fire")
        answer = getattr(self, "_" + method)(request)
        if fault == "lost":
            raise Refusal("UNAVAILABLE", "the answer is lost")
        if fault == "hung":
            raise asyncio.CancelledError
        return b"\xff\xff" if fault == "nonsense" else answer

    def _NodeGetCapabilities(self, request: Any) -> Any:  # noqa: N802
        rpc = csi.NodeServiceCapability.RPC
        return csi.NodeGetCapabilitiesResponse(
            capabilities=[csi.NodeServiceCapability(rpc=rpc(type=rpc.Type.Value(name))) for name in self.capabilities]
        )

    def _NodeGetInfo(self, request: Any) -> Any:  # noqa: N802
        return csi.NodeGetInfoResponse(
            node_id=self.node_id,
            max_volumes_per_node=self.most_volumes,
            accessible_topology=csi.Topology(segments=self.topology),
        )

    def _NodeStageVolume(self, request: Any) -> Any:  # noqa: N802
        before = self.staged.get(request.volume_id)
        if before is None:
            self.staged[request.volume_id] = request.staging_target_path
            self.mount.stage(Path(request.staging_target_path), request.volume_id)
        elif before != request.staging_target_path:
            self.violations.append(f"{request.volume_id} staged at {before} and {request.staging_target_path}")
        return csi.NodeStageVolumeResponse()

    def _NodeUnstageVolume(self, request: Any) -> Any:  # noqa: N802
        if users := [path for path, volume in self.published.items() if volume == request.volume_id]:
            self.violations.append(f"{request.volume_id} unstaged while it is at {users[0]}")
        if self.staged.get(request.volume_id) == request.staging_target_path:
            self.mount.take_off(Path(request.staging_target_path))
            del self.staged[request.volume_id]
        return csi.NodeUnstageVolumeResponse()

    def _NodePublishVolume(self, request: Any) -> Any:  # noqa: N802
        stages = "STAGE_UNSTAGE_VOLUME" in self.capabilities
        if stages and request.staging_target_path and self.staged.get(request.volume_id) != request.staging_target_path:
            self.violations.append(f"{request.volume_id} published without being staged")
            raise Refusal("FAILED_PRECONDITION", "not staged")
        if request.target_path not in self.published:
            staged = Path(request.staging_target_path) if request.staging_target_path else None
            self.mount.publish(Path(request.target_path), staged)
            self.published[request.target_path] = request.volume_id
        elif self.published[request.target_path] != request.volume_id:
            self.violations.append(f"two volumes at {request.target_path}")
        return csi.NodePublishVolumeResponse()

    def _NodeUnpublishVolume(self, request: Any) -> Any:  # noqa: N802
        if self.published.get(request.target_path) == request.volume_id:
            del self.published[request.target_path]
            self.mount.take_off(Path(request.target_path))
        return csi.NodeUnpublishVolumeResponse()

    def _NodeGetVolumeStats(self, request: Any) -> Any:  # noqa: N802
        if self.published.get(request.volume_path) != request.volume_id:
            self.violations.append(f"{request.volume_id} measured at {request.volume_path}, where it is not")
        usage = csi.VolumeUsage
        answer = csi.NodeGetVolumeStatsResponse(
            usage=[
                usage(unit=usage.BYTES, total=1000, available=600, used=400),
                usage(unit=usage.INODES, total=50, available=20, used=30),
            ]
        )
        if self.ailment is not None:
            answer.volume_condition.abnormal = bool(self.ailment)
            answer.volume_condition.message = self.ailment
        return answer

    def _NodeExpandVolume(self, request: Any) -> Any:  # noqa: N802
        if request.volume_path not in self.published:
            self.violations.append(f"{request.volume_id} expanded at {request.volume_path}, where it is not")
        self.sizes[request.volume_id] = request.capacity_range.required_bytes
        return csi.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)


class Served:
    """The driver's methods as ``sampan.csi.server`` wants them."""

    def __init__(self, driver: FaultyDriver) -> None:
        self._driver = driver

    def __getattr__(self, method: str) -> Any:
        if not hasattr(self._driver, "_" + method):
            raise AttributeError(method)

        async def answer(request: Any) -> Any:
            try:
                return self._driver.answer(method, request)
            except asyncio.CancelledError:
                await asyncio.Event().wait()

        return answer


class Registrar:
    """What a sidecar does: it tells the node where the driver is."""

    def __init__(
        self, endpoint: str, name: str = DRIVER, kind: str = "CSIPlugin", versions: tuple[str, ...] = ("1.0.0",)
    ) -> None:
        self.info = registration.PluginInfo(type=kind, name=name, endpoint=endpoint, supported_versions=versions)
        self.told: asyncio.Queue[registration.RegistrationStatus] = asyncio.Queue()

    async def GetInfo(self, request: Any) -> Any:  # noqa: N802
        return self.info

    async def NotifyRegistrationStatus(self, request: Any) -> Any:  # noqa: N802
        self.told.put_nowait(request)
        return registration.RegistrationStatusResponse()


async def serve_driver(driver: FaultyDriver, path: Path) -> grpc.aio.Server:
    path.parent.mkdir(parents=True, exist_ok=True)
    return await serve(str(path), Served(driver))


async def until(condition: Callable[[], Any]) -> None:
    """Without a limit of its own: the test's is enough."""
    while True:
        met = condition()
        if inspect.isawaitable(met):
            met = await met
        if met:
            return
        await asyncio.sleep(0.005)
