"""What informers tell of claims for devices, classes and slices: taken into ``store``, and pods it may help are tried
again. A claim's news costs as many looks as pods name it; a device that became free, as many as pods wait for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sampan.api import objects
from sampan.api.pods import resourceclaims
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, Informer
from sampan.scheduler.devices.store import Devices
from sampan.scheduler.queue import SchedulingQueue
from sampan.scheduler.storage import key_of

PLUGIN: Final = "DynamicResources"
_BY_CLAIM: Final = "pod by its claims for devices"


class DeviceChanges:
    def __init__(
        self, devices: Devices, queue: SchedulingQueue, pods: Informer, look_again: Callable[[Obj], None]
    ) -> None:
        """``look_again`` is told of a pod that may be let into the queue now."""
        self._devices, self._queue, self._pods, self._look_again = devices, queue, pods, look_again
        pods.add_index(_BY_CLAIM, resourceclaims.keys_of_pod)

    def claim_changed(self, kind: ChangeType, claim: Obj, previous: Obj | None) -> None:
        freed = self._devices.claim_changed(claim, gone=kind == "DELETED")
        if freed:
            self._wake_all()
        if kind != "DELETED":
            for pod in self._pods.by_index(_BY_CLAIM, key_of(claim)):
                item = self._queue.find(objects.uid(pod))
                if kind == "ADDED":
                    self._look_again(pod)
                elif item is not None and PLUGIN in item.plugins:
                    self._queue.requeue(item)

    def class_changed(self, kind: ChangeType, device_class: Obj, previous: Obj | None) -> None:
        if kind != "DELETED":
            self._wake_all()

    def slice_changed(self, kind: ChangeType, resource_slice: Obj, previous: Obj | None) -> None:
        self._devices.pools.changed(resource_slice, gone=kind == "DELETED")
        if kind != "DELETED":
            self._wake_all()

    def _wake_all(self) -> None:
        for group in self._queue.unschedulable():
            for item in group:
                if PLUGIN in item.plugins:
                    self._queue.requeue(item)
