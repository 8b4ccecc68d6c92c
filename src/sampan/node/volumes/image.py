"""image: the files of an OCI image, read-only (KEP-4639).

It is pulled as a container's image would be, by the volume's own policy and with the pod's pull secrets; pods of a node
share one mount of it. What a pod was given stays: a tag that moves is the next pod's image. Its record says which it
was, after a restart of the agent too.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.images.credentials import PullSecrets, pull_secrets
from sampan.node.images.manager import ImageError
from sampan.node.images.snapshots import SnapshotError
from sampan.node.volumes import layout, records
from sampan.node.volumes.errors import ImageVolumeError, SetupError, TeardownError
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.records import DamagedRecord, Record
from sampan.records import dataclass

Report = Callable[[Any, str, str], None]  # (type, reason, message) of an Event


class Images(Protocol):
    async def ensure(self, pod: Obj, container: Obj, report: Report, secrets: PullSecrets) -> runtime.Image:
        """Raises ImageError."""
        ...

    def hold(self, pod_uid: str, image_id: str) -> None: ...
    def let_go(self, pod_uid: str) -> None: ...


class Mounts(Protocol):
    """Both are idempotent, and raise SnapshotError."""

    def mount(self, key: str, image_id: str, target: Path) -> None: ...
    def forget(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles(Prepared):
    """``stage_id`` is the image's id."""


class ImageVolumePlugin(VolumePlugin[ImageFiles]):
    name = "kubernetes.io/image"
    seals_its_mounts = True

    def __init__(self, root: Path, images: Images, mounts: Mounts, tell: Callable[[Obj, Any, str, str], None]) -> None:
        """``tell``: an Event about a pod: its type, reason and message."""
        self._root = root
        self._images = images
        self._mounts = mounts
        self._tell = tell

    async def prepare(self, volume: Obj, context: Context) -> ImageFiles:
        """Raises ImageVolumeError with what the pod's containers wait for."""
        pod, name, source = context.pod, volume["name"], volume["image"] or {}
        image_id = await asyncio.to_thread(self._had, pod["metadata"]["uid"], name)
        if not image_id:
            container = {"image": source.get("reference") or "", "imagePullPolicy": source.get("pullPolicy") or ""}
            secrets = await pull_secrets(pod, context.source)
            if secrets.missing:
                self._tell(pod, "Warning", "FailedToRetrieveImagePullSecret", secrets.complaint)
            try:
                found = await self._images.ensure(pod, container, partial(self._tell, pod), secrets)
            except ImageError as error:
                raise ImageVolumeError(error.reason, error.message, error.retry_after_seconds) from error
            image_id = found.id
        self._images.hold(pod["metadata"]["uid"], image_id)
        return ImageFiles(read_only=True, stage_id=image_id)

    def forget_pod(self, uid: str) -> None:
        self._images.let_go(uid)

    def _had(self, uid: str, name: str) -> str:
        """The image that the pod was given; "": none, or its mount is gone with a restart of the machine."""
        try:
            record = records.read(layout.record(self._root, uid, name))
        except (OSError, DamagedRecord):
            return ""
        if record is None or record.plugin != self.name or not record.stage_id:
            return ""
        staged = self.stage_directory(self._root, record.stage_id, record.data) / self.stage_name
        try:
            with os.scandir(staged) as entries:
                return record.stage_id if next(entries, None) is not None else ""
        except OSError:
            return ""

    def stage(self, prepared: ImageFiles, place: Place) -> None:
        assert place.staged is not None
        if place.mounter.mounts_below(place.staged):
            return
        try:
            self._mounts.mount(_key(place.staged), prepared.stage_id, place.staged)
        except SnapshotError as error:
            raise SetupError(f"image cannot be mounted: {error}") from error

    def publish(self, prepared: ImageFiles, place: Place) -> Path:
        assert place.staged is not None
        place.target.mkdir(parents=True, exist_ok=True, mode=0o750)
        if place.target not in place.mounter.mounts_below(place.target):
            source = os.open(place.staged, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                place.mounter.bind(source, place.target)
            finally:
                os.close(source)
        return place.target

    def unstage(self, record: Record, place: Place) -> None:
        super().unstage(record, place)
        if place.staged is None:
            return
        try:
            self._mounts.forget(_key(place.staged))
        except SnapshotError as error:
            raise TeardownError(f"image stays mounted: {error}") from error


def _key(staged: Path) -> str:
    """Names the view: another for each node, should two have one containerd."""
    return f"sampan-image-volume-{hashlib.sha256(os.fsencode(staged)).hexdigest()[:32]}"
