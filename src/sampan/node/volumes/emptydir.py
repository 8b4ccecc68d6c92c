"""emptyDir: a directory, or with ``medium: Memory`` a tmpfs no larger than its and the pod's limits, or the node; with
``medium: HugePages`` (or ``HugePages-2Mi``) a hugetlbfs, whose pages the pod asks for as resources.
"""

from __future__ import annotations

from pathlib import Path

from sampan.api import quantity
from sampan.api.pods import containers
from sampan.api.pods.requests import container_requests, pod_limit
from sampan.api.types import Obj
from sampan.node.volumes import directories
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.records import dataclass

_HUGE, _RESOURCE = "HugePages", "hugepages-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch(Prepared):
    """A directory that lives as long as the pod. ``size_bytes`` bounds what is in memory; ``page_bytes``: of the huge
    pages that it is of."""

    memory: bool = False
    page_bytes: int = 0


class EmptyDirPlugin(VolumePlugin[Scratch]):
    name = "kubernetes.io/empty-dir"

    async def prepare(self, volume: Obj, context: Context) -> Scratch:
        source = volume["emptyDir"] or {}
        medium = source.get("medium") or ""
        if medium == "":
            return Scratch()
        if medium.startswith(_HUGE):
            limit = quantity.value(str(source["sizeLimit"])) if source.get("sizeLimit") else None
            return Scratch(memory=True, page_bytes=page_bytes(medium, context.pod), size_bytes=limit)
        if medium != "Memory":
            raise SetupError(f'unsupported storage medium "{medium}"')
        allocatable = context.facts.allocatable.get("memory", "0")
        bounds = [pod_limit(context.pod, "memory"), quantity.value(allocatable)]
        if source.get("sizeLimit"):
            bounds.append(quantity.value(str(source["sizeLimit"])))
        return Scratch(memory=True, size_bytes=min((bound for bound in bounds if bound), default=None))

    def publish(self, prepared: Scratch, place: Place) -> Path:
        return directories.make(
            place, memory=prepared.memory, size_bytes=prepared.size_bytes, page_bytes=prepared.page_bytes
        )


def page_bytes(medium: str, pod: Obj) -> int:
    """Of the huge pages that the pod asks for; those of a medium that names none are of one size. Raises SetupError."""
    named = medium.removeprefix(_HUGE).removeprefix("-")
    try:
        wanted = quantity.value(named) if named else None
    except ValueError as error:
        raise SetupError(f'unsupported storage medium "{medium}": {error}') from error
    asked = {
        quantity.value(name.removeprefix(_RESOURCE))
        for _, container in containers.walk(pod)
        for name, amount in container_requests(container).items()
        if name.startswith(_RESOURCE) and amount
    }
    if wanted is None and len(asked) > 1:
        raise SetupError(f"medium {medium} can't be used if container requests multiple huge page sizes")
    if not asked or (wanted is not None and wanted not in asked):
        raise SetupError(
            f"medium {medium}: hugepages storage requested, but there is no resource request for huge pages"
        )
    return asked.pop() if wanted is None else wanted
