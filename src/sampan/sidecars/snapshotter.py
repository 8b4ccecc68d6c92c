"""Takes the snapshots that contents ask for, and deletes them (kubernetes-csi/external-snapshotter, its sidecar).

A content is marked while the driver is asked for its snapshot, so that one whose outcome is not known is not forgotten
when the content is deleted meanwhile. Where each node has its own sidecar, a content carries the name of the node.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from sampan.api import objects
from sampan.api.clock import Clock, format_time
from sampan.api.errors import NotFound, ServiceUnavailable
from sampan.api.reading import part, text, text_map
from sampan.api.resources import PERSISTENT_VOLUMES
from sampan.api.storage import claims, secretrefs, snapshots
from sampan.api.storage.secretrefs import PREFIX, SecretRef
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.events import EventRecorder
from sampan.client.informer import InformerFactory
from sampan.csi.errors import DriverError, Uncertain
from sampan.csi.pb import csi_pb2 as csi
from sampan.sidecars import secrets
from sampan.sidecars.config import Driver, SidecarConfig, with_metadata
from sampan.sidecars.here import Here

log = logging.getLogger(__name__)

#: on a content: the node whose sidecar looks after it (upstream's distributed snapshotting)
MANAGED_BY: Final = "snapshot.storage.kubernetes.io/managed-by"
_BY_HANDLE: Final = "volume by driver and handle"
#: a snapshot that the driver is still working on is looked at again
_UNREADY_SECONDS: Final = 5.0


def should_delete(content: Obj) -> bool:
    """Its snapshot has gone, or it never had one; anything else that is deleted waits for the controller's mark."""
    if not objects.is_deleting(content):
        return False
    if not text(snapshots.reference(content), "uid"):
        return True
    return snapshots.BEING_DELETED in objects.annotations(content)


def taken_status(taken: Any) -> Obj:
    """The status of a content that the driver has answered for."""
    moment = taken.creation_time.seconds * 1_000_000_000 + taken.creation_time.nanos
    return {
        "snapshotHandle": taken.snapshot_id,
        "creationTime": moment,
        "readyToUse": taken.ready_to_use,
        "restoreSize": taken.size_bytes,
        "error": None,
    }


