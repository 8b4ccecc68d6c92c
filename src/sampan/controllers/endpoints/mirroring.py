"""Mirrors hand-made Endpoints of selector-less Services into EndpointSlices (upstream ``endpointslicemirroring``)."""

from __future__ import annotations

from sampan.api import objects
from sampan.api.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.endpoints import facts
from sampan.controllers.endpoints.service_slices import apply_slices, index_slices, slices_of
from sampan.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, Group, SliceMeta, plan_slices
from sampan.controllers.workload.claims import controller_reference

NAME = "endpointslicemirroring-controller"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_ADDRESSES = 1000


def should_mirror(endpoints: Obj) -> bool:
    skip = objects.labels(endpoints).get(SKIP_MIRROR, "") == "true"
    return not skip and _LEADER not in objects.annotations(endpoints)


def plan_groups(endpoints: Obj) -> list[Group]:
    """Endpoints' subsets as groups of endpoints by family and ports. Pure."""
    groups: dict[bytes, Group] = {}
    for subset in endpoints.get("subsets") or ():
        ports = tuple(
            {"name": port.get("name", ""), "port": port["port"], "protocol": port.get("protocol", "TCP")}
            | ({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {})
            for port in subset.get("ports") or ()
        )
        listed = [(address, True) for address in subset.get("addresses") or ()]
        listed += [(address, False) for address in subset.get("notReadyAddresses") or ()]
        for address, ready in listed[:MAX_ADDRESSES]:
            family = facts.family_of(address["ip"])
            if not family:
                continue
            group = Group(family, ports, (_endpoint(address, ready),))
            known = groups.get(group.key)
            groups[group.key] = group if known is None else Group(family, ports, (*known.endpoints, *group.endpoints))
    return list(groups.values())


def _endpoint(address: Obj, ready: bool) -> Obj:
    endpoint: Obj = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


class EndpointSliceMirroringController:
    def __init__(self, context: Context) -> None:
        self._limit = context.config.max_endpoints_per_slice
        self._client = context.client_for(NAME)
        self._services = context.informers.informer(SERVICES)
        self._endpoints = context.informers.informer(ENDPOINTS)
        self._slices = context.informers.informer(ENDPOINT_SLICES)
        index_slices(self._slices)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1, informers=[self._slices])
        self._controller.watch(self._services, own_key)
        self._controller.watch(self._endpoints, own_key)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        service, endpoints = self._services.get(*key), self._endpoints.get(*key)
        if service is not None and service["spec"].get("selector"):
            # The slice controller's Service. Mirrors of a time without selector go below.
            endpoints = None
        existing = slices_of(self._slices, key, MANAGER)
        if service is None or endpoints is None or not should_mirror(endpoints):
            if not existing:
                return DONE
            groups: list[Group] = []
        else:
            groups = plan_groups(endpoints)
        subject = endpoints or existing[0]
        labels = {k: v for k, v in objects.labels(subject).items() if k != facts.HEADLESS_LABEL}
        labels |= {SERVICE_NAME: key.name, MANAGED_BY: MANAGER}
        hidden = (facts.LAST_APPLIED, facts.TRIGGER_TIME, "endpoints.kubernetes.io/over-capacity")
        annotations = {k: v for k, v in objects.annotations(subject).items() if k not in hidden}
        owner = controller_reference(subject, ENDPOINTS)
        meta = SliceMeta(key.namespace, f"{key.name}-", labels, annotations, owner)
        await apply_slices(self._client, self._slices, plan_slices(meta, groups, existing, self._limit))
        return DONE
