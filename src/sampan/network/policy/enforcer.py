"""The loop of network policy on a node: objects are followed, the planner is told, the back end applies what changes.

One instance a node, composed by ``sampan.cluster`` into the node process. While there is no policy in the cluster, it
follows policies and nothing else: pods and namespaces are followed, and the back end has a table, from the first policy
on. What was in force when the process began stays until the first plan is complete, or until it is known that there
are no policies of any kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.api.errors import ApiError, NotFound
from sampan.api.reading import part, parts, text, text_map
from sampan.api.resources import NAMESPACES, PODS, Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.keys import ObjectKey, key_of
from sampan.network.policy.backend import Backend, BackendError, Dropped, Refused
from sampan.network.policy.drops import LastDrops
from sampan.network.policy.follow import Follower
from sampan.network.policy.model import Direction, PodKey, PolicyKey
from sampan.network.policy.packets import Packet
from sampan.network.policy.planner import Planner
from sampan.network.policy.reading import read_pod, read_policy
from sampan.network.policy.refusals import Refusals
from sampan.network.policy.reporting import Restricted, render_metrics, wire
from sampan.records import dataclass

log = logging.getLogger(__name__)

NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True)
_MIRROR = "kubernetes.io/config.mirror"
CLUSTER_GROUP = "policy.networking.k8s.io"
#: Kinds that a cluster may have as definitions; whether it has is looked at now and then.
CLUSTER_KINDS = (
    Resource(CLUSTER_GROUP, "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy", False),
    Resource(CLUSTER_GROUP, "v1alpha1", "adminnetworkpolicies", "AdminNetworkPolicy", False),
    Resource(CLUSTER_GROUP, "v1alpha1", "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy", False),
)


class NotYet(Exception):
    """A pod may not begin: the rules that it asks for are not in force. The message is for its Event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcerConfig:
    node_name: str
    #: Changes within this time become one transaction; the first of a calm time goes at once.
    min_sync_seconds: float = 0.1
    retry_seconds: float = 1
    #: How often to look whether the table is still there, and whether the cluster's own kinds are served.
    check_seconds: float = 10
    #: How long discovery, and the objects of one of the cluster's own kinds, are waited for.
    kind_seconds: float = 3
    #: How long a pod that begins waits for its rules.
    patience_seconds: float = 10
    #: How long after the last policy pods are followed on.
    linger_seconds: float = 60


