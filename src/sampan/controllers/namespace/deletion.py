"""Empties terminating namespaces and finalizes them (upstream ``pkg/controller/namespace``).

Pods go before everything else (KEP-5080), so that nothing they rely on, such as NetworkPolicies, vanishes under them.
What is left is counted from the events of informers, shared with the garbage collector; the last deletion of a
resource brings the namespace back to the queue. Before the finalizer goes, the server is asked once more: an informer
may be behind. Events are not followed, for they are most of what is written in a cluster: they go when all else has
gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sampan.api import enablement, objects
from sampan.api.errors import ApiError, MethodNotAllowed, NotFound, ServiceUnavailable
from sampan.api.kind import Kind
from sampan.api.resources import EVENTS, NAMESPACES, Resource
from sampan.api.types import Condition, Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType, Handler, Informer
from sampan.client.keys import ObjectKey, own_key
from sampan.client.served import ServedResources
from sampan.controllers.context import Context
from sampan.controllers.namespace.contents import Contents, Remaining
from sampan.controllers.workload import conditions

NAME = "namespace-controller"
FINALIZER = "kubernetes"
#: How often the conditions say how much is left.
REPORT_SECONDS = 1.0


def plan_conditions(present: Iterable[Condition] | None, found: Remaining, now: datetime) -> list[Condition]:
    """The five conditions of a terminating namespace. Pure."""
    discovery = ("False", "ResourcesDiscovered", "All resources successfully discovered")
    if found.undiscovered:
        discovery = ("True", "DiscoveryFailed", f"Discovery failed for some groups, {found.undiscovered}")
    rows = [
        ("NamespaceDeletionDiscoveryFailure", *discovery),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
    ]
    if found.errors:
        message = f"Failed to delete all resource types, {len(found.errors)} remaining: {', '.join(found.errors)}"
        rows.append(("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", message))
    else:
        message = "All content successfully deleted, may be waiting on finalization"
        rows.append(("NamespaceDeletionContentFailure", "False", "ContentDeleted", message))
    if found.resources:
        listed = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(found.resources.items()))
        rows.append(
            ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {listed}")
        )
    else:
        rows.append(("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"))
    if found.finalizers:
        listed = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(found.finalizers.items()))
        message = f"Some content in the namespace has finalizers remaining: {listed}"
        rows.append(("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message))
    else:
        message = "All content-preserving finalizers finished"
        rows.append(("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", message))
    result = list(present or ())
    for kind, status, reason, message in rows:
        old = conditions.find(result, kind)
        if old is None or old.get("message") != message or old.get("status") != status:
            result = [*conditions.drop(result, kind), conditions.make(kind, status, reason, message, now)]
    return result


class NamespaceDeletionController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._namespaces = context.informers.informer(NAMESPACES)
        self._contents: dict[Resource, Informer] = {
            kind.resource: context.informers.informer(kind.resource) for kind in namespaced_kinds()
        }
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=list(self._contents.values()))
        self._controller.watch(self._namespaces, own_key)
        #: Namespaces that are being emptied.
        self._ending: dict[str, Contents] = {}
        self._namespaces.add_handler(self._namespace_changed)
        for resource, informer in self._contents.items():
            informer.add_handler(self._follower(resource))
        self._factory = context.informers
        #: custom resources, and those of other API servers
        self._served = ServedResources(self._client, self._added, self._removed)

    async def run(self) -> None:
        await tasks.run_all(controller=self._controller.run(), discovery=self._served.run())

    def _added(self, resource: Resource) -> None:
        if resource.namespaced:
            informer = self._contents[resource] = self._factory.informer(resource)
            informer.add_handler(self._follower(resource))

    def _removed(self, resource: Resource) -> None:
        informer = self._contents.pop(resource, None)
        if informer is not None:
            self._factory.retire(informer)
        for name, contents in self._ending.items():
            contents.forget(resource)
            self._controller.enqueue(ObjectKey("", name))

    async def sync(self, key: ObjectKey) -> Result:
        namespace = self._namespaces.get(*key)
        if namespace is None or not objects.is_deleting(namespace):
            return DONE
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return DONE
        name = namespace["metadata"]["name"]
        try:
            await self._served.refresh()
        except ApiError as error:
            await self._report(namespace, Remaining(undiscovered=error.message))
            raise
        contents = self._ending.get(name)
        if contents is None:
            contents = self._ending[name] = self._look(name)
        errors = await self._empty(name, contents)
        found = contents.remaining(errors)
        asked = found.empty
        if asked:
            # Informers may be behind what was created just before the namespace began to end.
            found = await self._ask(name)
        if self._served.stale:
            found = replace(found, undiscovered=_stale(self._served.stale))
        if not found.empty:
            await self._report(namespace, found)
            if errors or found.undiscovered:
                # A failure: the key backs off, longer each time.
                failures = ", ".join((*errors, *filter(None, (found.undiscovered,))))
                raise ServiceUnavailable(f"deletion of all content of namespace {name} failed: {failures}")
            return Result(requeue_after_seconds=REPORT_SECONDS) if asked else DONE
        await self._finalize(namespace)
        return DONE

    def _look(self, namespace: str) -> Contents:
        """Once a namespace: from here on events tell what changes."""
        contents = Contents()
        for resource, informer in self._contents.items():
            for obj in informer.list(namespace):
                contents.put(resource, obj)
        return contents

    async def _empty(self, namespace: str, contents: Contents) -> list[str]:
        """Asks for the deletion of everything that may go now; returns errors."""
        present = contents.resources()
        pods = [resource for resource in present if resource.plural == "pods" and not resource.group]
        errors: list[str] = []
        for resource in pods or present or (EVENTS,):
            if contents.has(resource) and contents.is_going(resource):
                continue
            try:
                await self._delete_all(resource, namespace)
            except NotFound:
                continue
            except ApiError as error:
                errors.append(f"{resource.plural}: {error.message}")
        for resource in pods or present:
            informer = self._contents.get(resource)
            if informer is None:
                continue  # served no longer
            # What went at once is seen before it is counted.
            view = self._client.cache_view(resource)
            if view is not None:
                await informer.wait_for(view.revision())
        return errors

    async def _delete_all(self, resource: Resource, namespace: str) -> None:
        try:
            await self._client.raw("DELETE", resource.path(namespace), body=_BACKGROUND)
        except MethodNotAllowed:
            informer = self._contents.get(resource)
            for obj in informer.list(namespace) if informer is not None else ():
                meta = obj["metadata"]
                await self._client.delete(resource, meta["name"], namespace, uid=meta["uid"], propagation="Background")

    async def _ask(self, namespace: str) -> Remaining:
        contents = Contents()
        for resource in (*self._contents, EVENTS):
            try:
                page = await self._client.list(resource, namespace, limit=1)
            except (NotFound, MethodNotAllowed):
                continue
            if page.get("items"):
                contents.put(resource, page["items"][0])
                view = self._client.cache_view(resource)
                informer = self._contents.get(resource)  # it may have gone in the meantime
                if view is not None and informer is not None:
                    await informer.wait_for(int(page["metadata"].get("resourceVersion") or 0))
        return contents.remaining()

    async def _report(self, namespace: Obj, found: Remaining) -> None:
        status = objects.deep_copy(namespace.get("status") or {})
        status["phase"] = "Terminating"
        status["conditions"] = plan_conditions(status.get("conditions"), found, self._clock.now())
        if status == namespace.get("status"):
            return
        new = objects.deep_copy(namespace)
        new["status"] = status
        await observe(self._namespaces, await self._client.update_status(NAMESPACES, new))

    async def _finalize(self, namespace: Obj) -> None:
        new = objects.deep_copy(namespace)
        new["spec"]["finalizers"] = [name for name in new["spec"]["finalizers"] if name != FINALIZER]
        try:
            await self._client.update(NAMESPACES, new, "finalize")
        except NotFound:
            return

    def _namespace_changed(self, kind: ChangeType, namespace: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self._ending.pop(namespace["metadata"]["name"], None)

    def _follower(self, resource: Resource) -> Handler:
        """Counts what goes. The last one of a resource brings the next step; until then a report a second will do."""

        def changed(kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
            name = obj["metadata"].get("namespace", "")
            contents = self._ending.get(name)
            if contents is None:
                return
            if kind == "DELETED":
                contents.drop(resource, obj)
            else:
                contents.put(resource, obj)
            if not contents.has(resource) or (kind == "ADDED" and not objects.is_deleting(obj)):
                self._controller.enqueue(ObjectKey("", name))
            else:
                self._controller.queue.add_after(ObjectKey("", name), REPORT_SECONDS)

        return changed


def _stale(versions: Sequence[str]) -> str:
    """As client-go tells it."""
    failing = ", ".join(f"{version}: stale GroupVersion discovery: {version}" for version in versions)
    return f"{len(versions)} failing: unable to retrieve the complete list of server APIs: {failing}"


_BACKGROUND = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}


def namespaced_kinds() -> list[Kind]:
    """The stored namespaced kinds that can be deleted, but for Events."""
    stored = (kind for kind in enablement.standard().stored() if kind.namespaced and "delete" in kind.verbs)
    return [kind for kind in stored if kind.resource != EVENTS]
