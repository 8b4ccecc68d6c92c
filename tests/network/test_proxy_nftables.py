"""The nftables back end: what changes cost, what others did, and what nft does not take."""

import asyncio
import dataclasses
import ipaddress
import random
import re
import threading

import network_objects as make
import pytest

from sampan.network.proxy import NftBackend, NodeReach
from sampan.network.proxy.backend import BackendError
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.memory import MemoryBackend
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.nftables.fake import FakeNft
from sampan.network.proxy.nftables.nft import render_transaction
from sampan.network.proxy.nftables.sets import V4
from sampan.network.proxy.plan import ServiceKey, plan_service
from sampan.network.proxy.reach import has_route, has_route6
from sampan.network.proxy.rules.values import Element, NftError, NftUnavailable, Op, Table

PLACE = Place("node1")


class PickyNft(FakeNft):
    """Refuses every transaction in whose text ``disliked`` stands; counts what it is given."""

    def __init__(self, disliked="\0"):
        super().__init__()
        self.disliked = disliked
        self.given = 0

    async def apply(self, transaction):
        self.given += 1
        if self.disliked in render_transaction("t", transaction):
            raise NftError("Error: syntax error")
        await super().apply(transaction)


def service(name, number, endpoints=2, **spec):
    obj = make.service(name, f"10.97.{number // 250}.{number % 250 + 1}", **spec)
    ends = [make.endpoint(f"10.244.{n // 250}.{n % 250 + 1}") for n in range(endpoints)]
    return plan_service(obj, [make.endpoint_slice(name, ends)], PLACE)


def put(backend, plan):
    backend.plan(plan.key, plan)


async def same_as_fresh(backend, nft, config, plans, ports=()):
    fresh = FakeNft()
    other = NftBackend(config, fresh)
    for plan in plans.values():
        put(other, plan)
    other.plan_host_ports(ports)
    await other.apply()
    assert meaning(nft) == meaning(fresh)


def meaning(nft):
    """What a table says, without the numbers that endpoints have in it."""
    contents = nft._contents
    numbered = {V4.tcp_endpoints.name, V4.sticky_endpoints.name}

    def resolved(rule):
        drawn = re.search(r"numgen random mod (\d+) offset (\d+) v?map @([\w-]+)", rule)
        if not drawn:
            return rule
        count, first, name = int(drawn[1]), int(drawn[2]), drawn[3]
        return rule[: drawn.start()], [contents.elements[name][str(first + index)] for index in range(count)]

    used = sum(len(elements) for name, elements in contents.elements.items() if name in numbered)
    chains = {name: [resolved(rule) for rule in rules] for name, rules in contents.chains.items()}
    elements = {name: elements for name, elements in contents.elements.items() if name not in numbered}
    return chains, contents.collections, elements, used


@pytest.mark.parametrize("seed", range(8))
async def test_after_any_changes_the_table_is_what_a_fresh_one_would_be(config, seed):
    """Services that share addresses, endpoints and node ports, sticky and not, come, change and go."""
    chance = random.Random(seed)
    nft = FakeNft()
    backend = NftBackend(config, nft)
    plans, ports = {}, ()
    for _ in range(40):
        for _ in range(chance.randrange(1, 4)):
            name = f"s{chance.randrange(5)}"
            if chance.random() < 0.3:
                plans.pop(ServiceKey("default", name), None)
                backend.plan(ServiceKey("default", name), None)
                continue
            spec = {
                "type": "NodePort",
                "ports": [make.port(chance.choice([80, 81]), nodePort=30000 + chance.randrange(3))],
                "externalIPs": [f"198.51.100.{chance.randrange(3)}"],
                "sessionAffinity": chance.choice(["None", "ClientIP"]),
                "externalTrafficPolicy": chance.choice(["Cluster", "Local"]),
            }
            plan = service(name, chance.randrange(3), chance.randrange(4), **spec)
            plans[plan.key] = plan
            put(backend, plan)
        if chance.random() < 0.3:
            ports = tuple(HostPort("", "tcp", 8000 + n, f"10.244.0.{n + 1}", 80) for n in range(chance.randrange(3)))
            backend.plan_host_ports(ports)
        if chance.random() < 0.1:
            nft.fail_next = [NftError("no")]
        if chance.random() < 0.1:
            nft.lose_table()
            if chance.random() < 0.5:
                await backend.repair(whole=False)
            else:  # noticed by the next change
                known = plans.get(ServiceKey("default", "s9"))
                plan = plans[ServiceKey("default", "s9")] = service(
                    "s9", 9, 1 if known is None else len(known.ports[0].choice.cluster) + 1
                )
                put(backend, plan)
        await backend.apply()
        await same_as_fresh(backend, nft, config, plans, ports)


