"""The driver on a directory, with a machine in memory or the real one, asked through its socket."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.csi.client import DriverClient
from sampan.csi.driver.attributes import Tuning
from sampan.csi.driver.controller import Options
from sampan.csi.driver.devices import DeviceError, Mount
from sampan.csi.driver.files import Files
from sampan.csi.driver.main import Driver
from sampan.csi.pb import csi_pb2 as csi
from sampan.csi.server import serve

MODES = csi.VolumeCapability.AccessMode
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Machine:
    """``Devices`` in memory. ``calls`` is what was done; ``fails`` the next call of that name once."""

    def __init__(self) -> None:
        self.loops: dict[str, Path] = {}
        self.mounted: list[Mount] = []
        self.tuned: dict[str, Tuning] = {}
        self.ailments: dict[str, str] = {}
        self.calls: list[str] = []
        self.fails = ""
        self.count = 0

    def _do(self, name: str) -> None:
        if self.fails == name:
            self.fails = ""
            raise DeviceError(f"{name} failed")
        self.calls.append(name)

    async def loop_of(self, disk: Path) -> str | None:
        return next((device for device, file in self.loops.items() if file == disk), None)

    async def attach(self, disk: Path) -> str:
        self._do("attach")
        assert await self.loop_of(disk) is None, "attached twice"
        self.count += 1
        device = f"/dev/loop{self.count}"
        self.loops[device] = disk
        return device

    async def detach(self, device: str) -> None:
        self._do("detach")
        del self.loops[device]

    def hold(self, device: str, disk: Path) -> int | None:
        return os.open(os.devnull, os.O_RDONLY) if self.loops.get(device) == disk else None

    async def resize(self, device: str) -> None:
        self._do("resize")

    async def tune(self, device: str, tuning: Tuning) -> None:
        if self.tuned.get(device, Tuning()) != tuning:
            self._do("tune")
            self.tuned[device] = tuning

    async def format(self, device: str, filesystem: str) -> None:
        self._do(f"format {filesystem}")

    async def grow_filesystem(self, device: str, filesystem: str, mounted_at: Path) -> None:
        self._do("grow")

    async def grow_unmounted(self, device: str, filesystem: str) -> None:
        assert all(each.device != self.number(device) for each in self.mounted)
        self._do("grow unmounted")

    async def mount(self, device: str, target: Path, filesystem: str, options: list[str]) -> None:
        self._do("mount")
        self._put(Mount(self.number(device), "/", target, False))

    async def bind(self, source: Path, target: Path, *, read_only: bool) -> None:
        self._do("bind")
        if str(source) in self.loops:
            self._put(Mount("0:5", f"/{source.name}", target, False))
        else:
            below = next(each for each in self.mounted if each.target == source)
            self._put(Mount(below.device, "/", target, read_only))

    def _put(self, mount: Mount) -> None:
        assert all(each.target != mount.target for each in self.mounted), "mounted twice"
        self.mounted.append(mount)

    async def unmount(self, target: Path) -> None:
        self._do("unmount")
        self.mounted = [each for each in self.mounted if each.target != target]

    def ailment(self, device: str) -> str:
        return self.ailments.get(device, "")

    def mounts(self) -> list[Mount]:
        return list(self.mounted)

    def number(self, device: str) -> str:
        return f"7:{device.removeprefix('/dev/loop')}"


class Asked:
    """A driver that is served, and its requests in short."""

    def __init__(self, client: DriverClient, files: Files, machine: Any, driver: Driver) -> None:
        self.client, self.files, self.machine, self.driver = client, files, machine, driver

    async def controller(self, name: str, /, **fields: Any) -> Any:
        return await self.client.controller(name, getattr(csi, f"{name}Request")(**fields))

    async def node(self, name: str, /, **fields: Any) -> Any:
        return await self.client.node(name, getattr(csi, f"{name}Request")(**fields))

    async def create(self, name: str = "pvc-1", size: int = 4 << 20, **fields: Any) -> Any:
        fields.setdefault("volume_capabilities", [mounted()])
        wanted = csi.CapacityRange(required_bytes=size) if size else None
        return (await self.controller("CreateVolume", name=name, capacity_range=wanted, **fields)).volume

    async def snapshot(self, volume_id: str, name: str = "snapshot-1") -> Any:
        return (await self.controller("CreateSnapshot", source_volume_id=volume_id, name=name)).snapshot


def mounted(filesystem: str = "", mode: int = MODES.SINGLE_NODE_WRITER, flags: tuple[str, ...] = ()) -> Any:
    volume = csi.VolumeCapability.MountVolume(fs_type=filesystem, mount_flags=flags)
    return csi.VolumeCapability(mount=volume, access_mode=MODES(mode=mode))  # type: ignore[arg-type]  # see block


def block(mode: int = MODES.SINGLE_NODE_WRITER) -> Any:
    wanted = MODES(mode=mode)  # type: ignore[arg-type]  # its stubs want the enumeration's own type
    return csi.VolumeCapability(block=csi.VolumeCapability.BlockVolume(), access_mode=wanted)


@pytest.fixture
def capability() -> Any:
    class Capability:
        pass

    made: Any = Capability()
    made.mounted, made.block, made.modes = mounted, block, MODES
    return made


@pytest.fixture
def machine() -> Any:
    return Machine()


@pytest.fixture
async def asked(tmp_path: Path, machine: Any) -> AsyncIterator[Asked]:
    files = Files(tmp_path / "root")
    files.open()
    driver = Driver(files, machine, Options("node-1", copy_seconds=30), FixedClock(NOW))
    server = await serve(str(tmp_path / "s"), driver)
    client = DriverClient(str(tmp_path / "s"), timeout_seconds=30)
    yield Asked(client, files, machine, driver)
    await client.close()
    await server.stop(None)


@pytest.fixture
def holds() -> Callable[[Path], list[str]]:
    """What lies in the driver's directory."""

    def names(root: Path) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    return names
