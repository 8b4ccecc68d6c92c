"""Volumes of hollow nodes: what a pod refers to is looked up as on a real node, and nothing is written.

Implements ``sampan.node.pods.context.Volumes`` without files and threads. A pod waits for its ConfigMaps, Secrets and
claims with the same errors. Tokens and certificates are not asked for: nobody would read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node.env.fields import PodFacts
from sampan.node.env.sources import ObjectRef, ObjectSource
from sampan.node.runtime import Mount
from sampan.node.volumes.errors import VolumeError
from sampan.node.volumes.manager import MountedVolume, plan_mount
from sampan.node.volumes.ownership import Ownership
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.plugins import BUILT_IN, Ready, prepare_volume
from sampan.node.volumes.podcertificate import Credentials, Wanted
from sampan.node.volumes.tokens import Token

_ROOT = Path("/simulated/volumes")
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class _NoTokens:
    async def token(self, pod: Obj, audiences: tuple[str, ...], expiration_seconds: int) -> Token:
        return Token("", _NEVER)

    def forget_pod(self, uid: str) -> None: ...


class _NoKeys:
    async def credentials(self, wanted: Wanted) -> Credentials:
        return Credentials(b"", b"", _NEVER)

    def forget_pod(self, uid: str) -> None: ...


class _AnyImage(VolumePlugin[Prepared]):
    """A simulated node finds any image."""

    name = "kubernetes.io/image"

    async def prepare(self, volume: Obj, context: Context) -> Prepared:
        return Prepared(read_only=True)

    def publish(self, prepared: Prepared, place: Place) -> Path:
        return place.target


class _AnyDriver(VolumePlugin[Prepared]):
    """A simulated node has every driver of others (CSI), and is attached to whatever its pods ask for."""

    name = "kubernetes.io/csi"
    takes_mount_options = True

    async def prepare(self, volume: Obj, context: Context) -> Prepared:
        return Prepared(block=volume.get("volumeMode") == "Block")

    def publish(self, prepared: Prepared, place: Place) -> Path:
        return place.target


_PLUGINS = {**BUILT_IN, "image": _AnyImage(), "csi": _AnyDriver()}


class SimulatedVolumes:
    def __init__(self, sources: ObjectSource) -> None:
        self._sources = sources
        self._tokens, self._keys = _NoTokens(), _NoKeys()
        #: the pods whose volumes are there
        self.mounted: set[str] = set()

    async def mount_pod(self, pod: Obj, facts: PodFacts | None = None) -> Mapping[str, Any]:
        context = Context(pod, self._sources, self._tokens, Ownership(), facts or PodFacts(), self._keys)
        volumes = pod["spec"].get("volumes") or ()
        ready: list[Ready] = []
        for done in await asyncio.gather(
            *(prepare_volume(each, context, _PLUGINS) for each in volumes), return_exceptions=True
        ):
            if isinstance(done, BaseException):
                raise done
            ready.append(done)
        self.mounted.add(pod["metadata"]["uid"])
        return {
            each.name: MountedVolume(each.name, each.type, _ROOT / each.name, block=each.prepared.block)
            for each in ready
        }

    async def container_mounts(
        self, pod: Obj, container: Obj, mounted: Any, environment: Mapping[str, str] | None = None
    ) -> list[Mount]:
        found = []
        for wanted in container.get("volumeMounts") or ():
            if wanted["name"] not in mounted:
                raise VolumeError(
                    f'cannot find volume "{wanted["name"]}" to mount into container "{container["name"]}"'
                )
            volume = mounted[wanted["name"]]
            subpath = wanted.get("subPath") or wanted.get("subPathExpr") or ""
            found.append(plan_mount(wanted, volume, volume.host_path / subpath.strip("/")))
        return found

    async def unmount_pod(self, uid: str) -> None:
        self.mounted.discard(uid)

    async def cleanup_orphans(self, known_uids: Collection[str]) -> list[str]:
        gone = sorted(self.mounted - set(known_uids))
        self.mounted.difference_update(gone)
        return gone

    def pod_changed(self, pod: Obj) -> None: ...

    def object_changed(self, ref: ObjectRef) -> None: ...

    async def run(self) -> None:
        await tasks.forever()