async def test_a_change_costs_the_same_whatever_there_is_of_others(config):
    sizes = []
    for others in (10, 400):
        nft = FakeNft()
        backend = NftBackend(config, nft)
        for number in range(others):
            put(backend, service(f"s{number}", number))
        await backend.apply()
        looked_at = []
        change = backend._claims.change

        def counting(wanted, change=change, looked_at=looked_at):
            looked_at.extend(wanted)
            return change(wanted)

        backend._claims.change = counting
        put(backend, service("s3", 3, endpoints=3))
        await backend.apply()
        sizes.append((len(looked_at), len(nft.applied[-1])))
    assert sizes[0] == sizes[1] == (1, 6)
    # Nothing that the kernel would have to look through the whole table for: no rule, nothing that leads to a chain.
    assert all(isinstance(op.object, Element) and "verdict" not in op.object.collection.type for op in nft.applied[-1])


async def test_what_is_as_it_was_is_no_transaction(config):
    nft = FakeNft()
    backend = NftBackend(config, nft)
    put(backend, service("web", 1))
    assert await backend.apply()
    put(backend, service("web", 1))
    assert not await backend.apply()
    put(backend, service("web", 1, endpoints=3))
    put(backend, service("web", 1))
    assert not await backend.apply()
    assert len(nft.applied) == 1


@pytest.mark.parametrize("others", [0, 1, 6, 33])
async def test_what_nft_does_not_take_costs_one_service_alone(config, others, caplog):
    nft = PickyNft("10.97.0.201")
    backend = NftBackend(config, nft)
    for number in range(others):
        put(backend, service(f"good{number}", number))
    put(backend, service("bad", 200))
    await backend.apply()
    assert len(await nft.elements(V4.cluster_ips)) == others + 1
    assert "Service default/bad stays as it was" in caplog.text
    assert nft.given <= 4 + 2 * 7
    put(backend, service("late", 201))
    await backend.apply()
    assert len(await nft.elements(V4.cluster_ips)) == others + 2
    nft.disliked = "\0"
    await backend.repair(whole=True)
    await backend.apply()
    assert len(await nft.elements(V4.cluster_ips)) == others + 3


async def test_a_change_that_nft_does_not_take_leaves_the_service_as_it_was(config):
    nft = PickyNft("10.244.0.3")
    backend = NftBackend(config, nft)
    put(backend, service("web", 1))
    await backend.apply()
    before = nft._contents
    put(backend, service("web", 1, endpoints=3))
    await backend.apply()
    assert nft._contents == before
    put(backend, service("web", 1, endpoints=1))
    await backend.apply()
    await same_as_fresh(backend, nft, config, {"web": service("web", 1, endpoints=1)})


async def test_an_nft_that_cannot_run_blames_no_service(config, caplog):
    nft = FakeNft()
    backend = NftBackend(config, nft)
    put(backend, service("web", 1))
    nft.fail_next = [NftUnavailable("nft cannot be run"), NftUnavailable("nft cannot be run")]
    with pytest.raises(BackendError, match="nft cannot be run"):
        await backend.apply()
    assert "stays as it was" not in caplog.text
    await backend.apply()
    assert "10.97.0.2" in await nft.elements(V4.cluster_ips)


