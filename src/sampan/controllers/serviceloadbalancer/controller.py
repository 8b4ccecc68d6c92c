"""The shell of the service-lb-controller: observes, has ``plan`` decide, writes the Service's status and tells Events.

One worker: two Services never choose at one moment. A Service that got nothing waits until something changes that
could help it: another lets go, a node changes, pools change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api import loadbalancing as balancing
from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.loadbalancing import Pools, parse_pools
from sampan.api.pods.status import is_terminal
from sampan.api.reading import flag, part, parts, text, text_map, whole
from sampan.api.resources import CONFIG_MAPS, ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.controllers.context import Context
from sampan.controllers.serviceloadbalancer import plan
from sampan.controllers.serviceloadbalancer.plan import NodeView, Outcome

#: Between two looks at a Service that got nothing: what it waits for may be a port of somebody who tells nothing.
RETRY_SECONDS: Final = 30.0
#: of its account, as upstream
NAME: Final = "service-controller"
_SERVICE_NAME = "kubernetes.io/service-name"

_OURS: Final = "load balancers of ours"
_ALL: Final = "all"
_BY_ADDRESS: Final = "load balancers by address"
_BY_PORT: Final = "load balancers by address and port of nodes"
_BY_NODE_PORT: Final = "services by node port"
_SLICES_OF: Final = "slices of a load balancer"
_BY_HOST_PORT: Final = "pods by port of their node"
_BY_ADDRESS_OF_NODE: Final = "nodes by address"


class ServiceLoadBalancerController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        informers = context.informers
        self._services = informers.informer(SERVICES)
        self._slices = informers.informer(ENDPOINT_SLICES)
        self._nodes = informers.informer(NODES)
        self._pods = informers.informer(PODS)
        self._config_maps = informers.informer(CONFIG_MAPS, field_selector=f"metadata.name={balancing.POOLS_NAME}")
        self._services.add_index(_OURS, lambda service: [_ALL] if balancing.is_wanted(service) else [])
        self._services.add_index(_BY_ADDRESS, _pool_addresses)
        self._services.add_index(_BY_PORT, _ports_at_nodes)
        self._services.add_index(_BY_NODE_PORT, _node_ports)
        self._slices.add_index(_SLICES_OF, _owner)
        self._pods.add_index(_BY_HOST_PORT, _host_ports)
        self._nodes.add_index(_BY_ADDRESS_OF_NODE, plan.node_addresses)
        self._views: dict[str, NodeView] = {}
        self._pools = Pools()
        #: those that got nothing, and what they were told; those of whose ports somebody was told
        self._waiting: dict[ObjectKey, str] = {}
        self._overlaps: dict[ObjectKey, str] = {}
        self._controller: Controller[ObjectKey] = Controller(
            NAME, self.sync, workers=1, informers=(self._nodes, self._config_maps, self._pods)
        )
        self._nodes.add_handler(self._node_changed)
        self._config_maps.add_handler(self._pools_changed)
        self._controller.watch(self._services, self._keys)
        self._controller.watch(self._slices, self._keys_of_slice)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    # Hearing

    def _keys(self, service: Obj) -> Iterable[ObjectKey]:
        if balancing.is_wanted(service) or plan.is_ours_to_clean(service, self._pools.default_class):
            yield key_of(service)

    def _keys_of_slice(self, endpoint_slice: Obj) -> Iterable[ObjectKey]:
        """Who has endpoints where matters only to Services that stay on the nodes with them."""
        for name in _owner(endpoint_slice):
            service = self._services.get(*name.split("/"))
            if service is not None and balancing.class_of(service) and balancing.prefers_local(service):
                yield key_of(service)

    def _node_changed(self, kind: ChangeType, node: Obj, _: Obj | None) -> None:
        name = objects.name(node)
        view = None if kind == "DELETED" else plan.view_node(node)
        if view == self._views.get(name):
            return
        if view is None:
            del self._views[name]
        else:
            self._views[name] = view
        self._look_at_all()

    def _pools_changed(self, kind: ChangeType, config_map: Obj, _: Obj | None) -> None:
        if objects.namespace(config_map) != balancing.POOLS_NAMESPACE:
            return
        pools = parse_pools(None if kind == "DELETED" else config_map)
        if pools.faults and pools.faults != self._pools.faults:
            for fault in pools.faults:
                self._recorder.event(config_map, "Warning", "InvalidPool", fault)
        self._pools = pools
        self._look_at_all()

    def _look_at_all(self) -> None:
        for service in self._services.by_index(_OURS, _ALL):
            self._controller.enqueue(key_of(service))

    # Acting

    async def sync(self, key: ObjectKey) -> Result:
        service = self._services.get(*key)
        balancer_class = "" if service is None else balancing.class_of(service, self._pools.default_class)
        if service is None or plan.is_ours_to_clean(service, self._pools.default_class):
            self._waiting.pop(key, None)
            self._overlaps.pop(key, None)
            if service is not None:
                await self._clean(service)
            self._wake()
        elif balancer_class and not objects.is_deleting(service):
            await self._ensure(key, service, balancer_class)
            return Result(RETRY_SECONDS) if key in self._waiting else DONE
        return DONE

    async def _ensure(self, key: ObjectKey, service: Obj, balancer_class: str) -> None:
        outcome = self._plan(service, balancer_class)
        if outcome.unavailable:
            self._tell_once(key, service, "UnAvailableLoadBalancer", plan.NO_NODES)
        elif outcome.refusal:
            said = f"Error syncing load balancer: failed to ensure load balancer: {outcome.refusal}"
            self._tell_once(key, service, "SyncLoadBalancerFailed", said)
        else:
            self._waiting.pop(key, None)
        if balancer_class == balancing.NODE_CLASS:
            self._tell_overlap(key, service)
        patch = plan.render(service, balancer_class, outcome)
        if patch is None:
            return
        had, has = balancing.addresses(service), outcome.addresses
        first = not had and bool(has)
        if first:
            self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        if not await self._patch(service, patch):
            return
        if first:
            self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        elif has and had != has:
            self._recorder.event(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        if outcome.announcer and outcome.announcer != balancing.announced_by(service):
            said = f"node {outcome.announcer} announces {', '.join(has)}"
            self._recorder.event(service, "Normal", "NodeAssigned", said)
        if set(had) - set(has):
            self._wake()

    def _plan(self, service: Obj, balancer_class: str) -> Outcome:
        nodes = [self._views[name] for name in sorted(self._views)]
        local = self._local(service) if balancing.prefers_local(service) else frozenset[str]()
        if balancer_class == balancing.NODE_CLASS:
            return plan.plan_nodes(service, nodes, local, lambda address, port: self._holder(service, address, port))
        return plan.plan_layer2(service, nodes, local, self._pools, lambda address: self._owner_of(service, address))

    async def _clean(self, service: Obj) -> None:
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        if await self._patch(service, plan.render_cleanup(service)):
            self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _patch(self, service: Obj, patch: Obj) -> bool:
        """False: it is gone. Raises Conflict when it is not as it was seen."""
        body = {
            **patch,
            "metadata": {"resourceVersion": objects.resource_version(service), **patch.get("metadata", {})},
        }
        name, namespace = objects.name(service), objects.namespace(service)
        try:
            written = await self._client.patch(SERVICES, name, body, namespace, subresource="status")
        except NotFound:
            return False
        await observe(self._services, written, namespace)
        return True

    def _tell_once(self, key: ObjectKey, service: Obj, reason: str, said: str) -> None:
        if self._waiting.get(key) != said:
            self._waiting[key] = said
            self._recorder.event(service, "Warning", reason, said)

    def _tell_overlap(self, key: ObjectKey, service: Obj) -> None:
        said = plan.overlap(service, list(self._views.values()))
        if said and self._overlaps.get(key) != said:
            self._recorder.event(service, "Warning", "PortInUse", said)
        if said:
            self._overlaps[key] = said
        else:
            self._overlaps.pop(key, None)

    def _wake(self) -> None:
        for key in self._waiting:
            self._controller.enqueue(key)

    # Looking

    def _local(self, service: Obj) -> frozenset[str]:
        return frozenset(
            text(endpoint, "nodeName")
            for endpoint_slice in self._slices.by_index(_SLICES_OF, str(key_of(service)))
            for endpoint in parts(endpoint_slice, "endpoints")
            if part(endpoint, "conditions").get("ready") is not False
        )

    def _holder(self, service: Obj, address: str, port: str) -> str:
        """Who else has a port of an address of a node."""
        for other in self._services.by_index(_BY_PORT, f"{address} {port}"):
            if self._yields_port(service, other, (address, port)):
                return f"Service {key_of(other)}"
        for other in self._services.by_index(_BY_NODE_PORT, port):
            if objects.uid(other) != objects.uid(service):
                return f"Service {key_of(other)}, as its node port"
        for node in self._nodes.by_index(_BY_ADDRESS_OF_NODE, address):
            for pod in self._pods.by_index(_BY_HOST_PORT, f"{objects.name(node)}/{port}"):
                return f"Pod {key_of(pod)}, as its host port"
        return ""

    def _owner_of(self, service: Obj, address: str) -> str:
        """Who else has an address of a pool."""
        for node in self._nodes.by_index(_BY_ADDRESS_OF_NODE, address):
            return f"Node {objects.name(node)}"
        for other in self._services.by_index(_BY_ADDRESS, address):
            if self._yields(service, other, address):
                return f"Service {key_of(other)}"
        return ""

    @staticmethod
    def _yields_port(service: Obj, other: Obj, place: tuple[str, str]) -> bool:
        """The same of a port of an address of a node."""
        if objects.uid(other) == objects.uid(service) or place not in balancing.granted(other):
            return False
        return place not in balancing.granted(service) or plan.is_older(other, service)

    @staticmethod
    def _yields(service: Obj, other: Obj, address: str) -> bool:
        """Whether the address is the other's: who has it keeps it; should two have it, the older one does."""
        if objects.uid(other) == objects.uid(service) or address not in balancing.addresses(other):
            return False
        return address not in balancing.addresses(service) or plan.is_older(other, service)


