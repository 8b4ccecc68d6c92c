"""The Endpoints objects of Services with a selector (upstream ``pkg/controller/endpoint``): deprecated, still read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.api import objects
from sampan.api.errors import ApiError, NotFound
from sampan.api.resources import ENDPOINTS, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.endpoints import facts
from sampan.controllers.endpoints.subsets import Offered, offers, plan_subsets
from sampan.controllers.endpoints.triggers import TriggerTimes
from sampan.controllers.workload.remembered import Remembered

NAME = "endpoint-controller"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def plan_endpoints(
    service: Obj, offered: Iterable[Offered | None], present: Obj | None, trigger: str = ""
) -> Obj | None:
    """The Endpoints object to write; None when the present one is right. ``offered``: by each of the pods. ``trigger``:
    when what it shows changed."""
    subsets, truncated = plan_subsets(offered)
    meta = service["metadata"]
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != facts.HEADLESS_LABEL}
    if not facts.has_cluster_ip(service):
        labels[facts.HEADLESS_LABEL] = ""
    labels[MANAGED_BY] = NAME
    before: Mapping[str, str] = objects.annotations(present) if present else {}
    mark = "truncated" if truncated else None
    if (
        present is not None
        and (objects.labels(present), before.get(OVER_CAPACITY)) == (labels, mark)
        and (present.get("subsets") == subsets or objects.equal_semantics(present.get("subsets") or [], subsets))
    ):
        return None
    new: Obj
    if present is None:
        metadata = {"name": meta["name"], "namespace": meta["namespace"]}
        new = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    else:
        new = objects.deep_copy(present)
    annotations = {key: value for key, value in before.items() if key not in (OVER_CAPACITY, facts.TRIGGER_TIME)}
    if trigger:
        annotations[facts.TRIGGER_TIME] = trigger
    if mark:
        annotations[OVER_CAPACITY] = mark
    new["metadata"]["labels"] = labels
    new["metadata"].pop("annotations", None)
    if annotations:
        new["metadata"]["annotations"] = annotations
    new["subsets"] = objects.deep_copy(subsets)  # whose addresses are kept for the next look
    return new


class EndpointsController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._triggers = TriggerTimes()
        #: what is known of each Service's pods, with the Service of which it holds
        self._readers: dict[ObjectKey, tuple[Obj, Remembered[Offered | None]]] = {}
        self._services = context.informers.informer(SERVICES)
        self._pods = context.informers.informer(PODS)
        self._endpoints = context.informers.informer(ENDPOINTS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._pods, self._endpoints])
        self._controller.watch(self._services, own_key)
        facts.watch_pods(self._pods, facts.services(self._services), self._controller.enqueue)
        self._endpoints.add_handler(self._endpoints_changed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), events=self._recorder.run())

    async def sync(self, key: ObjectKey) -> Result:
        service = self._services.get(*key)
        present = self._endpoints.get(*key)
        if service is None or not facts.has_selector(service):
            self._readers.pop(key, None)
            self._triggers.forget(key)
        if service is None:
            if present is not None and objects.labels(present).get(MANAGED_BY) == NAME:
                await self._delete(key, present)
            return DONE
        if objects.is_deleting(service) or not facts.has_selector(service):
            return DONE
        pods = facts.pods_of(self._pods, service)
        known = self._readers.get(key)
        if known is None or known[0] is not service:
            known = self._readers[key] = service, Remembered(offers(service))
        new = plan_endpoints(service, known[1](pods), present, self._triggers.changed(key, service, pods))
        if new is not None:
            await self._write(key, new, present)
        return DONE

    async def _write(self, key: ObjectKey, new: Obj, present: Obj | None) -> None:
        try:
            if present is not None:
                written = await self._client.update(ENDPOINTS, new)
            else:
                written = await self._client.create(ENDPOINTS, new)
        except ApiError as error:
            if error.cause("NamespaceTerminating"):
                return
            name = key if present is not None else f"for service {key}"
            text = f"Failed to {'update' if present is not None else 'create'} endpoint {name}: {error.message}"
            reason = "FailedToUpdateEndpoint" if present is not None else "FailedToCreateEndpoint"
            self._recorder.event(new, "Warning", reason, text)
            raise
        await observe(self._endpoints, written)

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
