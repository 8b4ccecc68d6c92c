"""Carries out the plug-ins' verbs, with their records: stage and publish, and back. Synchronous, run in threads.

Every step may be the last before a crash: the record of what is about to be done is written first, and removed when it
has been undone. One pod's calls never overlap (the manager sees to it); pods that share a staged volume take
turns here.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from pathlib import Path

from sampan.node.volumes import lanes, layout, records, teardown
from sampan.node.volumes.mount import Mounter
from sampan.node.volumes.ownership import Ownership
from sampan.node.volumes.plugin import AnyPlugin, Place, Prepared
from sampan.node.volumes.plugins import Plugins, Ready
from sampan.node.volumes.records import RECORD, DamagedRecord, Record
from sampan.node.volumes.turns import Turns

log = logging.getLogger(__name__)

_NOBODY = Ownership()


class VolumeOperations:
    """All methods raise OSError; ``publish`` SetupError as well."""

    def __init__(self, root: Path, mounter: Mounter, plugins: Plugins) -> None:
        self._root = root
        self._mounter = mounter
        self._plugins = tuple(plugins.values())
        self._by_name = {plugin.name: plugin for plugin in self._plugins}
        self._turns = Turns()
        #: held for moments only, and never while a plug-in acts
        self._guard = threading.Lock()
        #: stage directory -> the records of pods that use it; None: not read from the disk yet
        self._users: dict[Path, set[Path]] | None = None

    def publish(self, uid: str, ready: Ready, ownership: Ownership, now: datetime, before: Path | None = None) -> Path:
        """Where the volume is, present and current for the pod. Idempotent."""
        plugin, prepared = ready.plugin, ready.prepared
        record_path = layout.record(self._root, uid, ready.name)
        had = self._read(record_path)
        record = Record(
            plugin=plugin.name,
            pod=uid,
            volume=ready.name,
            stage_id=prepared.stage_id,
            size_bytes=prepared.size_bytes,
            data=dict(prepared.data),
        )
        grown = had is not None and (prepared.size_bytes or 0) > (had.size_bytes or 0) and had.size_bytes is not None
        if had is None or not grown:
            records.write(record_path, record)
        target = layout.volume_directory(self._root, uid, plugin.name.replace("/", "~"), ready.name)
        staged = self._stage(plugin, prepared, record, record_path, now) if prepared.stage_id else None
        place = Place(target=target, staged=staged, mounter=self._mounter, ownership=ownership, now=now, before=before)
        path = plugin.publish(prepared, place)
        if grown:  # recorded when it is done: a crash in between does it once more
            plugin.expand(prepared, place)
            records.write(record_path, record)
        return path

    def unpublish_pod(self, uid: str, now: datetime) -> None:
        """Takes all volumes of a pod away, and its directory. Idempotent; what fails is there for the next call."""
        directory = layout.pod_directory(self._root, uid)
        for point in self._mounter.mounts_below(directory / layout.SUBPATHS):
            self._mounter.unmount(point)
        folder = layout.records(self._root, uid)
        failed: OSError | None = None
        for name in records.names(folder):
            try:
                self._unpublish(uid, name, layout.record(self._root, uid, name), now)
            except OSError as error:
                failed = failed or error  # the others go all the same
        if failed is not None:
            raise failed
        if left := self._mounter.mounts_below(directory):
            log.warning("pod %s: %s is mounted and no record says why; it is taken off", uid, left[0])
        teardown.remove_tree(directory, self._mounter)

    def lane(self, uid: str) -> str:
        """Whose program or disk taking the pod's volumes away waits for, by their records."""
        found = []
        for name in records.names(layout.records(self._root, uid)):
            record = self._read(layout.record(self._root, uid, name))
            plugin = self._by_name.get(record.plugin) if record is not None else None
            if record is not None and plugin is not None:
                found.append(plugin.lane(record.data))
        return lanes.of_pod(found)

    def unstage_unused(self, now: datetime) -> None:
        """For the start: what is staged and no pod's record names is taken away. Failures are logged."""
        for entry in sorted({each for plugin in self._plugins for each in plugin.stage_directories(self._root)}):
            with self._turns.alone(entry):
                if self._is_used(entry):
                    continue
                try:
                    self._unstage(entry, now)
                except OSError as error:
                    log.warning("staged volume %s: %s", entry.name, error.strerror or error)

    def _unpublish(self, uid: str, name: str, path: Path, now: datetime) -> None:
        record = self._read(path)
        if record is not None:
            plugin = self._by_name.get(record.plugin)
            if plugin is None:
                log.warning("pod %s: volume %s is of %s, which this node does not know", uid, name, record.plugin)
            else:
                target = layout.volume_directory(self._root, uid, plugin.name.replace("/", "~"), name)
                stage = self._stage_directory(plugin, record) if record.stage_id else None
                plugin.unpublish(record, self._place(target, stage / plugin.stage_name if stage else None, now))
                if stage is not None:
                    self._let_go(stage, path, now)
        records.remove(path)

    # Staging

    def _stage(self, plugin: AnyPlugin, prepared: Prepared, record: Record, user: Path, now: datetime) -> Path:
        directory = self._stage_directory(plugin, record)
        staged = directory / plugin.stage_name
        with self._turns.alone(directory):
            with self._guard:
                self._known_users().setdefault(directory, set()).add(user)
            staged.mkdir(parents=True, exist_ok=True, mode=0o750)
            of_node = Record(plugin=record.plugin, stage_id=record.stage_id, data=record.data)
            records.write(directory / RECORD, of_node)
            plugin.stage(prepared, self._place(directory, staged, now))
        return staged

    def _let_go(self, directory: Path, user: Path, now: datetime) -> None:
        with self._turns.alone(directory):
            with self._guard:
                users = self._known_users().get(directory, set())
                users.discard(user)
            if not users:
                self._unstage(directory, now)
                with self._guard:
                    self._known_users().pop(directory, None)

    def _is_used(self, directory: Path) -> bool:
        with self._guard:
            return bool(self._known_users().get(directory))

    def _unstage(self, directory: Path, now: datetime) -> None:
        record = self._read(directory / RECORD)
        plugin = self._by_name.get(record.plugin) if record is not None else None
        if record is not None and plugin is not None:
            plugin.unstage(record, self._place(directory, directory / plugin.stage_name, now))
        teardown.remove_tree(directory, self._mounter)

    def _stage_directory(self, plugin: AnyPlugin, record: Record) -> Path:
        return plugin.stage_directory(self._root, record.stage_id, record.data)

    def _known_users(self) -> dict[Path, set[Path]]:
        """Read from all pods' records once; from then on kept. For whoever has the guard."""
        if self._users is None:
            self._users = {}
            for uid in teardown.present_pods(self._root):
                for name in records.names(layout.records(self._root, uid)):
                    path = layout.record(self._root, uid, name)
                    record = self._read(path)
                    plugin = self._by_name.get(record.plugin) if record is not None else None
                    if record is not None and plugin is not None and record.stage_id:
                        self._users.setdefault(self._stage_directory(plugin, record), set()).add(path)
        return self._users

    def _place(self, target: Path, staged: Path | None, now: datetime) -> Place:
        return Place(target=target, staged=staged, mounter=self._mounter, ownership=_NOBODY, now=now)

    def _read(self, path: Path) -> Record | None:
        """A damaged record counts as none, and is told of: what is mounted is found without it."""
        try:
            return records.read(path)
        except DamagedRecord as error:
            log.warning("%s", error)
            return None
