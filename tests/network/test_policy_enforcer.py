"""The loop of network policy: what it follows and when, what it tells its back end, pods that wait for their rules."""

import asyncio
from contextlib import asynccontextmanager

import policy_worlds as make
import pytest

from sampan.api.clock import SystemRandom
from sampan.api.errors import InternalError, NotFound
from sampan.api.resources import EVENTS, NAMESPACES, PODS
from sampan.client import tasks
from sampan.network.policy.backend import BackendError
from sampan.network.policy.enforcer import CLUSTER_KINDS, NETWORK_POLICIES, EnforcerConfig, NotYet, PolicyEnforcer
from sampan.network.policy.follow import Follower
from sampan.network.policy.memory import MemoryBackend
from sampan.network.policy.reading import read_policy

KINDS = {"Pod": PODS, "Namespace": NAMESPACES, "NetworkPolicy": NETWORK_POLICIES}
QUICK = {"min_sync_seconds": 0.001, "retry_seconds": 0.001, "check_seconds": 0.02, "linger_seconds": 0.01}
WEB, DB, FAR, OUTSIDE = "10.244.0.2", "10.244.0.3", "10.244.1.2", "192.0.2.2"


@pytest.fixture(autouse=True)
def served(client, monkeypatch):
    """Discovery, by path; the fake API has none."""
    found = {}

    async def raw(method, path, *_, **__):
        if path not in found:
            raise NotFound("not served")
        return found[path]

    monkeypatch.setattr(client, "raw", raw)
    return found


class Backend(MemoryBackend):
    def __init__(self):
        super().__init__()
        self.removed = asyncio.Event()
        self.removals = 0

    async def remove(self):
        self.take(type(self.deltas[0])(whole=True)) if self.deltas else None
        self.removals += 1
        self.removed.set()


@asynccontextmanager
async def enforcing(client, backend, **settings):
    enforcer = PolicyEnforcer(client, EnforcerConfig(node_name="node1", **{**QUICK, **settings}), backend)
    job = tasks.detach(enforcer.run(), "enforcer")
    try:
        yield enforcer
    finally:
        await tasks.cancel_and_wait(job)


async def create(client, *objects):
    for obj in objects:
        await client.create(KINDS[obj["kind"]], obj)


async def until(enforcer, condition):
    async with asyncio.timeout(15):
        while not condition():
            await enforcer.settled()
            await asyncio.sleep(0)


def deny_all(name="deny", **more):
    return make.policy(name, ingress=[], **more)


async def test_without_policies_neither_pods_nor_namespaces_are_followed(api, client):
    backend = Backend()
    await create(client, make.namespace("default"), make.pod("web", WEB))
    async with enforcing(client, backend) as enforcer:
        async with asyncio.timeout(15):
            await backend.removed.wait()
        await enforcer.admit(make.pod("web", WEB), (WEB,))
        assert backend.deltas == []
        assert enforcer.planner.addresses(("default", "web")) == set()


async def test_the_first_policy_brings_the_rules_and_the_last_one_takes_them_away(client):
    backend = Backend()
    await create(client, make.namespace("default"), make.pod("web", WEB), make.pod("far", FAR, node="node2"))
    async with enforcing(client, backend) as enforcer:
        await create(client, deny_all())
        await until(enforcer, lambda: not backend.lets(FAR, WEB, "tcp", 80))
        await client.delete(NETWORK_POLICIES, "deny", "default")
        await until(enforcer, lambda: backend.lets(FAR, WEB, "tcp", 80))
        removals = backend.removals
        await until(enforcer, lambda: backend.removals > removals)


async def test_a_pod_begins_when_its_rules_are_in_force_before_the_api_knows_its_address(client):
    backend = Backend()
    await create(client, make.namespace("default"), deny_all())
    starting = await client.create(PODS, make.pod("web", [], {"app": "web"}))
    async with enforcing(client, backend) as enforcer:
        await enforcer.admit(starting, (WEB,))
        assert not backend.lets(FAR, WEB, "tcp", 80)
        # News of the pod in which it has no address yet does not open it.
        stored = await client.get(PODS, "web", "default")
        stored["metadata"]["labels"]["app"] = "other"
        await client.update(PODS, stored)
        await create(client, make.pod("db", DB))
        await until(enforcer, lambda: DB in backend.pods)
        assert not backend.lets(FAR, WEB, "tcp", 80)
        await client.delete(PODS, "web", "default", grace_period_seconds=0)
        await until(enforcer, lambda: WEB not in backend.pods)