async def test_a_cancelled_change_is_followed_by_the_whole_table(config):
    class Slow(FakeNft):
        async def apply(self, transaction):
            if slow:
                await asyncio.Event().wait()
            await super().apply(transaction)

    slow, nft = False, Slow()
    backend = NftBackend(config, nft)
    await backend.apply()
    slow = True
    put(backend, service("web", 1))
    job = asyncio.ensure_future(backend.apply())
    await asyncio.sleep(0)
    job.cancel()
    await asyncio.wait([job])
    slow = False
    await backend.apply()
    assert nft.applied[-1][0] == Op("add", Table())
    assert "10.97.0.2" in await nft.elements(V4.cluster_ips)


async def test_many_services_that_change_at_once_end_as_a_fresh_table_would(config):
    nft = FakeNft()
    backend = NftBackend(config, nft)
    await backend.apply()
    plans = {}
    for count in (2, 3):
        for number in range(60):
            plan = service(f"s{number}", number, endpoints=count)
            plans[plan.key] = plan
            put(backend, plan)
        await backend.apply()
        await same_as_fresh(backend, nft, config, plans)


async def test_of_two_claims_the_next_counts_when_the_first_goes(config):
    nft = FakeNft()
    backend = NftBackend(config, nft)
    port = HostPort("", "tcp", 8080, "10.244.0.9", 80)
    backend.plan_host_ports([port, HostPort("", "tcp", 8080, "10.244.0.10", 80)])
    put(backend, service("b", 1, endpoints=0))
    put(backend, service("a", 1, endpoints=0))
    await backend.apply()
    assert await nft.elements(V4.host_ports) == {"tcp . 8080": "10.244.0.9 . 80"}
    backend.plan(ServiceKey("default", "a"), None)
    await backend.apply()
    assert set(await nft.elements(V4.no_endpoint_ips)) == {"10.97.0.2 . tcp . 80"}