class Snapshotter:
    def __init__(
        self, client: Client, informers: InformerFactory, driver: Driver, config: SidecarConfig, clock: Clock
    ) -> None:
        self._client, self._driver, self._config, self._clock = client, driver, config, clock
        self._recorder = EventRecorder(client, f"csi-snapshotter {driver.name}", "", clock)
        self._here = Here(informers, config.node)
        self._contents = informers.informer(VOLUME_SNAPSHOT_CONTENTS)
        self._classes = informers.informer(VOLUME_SNAPSHOT_CLASSES)
        waited = [self._classes]
        if self._here.informer is not None:
            self._volumes = informers.informer(PERSISTENT_VOLUMES)
            self._volumes.add_index(_BY_HANDLE, _handle_of)
            waited += [self._here.informer, self._volumes]
        self._controller: Controller[str] = Controller(
            "csi-snapshotter", self.sync, workers=config.workers, informers=waited
        )
        self._controller.watch(self._contents, self._keys)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys(self, content: Obj) -> Iterable[str]:
        return (objects.name(content),) if text(part(content, "spec"), "driver") == self._driver.name else ()

    async def sync(self, name: str) -> Result:
        content = self._contents.get("", name)
        if content is None or not self._is_here(content):
            return DONE
        try:
            if should_delete(content):
                await self._delete(content)
            elif not objects.is_deleting(content) and not snapshots.is_ready(content):
                return await self._look(content)
        except NotFound:
            pass
        return DONE

    def _is_here(self, content: Obj) -> bool:
        """One that no node has taken yet belongs to the node that reaches its volume; one that was there before it, to
        whichever node's driver knows it."""
        if self._here.informer is None:
            return True
        managed = text_map(part(content, "metadata"), "labels").get(MANAGED_BY)
        if managed is not None:
            return managed == self._config.node
        if snapshots.given_handle(content):
            return True
        key = f"{self._driver.name}/{snapshots.volume_handle(content)}"
        return any(self._here.reaches(each) for each in self._volumes.by_index(_BY_HANDLE, key))

    async def _look(self, content: Obj) -> Result:
        try:
            if snapshots.given_handle(content):
                status = await self._known(content)
            else:
                content, status = await self._take(content)
        except (DriverError, ValueError) as error:
            await self._failed(content, error)
        if status is None:
            return DONE  # another node's
        answer = await self._status(content, status)
        if not status["readyToUse"]:
            return Result(_UNREADY_SECONDS)
        await self._mark(answer, annotations={snapshots.BEING_CREATED: None})
        return DONE

    async def _known(self, content: Obj) -> Obj | None:
        """The status of a snapshot that was there before its content; None: it is not on this node."""
        handle = snapshots.given_handle(content)
        if "LIST_SNAPSHOTS" not in self._driver.controller:
            return {"snapshotHandle": handle, "readyToUse": True, "error": None}
        listed = await self._ask("ListSnapshots", csi.ListSnapshotsRequest(snapshot_id=handle))
        found = next((each.snapshot for each in listed.entries if each.snapshot.snapshot_id == handle), None)
        if found is None:
            if self._here.informer is not None:
                return None
            raise ValueError(f"failed to list snapshot content {objects.name(content)}: snapshot {handle} not found")
        await self._manage(content)
        return taken_status(found)

    async def _take(self, content: Obj) -> tuple[Obj, Obj]:
        """The content as it is then, and its status. Raises DriverError, ValueError, ApiError."""
        parameters = text_map(self._class_of(content), "parameters")
        reference = snapshots.reference(content)
        told = {
            f"{PREFIX}volumesnapshot/name": text(reference, "name"),
            f"{PREFIX}volumesnapshot/namespace": text(reference, "namespace"),
            f"{PREFIX}volumesnapshotcontent/name": objects.name(content),
        }
        request = csi.CreateSnapshotRequest(
            name=f"{self._config.snapshot_prefix}-{text(reference, 'uid')}",
            source_volume_id=snapshots.volume_handle(content),
            parameters=with_metadata(secretrefs.of_driver(parameters), told, wanted=self._config.extra_metadata),
            secrets=await secrets.read(self._client, _secret(content)),
        )
        content = await self._mark(content, annotations={snapshots.BEING_CREATED: "yes"})
        content = await self._manage(content)
        return content, taken_status((await self._ask("CreateSnapshot", request)).snapshot)

    async def _manage(self, content: Obj) -> Obj:
        if self._here.informer is None:
            return content
        return await self._mark(content, labels={MANAGED_BY: self._config.node})

    async def _failed(self, content: Obj, error: Exception) -> NoReturn:
        """Raises ServiceUnavailable: it is tried again."""
        handle = snapshots.volume_handle(content)
        if handle:
            reason, words = "SnapshotCreationFailed", f'failed to take snapshot of the volume {handle}: "{error}"'
        else:
            reason, words = "SnapshotContentCheckandUpdateFailed", f"{error}"
        said = f"Failed to {'create snapshot' if handle else 'check and update snapshot content'}: {words}"
        current = self._contents.get("", objects.name(content)) or content
        if text(part(part(current, "status"), "error"), "message") != said:
            fault = {"message": said, "time": format_time(self._clock.now())}
            await self._status(current, {"error": fault, "readyToUse": False})
        self._recorder.event(content, "Warning", reason, said)
        # The mark stays: each write is news of the content, and would try it again at once.
        raise ServiceUnavailable(said) from None

    # Deletion

    async def _delete(self, content: Obj) -> None:
        if snapshots.deletes(content):
            handle = snapshots.handle(content)
            try:
                if not handle and snapshots.BEING_CREATED in objects.annotations(content):
                    # It may be there: asked for once more, it has a handle.
                    handle = await self._take_again(content)
                if handle:
                    found = await secrets.read(self._client, _secret(content))
                    await self._ask("DeleteSnapshot", csi.DeleteSnapshotRequest(snapshot_id=handle, secrets=found))
            except (DriverError, ValueError) as error:
                self._recorder.event(content, "Warning", "SnapshotDeleteError", "Failed to delete snapshot")
                raise ServiceUnavailable(f"snapshot content {objects.name(content)}: {error}") from None
        current = self._contents.get("", objects.name(content)) or content
        left = [each for each in objects.finalizers(current) if each != snapshots.CONTENT_IS_BOUND]
        if len(left) != len(objects.finalizers(current)):
            meta = {"resourceVersion": objects.resource_version(current), "finalizers": left or None}
            await self._client.patch(VOLUME_SNAPSHOT_CONTENTS, objects.name(content), {"metadata": meta})

    async def _take_again(self, content: Obj) -> str:
        """The handle of a snapshot that may be there; "": it is not. Raises Uncertain, ValueError, ApiError."""
        try:
            _, status = await self._take(content)
        except Uncertain:
            raise
        except DriverError:
            return ""
        return text(status, "snapshotHandle")

    # What they share

    def _class_of(self, content: Obj) -> Obj:
        name = snapshots.class_of(content)
        if not name:
            return {}
        found = self._classes.get("", name)
        if found is None:
            raise ValueError(f'volumesnapshotclass.snapshot.storage.k8s.io "{name}" not found')
        return found

    async def _mark(self, content: Obj, **changes: Obj) -> Obj:
        """Annotations or labels as wanted (None: without); nothing when they are so."""
        meta = part(content, "metadata")
        if all(part(meta, kind).get(key) == value for kind, found in changes.items() for key, value in found.items()):
            return content
        answer = await self._client.patch(VOLUME_SNAPSHOT_CONTENTS, objects.name(content), {"metadata": changes})
        await observe(self._contents, answer)
        return answer

    async def _status(self, content: Obj, status: Obj) -> Obj:
        body = {"status": status}
        name = objects.name(content)
        answer = await self._client.patch(VOLUME_SNAPSHOT_CONTENTS, name, body, subresource="status")
        await observe(self._contents, answer)
        return answer

    async def _ask(self, call: str, request: Any) -> Any:
        return await self._driver.client.controller(call, request, self._config.timeout_seconds)


def _secret(content: Obj) -> SecretRef | None:
    name = claims.annotation(content, snapshots.SECRET_NAME)
    namespace = claims.annotation(content, snapshots.SECRET_NAMESPACE)
    return SecretRef(namespace, name) if name and namespace else None


def _handle_of(volume: Obj) -> Iterable[str]:
    source = part(part(volume, "spec"), "csi")
    return (f"{text(source, 'driver')}/{text(source, 'volumeHandle')}",) if source else ()