@pytest.mark.logs_errors("network policies could not be enforced")
async def test_a_pod_does_not_begin_while_its_rules_cannot_be_applied(client):
    backend = Backend()
    await create(client, make.namespace("default"), deny_all())
    backend.fail_next = [BackendError("nft is not to be had")] * 10_000
    async with enforcing(client, backend, patience_seconds=0.1) as enforcer:
        with pytest.raises(NotYet, match="nft is not to be had"):
            await enforcer.admit(make.pod("web", []), (WEB,))
        backend.fail_next = []
        await enforcer.admit(make.pod("web", []), (WEB,))
        assert not backend.lets(FAR, WEB, "tcp", 80)


async def test_late_news_of_a_pod_do_not_open_the_one_that_took_its_name(client):
    backend = Backend()
    await create(client, make.namespace("default"), deny_all(selector={"app": "db"}))
    old = make.pod("db-0", [], {"app": "before"})
    await create(client, old)
    async with enforcing(client, backend) as enforcer:
        await enforcer.settled()
        new = make.pod("db-0", [], {"app": "db"})
        new["metadata"]["uid"] = "another"
        await enforcer.admit(new, (DB,))
        stored = await client.get(PODS, "db-0", "default")
        stored["metadata"]["labels"]["more"] = "news"
        await client.update(PODS, stored)
        await create(client, make.pod("far", FAR, {"app": "db"}))
        await until(enforcer, lambda: FAR in backend.pods)
        assert not backend.lets(OUTSIDE, DB, "tcp", 80)
        await client.delete(PODS, "db-0", "default", grace_period_seconds=0)
        await create(client, make.pod("web", WEB, {"app": "db"}))
        await until(enforcer, lambda: WEB in backend.pods)
        assert not backend.lets(OUTSIDE, DB, "tcp", 80)


async def test_rules_that_somebody_deleted_are_written_again(client):
    backend = Backend()
    await create(client, make.namespace("default"), deny_all(), make.pod("web", WEB))
    async with enforcing(client, backend) as enforcer:
        await until(enforcer, lambda: WEB in backend.pods)
        backend.lost = True
        await until(enforcer, lambda: not backend.lost)
        assert backend.deltas[-1].whole


async def test_kinds_of_policies_are_followed_once_a_cluster_has_them(client, served):
    backend = Backend()
    await create(client, make.namespace("default"), make.pod("web", WEB))
    async with enforcing(client, backend) as enforcer:
        async with asyncio.timeout(15):
            await backend.removed.wait()
        await client.create(
            CLUSTER_KINDS[0],
            make.cluster_policy("c", ingress=[{"action": "Deny", "from": [{"namespaces": {}}]}]),
        )
        await create(client, make.pod("far", FAR, node="node2"))
        served["/apis/policy.networking.k8s.io"] = {"versions": [{"version": "v1alpha2"}]}
        served["/apis/policy.networking.k8s.io/v1alpha2"] = {"resources": [{"name": "clusternetworkpolicies"}]}
        await until(enforcer, lambda: not backend.lets(FAR, WEB, "tcp", 80))


async def test_a_kind_that_nobody_can_list_keeps_no_policy_from_being_enforced(client, served, monkeypatch):
    backend = Backend()
    await create(client, make.namespace("default"), make.pod("web", WEB), deny_all())
    served["/apis/policy.networking.k8s.io"] = {"versions": [{"version": "v1alpha2"}]}
    served["/apis/policy.networking.k8s.io/v1alpha2"] = {"resources": [{"name": "clusternetworkpolicies"}]}
    list_of = client.list

    async def broken(resource, *arguments, **more):
        if resource == CLUSTER_KINDS[0]:
            raise InternalError("its conversion webhook is dead")
        return await list_of(resource, *arguments, **more)

    monkeypatch.setattr(client, "list", broken)
    async with enforcing(client, backend, kind_seconds=0.01) as enforcer:
        await until(enforcer, lambda: not backend.lets(OUTSIDE, WEB, "tcp", 80))


