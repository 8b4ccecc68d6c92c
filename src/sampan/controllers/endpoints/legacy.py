"""The Endpoints objects of Services with a selector (upstream ``pkg/controller/endpoint``): deprecated, still read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.api import objects
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.pods import status as podstatus
from sampan.api.resources import ENDPOINTS, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.endpoints import facts

NAME = "endpoint-controller"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000


def plan_endpoints(service: Obj, pods: Iterable[Obj], present: Obj | None) -> Obj | None:
    """The Endpoints object to write; None when the present one is right. Pure."""
    subsets, truncated = plan_subsets(service, pods)
    meta = service["metadata"]
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != facts.HEADLESS_LABEL}
    if facts.is_headless(service):
        labels[facts.HEADLESS_LABEL] = ""
    labels[MANAGED_BY] = NAME
    annotations = dict(objects.annotations(present)) if present else {}
    annotations.pop(OVER_CAPACITY, None)
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    new: Obj
    if present is None:
        new = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        }
    else:
        new = objects.deep_copy(present)
    new["metadata"]["labels"] = labels
    if annotations:
        new["metadata"]["annotations"] = annotations
    else:
        new["metadata"].pop("annotations", None)
    new["subsets"] = subsets
    return None if present is not None and objects.equal_semantics(new, present) else new


def plan_subsets(service: Obj, pods: Iterable[Obj]) -> tuple[list[Obj], bool]:
    """Addresses grouped by their ports, ready and not ready apart; True when there were too many. Pure."""
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    family = facts.families(service)[0]
    grouped: dict[tuple[Any, ...], Obj] = {}
    count = 0
    truncated = False
    for pod in sorted(pods, key=lambda p: (not podstatus.is_ready(p), str(p.get("status", {}).get("podIP", "")))):
        addresses = facts.pod_ips(pod, family)
        if podstatus.is_terminal(pod) or not addresses or (podstatus.is_terminating(pod) and not publish):
            continue
        ports = _ports(service, pod)
        if service["spec"].get("ports") and not ports:
            continue
        if count == MAX_ADDRESSES:
            truncated = True
            break
        count += 1
        key = tuple(tuple(sorted(port.items())) for port in ports)
        subset = grouped.setdefault(key, {"ports": ports} if ports else {})
        where = "addresses" if publish or podstatus.is_ready(pod) else "notReadyAddresses"
        subset.setdefault(where, []).append(_address(service, pod, addresses[0]))
    return [grouped[key] for key in sorted(grouped, key=repr)], truncated


def _ports(service: Obj, pod: Obj) -> list[Obj]:
    ports: list[Obj] = []
    for declared in service["spec"].get("ports") or ():
        number = facts.find_port(pod, declared)
        if number is None:
            continue
        port: Obj = {"port": number, "protocol": declared.get("protocol", "TCP")}
        for field in ("name", "appProtocol"):
            if declared.get(field):
                port[field] = declared[field]
        ports.append(port)
    return sorted(ports, key=lambda port: (port.get("name", ""), port["port"], port["protocol"]))


def _address(service: Obj, pod: Obj, ip: str) -> Obj:
    meta = pod["metadata"]
    address: Obj = {"ip": ip}
    if hostname := facts.hostname(pod, service):
        address["hostname"] = hostname
    if node := podstatus.node_name(pod):
        address["nodeName"] = node
    address["targetRef"] = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    return address


class EndpointsController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._services = context.informers.informer(SERVICES)
        self._pods = context.informers.informer(PODS)
        self._endpoints = context.informers.informer(ENDPOINTS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._pods, self._endpoints])
        self._controller.watch(self._services, own_key)
        facts.watch_pods(self._pods, facts.services(self._services), self._controller.enqueue)
        self._endpoints.add_handler(self._endpoints_changed)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        service = self._services.get(*key)
        present = self._endpoints.get(*key)
        if service is None:
            if present is not None and objects.labels(present).get(MANAGED_BY) == NAME:
                await self._delete(key, present)
            return DONE
        if objects.is_deleting(service) or not facts.has_selector(service):
            return DONE
        pods = facts.pods_of(self._pods, service)
        new = plan_endpoints(service, pods, present)
        if new is None:
            return DONE
        if present is not None:
            written = await self._client.update(ENDPOINTS, new)
        else:
            try:
                written = await self._client.create(ENDPOINTS, new)
            except AlreadyExists:
                return Result(requeue_after_seconds=1)
        await observe(self._endpoints, written)
        return DONE

    async def _delete(self, key: ObjectKey, present: Obj) -> None:
        try:
            answer = await self._client.delete(ENDPOINTS, key.name, key.namespace, uid=present["metadata"]["uid"])
        except NotFound:
            return
        await observe(self._endpoints, answer, key.namespace)

    def _endpoints_changed(self, kind: str, obj: Obj, previous: Obj | None) -> None:
        meta = obj["metadata"]
        # Also at the start: what was left by a Service that went while nobody looked is found.
        if kind != "MODIFIED":
            self._controller.enqueue(ObjectKey(meta["namespace"], meta["name"]))
