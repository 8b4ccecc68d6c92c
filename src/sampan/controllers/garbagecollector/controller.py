"""The shell of the garbage collector: feeds the owner graph from every resource and applies the plan for one object.

An owner counts as absent only after the server itself said so: an informer may be behind. Objects of kinds that are
not served are never collected; custom resources are followed while they are served.
"""

from __future__ import annotations

from collections import OrderedDict

from sampan.api import enablement, objects
from sampan.api.errors import NotFound
from sampan.api.kind import Kind
from sampan.api.resources import Resource
from sampan.api.types import Obj, OwnerReference
from sampan.client import tasks
from sampan.client.client import Propagation
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType, Informer
from sampan.client.served import ServedResources
from sampan.controllers.context import Context
from sampan.controllers.garbagecollector.graph import Graph, Item, Record, is_waiting_for_dependents, item_of
from sampan.controllers.garbagecollector.plan import (
    CollectDependents,
    Delete,
    DropFinalizer,
    DropOwners,
    Observed,
    OrphanDependents,
    OwnerState,
    Step,
    Unblock,
    plan,
)

NAME = "generic-garbage-collector"
WORKERS = 10
ABSENT_CACHE_SIZE = 500
_UID_INDEX = "uid"


class GarbageCollector:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, "garbage-collector-controller")
        self._graph = Graph(lambda owner: stored_kind(owner) is not None)
        self._informers: dict[Resource, Informer] = {}
        #: Uids that the server has said are gone, and what they were. A uid never comes back.
        self._absent: OrderedDict[str, Resource] = OrderedDict()
        for kind in collected_kinds():
            self._informers[kind.resource] = context.informers.informer(kind.resource)
        self._controller: Controller[Item] = Controller(
            NAME, self.sync, workers=WORKERS, informers=list(self._informers.values())
        )
        for resource, informer in self._informers.items():
            self._follow(resource, informer)
        self._factory = context.informers
        #: custom resources, and those of other API servers
        self._served = ServedResources(self._client, self._added, self._removed)

    async def run(self) -> None:
        await tasks.run_all(
            controller=self._controller.run(), events=self._recorder.run(), discovery=self._served.run()
        )

    def _added(self, resource: Resource) -> None:
        informer = self._informers[resource] = self._factory.informer(resource)
        self._follow(resource, informer)
        for item in self._graph.owned_by_kind(resource.group, resource.kind):
            self._controller.queue.add(item)  # until now nobody could know whether the owner is there

    def _removed(self, resource: Resource) -> None:
        informer = self._informers.pop(resource)
        self._factory.retire(informer)
        for item in self._graph.of_resource(resource):
            for affected in self._graph.forget(item):
                self._controller.queue.add(affected)

    def _follow(self, resource: Resource, informer: Informer) -> None:
        graph, queue = self._graph, self._controller.queue

        def changed(kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
            item = item_of(resource, obj)
            if kind != "DELETED":
                for affected in graph.observe(item, obj):
                    queue.add(affected)
                if objects.is_deleting(obj):
                    self._look_at_owners(obj)
                return
            self._look_at_owners(obj)
            self._remember_absent(item.uid, resource)
            for affected in graph.forget(item):
                queue.add(affected)

        informer.add_handler(changed)

    def _look_at_owners(self, obj: Obj) -> None:
        """An owner deleted in the foreground may have waited for this object."""
        for reference in objects.owner_references(obj):
            found = self._find(reference, obj["metadata"].get("namespace", ""))
            if found is not None and is_waiting_for_dependents(found[1]):
                self._controller.queue.add(item_of(*found))

    def _find(self, reference: OwnerReference, namespace: str) -> tuple[Resource, Obj] | None:
        """The owner as the informers know it."""
        resource = self._resource(reference)
        if resource is None or resource not in self._informers:
            return None
        where = namespace if resource.namespaced else ""
        obj = self._informers[resource].get(where, reference["name"])
        if obj is None or obj["metadata"]["uid"] != reference["uid"]:
            return None
        return resource, obj

    def _resource(self, reference: OwnerReference) -> Resource | None:
        """Of the kind that a reference names, in the version that is followed; None: it is not served."""
        kind = stored_kind(reference)
        if kind is not None:
            return kind.resource
        return self._served.find(reference.get("apiVersion", "").rpartition("/")[0], reference.get("kind", ""))

    async def sync(self, item: Item) -> Result:
        informer = self._informers.get(item.resource)
        if informer is None:
            return DONE  # its kind is served no longer
        obj = informer.get(item.namespace, item.name)
        if obj is None or obj["metadata"]["uid"] != item.uid:
            return DONE
        owners = [(ref, await self._state(ref, obj)) for ref in objects.owner_references(obj)]
        for step in plan(Observed(obj, owners, self._graph.dependents(item.uid))):
            obj = await self._apply(item, obj, step)
        return DONE

    async def _state(self, reference: OwnerReference, obj: Obj) -> OwnerState:
        namespace = obj["metadata"].get("namespace", "")
        found = self._find(reference, namespace)
        if found is not None:
            return "waiting" if is_waiting_for_dependents(found[1]) else "solid"
        gone = self._absent.get(reference["uid"])
        kind = self._resource(reference)
        if kind is None:
            return "absent" if gone is not None and (namespace or not gone.namespaced) else "unknown"
        if kind.namespaced and not namespace:
            self._report_namespace(reference, obj)
            return "unknown"
        if gone is not None:
            return "absent"
        try:
            live = await self._client.get(kind, reference["name"], namespace if kind.namespaced else None)
        except NotFound as error:
            if error.details.get("name") != reference["name"]:
                return "unknown"  # not the object is not there, but its kind (``--runtime-config``): it may be stored
            live = None
        if live is not None and live["metadata"]["uid"] == reference["uid"]:
            return "waiting" if is_waiting_for_dependents(live) else "solid"
        if kind.namespaced and self._lives_elsewhere(kind, reference):
            self._report_namespace(reference, obj)
        self._remember_absent(reference["uid"], kind)
        return "absent"

    def _remember_absent(self, uid: str, resource: Resource) -> None:
        self._absent[uid] = resource
        if len(self._absent) > ABSENT_CACHE_SIZE:
            self._absent.popitem(last=False)

    def _lives_elsewhere(self, kind: Resource, reference: OwnerReference) -> bool:
        informer = self._informers.get(kind)
        if informer is None:
            return False
        # Made when it is asked for first, and kept up to date from then on: absent owners come in crowds.
        informer.add_index(_UID_INDEX, lambda obj: (obj["metadata"]["uid"],))
        return informer.count(_UID_INDEX, reference["uid"]) > 0

    def _report_namespace(self, reference: OwnerReference, obj: Obj) -> None:
        api_version, kind, name, uid = (reference[key] for key in ("apiVersion", "kind", "name", "uid"))
        owner = f"[{api_version}/{kind}, namespace: {obj['metadata'].get('namespace', '')}, name: {name}, uid: {uid}]"
        message = f"ownerRef {owner} does not exist in namespace {_quoted(obj['metadata'].get('namespace', ''))}"
        self._recorder.event(obj, "Warning", "OwnerRefInvalidNamespace", message)

    async def _apply(self, item: Item, obj: Obj, step: Step) -> Obj:
        match step:
            case Delete(propagation):
                await self._delete(item, obj, propagation)
            case DropOwners(uids):
                kept = [ref for ref in objects.owner_references(obj) if ref["uid"] not in uids]
                return await self._patch(item, obj, {"ownerReferences": kept or None})
            case Unblock():
                references = [{**ref, "blockOwnerDeletion": False} for ref in objects.owner_references(obj)]
                if any(ref.get("blockOwnerDeletion") for ref in objects.owner_references(obj)):
                    return await self._patch(item, obj, {"ownerReferences": references})
            case DropFinalizer(finalizer):
                kept_names = [name for name in objects.finalizers(obj) if name != finalizer]
                return await self._patch(item, obj, {"finalizers": kept_names or None})
            case CollectDependents(records):
                for record in records:
                    self._controller.enqueue(record.item)
            case OrphanDependents(records):
                for record in records:
                    await self._orphan(record, item.uid)
        return obj

    async def _orphan(self, record: Record, owner_uid: str) -> None:
        informer = self._informers.get(record.item.resource)
        child = informer.get(record.item.namespace, record.item.name) if informer is not None else None
        if child is None or child["metadata"]["uid"] != record.item.uid:
            return
        kept = [ref for ref in objects.owner_references(child) if ref["uid"] != owner_uid]
        if len(kept) == len(objects.owner_references(child)):
            return
        await self._patch(record.item, child, {"ownerReferences": kept or None})

    async def _delete(self, item: Item, obj: Obj, propagation: Propagation) -> None:
        meta = obj["metadata"]
        try:
            answer = await self._client.delete(
                item.resource,
                item.name,
                item.namespace or None,
                uid=item.uid,
                # Deciding on an old list of owners could delete what was just adopted.
                resource_version=meta["resourceVersion"],
                propagation=propagation,
            )
        except NotFound:
            return
        informer = self._informers.get(item.resource)
        if informer is not None:
            await observe(informer, answer, item.namespace)

    async def _patch(self, item: Item, obj: Obj, metadata: Obj) -> Obj:
        meta = obj["metadata"]
        patch = {"metadata": {"uid": item.uid, "resourceVersion": meta["resourceVersion"], **metadata}}
        try:
            written = await self._client.patch(
                item.resource, item.name, objects.deep_copy(patch), item.namespace or None
            )
        except NotFound:
            return obj
        informer = self._informers.get(item.resource)
        if informer is None:
            return written
        old = meta["resourceVersion"]

        def seen() -> bool:
            # Not by revision: with its last finalizer the object itself goes, and the answer may be its last state.
            present = informer.get(item.namespace, item.name)
            if present is None or present["metadata"]["uid"] != item.uid:
                return True
            return bool(present["metadata"]["resourceVersion"] != old)

        await informer.wait_until(seen)
        return written


def collected_kinds() -> list[Kind]:
    """Every stored kind but Events, which have no owners and come in crowds."""
    return [kind for kind in enablement.standard().stored() if kind.kind != "Event" and "delete" in kind.verbs]


def stored_kind(reference: OwnerReference) -> Kind | None:
    """The stored version of the kind a reference names; None for a kind that is not served."""
    known = enablement.standard()
    kind = known.by_api_version(reference.get("apiVersion", ""), reference.get("kind", ""))
    return known.storage(kind) if kind is not None else None


def _quoted(text: str) -> str:
    return f'"{text}"'
