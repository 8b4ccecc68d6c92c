"""emptyDir: a directory, or with ``medium: Memory`` a tmpfs no larger than its and the pod's limits."""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.pods.requests import pod_limit
from sampan.api.types import Obj
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.setup import Context, ScratchSetup, Setup

DIRECTORY = "kubernetes.io~empty-dir"


async def prepare(volume: Obj, context: Context) -> Setup:
    source = volume["emptyDir"] or {}
    medium = source.get("medium") or ""
    if medium == "":
        return ScratchSetup()
    if medium != "Memory":
        raise SetupError(f'unsupported storage medium "{medium}"')
    bounds = [pod_limit(context.pod, "memory")]
    if source.get("sizeLimit"):
        bounds.append(quantity.value(str(source["sizeLimit"])))
    return ScratchSetup(memory=True, size_bytes=min((bound for bound in bounds if bound), default=None))
