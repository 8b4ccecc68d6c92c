"""The EndpointSlices of Services with a selector (upstream ``pkg/controller/endpointslice``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sampan.api import objects
from sampan.api.errors import ApiError, NotFound
from sampan.api.nodes.status import ZONE
from sampan.api.pods import status as podstatus
from sampan.api.reading import text_map
from sampan.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.events import EventKind
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.endpoints import facts, topology
from sampan.controllers.endpoints.slices import (
    MANAGED_BY,
    SERVICE_NAME,
    Group,
    SliceMeta,
    SlicePlan,
    name_prefix,
    plan_slices,
    port_key,
    stamp,
)
from sampan.controllers.endpoints.topology import wants_hints
from sampan.controllers.endpoints.triggers import TriggerTimes
from sampan.controllers.workload.claims import controller_reference
from sampan.controllers.workload.remembered import Remembered
from sampan.controllers.workload.selecting import index_by_node, pods_of_node

NAME = "endpointslice-controller"
COMPONENT = "endpoint-slice-controller"
MANAGER = "endpointslice-controller.k8s.io"
SLICE_INDEX = "service-of-slice"
#: not a Service: the zones' CPU is another
_NODES = ObjectKey("", "")


class Shown(NamedTuple):
    """What one pod shows of a Service."""

    key: bytes
    ports: tuple[Obj, ...]
    endpoint: Obj


def shows(service: Obj, zones: Mapping[str, str], family: str) -> Callable[[Obj], Shown | None]:
    """Reads what a pod shows of a Service in a family; None: nothing. ``zones`` of all nodes, by the node's name; a pod
    on no node is an endpoint only where addresses are published that are not ready. Pure."""
    anywhere = bool(service["spec"].get("publishNotReadyAddresses"))
    #: pods share them
    known: dict[bytes, tuple[Obj, ...]] = {}

    def read(pod: Obj) -> Shown | None:
        addresses = facts.pod_ips(pod, family)
        if podstatus.is_terminal(pod) or not addresses or not (anywhere or podstatus.node_name(pod) in zones):
            return None
        ports = _ports(service, pod)
        key = port_key(ports)
        return Shown(key, known.setdefault(key, ports), _endpoint(service, pod, addresses, zones))

    return read


def grouped(found: Iterable[Shown | None]) -> list[Group]:
    """By ports. Pure."""
    groups: dict[bytes, tuple[tuple[Obj, ...], list[Obj]]] = {}
    for each in found:
        if each is not None:
            groups.setdefault(each.key, (each.ports, []))[1].append(each.endpoint)
    return [Group(ports, tuple(endpoints)) for ports, endpoints in groups.values()]


def plan_groups(service: Obj, pods: Iterable[Obj], zones: Mapping[str, str], family: str) -> list[Group]:
    """The endpoints of a family that a Service should have, grouped by their ports. Pure."""
    return grouped(map(shows(service, zones, family), pods))


def _ports(service: Obj, pod: Obj) -> tuple[Obj, ...]:
    ports: list[Obj] = []
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
    if hints := _hints(service, node, zones.get(node, "")) if ready and not wants_hints(service) else None:
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


def slice_meta(service: Obj, family: str) -> SliceMeta:
    meta = service["metadata"]
    reserved = (facts.HEADLESS_LABEL, SERVICE_NAME, MANAGED_BY)
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key not in reserved}
    labels |= {SERVICE_NAME: meta["name"], MANAGED_BY: MANAGER}
    if not facts.has_cluster_ip(service):
        labels[facts.HEADLESS_LABEL] = ""
    owner = controller_reference(service, SERVICES)
    return SliceMeta(meta["namespace"], name_prefix(meta["name"]), family, labels, owner)


def index_slices(informer: Informer) -> None:
    """By ``namespace/service/manager``."""

    def values(obj: Obj) -> Iterable[str]:
        labels = obj["metadata"].get("labels") or {}
        service = labels.get(SERVICE_NAME)
        return (f"{obj['metadata']['namespace']}/{service}/{labels.get(MANAGED_BY, '')}",) if service else ()

    informer.add_index(SLICE_INDEX, values)


def slices_of(informer: Informer, key: ObjectKey, manager: str) -> Sequence[Obj]:
    return informer.by_index(SLICE_INDEX, f"{key.namespace}/{key.name}/{manager}")


def watch_slices(informer: Informer, manager: str, enqueue: Callable[[ObjectKey], None]) -> None:
    """Enqueues whose slices somebody else changed, took over, gave away or deleted."""

    def changed(kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        states = (obj,) if previous is None else (obj, previous)
        for meta in (state["metadata"] for state in states):
            labels = meta.get("labels") or {}
            if kind != "ADDED" and labels.get(MANAGED_BY) == manager and labels.get(SERVICE_NAME):
                enqueue(ObjectKey(meta["namespace"], labels[SERVICE_NAME]))

    informer.add_handler(changed)


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
        self._recorder = context.recorder(self._client, COMPONENT)
        self._services = context.informers.informer(SERVICES)
        self._pods = context.informers.informer(PODS)
        self._nodes = context.informers.informer(NODES)
        self._slices = context.informers.informer(ENDPOINT_SLICES)
        index_slices(self._slices)
        index_by_node(self._pods)
        #: of each node; "" when it has none
        self._zones: dict[str, str] = {}
        self._cpu = topology.ZoneCpu()
        #: how many endpoints each zone got: of each Service with hints by CPU, and each of its families
        self._hinted: dict[ObjectKey, dict[str, Mapping[str, int]]] = {}
        self._triggers = TriggerTimes()
        #: what is known of each Service's pods, by family, with the Service of which it holds
        self._readers: dict[ObjectKey, tuple[Obj, dict[str, Remembered[Shown | None]]]] = {}
        self._controller: Controller[ObjectKey] = Controller(
            NAME, self.sync, informers=[self._pods, self._nodes, self._slices]
        )
        self._controller.watch(self._services, own_key)
        self._selecting = facts.services(self._services)
        facts.watch_pods(self._pods, self._selecting, self._controller.enqueue)
        watch_slices(self._slices, MANAGER, self._controller.enqueue)
        self._nodes.add_handler(self._node_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        if key == _NODES:
            self._look_at_zones()
            return DONE
        service = self._services.get(*key)
        # Slices of a deleted Service go by their owner reference.
        if service is None or not facts.has_selector(service):
            self._hinted.pop(key, None)
            self._triggers.forget(key)
            self._readers.pop(key, None)
            return DONE
        pods = facts.pods_of(self._pods, service)
        trigger = self._triggers.changed(key, service, pods)
        existing = slices_of(self._slices, key, MANAGER)
        families = facts.families(service)
        foreign = [present for present in existing if present["addressType"] not in families]
        plans = [SlicePlan(delete=[present for present in foreign if not objects.is_deleting(present)])]
        for family in families:
            own = [present for present in existing if present["addressType"] == family]
            plans.append(self._plan(key, service, pods, family, own))
        try:
            for plan in plans:
                if objects.is_deleting(service):
                    plan.create.clear()
                stamp(plan, trigger)
                await apply_slices(self._client, self._slices, plan)
        except ApiError as error:
            if not error.cause("NamespaceTerminating"):
                text = f"Error updating Endpoint Slices for Service {key}: {error.message}"
                self._recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", text)
            raise
        return DONE

    def _plan(
        self, key: ObjectKey, service: Obj, pods: Sequence[Obj], family: str, existing: Sequence[Obj]
    ) -> SlicePlan:
        by_cpu = topology.wants_hints(service)
        groups = grouped(self._reader(key, service, family)(pods))
        plan = plan_slices(slice_meta(service, family), groups, existing, self._limit, heed_hints=not by_cpu)
        before = self._hinted.get(key, {})
        fault, hints = "", None
        if by_cpu:
            hints = topology.add_hints(plan, self._cpu.ratios())
            fault = hints.fault
        elif family in before:
            fault = topology.DISABLED
        if hints is not None and not fault:
            if not before:
                self._tell(service, family, "Normal", "TopologyAwareHintsEnabled", topology.ENABLED)
            self._hinted.setdefault(key, {})[family] = hints.by_zone
            return plan
        if family in before:
            del before[family]
            if not before:
                del self._hinted[key]
        if fault:
            self._tell(service, family, "Warning", "TopologyAwareHintsDisabled", fault)
        return plan

    def _reader(self, key: ObjectKey, service: Obj, family: str) -> Remembered[Shown | None]:
        known = self._readers.get(key)
        if known is None or known[0] is not service:
            known = self._readers[key] = service, {}
        found = known[1].get(family)
        if found is None:
            found = known[1][family] = Remembered(shows(service, self._zones, family))
        return found

    def _tell(self, service: Obj, family: str, kind: EventKind, reason: str, text: str) -> None:
        self._recorder.event(service, kind, reason, f"{text}, addressType: {family}")

    def _look_at_zones(self) -> None:
        """Services whose hints do not fit the zones' CPU any longer are looked at."""
        ratios = self._cpu.ratios()
        for key, by_family in self._hinted.items():
            if any(topology.is_overloaded(by_zone, ratios) for by_zone in by_family.values()):
                self._controller.enqueue(key)

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        name = node["metadata"]["name"]
        zone = text_map(node["metadata"], "labels").get(ZONE, "") if kind != "DELETED" else None
        if self._cpu.note(node) if kind != "DELETED" else self._cpu.forget(name):
            self._controller.enqueue(_NODES)
        if zone == self._zones.get(name):
            return
        if zone is not None:
            self._zones[name] = zone
        else:
            del self._zones[name]
        for pod in pods_of_node(self._pods, name):
            for key in self._selecting.matching(pod):
                self._readers.pop(key, None)  # they know the zone of its node
                self._controller.enqueue(key)
