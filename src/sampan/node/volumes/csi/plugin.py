"""The volume plug-in of CSI drivers: what a volume needs is put together from the API, and the driver is called.

Verbs act in threads and go through ``drivers``. A record is on disk before each call (``operations``), and what
undoes a call is called for everything that a record names, whatever became of the call: drivers answer the same
question twice alike, as the interface demands. What this process staged or published it does not ask for again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sampan.api.reading import text
from sampan.api.storage.attachments import unique_name
from sampan.api.types import Obj
from sampan.csi.errors import DriverError
from sampan.csi.pb import csi_pb2 as csi
from sampan.node.volumes import layout, records
from sampan.node.volumes.csi import requests
from sampan.node.volumes.csi.attachments import InUse
from sampan.node.volumes.csi.drivers import Driver, Drivers, NotRegistered
from sampan.node.volumes.csi.growing import Growing
from sampan.node.volumes.csi.preparing import Preparing, Wanted
from sampan.node.volumes.errors import SetupError, TeardownError
from sampan.node.volumes.ownership import set_ownership
from sampan.node.volumes.plugin import Context, Place, Prepared, VolumePlugin
from sampan.node.volumes.records import RECORD, DamagedRecord, Record
from sampan.node.volumes.usage import Unmeasured, VolumeUsage
from sampan.records import dataclass

#: upstream's folders below the root, which drivers mount into their pods
_STAGED: Final = Path("plugins/kubernetes.io/csi")
_BLOCK: Final = Path("plugins/kubernetes.io/csi/volumeDevices")
_STATS_SECONDS: Final = 30.0
_REPUBLISH: Final = timedelta(seconds=60)
_MOUNT_DEVICE: Final = "MountVolume.MountDevice"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiVolume(Prepared):
    wanted: Wanted
    #: published again whenever the pod is looked at
    republish: bool = False


class CsiPlugin(VolumePlugin[CsiVolume]):
    name = "kubernetes.io/csi"
    takes_mount_options = True
    stage_name = "globalmount"

    def __init__(self, root: Path, drivers: Drivers, preparing: Preparing, growing: Growing, in_use: InUse) -> None:
        self._root = root
        self._drivers = drivers
        self._preparing = preparing
        self._growing = growing
        self._in_use = in_use
        self._guard = threading.Lock()
        #: by directory, the socket of the driver that was asked by this process, and has done it
        self._done: dict[Path, Path] = {}

    async def prepare(self, volume: Obj, context: Context) -> CsiVolume:
        wanted = await self._preparing.wanted(volume, context)
        renew_at = None
        if wanted.republish or self._growing.looks(wanted, context):
            renew_at = self._preparing.now() + _REPUBLISH
        stage_id = f"{wanted.driver.name}^{wanted.handle}" if wanted.persistent else ""
        data = {
            "driver": wanted.driver.name,
            "handle": wanted.handle,
            "stages": "true" if wanted.stages else "",
            "block": "true" if wanted.block else "",
            "attached": "true" if wanted.attached else "",
        }
        return CsiVolume(
            read_only=wanted.read_only,
            renew_at=renew_at,
            stage_id=stage_id,
            data=data,
            wanted=wanted,
            republish=wanted.republish,
            block=wanted.block,
        )

    def lane(self, data: Mapping[str, str]) -> str:
        return data.get("driver", "")

    def stage_directory(self, root: Path, stage_id: str, data: Mapping[str, str]) -> Path:
        digest = hashlib.sha256(data.get("handle", "").encode()).hexdigest()
        if data.get("block"):
            return root / _BLOCK / "staging" / data.get("driver", "") / digest
        return root / _STAGED / data.get("driver", "") / digest

    def stage_directories(self, root: Path) -> Iterable[Path]:
        for folder in (root / _STAGED, root / _BLOCK / "staging"):
            for driver in layout.directories(folder):
                if driver != root / _BLOCK:
                    yield from layout.directories(driver)

    def stage(self, prepared: CsiVolume, place: Place) -> None:
        wanted = prepared.wanted
        assert place.staged is not None
        if wanted.attached:
            self._in_use.staged(unique_name(wanted.driver.name, wanted.handle))
        if not wanted.stages or self._is_done(place.staged, wanted.driver):
            return
        request = csi.NodeStageVolumeRequest(
            volume_id=wanted.handle,
            publish_context=wanted.publish_context,
            staging_target_path=wanted.driver.seen(place.staged),
            volume_capability=wanted.capability,
            secrets=wanted.stage_secrets,
            volume_context=wanted.attributes,
        )
        self._ask(wanted.driver, "NodeStageVolume", request, _MOUNT_DEVICE)
        self._set_done(place.staged, wanted.driver)

    def publish(self, prepared: CsiVolume, place: Place) -> Path:
        wanted, target = prepared.wanted, self._target(place, prepared.block, prepared.wanted.uid)
        again = place.before == target and self._is_done(target, wanted.driver)
        if again and not prepared.republish:
            return target
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        request = csi.NodePublishVolumeRequest(
            volume_id=wanted.handle,
            publish_context=wanted.publish_context,
            target_path=wanted.driver.seen(target),
            volume_capability=wanted.capability,
            readonly=prepared.read_only,
            secrets=wanted.publish_secrets,
            volume_context={**wanted.attributes, **wanted.pod_context},
        )
        if wanted.stages and place.staged is not None:
            request.staging_target_path = wanted.driver.seen(place.staged)
        self._ask(wanted.driver, "NodePublishVolume", request, "MountVolume.SetUp")
        if wanted.gives_group and not again and not prepared.read_only and not prepared.block:
            set_ownership(target, place.ownership)
        self._set_done(target, wanted.driver)
        return target

    async def published(self, prepared: CsiVolume, context: Context, path: Path) -> None:
        staged = None
        if prepared.wanted.stages:
            staged = self.stage_directory(self._root, prepared.stage_id, prepared.data) / self.stage_name
        await self._growing.grow(prepared.wanted, context, path, staged)

    async def measure(self, data: Mapping[str, str], path: Path) -> VolumeUsage | None:
        try:
            driver = self._drivers.get(data.get("driver", ""))
        except NotRegistered as error:
            raise Unmeasured(str(error)) from None
        if not driver.can("GET_VOLUME_STATS"):
            return None
        request = csi.NodeGetVolumeStatsRequest(volume_id=data.get("handle", ""), volume_path=driver.seen(path))
        try:
            answer = await driver.client.node("NodeGetVolumeStats", request, _STATS_SECONDS)
        except DriverError as error:
            raise Unmeasured(str(error)) from None
        return requests.usage(answer, tells_health=driver.can("VOLUME_CONDITION"))

    def unpublish(self, record: Record, place: Place) -> None:
        target = self._target(place, bool(record.data.get("block")), record.pod)
        driver = self._driver(record, "Unmounter.TearDownAt failed to get CSI client")
        request = csi.NodeUnpublishVolumeRequest(volume_id=record.data["handle"], target_path=driver.seen(target))
        self._set_undone(target)  # first: it may be so although the driver does not say it
        self._undo(driver, "NodeUnpublishVolume", request, "Unmounter.TearDownAt failed")
        place.mounter.unmount(target)
        if record.data.get("block"):  # it is not below the pod's directory, which goes as a whole
            target.unlink(missing_ok=True)
            if target.parent.is_dir():
                target.parent.rmdir()

    def unstage(self, record: Record, place: Place) -> None:
        assert place.staged is not None
        self._set_undone(place.staged)
        if record.data.get("stages"):
            driver = self._driver(record, "attacher.UnmountDevice failed to create newCsiDriverClient")
            request = csi.NodeUnstageVolumeRequest(
                volume_id=record.data["handle"], staging_target_path=driver.seen(place.staged)
            )
            self._undo(driver, "NodeUnstageVolume", request, "attacher.UnmountDevice failed")
        place.mounter.unmount(place.staged)
        self._in_use.unstaged(unique_name(record.data["driver"], record.data["handle"]))
        self._preparing.changed()

    def forget_pod(self, uid: str) -> None:
        if self._in_use.forget_pod(uid):
            self._preparing.changed()

    def load(self) -> None:
        """What an agent before this one has staged is in use. In a thread."""
        found = []
        for directory in self.stage_directories(self._root):
            try:
                record = records.read(directory / RECORD)
            except (DamagedRecord, OSError):
                continue  # whoever takes it away tells of it
            if record is not None and record.data.get("attached"):
                found.append(unique_name(record.data["driver"], record.data["handle"]))
        self._in_use.load(found)

    def _target(self, place: Place, block: bool, uid: str) -> Path:
        if not block:
            return place.target / "mount"
        name = hashlib.sha256(str(place.target).encode()).hexdigest()[:32]
        return self._root / _BLOCK / "publish" / name / uid

    def _ask(self, driver: Driver, method: str, request: Any, step: str) -> None:
        try:
            self._drivers.call(driver, method, request)
        except DriverError as error:
            raise SetupError(str(error), step) from error

    def _undo(self, driver: Driver, method: str, request: Any, words: str) -> None:
        try:
            self._drivers.call(driver, method, request)
        except DriverError as error:
            raise TeardownError(f"kubernetes.io/csi: {words}: {error}") from error

    def _driver(self, record: Record, words: str) -> Driver:
        try:
            return self._drivers.get(text(record.data, "driver"))
        except NotRegistered as error:
            raise TeardownError(f"kubernetes.io/csi: {words}: {error}") from error

    def _is_done(self, path: Path, driver: Driver) -> bool:
        with self._guard:
            return self._done.get(path) == driver.socket

    def _set_done(self, path: Path, driver: Driver) -> None:
        with self._guard:
            self._done[path] = driver.socket

    def _set_undone(self, path: Path) -> None:
        with self._guard:
            self._done.pop(path, None)
