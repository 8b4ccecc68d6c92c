"""The EndpointSlices of Services with a selector (upstream ``pkg/controller/endpointslice``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.nodes.status import ZONE
from sampan.api.pods import status as podstatus
from sampan.api.reading import text_map
from sampan.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import Informer
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.endpoints import facts
from sampan.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, Group, SliceMeta, SlicePlan, plan_slices
from sampan.controllers.workload.claims import controller_reference
from sampan.controllers.workload.selecting import index_by_node, pods_of_node

NAME = "endpointslice-controller"
MANAGER = "endpointslice-controller.k8s.io"
SLICE_INDEX = "service-of-slice"


def plan_groups(service: Obj, pods: Iterable[Obj], zones: Mapping[str, str]) -> list[Group]:
    """The endpoints a Service should have, grouped by family and ports. ``zones`` by node name. Pure.

    A family without any endpoint gives one empty group, for the slice that stays.
    """
    groups: list[Group] = []
    pods = list(pods)
    for family in facts.families(service):
        found: dict[tuple[object, ...], tuple[tuple[Obj, ...], list[Obj]]] = {}
        for pod in pods:
            addresses = facts.pod_ips(pod, family)
            if podstatus.is_terminal(pod) or not addresses:
                continue
            ports = _ports(service, pod)
            key = tuple((port["name"], port["port"], port["protocol"]) for port in ports)
            found.setdefault(key, (ports, []))[1].append(_endpoint(service, pod, addresses[:1], zones))
        if not found:
            groups.append(Group(family, (), ()))
        groups.extend(Group(family, ports, tuple(endpoints)) for ports, endpoints in found.values())
    return groups


def _ports(service: Obj, pod: Obj) -> tuple[Obj, ...]:
    ports = []
    for declared in service["spec"].get("ports") or ():
        number = facts.find_port(pod, declared)
        if number is None:
            continue
        port: Obj = {"name": declared.get("name", ""), "port": number, "protocol": declared.get("protocol", "TCP")}
        if declared.get("appProtocol"):
            port["appProtocol"] = declared["appProtocol"]
        ports.append(port)
    return tuple(ports)


def _endpoint(service: Obj, pod: Obj, addresses: list[str], zones: Mapping[str, str]) -> Obj:
    serving, terminating = podstatus.is_ready(pod), podstatus.is_terminating(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    meta = pod["metadata"]
    endpoint: Obj = {
        "addresses": addresses,
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
    }
    node = podstatus.node_name(pod)
    if node:
        endpoint["nodeName"] = node
    if zones.get(node):
        endpoint["zone"] = zones[node]
    if hostname := facts.hostname(pod, service):
        endpoint["hostname"] = hostname
    if hints := _hints(service, node, zones.get(node, "")) if ready else None:
        endpoint["hints"] = hints
    return endpoint


def _hints(service: Obj, node: str, zone: str) -> Obj | None:
    distribution = service["spec"].get("trafficDistribution")
    hints: Obj = {}
    if distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and zone:
        hints["forZones"] = [{"name": zone}]
    if distribution == "PreferSameNode" and node:
        hints["forNodes"] = [{"name": node}]
    return hints or None


def slice_meta(service: Obj, manager: str) -> SliceMeta:
    meta = service["metadata"]
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != facts.HEADLESS_LABEL}
    labels[SERVICE_NAME] = meta["name"]
    labels[MANAGED_BY] = manager
    if facts.is_headless(service):
        labels[facts.HEADLESS_LABEL] = ""
    hidden = (facts.LAST_APPLIED, facts.TRIGGER_TIME)
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key not in hidden}
    return SliceMeta(
        meta["namespace"], f"{meta['name']}-", labels, annotations, controller_reference(service, SERVICES)
    )


def index_slices(informer: Informer) -> None:
    """By ``namespace/service/manager``."""

    def values(obj: Obj) -> Iterable[str]:
        labels = obj["metadata"].get("labels") or {}
        service = labels.get(SERVICE_NAME)
        return (f"{obj['metadata']['namespace']}/{service}/{labels.get(MANAGED_BY, '')}",) if service else ()

    informer.add_index(SLICE_INDEX, values)


def slices_of(informer: Informer, key: ObjectKey, manager: str) -> Sequence[Obj]:
    return informer.by_index(SLICE_INDEX, f"{key.namespace}/{key.name}/{manager}")


async def apply_slices(client: Client, informer: Informer, plan: SlicePlan) -> None:
    """Creates and updates before deletes: an endpoint may be in two slices for a moment, never in none."""
    for new in plan.create:
        await observe(informer, await client.create(ENDPOINT_SLICES, new))
    for new in plan.update:
        await observe(informer, await client.update(ENDPOINT_SLICES, new))
    for old in plan.delete:
        meta = old["metadata"]
        try:
            answer = await client.delete(ENDPOINT_SLICES, meta["name"], meta["namespace"], uid=meta["uid"])
        except NotFound:
            continue
        await observe(informer, answer, meta["namespace"])


class EndpointSliceController:
    def __init__(self, context: Context) -> None:
        self._limit = context.config.max_endpoints_per_slice
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._services = context.informers.informer(SERVICES)
        self._pods = context.informers.informer(PODS)
        self._nodes = context.informers.informer(NODES)
        self._slices = context.informers.informer(ENDPOINT_SLICES)
        index_slices(self._slices)
        index_by_node(self._pods)
        #: by the name of the node, of those that have one
        self._zones: dict[str, str] = {}
        self._controller: Controller[ObjectKey] = Controller(
            NAME, self.sync, informers=[self._pods, self._nodes, self._slices]
        )
        self._controller.watch(self._services, own_key)
        self._selecting = facts.services(self._services)
        facts.watch_pods(self._pods, self._selecting, self._controller.enqueue)
        self._slices.add_handler(self._slice_changed)
        self._nodes.add_handler(self._node_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        service = self._services.get(*key)
        # Slices of a deleted Service go by their owner reference.
        if service is None or objects.is_deleting(service) or not facts.has_selector(service):
            return DONE
        pods = facts.pods_of(self._pods, service)
        groups = plan_groups(service, pods, self._zones)
        existing = slices_of(self._slices, key, MANAGER)
        plan = plan_slices(slice_meta(service, MANAGER), groups, existing, self._limit)
        await apply_slices(self._client, self._slices, plan)
        return DONE

    def _slice_changed(self, kind: str, obj: Obj, previous: Obj | None) -> None:
        """Slices of ours that somebody else changed or deleted are put right."""
        labels = obj["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME) and kind != "ADDED":
            self._controller.enqueue(ObjectKey(obj["metadata"]["namespace"], labels[SERVICE_NAME]))

    def _node_changed(self, kind: str, node: Obj, previous: Obj | None) -> None:
        name = node["metadata"]["name"]
        zone = text_map(node["metadata"], "labels").get(ZONE, "") if kind != "DELETED" else ""
        if zone == self._zones.get(name, ""):
            return
        if zone:
            self._zones[name] = zone
        else:
            del self._zones[name]
        for pod in pods_of_node(self._pods, name):
            for key in self._selecting.matching(pod):
                self._controller.enqueue(key)
