"""``ObjectSource`` over a client: reads on demand, and watches what registered pods refer to.

The node agent registers each of its pods, runs ``run()`` in its TaskGroup, and subscribes the volume manager. One
object is one watch by name, which is all that the node authorizer grants; where the server is in this process its
watch cache is used and nothing is copied. ClusterTrustBundles are all watched, from the first pod that mounts one on.
Nothing here knows volumes or variables.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sampan.api import resources
from sampan.api.clock import Random
from sampan.api.errors import ApiError, not_found
from sampan.api.reading import part, text
from sampan.api.transport import ChangeCallback, Part
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.node.env.lazy import LazyInformer
from sampan.node.env.sources import ObjectRef, pod_references

log = logging.getLogger(__name__)

#: after a lost watch: base of the jittered pause
_RETRY_SECONDS = 1.0
_RETRY_CAP_SECONDS = 30.0

_WATCHED_BY_NAME = frozenset({resources.CONFIG_MAPS, resources.SECRETS})

Changed = Callable[[ObjectRef], None]


class ClientObjects:
    """Invariant: ``_cache`` only holds objects whose watch is running, so a cached answer is current."""

    def __init__(self, client: Client, random: Random) -> None:
        self._client = client
        self._random = random
        self._by_pod: dict[str, frozenset[ObjectRef]] = {}
        #: what ends the watch of an object
        self._watches: dict[ObjectRef, Callable[[], object]] = {}
        self._cache: dict[ObjectRef, Obj] = {}
        self._subscribers: list[Changed] = []
        self._bundles = LazyInformer(client, resources.CLUSTER_TRUST_BUNDLES, random, self._bundle_changed)
        self._group: asyncio.TaskGroup | None = None

    def subscribe(self, callback: Changed) -> Callable[[], None]:
        """``callback(ref)`` is called on the loop whenever a watched object changed; returns the unsubscriber."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def register_pod(self, pod: Obj) -> None:
        """Watches what this pod refers to. Idempotent; call again when the pod's spec changed."""
        self._by_pod[pod["metadata"]["uid"]] = pod_references(pod)
        self._adjust()

    def unregister_pod(self, uid: str) -> None:
        if self._by_pod.pop(uid, None) is not None:
            self._adjust()

    async def run(self) -> None:
        """Keeps the watches; returns only when cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._bundles.run(), name="watch clustertrustbundles")
                self._adjust()
                await tasks.forever()
        finally:
            self._group = None
            for end in self._watches.values():
                end()
            self._watches.clear()
            self._cache.clear()

    async def get_config_map(self, namespace: str, name: str) -> Obj:
        return await self._get(ObjectRef(resources.CONFIG_MAPS, namespace, name))

    async def get_secret(self, namespace: str, name: str) -> Obj:
        return await self._get(ObjectRef(resources.SECRETS, namespace, name))

    async def get_persistent_volume_claim(self, namespace: str, name: str) -> Obj:
        return await self._client.get(resources.PERSISTENT_VOLUME_CLAIMS, name, namespace)

    async def get_persistent_volume(self, name: str) -> Obj:
        return await self._client.get(resources.PERSISTENT_VOLUMES, name)

    async def get_trust_bundle(self, name: str) -> Obj:
        found = (await self._bundles.informer()).get("", name)
        if found is None:
            raise not_found("clustertrustbundles", name, "certificates.k8s.io")
        return found

    async def list_trust_bundles(self, signer: str) -> Sequence[Obj]:
        present = (await self._bundles.informer()).list()
        return [bundle for bundle in present if text(part(bundle, "spec"), "signerName") == signer]

    async def _get(self, ref: ObjectRef) -> Obj:
        view = self._client.cache_view(ref.resource)
        if view is not None and (present := view.get(ref.namespace, ref.name)) is not None:
            return present
        if (cached := self._cache.get(ref)) is not None:
            return cached
        return await self._client.get(ref.resource, ref.name, ref.namespace)

    def _adjust(self) -> None:
        """Starts and stops watches so that they are exactly the registered references to single objects."""
        if self._group is None:
            return
        referred = frozenset[ObjectRef]().union(*self._by_pod.values())
        wanted = {ref for ref in referred if ref.resource in _WATCHED_BY_NAME}
        if any(ref.resource == resources.CLUSTER_TRUST_BUNDLES for ref in referred):
            self._bundles.want()
        for ref in [ref for ref in self._watches if ref not in wanted]:
            self._watches.pop(ref)()
            self._cache.pop(ref, None)
        for ref in wanted - self._watches.keys():
            view = self._client.cache_view(ref.resource)
            if view is not None:
                self._watches[ref] = view.subscribe(self._from_view(ref), Part(ref.namespace, ref.name))
            else:
                name = f"watch {ref.resource.plural} {ref.namespace}/{ref.name}"
                self._watches[ref] = self._group.create_task(self._follow(ref), name=name).cancel

    async def _follow(self, ref: ObjectRef) -> None:
        failures = 0
        while True:
            try:
                if await self._follow_once(ref):
                    return
                failures = 0
            except (ApiError, OSError, TimeoutError) as error:
                failures += 1
                log.info("watch of %s %s/%s: %s", ref.resource.plural, ref.namespace, ref.name, error)
            finally:
                self._cache.pop(ref, None)
            pause = min(_RETRY_SECONDS * 2**failures, _RETRY_CAP_SECONDS)
            await asyncio.sleep(pause * (0.5 + self._random.random() / 2))

    async def _follow_once(self, ref: ObjectRef) -> bool:
        """One list and watch. True: the object is immutable and needs no more watching."""
        selector = f"metadata.name={ref.name}"
        listing = await self._client.list(ref.resource, ref.namespace, field_selector=selector)
        for item in listing.get("items") or ():
            self._store(ref, item)
            if item.get("immutable"):
                return True
        version = listing["metadata"]["resourceVersion"]
        async with self._client.watch(
            ref.resource, ref.namespace, resource_version=version, field_selector=selector
        ) as events:
            async for event in events:
                if event.type == "ERROR":
                    return False
                if event.type == "DELETED":
                    self._cache.pop(ref, None)
                    self._notify(ref)
                elif event.type != "BOOKMARK":
                    self._store(ref, event.object)
        return False

    def _store(self, ref: ObjectRef, obj: Obj) -> None:
        previous = self._cache.get(ref)
        self._cache[ref] = obj
        if previous is None or previous["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
            self._notify(ref)

    def _from_view(self, ref: ObjectRef) -> ChangeCallback:
        return lambda kind, obj, previous, revision: self._notify(ref)

    def _bundle_changed(self, bundle: Obj) -> None:
        names = (bundle["metadata"]["name"], text(part(bundle, "spec"), "signerName"))
        for name in filter(None, names):
            self._notify(ObjectRef(resources.CLUSTER_TRUST_BUNDLES, "", name))

    def _notify(self, ref: ObjectRef) -> None:
        for callback in list(self._subscribers):
            callback(ref)
