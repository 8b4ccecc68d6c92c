"""Mirrors hand-made Endpoints of selector-less Services into EndpointSlices (upstream ``endpointslicemirroring``).

A slice holds a whole subset, up to a thousand addresses: who wrote them by hand finds them again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from itertools import islice

from sampan.api import objects
from sampan.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.endpoints import facts
from sampan.controllers.endpoints.service_slices import apply_slices, index_slices, slices_of, watch_slices
from sampan.controllers.endpoints.slices import (
    MANAGED_BY,
    SERVICE_NAME,
    SliceMeta,
    SlicePlan,
    identity,
    name_prefix,
    port_key,
    recycle,
    rendered,
)
from sampan.controllers.workload.claims import controller_reference
from sampan.records import dataclass

NAME = "endpointslicemirroring-controller"
COMPONENT = "endpoint-slice-mirroring-controller"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_FAMILIES = ("IPv4", "IPv6")


def should_mirror(endpoints: Obj) -> bool:
    skip = objects.labels(endpoints).get(SKIP_MIRROR, "") == "true"
    return not skip and _LEADER not in objects.annotations(endpoints)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What is to be in slices: endpoints by family and ports, each once; and how many addresses are not."""

    found: dict[tuple[str, bytes], tuple[tuple[Obj, ...], dict[tuple[object, ...], Obj]]]
    invalid: int = 0
    too_many: int = 0


def mirrored(endpoints: Obj, limit: int) -> Mirrored:
    """``limit`` of addresses a subset. Pure."""
    found: dict[tuple[str, bytes], tuple[tuple[Obj, ...], dict[tuple[object, ...], Obj]]] = {}
    invalid = too_many = 0
    for subset in endpoints.get("subsets") or ():
        ports = tuple(_port(port) for port in subset.get("ports") or ())
        listed = [(address, True) for address in subset.get("addresses") or ()]
        listed += [(address, False) for address in subset.get("notReadyAddresses") or ()]
        taken = 0
        for number, (address, ready) in enumerate(listed):
            if taken == limit:
                too_many += len(listed) - number
                break
            endpoint = _endpoint(address, ready)
            if endpoint is None:
                invalid += 1
                continue
            taken += 1
            key = (facts.family_of(endpoint["addresses"][0]), port_key(ports))
            found.setdefault(key, (ports, {}))[1][identity(endpoint)] = endpoint
    return Mirrored(found, invalid, too_many)


def _port(port: Obj) -> Obj:
    made: Obj = {"name": port.get("name", ""), "port": port["port"], "protocol": port.get("protocol", "TCP")}
    return made | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {})


def _endpoint(address: Obj, ready: bool) -> Obj | None:
    try:
        ip = str(ipaddress.ip_address(address["ip"]))
    except ValueError:
        return None
    endpoint: Obj = {"addresses": [ip], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


def slice_meta(endpoints: Obj, family: str) -> SliceMeta:
    meta = endpoints["metadata"]
    labels = {**objects.labels(endpoints), SERVICE_NAME: meta["name"], MANAGED_BY: MANAGER}
    hidden = (facts.LAST_APPLIED, facts.TRIGGER_TIME)
    annotations = {key: value for key, value in objects.annotations(endpoints).items() if key not in hidden}
    owner = controller_reference(endpoints, ENDPOINTS)
    return SliceMeta(meta["namespace"], name_prefix(meta["name"]), family, labels, owner, annotations)


def plan_mirror(endpoints: Obj, wanted: Mirrored, existing: Sequence[Obj], limit: int) -> list[SlicePlan]:
    """One plan a family: of each set of ports one slice, the first that is there. Pure."""
    plans = []
    for family in _FAMILIES:
        meta, plan = slice_meta(endpoints, family), SlicePlan()
        by_key: dict[bytes, list[Obj]] = {}
        for present in existing:
            if present["addressType"] == family and not objects.is_deleting(present):
                by_key.setdefault(port_key(present.get("ports") or ()), []).append(present)
        for (of_family, key), (ports, held) in wanted.found.items():
            if of_family != family:
                continue
            held = dict(islice(held.items(), limit))  # several subsets may have the same ports
            present_ones = by_key.pop(key, [])
            first = present_ones[0] if present_ones else None
            plan.delete.extend(present_ones[1:])
            if first is not None and _shows(first, held, meta):
                plan.unchanged.append(first)
                continue
            new = rendered(meta, ports, held.values(), first)
            (plan.create if first is None else plan.update).append(new)
        for unused in by_key.values():
            plan.delete.extend(unused)
        recycle(meta, plan)
        plans.append(plan)
    return plans


def _shows(present: Obj, held: dict[tuple[object, ...], Obj], meta: SliceMeta) -> bool:
    own = present["metadata"]
    if own.get("labels") != meta.labels or (own.get("annotations") or {}) != meta.annotations:
        return False
    shown = {identity(endpoint): endpoint for endpoint in present.get("endpoints") or ()}
    return shown.keys() == held.keys() and all(objects.equal_semantics(shown[key], held[key]) for key in held)


class EndpointSliceMirroringController:
    def __init__(self, context: Context) -> None:
        self._limit = context.config.mirroring_max_endpoints_per_subset
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, COMPONENT)
        self._services = context.informers.informer(SERVICES)
        self._endpoints = context.informers.informer(ENDPOINTS)
        self._slices = context.informers.informer(ENDPOINT_SLICES)
        index_slices(self._slices)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._slices])
        self._controller.watch(self._services, own_key)
        self._controller.watch(self._endpoints, own_key)
        watch_slices(self._slices, MANAGER, self._controller.enqueue)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        service, endpoints = self._services.get(*key), self._endpoints.get(*key)
        existing = slices_of(self._slices, key, MANAGER)
        if (
            service is None
            or service["spec"].get("selector")  # the slice controller's Service
            or endpoints is None
            or not should_mirror(endpoints)
        ):
            await apply_slices(self._client, self._slices, SlicePlan(delete=list(existing)))
            return DONE
        wanted = mirrored(endpoints, self._limit)
        self._tell(endpoints, wanted)
        for plan in plan_mirror(endpoints, wanted, existing, self._limit):
            if objects.is_deleting(endpoints):
                plan.create.clear()
            await apply_slices(self._client, self._slices, plan)
        return DONE

    def _tell(self, endpoints: Obj, wanted: Mirrored) -> None:
        if wanted.invalid:
            text = f"Skipped {wanted.invalid} invalid IP addresses when mirroring to EndpointSlices"
            self._recorder.event(endpoints, "Warning", "InvalidIPAddress", text)
        if wanted.too_many:
            text = (
                f"A max of {self._limit} addresses can be mirrored to EndpointSlices per Endpoints subset. "
                f"{wanted.too_many + wanted.invalid} addresses were skipped"
            )
            self._recorder.event(endpoints, "Warning", "TooManyAddressesToMirror", text)
