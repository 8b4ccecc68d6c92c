"""emptyDir: a directory, or with ``medium: Memory`` a tmpfs no larger than its and the pod's limits, or the node."""

from __future__ import annotations

from pathlib import Path

from sampan.api import quantity
from sampan.api.pods.requests import pod_limit
from sampan.api.types import Obj
from sampan.node.volumes import directories
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(Prepared):
    """A directory that lives as long as the pod. ``size_bytes`` bounds a tmpfs."""

    memory: bool = False


class EmptyDirPlugin(VolumePlugin[Scratch]):
    name = "kubernetes.io/empty-dir"

    async def prepare(self, volume: Obj, context: Context) -> Scratch:
        source = volume["emptyDir"] or {}
        medium = source.get("medium") or ""
        if medium == "":
            return Scratch()
        if medium != "Memory":
            raise SetupError(f'unsupported storage medium "{medium}"')
        allocatable = context.facts.allocatable.get("memory", "0")
        bounds = [pod_limit(context.pod, "memory"), quantity.value(allocatable)]
        if source.get("sizeLimit"):
            bounds.append(quantity.value(str(source["sizeLimit"])))
        return Scratch(memory=True, size_bytes=min((bound for bound in bounds if bound), default=None))

    def publish(self, prepared: Scratch, place: Place) -> Path:
        return directories.make(place, memory=prepared.memory, size_bytes=prepared.size_bytes)
