"""What informers tell of claims, volumes and classes: taken into ``storage``, and pods it may help are tried again.

A claim's news costs as many looks as pods use the claim; a free volume's, as many as claims of its class wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.reading import text
from sampan.api.storage import claims, matching, volumes
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, Informer
from sampan.scheduler import capacities
from sampan.scheduler.queue import SchedulingQueue
from sampan.scheduler.storage import Storage

#: the plugins that ask for claims, volumes and classes
PLUGINS: Final = frozenset(("VolumeBinding", "VolumeRestrictions", "VolumeZone", "NodeVolumeLimits"))
_BY_CLAIM: Final = "pod by its claims"
_BY_PROVISIONER: Final = "class by its provisioner"
_BY_CLASS: Final = "claim that waits, by its class"


class StorageChanges:
    def __init__(
        self, storage: Storage, queue: SchedulingQueue, pods: Informer, claims_: Informer, classes: Informer
    ) -> None:
        self._storage, self._queue, self._pods, self._claims, self._classes = storage, queue, pods, claims_, classes
        classes.add_index(_BY_PROVISIONER, lambda storage_class: (text(storage_class, "provisioner"),))
        pods.add_index(_BY_CLAIM, _claims_of)
        claims_.add_index(_BY_CLASS, _class_of_waiting)

    def claim_changed(self, kind: ChangeType, claim: Obj, previous: Obj | None) -> None:
        self._storage.claim_changed(claim)
        if kind != "DELETED":
            self._wake_users(claim)

    def volume_changed(self, kind: ChangeType, volume: Obj, previous: Obj | None) -> None:
        self._storage.volume_changed(volume, gone=kind == "DELETED")
        if kind == "DELETED":
            return
        if (reference := volumes.claim_ref(volume)) is not None:
            claim = self._claims.get(str(reference.get("namespace") or ""), str(reference.get("name") or ""))
            if claim is not None:
                self._wake_users(claim)
        elif matching.is_free(volume):
            for claim in self._claims.by_index(_BY_CLASS, volumes.class_of(volume)):
                if matching.fits(volume, claim):
                    self._wake_users(claim)

    def class_changed(self, kind: ChangeType, storage_class: Obj, previous: Obj | None) -> None:
        """What can be made where is said by the class; it changes seldom."""
        if kind == "DELETED":
            return
        if previous is not None and previous.get("allowedTopologies") == storage_class.get("allowedTopologies"):
            return
        self._wake_waiting(objects.name(storage_class))

    def csi_node_changed(self, kind: ChangeType, csi_node: Obj, previous: Obj | None) -> None:
        self._storage.csi_node_changed(csi_node, gone=kind == "DELETED")

    def driver_changed(self, kind: ChangeType, driver: Obj, previous: Obj | None) -> None:
        """A driver that does not want its room looked at any more lets everybody in."""
        if previous is None or not capacities.asks(previous) or (kind != "DELETED" and capacities.asks(driver)):
            return
        for storage_class in self._classes.by_index(_BY_PROVISIONER, objects.name(driver)):
            self._wake_waiting(objects.name(storage_class))

    def capacity_changed(self, kind: ChangeType, capacity: Obj, previous: Obj | None) -> None:
        if grown := self._storage.capacities.changed(capacity, gone=kind == "DELETED"):
            self._wake_waiting(grown)

    def _wake_waiting(self, storage_class: str) -> None:
        for claim in self._claims.by_index(_BY_CLASS, storage_class):
            self._wake_users(claim)

    def _wake_users(self, claim: Obj) -> None:
        for pod in self._pods.by_index(_BY_CLAIM, f"{objects.namespace(claim)}/{objects.name(claim)}"):
            item = self._queue.find(objects.uid(pod))
            if item is not None and not PLUGINS.isdisjoint(item.plugins):
                self._queue.requeue(item)


def _claims_of(pod: Obj) -> Iterable[str]:
    namespace = objects.namespace(pod)
    return {f"{namespace}/{each.name}": None for each in claims.claims_of_pod(pod)}


def _class_of_waiting(claim: Obj) -> Iterable[str]:
    return () if claims.volume_name(claim) else (claims.class_of(claim),)