async def test_the_memory_back_end_keeps_the_same_contract():
    backend = MemoryBackend()
    put(backend, service("web", 1))
    assert backend.services == {}
    assert await backend.apply()
    assert backend.services == {ServiceKey("default", "web"): service("web", 1)}
    put(backend, service("web", 1))
    assert not await backend.apply()
    backend.fail_next = [BackendError("no")]
    backend.plan(ServiceKey("default", "web"), None)
    with pytest.raises(BackendError):
        await backend.apply()
    assert await backend.apply()
    assert backend.services == {}


ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
br0 0000F40A 00000000 0001 0 0 0 00FFFFFF 0 0 0
"""


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", False),
        ("eth0 00000000 020200C0 0003 0 0 0 00000000 0 0 0", True),
        ("br0 0000600A 00000000 0001 0 0 0 0000FFFF 0 0 0", True),
        ("br0 0000600A 00000000 0000 0 0 0 0000FFFF 0 0 0", False),  # it is down
        ("br0 0000610A 00000000 0001 0 0 0 0000FFFF 0 0 0", False),
        ("strange", False),
    ],
)
def test_a_route_to_services_is_found_in_the_kernel_s_table(more, found):
    assert has_route(ROUTES + more, ipaddress.IPv4Address("10.96.0.1")) is found


ROUTES6 = """fd000010024400000000000000000000 40 00 00 00000000000000000000000000000000 00000100 1 0 00000001 br0
00000000000000000000000000000000 00 00 00 00000000000000000000000000000000 ffffffff 1 0 00200200 lo
"""


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", False),  # the kernel's own default refuses
        ("0" * 32 + " 00 00 00 20010db8000000000000000000000002 00000400 1 0 00000003 eth0", True),
        ("fd000010009600000000000000000000 70 00 00 00000000000000000000000000000000 00000400 1 0 00000001 br0", True),
        ("fd000010009700000000000000000000 70 00 00 00000000000000000000000000000000 00000400 1 0 00000001 br0", False),
        ("strange", False),
    ],
)
def test_a_route_to_services_of_ipv6_is_found_in_the_kernel_s_table(more, found):
    assert has_route6(ROUTES6 + more, ipaddress.IPv6Address("fd00:10:96::1")) is found


async def test_without_bridge_or_switch_the_rules_are_applied_all_the_same(config, tmp_path, caplog):
    config = dataclasses.replace(config, bridge="br9", service_cidr="10.96.0.0/16")
    nft = FakeNft()
    backend = NftBackend(config, nft, NodeReach(config, proc=tmp_path))
    await backend.apply()
    (tmp_path / "sys/net/ipv4/conf/br9/route_localnet").mkdir(parents=True)
    put(backend, service("web", 1))
    await backend.apply()
    await backend.apply()
    assert "10.97.0.2" in await nft.elements(V4.cluster_ips)
    said = [record for record in caplog.records if "out of reach" in record.getMessage()]
    assert [record.getMessage().rpartition(": ")[2] for record in said] == ["is a directory"]


async def test_affinity_of_very_many_endpoints_costs_no_set_of_each(config):
    """A chain and a set of each of them would take the kernel minutes, and no other Service could be changed."""
    nft = FakeNft()
    backend = NftBackend(config, nft)
    most = [service("most", 1, 250, sessionAffinity="ClientIP"), service("more", 2, 501, sessionAffinity="ClientIP")]
    for plan in most:
        put(backend, plan)
    await backend.apply()
    names = [name for _, name in await nft.names()]
    assert len([name for name in names if name.startswith("affinity/default/most/")]) == 250
    assert not [name for name in names if name.startswith(("affinity/default/more/", "endpoint/default/more/"))]
    assert nft.rules("service/default/more/tcp/80") == [
        "meta l4proto tcp dnat ip to jhash ip saddr mod 501 seed 0x5a3b offset 256 map @tcp-endpoints"
    ]


@pytest.mark.parametrize("version", [4, 6])
async def test_the_kernel_takes_what_sends_a_client_where_its_address_says(lab, config, version):
    config = dataclasses.replace(
        config,
        node_address="192.0.2.1,2001:db8::1",
        node_pod_cidr="10.244.0.0/24,fd00:10:244::/64",
        cluster_pod_cidr="10.244.0.0/16,fd00:10:244::/48",
        dns_ip="",
        instance=f"hash{version}",
    )
    ends = [f"10.244.{n // 250}.{n % 250 + 1}" if version == 4 else f"fd00:10:244::{n + 1:x}" for n in range(501)]
    slices = [make.endpoint_slice("web", [make.endpoint(end) for end in ends], addressType=f"IPv{version}")]
    ip = "10.97.0.1" if version == 4 else "fd00:10:96::20"
    backend = NftBackend(config, lab.nft(config.table, "pod2"))
    put(backend, plan_service(make.service("web", ip, sessionAffinity="ClientIP"), slices, PLACE))
    try:
        await backend.apply()
        listed = await lab.nft(config.table, "pod2").names()
        assert ("chain", f"service/default/web/tcp/80{'' if version == 4 else '/ip6'}") in listed
    finally:
        await lab.nft(config.table, "pod2").apply([Op("delete", Table())])
        await backend.close()


async def test_a_service_of_very_many_endpoints_is_rendered_in_a_thread_and_may_change_before(config):
    nft = FakeNft()
    backend = NftBackend(config, nft)
    rendering, threads = backend._rendering, []

    class Watched:
        def __getattr__(self, name):
            return getattr(rendering, name)

        def service(self, plan):
            threads.append(threading.current_thread() is not threading.main_thread())
            return rendering.service(plan)

    backend._rendering = Watched()
    put(backend, service("large", 1, 400))
    put(backend, service("small", 2))
    put(backend, service("gone", 3, 400))
    backend.plan(ServiceKey("default", "gone"), None)
    await backend.apply()
    assert threads == [False, True]
    put(backend, service("large", 1, 400))
    assert not await backend.apply()
    put(backend, service("large", 1, 401))
    put(backend, service("large", 1))
    await backend.apply()
    plans = {name: service(name, number) for name, number in (("large", 1), ("small", 2))}
    await same_as_fresh(backend, nft, config, plans)
