"""Volumes of Sampan's own provisioner: directories of this node below one root, made when they are first mounted.

A directory goes when the provisioner asks for it (``LocalVolumes.remove``, by the node API): it is renamed first, so
that whatever is made of the name later is another one, and what a crash leaves is taken away at the next start. No
symlink is followed, and what is mounted inside is taken off before anything is deleted (``teardown``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sampan.api.errors import BadRequest, InternalError
from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.hostpath import HostPath
from sampan.node.volumes.local import LocalPlugin
from sampan.node.volumes.loops import detach_below
from sampan.node.volumes.mount import LinuxMounter, Mounter
from sampan.node.volumes.plugin import Context, Place
from sampan.node.volumes.teardown import remove_tree

log = logging.getLogger(__name__)

#: the field that ``claims.resolve`` puts in place of ``local``
SOURCE: Final = "localPath"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NAME_BYTES: Final = 253
_GOING: Final = ".removing"


class LocalPathPlugin(LocalPlugin):
    name = "sampan.io/local-path"
    takes_mount_options = False

    def lane(self, data: Mapping[str, str]) -> str:
        """The node's own disk."""
        return ""

    async def prepare(self, volume: Obj, context: Context) -> HostPath:
        return HostPath(path=Path(volume[SOURCE]["path"]), type="Directory")

    def publish(self, prepared: HostPath, place: Place) -> Path:
        if place.before != prepared.path:
            make_open_directory(prepared.path)
        return super().publish(prepared, place)


def make_open_directory(path: Path) -> None:
    """For whoever the pods run as; only they get there, since the directory above it is root's. One of mode 0 was not
    finished by whoever began it. Raises SetupError."""
    try:
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        try:
            path.mkdir(mode=0)
        except FileExistsError:
            pass
        if stat.S_IMODE(path.lstat().st_mode) == 0:
            path.chmod(0o777)
    except OSError as error:
        raise SetupError(fault(error, "mkdir")) from error


async def _to_its_end(work: Callable[..., None], *arguments: str) -> None:
    """In a thread, which nobody can interrupt: who is cancelled waits for it, lest another one begins beside it."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s", error)
        raise


class LocalVolumes:
    """One removal at a time; files are a thread's work. A caller who gives up ends nothing that has begun."""

    def __init__(self, root: Path, mounter: Mounter | None = None) -> None:
        self._root, self._mounter = root, mounter or LinuxMounter()
        self._turn = asyncio.Lock()

    async def remove(self, name: str) -> None:
        """Idempotent: what is not there has been removed. Raises BadRequest, InternalError."""
        if len(name) > _NAME_BYTES or not _NAME.fullmatch(name):
            raise BadRequest(f'"{name}" is not the name of a volume')
        async with self._turn:
            try:
                await _to_its_end(self._remove, name)
            except OSError as error:
                raise InternalError(f"the data of {name} is not removed: {fault(error, 'remove')}") from error

    async def sweep(self) -> None:
        """What an agent that ended in between has left. Failures are logged."""
        async with self._turn:
            await _to_its_end(self._sweep)

    def _remove(self, name: str) -> None:
        root = self._root.resolve()  # as the kernel names mounts
        going = root / f"{_GOING}-{name}"
        remove_tree(going, self._mounter)  # of an earlier try
        directory = root / name
        for point in self._mounter.mounts_below(directory):
            self._mounter.unmount(point)
        detach_below(directory)  # of a pod that was deleted by force, and whose volumes the node has still to take off
        try:
            directory.rename(going)
        except FileNotFoundError:
            return
        remove_tree(going, self._mounter)

    def _sweep(self) -> None:
        try:
            root = self._root.resolve()
            left = [entry.name for entry in os.scandir(root) if entry.name.startswith(f"{_GOING}-")]
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s: %s", self._root, fault(error, "open"))
            return
        for name in left:
            try:
                remove_tree(root / name, self._mounter)
            except OSError as error:
                log.warning("%s: %s", name, fault(error, "remove"))
