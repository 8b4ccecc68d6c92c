"""Keeps ``status`` of ResourceQuotas: what is allowed, and how much of it is used (``pkg/controller/resourcequota``).

Writes are charged by the API server before they are stored; this gives back what has gone or come down, and repairs
what a charge missed. A namespace is looked at as a whole when a quota comes or changes, and now and then; from then on
each event brings its difference (``api/quota/tally``). The server adds to a count what is under way (``countedAt``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

from sampan.api import enablement
from sampan.api.errors import NotFound, qualified
from sampan.api.kind import Kind
from sampan.api.quota import amounts
from sampan.api.quota.evaluators import Evaluator, evaluator_of
from sampan.api.quota.evaluators import Resource as Counted
from sampan.api.quota.tally import Tally
from sampan.api.reading import part
from sampan.api.resources import PODS, RESOURCE_QUOTAS, Resource
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import ObjectKey
from sampan.client.served import ServedResources
from sampan.controllers.context import Context

NAME = "resourcequota-controller"
#: how often a namespace is counted anew from what is there (``--resource-quota-sync-period``)
RESYNC_SECONDS: Final = 300.0
#: More is used: the server has charged it already, or else it is told soon.
_LATER_SECONDS: Final = 1.0
#: Of quotas in one namespace that an event is told to at once. Nobody needs so many; whoever has them waits.
_MANY_QUOTAS: Final = 64
_MUCH_LATER_SECONDS: Final = 10.0
#: objects counted in one turn of the event loop
_STEP: Final = 50


class ResourceQuotaController:
    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._client = context.client_for(NAME)
        self._factory = context.informers
        self._quotas = context.informers.informer(RESOURCE_QUOTAS)
        self._informers: dict[Counted, Informer] = {}
        self._evaluators: dict[Counted, Evaluator] = {}
        #: by namespace and name of the quota
        self._tallies: dict[str, dict[str, Tally]] = {}
        self._built: dict[ObjectKey, float] = {}
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, informers=[self._quotas])
        for kind in counted_kinds():
            self.follow(kind.resource)
        self._quotas.add_handler(self._quota_changed)
        #: custom resources, and those of other API servers
        self._served = ServedResources(self._client, self.follow, self.unfollow)

    async def run(self) -> None:
        for informer in list(self._informers.values()):
            await informer.synced()
        await tasks.run_all(controller=self._controller.run(), discovery=self._served.run())

    def follow(self, resource: Resource) -> None:
        """Counts the objects of a resource from now on; quotas that are known are counted anew."""
        if not resource.namespaced:
            return
        counted = (resource.group, resource.plural)
        evaluator = evaluator_of(counted)
        if evaluator is None or counted in self._informers:
            return
        informer = self._informers[counted] = self._factory.informer(resource)
        self._evaluators[counted] = evaluator

        def changed(kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
            namespace = obj["metadata"].get("namespace", "")
            tallies = self._tallies.get(namespace)
            if tallies:
                self._count(tallies, counted, kind, obj)

        informer.add_handler(changed)
        self._count_anew()

    def unfollow(self, resource: Resource) -> None:
        """The resource is served no longer: nothing of it is left to be counted."""
        counted = (resource.group, resource.plural)
        self._evaluators.pop(counted, None)
        informer = self._informers.pop(counted, None)
        if informer is not None:
            self._factory.retire(informer)
            self._count_anew()

    def _count_anew(self) -> None:
        for key in self._built:
            self._built[key] = -math.inf
            self._controller.queue.add(key)

    def _count(self, tallies: dict[str, Tally], counted: Counted, kind: ChangeType, obj: Obj) -> None:
        meta, now, usage = obj["metadata"], self._clock.now(), None
        if len(tallies) > _MANY_QUOTAS:
            self._count_later(meta["namespace"], tallies)
            return
        for name, tally in tallies.items():
            if counted not in tally.resources:
                continue
            before = tally.used
            if kind == "DELETED":
                tally.drop(counted, meta["name"])
            else:
                usage = usage or self._evaluators[counted].usage(obj, now)
                tally.put(counted, obj, now, usage)
            key = ObjectKey(meta["namespace"], name)
            if amounts.exceeding(before, tally.used):
                self._controller.queue.add(key)
            elif tally.used != before:
                self._controller.queue.add_after(key, _LATER_SECONDS)
            seconds = tally.seconds_until_due(now)
            if seconds is not None:
                self._controller.queue.add_after(key, seconds)

    def _count_later(self, namespace: str, tallies: dict[str, Tally]) -> None:
        """An event that would bring its difference to very many quotas has them counted anew instead."""
        for name in tallies:
            key = ObjectKey(namespace, name)
            self._built[key] = -math.inf
            self._controller.queue.add_after(key, _MUCH_LATER_SECONDS)

    def _quota_changed(self, kind: ChangeType, quota: Obj, previous: Obj | None) -> None:
        """A charge is a change of the status alone, and nobody's business here."""
        key = ObjectKey(quota["metadata"]["namespace"], quota["metadata"]["name"])
        if kind == "DELETED":
            self._forget(key)
        elif previous is None or part(previous, "spec") != part(quota, "spec") or _is_new(quota):
            self._controller.queue.add(key)

    def _forget(self, key: ObjectKey) -> None:
        self._built.pop(key, None)
        tallies = self._tallies.get(key.namespace, {})
        tallies.pop(key.name, None)
        if not tallies:
            self._tallies.pop(key.namespace, None)

    async def sync(self, key: ObjectKey) -> Result:
        quota = self._quotas.get(*key)
        if quota is None:
            self._forget(key)
            return DONE
        tally = await self._tally_of(key, quota)
        now = self._clock.now()
        for name in tally.due(now):
            pod = self._informers["", PODS.plural].get(key.namespace, name)
            if pod is not None:
                tally.put(("", PODS.plural), pod, now)
        await self._write(quota, tally)
        age = asyncio.get_running_loop().time() - self._built.get(key, 0.0)
        waits = [RESYNC_SECONDS - age, tally.seconds_until_due(now)]
        return Result(min(max(wait, 0.0) for wait in waits if wait is not None))

    async def _tally_of(self, key: ObjectKey, quota: Obj) -> Tally:
        """What is there already, unless the quota counts otherwise now, or it was long ago."""
        loop = asyncio.get_running_loop()
        tally = self._tallies.get(key.namespace, {}).get(key.name)
        if tally is not None and tally.is_of(quota) and loop.time() - self._built[key] < RESYNC_SECONDS:
            return tally
        tally = Tally(quota, self._evaluators)
        # From here on events tell of changes; what they have told of is not looked at again.
        self._tallies.setdefault(key.namespace, {})[key.name] = tally
        self._built[key] = loop.time()
        for counted in tally.resources:
            informer = self._informers.get(counted)
            if informer is not None:  # it may be served no longer by now
                await self._count_all(tally, counted, informer, key.namespace)
        return tally

    async def _count_all(self, tally: Tally, counted: Counted, informer: Informer, namespace: str) -> None:
        """Raises NotFound: the resource is served no longer."""
        await informer.wait_until(lambda: True)
        for index, key in enumerate(informer.keys(namespace)):
            if index % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            obj = informer.get(*key)
            if obj is not None and not tally.has(counted, key.name):
                tally.put(counted, obj, self._clock.now())

    async def _write(self, quota: Obj, tally: Tally) -> None:
        status = part(quota, "status")
        known = ((amounts.read(status, key), found) for key, found in (("hard", tally.hard), ("used", tally.used)))
        if all(amounts.same(*pair) for pair in known):
            return
        wanted = {"hard": amounts.write(tally.hard), "used": amounts.write(tally.used)}
        counted_at = ",".join(
            f"{qualified(plural, group)}:{self._informers[group, plural].revision}"
            for group, plural in tally.resources
            if (group, plural) in self._informers
        )
        meta = quota["metadata"]
        kept = {key: meta[key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": kept, "status": wanted}
        path = RESOURCE_QUOTAS.path(meta["namespace"], meta["name"], "status")
        try:
            written = await self._client.raw("PUT", path, body, {"countedAt": counted_at})
        except NotFound:
            return
        await observe(self._quotas, written)


def _is_new(quota: Obj) -> bool:
    return not amounts.same(amounts.read(part(quota, "status"), "hard"), amounts.read(part(quota, "spec"), "hard"))


def counted_kinds() -> Iterable[Kind]:
    """The built-in kinds of objects that can be counted."""
    for kind in enablement.standard().stored():
        if kind.namespaced and {"list", "watch"} <= set(kind.verbs):
            yield kind
