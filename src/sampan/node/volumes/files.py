"""Volumes of files that Sampan writes and the pod reads: what configMap, secret, downwardAPI and projected share."""

from __future__ import annotations

from pathlib import Path

from sampan.node.volumes import directories
from sampan.node.volumes.atomic import Payload, write_payload
from sampan.node.volumes.ownership import set_ownership
from sampan.node.volumes.plugin import Place, Prepared, VolumePlugin
from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Files(Prepared):
    payload: Payload
    #: they are secrets and touch no disk
    memory: bool = False
    read_only: bool = True


class FilesPlugin(VolumePlugin[Files]):
    def publish(self, prepared: Files, place: Place) -> Path:
        directory = directories.make(place, memory=prepared.memory)
        write_payload(
            directory, prepared.payload, place.now, lambda new: set_ownership(new, place.ownership, read_only=True)
        )
        return directory
