"""local: a directory of the machine, which the pod's group gets; or one of its block devices, raw or with a file
system, which is made when the device is blank, and never else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sampan.api.reading import part, texts
from sampan.api.types import Obj
from sampan.node.volumes import filesystems
from sampan.node.volumes.apart import in_own_thread
from sampan.node.volumes.hostpath import HostPath, HostPathPlugin
from sampan.node.volumes.ownership import set_ownership
from sampan.node.volumes.plugin import Context, Place
from sampan.node.volumes.records import Record
from sampan.records import dataclass

#: in a record: the directory is bound below the pod's, since it has options of its own
_BOUND: Final = {"bound": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(HostPath):
    #: of the device; "": whatever is there
    fs_type: str = ""
    options: tuple[str, ...] = ()


class LocalPlugin(HostPathPlugin):
    name = "kubernetes.io/local-volume"
    is_a_file_system = True
    takes_mount_options = True

    async def prepare(self, volume: Obj, context: Context) -> HostPath:
        source = volume["local"]
        path, options = (
            Path(source["path"]),
            tuple(texts(part(context.persistent_volume or {}, "spec"), "mountOptions")),
        )
        if volume.get("volumeMode") == "Block":
            return Local(path=path, type="BlockDevice", block=True)
        if await in_own_thread(path.is_block_device, f"look at {path}"):
            kind = str(source.get("fsType") or "")
            return Local(path=path, type="BlockDevice", fs_type=kind, options=options, stage_id=str(path))
        return Local(path=path, type="Directory", options=options, data=_BOUND if options else {})

    def stage(self, prepared: HostPath, place: Place) -> None:
        assert isinstance(prepared, Local) and place.staged is not None
        if place.mounter.mounts_below(place.staged):
            return
        kind = filesystems.look(prepared.path)
        if not kind:
            kind = prepared.fs_type or filesystems.DEFAULT
            filesystems.make(prepared.path, kind)
        place.mounter.mount(str(prepared.path), place.staged, prepared.fs_type or kind, prepared.options)

    def publish(self, prepared: HostPath, place: Place) -> Path:
        path = place.staged or super().publish(prepared, place)
        if prepared.block:
            return path
        if isinstance(prepared, Local) and prepared.options and place.staged is None:
            place.target.mkdir(parents=True, exist_ok=True, mode=0o750)
            place.mounter.mount(str(path), place.target, "none", ("bind", *prepared.options))
            path = place.target
        if place.before != path:
            set_ownership(path, place.ownership, read_only=prepared.read_only)
        return path

    def unpublish(self, record: Record, place: Place) -> None:
        if record.data.get("bound"):
            place.mounter.unmount(place.target)
