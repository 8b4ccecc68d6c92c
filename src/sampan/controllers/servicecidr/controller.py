"""Guards each ServiceCIDR with a finalizer: it does not go while an address lies in it alone (upstream
``service-cidr-controller``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.reading import moment
from sampan.api.resources import IP_ADDRESSES, SERVICE_CIDRS
from sampan.api.types import Condition, Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context
from sampan.controllers.servicecidr import ranges
from sampan.controllers.workload import conditions

NAME: Final = "service-cidrs-controller"
COMPONENT: Final = "service-cidr-controller"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
#: After its deletion, until API servers have heard of it and give out no address of it.
GRACE_SECONDS = 10.0
_BLOCKED = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


class ServiceCidrController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, COMPONENT)
        self._cidrs = context.informers.informer(SERVICE_CIDRS)
        self._addresses = context.informers.informer(IP_ADDRESSES)
        self._controller: Controller[ObjectKey] = Controller(COMPONENT, self.sync, informers=[self._addresses])
        self._controller.watch(self._cidrs, self._near)
        self._addresses.add_handler(self._address_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _near(self, cidr: Obj) -> Iterable[ObjectKey]:
        """Whether a range may go depends on those that overlap it."""
        yield key_of(cidr)
        yield from (key_of(other) for other in ranges.overlapping(cidr, self._cidrs.list()))

    def _address_changed(self, kind: ChangeType, ip_address: Obj, previous: Obj | None) -> None:
        """An address that comes or goes concerns the ranges that are going."""
        address = ranges.address_of(ip_address) if kind != "MODIFIED" else None
        if address is None or not self._cidrs.has_synced:
            return
        for cidr in self._cidrs.list():
            if objects.is_deleting(cidr) and any(address in each for each in ranges.networks_of(cidr)):
                self._controller.enqueue(key_of(cidr))

    async def sync(self, key: ObjectKey) -> Result:
        cidr = self._cidrs.get(*key)
        if cidr is None:
            return DONE
        if not objects.is_deleting(cidr):
            cidr = await self._guard(cidr)
            await self._say(cidr, {"status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready"})
            return DONE
        if FINALIZER not in (cidr["metadata"].get("finalizers") or ()):
            return DONE
        if not await self._may_go(cidr):
            await self._say(cidr, {"status": "False", "reason": "Terminating", "message": _BLOCKED})
            return DONE
        deleted = moment(cidr["metadata"], "deletionTimestamp")
        now = self._clock.now()
        left = GRACE_SECONDS - (now - (deleted or now)).total_seconds()
        if left > 0:
            return Result(left)
        new = objects.deep_copy(cidr)
        new["metadata"]["finalizers"].remove(FINALIZER)
        await self._client.update(SERVICE_CIDRS, new)
        return DONE

    async def _guard(self, cidr: Obj) -> Obj:
        present = cidr["metadata"].get("finalizers") or []
        if FINALIZER in present:
            return cidr
        new = objects.deep_copy(cidr)
        new["metadata"]["finalizers"] = [*present, FINALIZER]
        written = await self._client.update(SERVICE_CIDRS, new)
        await observe(self._cidrs, written)
        return written

    async def _may_go(self, cidr: Obj) -> bool:
        others = [other for other in self._cidrs.list() if key_of(other) != key_of(cidr)]
        if ranges.has_parent(cidr, others):
            return True
        own = ranges.networks_of(cidr)
        beside = [each for other in others for each in ranges.networks_of(other)]
        batch = ranges.addresses_at_once(len(own) + len(beside))
        for number, ip_address in enumerate(list(self._addresses.list()), 1):
            if number % batch == 0:
                await asyncio.sleep(0)
            if ranges.is_needed(own, beside, ip_address):
                return False
        return True

    async def _say(self, cidr: Obj, said: Condition) -> None:
        """What it says of its readiness; nothing when it says so already."""
        listed = (cidr.get("status") or {}).get("conditions") or []
        old = conditions.find(listed, "Ready")
        if old is not None and all(old.get(field) == value for field, value in said.items()):
            return
        since = str(old["lastTransitionTime"]) if old is not None and old["status"] == said["status"] else ""
        ready: Condition = {"type": "Ready", "lastTransitionTime": since or format_time(self._clock.now())}
        new = objects.deep_copy(cidr)
        new.setdefault("status", {})["conditions"] = [*conditions.drop(listed, "Ready"), {**ready, **said}]
        try:
            written = await self._client.update_status(SERVICE_CIDRS, new)
        except Exception:  # whatever it was is told of, and goes on to who retries
            if said["status"] == "True":
                text = "The ServiceCIDR Status can not be set to Ready=True"
                self._recorder.event(cidr, "Warning", "KubernetesServiceCIDRError", text)
            raise
        await observe(self._cidrs, written)