def _pool_addresses(service: Obj) -> Iterable[str]:
    """Whatever its annotations say: who loses its mark for a moment loses no address to somebody who waits for it."""
    return balancing.own_addresses(service) if balancing.is_wanted(service) else ()


def _ports_at_nodes(service: Obj) -> Iterable[str]:
    return [f"{address} {port}" for address, port in balancing.granted(service)]


def _node_ports(service: Obj) -> Iterable[str]:
    for entry in parts(part(service, "spec"), "ports"):
        if port := whole(entry, "nodePort"):
            yield f"{text(entry, 'protocol') or 'TCP'}/{port}"


def _owner(endpoint_slice: Obj) -> Iterable[str]:
    if name := text_map(part(endpoint_slice, "metadata"), "labels").get(_SERVICE_NAME, ""):
        yield f"{objects.namespace(endpoint_slice)}/{name}"


def _host_ports(pod: Obj) -> Iterable[str]:
    spec = part(pod, "spec")
    node = text(spec, "nodeName")
    if not node or flag(spec, "hostNetwork") or is_terminal(pod):
        return
    for container in parts(spec, "containers"):
        for entry in parts(container, "ports"):
            if port := whole(entry, "hostPort"):
                yield f"{node}/{text(entry, 'protocol') or 'TCP'}/{port}"
