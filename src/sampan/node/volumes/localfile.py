"""Volumes of Sampan's own provisioner that are files: as large as the claim asks for and no larger, with a file system
in them or as a raw block device.

A volume is a directory below the provisioner's root with one file in it, ``disk``, which is sparse: made under
another name and renamed when it is whole. On a loop device it is staged once a node. One that has a file system shows
pods the directory ``data`` in it. It grows when it is staged, that is when no pod of the node had it before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sampan.api.storage import volumes
from sampan.api.types import Obj
from sampan.node.volumes import filesystems
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.localpath import make_open_directory
from sampan.node.volumes.loops import LinuxLoops, Loops
from sampan.node.volumes.ownership import set_ownership
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.records import Record
from sampan.records import dataclass

#: the field that ``claims.resolve`` puts in place of ``local``
SOURCE: Final = "localFile"
_DISK, _MAKING, _DATA = "disk", ".making", "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile(Prepared):
    """``path``: the volume's directory. ``bytes_wanted``: the size of its file."""

    path: Path
    bytes_wanted: int


class LocalFilePlugin(VolumePlugin[LocalFile]):
    name = "sampan.io/local-file"
    is_a_file_system = True

    def __init__(self, loops: Loops | None = None) -> None:
        self._loops = loops or LinuxLoops()

    async def prepare(self, volume: Obj, context: Context) -> LocalFile:
        path, size = Path(volume[SOURCE]["path"]), volumes.capacity_bytes(context.persistent_volume or {})
        block = volume.get("volumeMode") == "Block"
        return LocalFile(
            path=path, bytes_wanted=size, block=block, stage_id=path.name, data={"disk": str(path / _DISK)}
        )

    def stage(self, prepared: LocalFile, place: Place) -> None:
        assert place.staged is not None
        disk = Path(prepared.data["disk"])
        if prepared.block:
            self._stage_device(disk, prepared.bytes_wanted)
            return
        if place.mounter.mounts_below(place.staged):
            return
        _make_disk(disk, prepared.bytes_wanted, filesystem=True)
        device, descriptor = self._loops.attach(disk, lasting=False)
        try:  # an agent that ends here leaves nothing: the device goes with the descriptor
            place.mounter.mount(str(device), place.staged, filesystems.DEFAULT, ())
        finally:
            os.close(descriptor)
        make_open_directory(place.staged / _DATA)

    def publish(self, prepared: LocalFile, place: Place) -> Path:
        assert place.staged is not None
        if prepared.block:
            found = self._loops.of(Path(prepared.data["disk"]))
            if not found:
                raise SetupError(f"{prepared.data['disk']} is on no loop device")
            return found[0]
        path = place.staged / _DATA
        if place.before != path:
            set_ownership(path, place.ownership, read_only=prepared.read_only)
        return path

    def unpublish(self, record: Record, place: Place) -> None:
        """Nothing was done for the pod alone."""

    def unstage(self, record: Record, place: Place) -> None:
        super().unstage(record, place)
        self._loops.detach(Path(record.data["disk"]))

    def _stage_device(self, disk: Path, size: int) -> None:
        _make_disk(disk, size, filesystem=False)
        for device in self._loops.of(disk):
            self._loops.resize(device)
            return
        _, descriptor = self._loops.attach(disk, lasting=True)
        os.close(descriptor)


def _make_disk(disk: Path, size: int, *, filesystem: bool) -> None:
    """The file, whole and of the size. Only who may mount it gets there. Raises OSError, SetupError."""
    for directory in (disk.parent.parent, disk.parent):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        present = disk.stat().st_size
    except FileNotFoundError:
        making = disk.parent / _MAKING
        with making.open("wb") as file:
            file.truncate(size)
        if filesystem:
            filesystems.make(making, filesystems.DEFAULT)
        _flush(making)
        making.replace(disk)
        _flush(disk.parent)
        return
    if present < size:
        os.truncate(disk, size)
        if filesystem:
            filesystems.fill(disk)


def _flush(path: Path) -> None:
    """A machine that crashes after it has what is there now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
