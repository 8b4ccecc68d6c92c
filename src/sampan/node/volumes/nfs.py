"""nfs: an export of another machine, mounted once a pod by the machine's own mount.nfs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sampan.api.reading import texts
from sampan.api.types import Obj
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.records import Record
from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(Prepared):
    source: str
    options: tuple[str, ...] = ()


class NfsPlugin(VolumePlugin[Export]):
    name = "kubernetes.io/nfs"
    is_a_file_system = True
    takes_mount_options = True

    async def prepare(self, volume: Obj, context: Context) -> Export:
        export, server = volume["nfs"], volume["nfs"]["server"]
        host = f"[{server}]" if ":" in server else server
        read_only = export.get("readOnly") is True
        of_volume = (context.persistent_volume or {}).get("spec") or {}
        options = (*(["ro"] if read_only else []), *texts(of_volume, "mountOptions"))
        return Export(source=f"{host}:{export['path']}", options=options, read_only=read_only, data={"server": server})

    def lane(self, data: Mapping[str, str]) -> str:
        """A server that does not answer holds up its own volumes."""
        return f"nfs {data.get('server', '')}"

    def publish(self, prepared: Export, place: Place) -> Path:
        if place.before != place.target:
            place.target.mkdir(parents=True, exist_ok=True, mode=0o750)
            place.mounter.mount(prepared.source, place.target, "nfs", prepared.options)
        return place.target

    def unpublish(self, record: Record, place: Place) -> None:
        place.mounter.unmount(place.target)