async def test_what_is_served_no_more_is_dropped(client, monkeypatch):
    dropped = asyncio.Queue()
    follower = Follower(client, PODS, SystemRandom(), lambda _: None, lambda key, _: dropped.put_nowait(key))

    async def gone():
        raise NotFound("not served")

    monkeypatch.setattr(follower, "_watch", gone)
    await create(client, make.pod("web", WEB))
    job = tasks.detach(follower.run(), "follower")
    try:
        assert await asyncio.wait_for(dropped.get(), 15) == ("default", "web")
    finally:
        await tasks.cancel_and_wait(job)


async def test_what_a_former_process_enforced_stays_until_all_kinds_of_policies_are_known(client, monkeypatch):
    """Discovery that fails says nothing about policies of the whole cluster."""
    backend, asked = Backend(), 0
    known = asyncio.Event()

    async def raw(method, path, *_, **__):
        nonlocal asked
        asked += 1
        raise NotFound("not served") if known.is_set() else InternalError("not yet")

    monkeypatch.setattr(client, "raw", raw)
    async with enforcing(client, backend) as enforcer:
        await until(enforcer, lambda: asked > 2)
        assert backend.removals == 0
        known.set()
        async with asyncio.timeout(15):
            await backend.removed.wait()


async def test_one_policy_whose_rules_are_refused_closes_and_the_others_are_enforced(client):
    """Who wrote it is told, once; when it is mended, it is enforced."""
    backend = Backend()
    bad = make.policy("bad", {"app": "db"}, ingress=[{"ports": [{"port": 666, "protocol": "TCP"}]}])
    backend.bad = set(read_policy(bad).ingress)
    await create(
        client, make.namespace("default"), make.pod("web", WEB, {"app": "web"}), make.pod("db", DB, {"app": "db"}),
    )  # fmt: skip
    for number in range(7):
        await create(client, make.policy(f"p{number}", {"app": "web"}, ingress=[{"ports": [{"port": number + 1}]}]))
    async with enforcing(client, backend) as enforcer:
        await until(enforcer, lambda: backend.lets(FAR, WEB, "tcp", 7) and not backend.lets(FAR, WEB, "tcp", 80))
        await create(client, bad)
        await until(enforcer, lambda: not backend.lets(FAR, DB, "tcp", 666))
        await create(client, make.policy("later", {"app": "web"}, ingress=[{"ports": [{"port": 80}]}]))
        await until(enforcer, lambda: backend.lets(FAR, WEB, "tcp", 80))
        assert not backend.lets(FAR, DB, "tcp", 666)
        told = await events(client)
        assert [(each["involvedObject"]["name"], each["type"], each["reason"]) for each in told] == [
            ("bad", "Warning", "NotEnforced")
        ]
        stored = await client.get(NETWORK_POLICIES, "bad", "default")
        stored["spec"]["ingress"][0]["ports"][0]["port"] = 667
        await client.update(NETWORK_POLICIES, stored)
        await until(enforcer, lambda: backend.lets(FAR, DB, "tcp", 667))


async def test_peers_that_are_not_supported_are_told_of_by_an_event(client, served):
    backend = Backend()
    served["/apis/policy.networking.k8s.io"] = {"versions": [{"version": "v1alpha2"}]}
    served["/apis/policy.networking.k8s.io/v1alpha2"] = {"resources": [{"name": "clusternetworkpolicies"}]}
    rules = [
        {"action": "Accept", "to": [{"nodes": {"matchLabels": {"zone": "a"}}}]},
        {"action": "Accept", "to": [{"domainNames": ["example.com"]}]},
    ]
    await client.create(CLUSTER_KINDS[0], make.cluster_policy("c", egress=rules))
    async with enforcing(client, backend):
        (told,) = await events(client)
    assert told["involvedObject"]["apiVersion"] == "policy.networking.k8s.io/v1alpha2"
    assert told["involvedObject"]["kind"] == "ClusterNetworkPolicy"
    assert told["message"] == (
        "not enforced as it stands: egress rule 0 closes: peers by nodes are not supported;"
        " egress rule 1 closes: peers by domainNames are not supported"
    )


async def events(client):
    """Once there are some."""
    async with asyncio.timeout(15):
        while True:
            if found := (await client.list(EVENTS))["items"]:
                return found
            await asyncio.sleep(0)