class PolicyEnforcer:
    """Invariant: while ``_known``, the back end has what the planner told, but for what is ``_changed``."""

    def __init__(
        self,
        client: Client,
        config: EnforcerConfig,
        backend: Backend,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.config = config
        clock = clock or SystemClock()
        self.drops = LastDrops(clock)
        self._client = client
        self._backend = backend
        self._random = random or SystemRandom()
        self._refusals = Refusals(client, config.node_name, backend, clock)
        self.planner = Planner(config.node_name)
        #: addresses that the node knows before the API does: by pod, (uid, addresses)
        self._early: dict[PodKey, tuple[str, tuple[str, ...]]] = {}
        self._changed = asyncio.Event()
        #: who waits for what has been heard so far to be in force
        self._waiting: list[asyncio.Future[None]] = []
        #: the policies that there are have been heard of
        self._policies_known = asyncio.Event()
        self._known = False
        self._active = False
        self._last_fault = ""
        #: as of the last look
        self._restricted: list[Restricted] = []

    # For others on this node

    def hear(self, packet: Packet) -> None:
        """Of a packet that was dropped."""
        self.drops.hear(packet, self.planner)

    async def report(self) -> Obj:
        """For the node API: who is restricted here, and what was dropped. Raises BackendError."""
        return {"active": self._active, **wire(await self.restricted(), self.drops.listed())}

    def metrics(self) -> str:
        """In Prometheus' text; "" while there are no policies. As of the last look, ten seconds ago at most."""
        return render_metrics(self._restricted) if self._active else ""

    async def admit(self, pod: Obj, addresses: Sequence[str]) -> None:
        """Returns when the rules for a pod that begins are in force. Raises NotYet.

        A pod that no policy may concern does not wait, nor does any when the API server has been silent since this
        process began: what was in force before is, and nothing more is known.
        """
        try:
            async with asyncio.timeout(self.config.patience_seconds):
                await self._policies_known.wait()
        except TimeoutError:
            log.warning("pod %s begins though its network policies are unknown: the API server is silent", _key(pod))
            return
        if self.planner.idle:
            return
        key = _key(pod)
        if not set(addresses) <= self.planner.addresses(key):
            self._early[key] = text(part(pod, "metadata"), "uid"), tuple(addresses)
            self.planner.set_pod(key, read_pod(pod, addresses))
        try:
            async with asyncio.timeout(self.config.patience_seconds):
                await self.settled()
        except TimeoutError:
            why = self._last_fault or "others come first"
            raise NotYet(f"its network policies are not in force yet: {why}") from None

    async def restricted(self) -> list[Restricted]:
        """Raises BackendError."""
        counted = await self._backend.dropped() if self._active else {}
        found: dict[str, dict[Direction, Dropped]] = {}
        for (address, direction), dropped in counted.items():
            found.setdefault(address, {})[direction] = dropped
        listed = []
        for address, directions in sorted(found.items()):
            pod = self.planner.owner(address)
            if pod is not None:
                listed.append(Restricted(address, pod, self.planner.judged(address), directions))
        return listed

    async def settled(self) -> None:
        """Returns once everything heard of so far is in force."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._changed.set()
        await waiting

    # The loop

    async def run(self) -> None:
        """Until cancelled. One that failed may be run again: it begins with nothing, and what is in force stays."""
        self.planner = Planner(self.config.node_name)
        self._refusals.clear()
        self._known = self._active = False
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refusals.run(), name="Events of policies")
            policies = self._follow(group, NETWORK_POLICIES)
            await policies.synced.wait()
            kinds = _ClusterKinds(self, group)
            await kinds.look()
            group.create_task(kinds.run(), name="kinds of cluster policies")
            self._policies_known.set()
            former = True
            while True:
                while self.planner.idle:
                    if former and kinds.complete:
                        former = False
                        await self._forget_former()
                    _tell(self._waiting)
                    self._waiting.clear()
                    self._changed.clear()
                    await self._changed.wait()
                former = False
                await self._enforce()

    async def _forget_former(self) -> None:
        """A table that a former process left, where there are no policies any more."""
        if self.planner.idle:
            try:
                await self._backend.remove()
            except BackendError as error:
                log.info("nothing can be enforced here, should there be policies: %s", error)

    async def _enforce(self) -> None:
        """While there are policies."""
        async with asyncio.TaskGroup() as group:
            followers = [
                Follower(self._client, NAMESPACES, self._random, self._namespace_put, self._namespace_dropped),
                Follower(self._client, PODS, self._random, self._pod_put, self._pod_dropped),
            ]
            running = [group.create_task(each.run(), name="what policies select") for each in followers]
            for follower in followers:
                await follower.synced.wait()
            self._active = True
            try:
                await self._apply_changes()
            finally:
                self._active = False
            for task in running:
                task.cancel()
        await self._forget_all()

    async def _apply_changes(self) -> None:
        """Until no policy has been there for a while."""
        config, loop = self.config, asyncio.get_running_loop()
        check_at = loop.time() + config.check_seconds
        empty_since: float | None = None
        self._known = False
        self._changed.set()
        while True:
            await self._wait_change(check_at)
            if (now := loop.time()) >= check_at:
                check_at = now + config.check_seconds
                await self._check()
                empty_since = (empty_since or now) if self.planner.idle else None
                if empty_since is not None and now - empty_since >= config.linger_seconds:
                    return
            self._changed.clear()
            if await self._sync():
                await asyncio.sleep(config.min_sync_seconds)
            else:
                self._changed.set()
                await asyncio.sleep(config.retry_seconds)

    async def _sync(self) -> bool:
        """False: it could not be applied, and is to be tried again as a whole. Where single policies are to blame, they
        are closed, and the next time comes soon."""
        for _ in self.planner.preparing():
            await asyncio.sleep(0)
        waiting, self._waiting = self._waiting, []
        delta = self.planner.take(whole=not self._known)
        try:
            if delta:
                self._known = False
                await self._backend.apply(delta)
        except BackendError as error:
            self._waiting += waiting
            if isinstance(error, Refused) and await self._refusals.close(self.planner):
                self._changed.set()
                return True
            if str(error) != self._last_fault:
                log.error("network policies could not be enforced as they are: %s", error)
            self._last_fault = str(error)
            return False
        self._known, self._last_fault = True, ""
        _tell(waiting)
        return True

    async def _check(self) -> None:
        try:
            if self.drops.heard or self.planner.restricted != len(self._restricted):
                self.drops.heard = False
                self._restricted = await self.restricted()
            if self._known and not await self._backend.is_there():
                log.warning("the rules of network policies are gone; writing them again")
                self._known = False
        except BackendError as error:
            log.warning("network policies could not be looked after: %s", error)

    async def _forget_all(self) -> None:
        """Nothing is followed any more: what was known of pods is old."""
        policies = self.planner.policies()
        self.planner = Planner(self.config.node_name)
        for policy in policies:
            self.planner.set_policy(policy.key, policy)
        self._early.clear()
        if self.planner.idle:
            await self._forget_former()

    async def _wait_change(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass

    # Hearing

    def _follow(self, group: asyncio.TaskGroup, resource: Resource) -> Follower:
        follower = Follower(
            self._client,
            resource,
            self._random,
            self._policy_put,
            lambda key, _: self._policy_dropped(PolicyKey(resource.kind, key.namespace, key.name)),
        )
        group.create_task(follower.run(), name=f"policy's {resource.plural}")
        return follower

    def _policy_put(self, obj: Obj) -> None:
        self._refusals.put(obj, read_policy(obj), self.planner)
        self._note()

    def _policy_dropped(self, key: PolicyKey) -> None:
        self._refusals.drop(key, self.planner)
        self._note()

    def _namespace_put(self, obj: Obj) -> None:
        meta = part(obj, "metadata")
        self.planner.set_namespace(text(meta, "name"), text_map(meta, "labels"))
        self._note()

    def _namespace_dropped(self, key: ObjectKey, uid: str) -> None:
        self.planner.set_namespace(key.name, None)
        self._note()

    def _pod_put(self, obj: Obj) -> None:
        """What the API says holds, as soon as it knows of an address; before that, what this node knows."""
        key = _key(obj)
        uid, early = self._early.get(key, ("", ()))
        if early:
            told = {text(each, "ip") for each in parts(part(obj, "status"), "podIPs")}
            if uid in _uids(obj):
                if told.issuperset(early):
                    del self._early[key]
            elif not told:
                return  # a pod of this name that was before
            else:
                del self._early[key]
                early = ()
        self.planner.set_pod(key, read_pod(obj, early))
        self._note()

    def _pod_dropped(self, key: ObjectKey, uid: str) -> None:
        pod = PodKey(key.namespace, key.name)
        early = self._early.get(pod)
        if early is not None and uid and uid != early[0]:
            return  # its place was taken already
        self._early.pop(pod, None)
        self.planner.set_pod(pod, None)
        self._note()

    def _note(self) -> None:
        self._changed.set()


class _ClusterKinds:
    """Follows the kinds of cluster policies that are served, and no others. One whose objects nobody can list (a broken
    conversion, say) keeps no other from being enforced."""

    def __init__(self, enforcer: PolicyEnforcer, group: asyncio.TaskGroup) -> None:
        self._enforcer = enforcer
        self._group = group
        self._followed: dict[Resource, Follower] = {}
        self._looked = False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._enforcer.config.check_seconds)
            before = self.complete
            await self.look()
            if self.complete and not before:
                self._enforcer._note()

    @property
    def complete(self) -> bool:
        """Whether all policies of these kinds that there are have been heard of."""
        return self._looked and all(follower.synced.is_set() for follower in self._followed.values())

    async def look(self) -> None:
        """One that is served no more is followed on: its follower drops what it had."""
        served = await self._served()
        self._looked = self._looked or served is not None
        for resource in served or ():
            if resource not in self._followed:
                follower = self._followed[resource] = self._enforcer._follow(self._group, resource)
                try:
                    async with asyncio.timeout(self._enforcer.config.kind_seconds):
                        await follower.synced.wait()
                except TimeoutError:
                    log.warning("%s cannot be listed; other policies are enforced without", resource.plural)

    async def _served(self) -> Iterable[Resource] | None:
        """None: nobody said."""
        client = self._enforcer._client
        try:
            return await self._asked(client)
        except NotFound:
            return ()
        except (ApiError, OSError, TimeoutError):
            return None

    async def _asked(self, client: Client) -> Iterable[Resource]:
        async with asyncio.timeout(self._enforcer.config.kind_seconds):
            group = await client.raw("GET", f"/apis/{CLUSTER_GROUP}")
            versions = {text(each, "version") for each in parts(group, "versions")}
            found: set[tuple[str, str]] = set()
            for version in sorted(versions & {each.version for each in CLUSTER_KINDS}):
                listed = await client.raw("GET", f"/apis/{CLUSTER_GROUP}/{version}")
                found |= {(version, text(each, "name")) for each in parts(listed, "resources")}
        return [each for each in CLUSTER_KINDS if (each.version, each.plural) in found]


def _tell(waiting: Iterable[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(None)


def _key(pod: Obj) -> PodKey:
    key = key_of(pod)
    return PodKey(key.namespace, key.name)


def _uids(pod: Obj) -> tuple[str, str]:
    """Its own, and the one that its static pod has on the node."""
    meta = part(pod, "metadata")
    return text(meta, "uid"), text_map(meta, "annotations").get(_MIRROR, "")
