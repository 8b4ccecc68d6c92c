"""The service-controller of a cloud: load balancers for Services of that type that name no class.

The finalizer is there before the cloud is asked for anything, and goes after what it made is gone: no load balancer is
left over, whatever dies in between. When nodes come and go, every balancer is told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from sampan.api import objects
from sampan.api.errors import NotFound
from sampan.api.reading import part, parts, text
from sampan.api.resources import NODES, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType
from sampan.client.keys import ObjectKey, key_of
from sampan.cloud.context import CALL_SECONDS, Context
from sampan.cloud.provider import Balancer, CloudError, LoadBalancers
from sampan.cloud.reading import FINALIZER, balanced_nodes, balancer_name, ingress_of, is_balanced

log = logging.getLogger(__name__)

NAME: Final = "service-controller"
RETRY_SECONDS: Final = 5.0
_OURS = "load balancers of the cloud"
_ALL = "all"


class CloudServiceController:
    def __init__(self, context: Context, balancers: LoadBalancers) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._balancers = balancers
        self._services = context.informers.informer(SERVICES)
        self._nodes = context.informers.informer(NODES)
        self._services.add_index(_OURS, lambda service: [_ALL] if _concerns(service) else [])
        self._members: tuple[str, ...] | None = None
        #: what each was made of last: Service's spec and nodes
        self._made: dict[ObjectKey, tuple[Any, tuple[str, ...]]] = {}
        self._controller: Controller[ObjectKey] = Controller(
            NAME, self.sync, workers=1, informers=(self._nodes,), sync_seconds=CALL_SECONDS
        )
        self._nodes.add_handler(self._node_changed)
        self._controller.watch(self._services, self._keys)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    def _keys(self, service: Obj) -> Iterable[ObjectKey]:
        if _concerns(service):
            yield key_of(service)

    def _node_changed(self, kind: ChangeType, node: Obj, previous: Obj | None) -> None:
        members = tuple(objects.name(each) for each in balanced_nodes(self._nodes.list()))
        if members != self._members:
            self._members = members
            for service in self._services.by_index(_OURS, _ALL):
                self._controller.enqueue(key_of(service))

    async def sync(self, key: ObjectKey) -> Result:
        service = self._services.get(*key)
        if service is None:
            self._made.pop(key, None)
            return DONE
        try:
            if objects.is_deleting(service) or not is_balanced(service):
                await self._delete(key, service)
            else:
                await self._ensure(key, service)
        except CloudError as error:
            deleting = objects.is_deleting(service)
            verb = "delete" if deleting else "ensure"
            said = (
                f"Error {'deleting' if deleting else 'syncing'} load balancer: failed to {verb} load balancer: {error}"
            )
            reason = "DeleteLoadBalancerFailed" if deleting else "SyncLoadBalancerFailed"
            self._recorder.event(service, "Warning", reason, said)
            return Result(RETRY_SECONDS)
        except NotFound:
            return DONE
        return DONE

    async def _ensure(self, key: ObjectKey, service: Obj) -> None:
        nodes = balanced_nodes(self._nodes.list())
        wanted = (part(service, "spec"), tuple(objects.name(node) for node in nodes))
        has = parts(part(part(service, "status"), "loadBalancer"), "ingress")
        if self._made.get(key) == wanted and has:
            return
        if FINALIZER not in objects.finalizers(service):
            service = await self._patch(
                service, {"metadata": {"finalizers": [*objects.finalizers(service), FINALIZER]}}
            )
        if not nodes:
            said = "There are no available nodes for LoadBalancer"
            self._recorder.event(service, "Warning", "UnAvailableLoadBalancer", said)
        first = key not in self._made and not has
        if first:
            self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        balancer = await self._balancers.ensure(balancer_name(service), service, nodes)
        await self._tell(service, balancer)
        changed = self._made.get(key)
        self._made[key] = wanted
        if first:
            self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        elif changed is not None and changed[1] != wanted[1]:
            self._recorder.event(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")

    async def _delete(self, key: ObjectKey, service: Obj) -> None:
        if FINALIZER not in objects.finalizers(service):
            return
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        await self._balancers.delete(balancer_name(service), service)
        self._made.pop(key, None)
        if not objects.is_deleting(service):
            service = await self._tell(service, Balancer())
        rest = [each for each in objects.finalizers(service) if each != FINALIZER]
        await self._patch(service, {"metadata": {"finalizers": rest}})
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _tell(self, service: Obj, balancer: Balancer) -> Obj:
        wanted = ingress_of(balancer)
        has = [dict(each) for each in parts(part(part(service, "status"), "loadBalancer"), "ingress")]
        if has == wanted:
            return service
        return await self._patch(service, {"status": {"loadBalancer": {"ingress": wanted or None}}})

    async def _patch(self, service: Obj, patch: Obj) -> Obj:
        """By the status, which its role may write, as upstream's. Raises Conflict: it is not as it was seen."""
        meta = {"resourceVersion": objects.resource_version(service), **patch.get("metadata", {})}
        name, namespace = objects.name(service), objects.namespace(service)
        written = await self._client.patch(SERVICES, name, {**patch, "metadata": meta}, namespace, subresource="status")
        await observe(self._services, written, namespace)
        return written


def _concerns(service: Obj) -> bool:
    """Ours to make, or to take down again; with another's class its finalizer is that one's."""
    spec = part(service, "spec")
    return is_balanced(service) or (FINALIZER in objects.finalizers(service) and not text(spec, "loadBalancerClass"))
