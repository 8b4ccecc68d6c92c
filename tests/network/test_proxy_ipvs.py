"""The IPVS back end: virtual servers and their changes as ``ipvsadm`` is told, beside rules. The kernel is a fake."""

import dataclasses
import ipaddress

import network_objects as make
import pytest

from sampan.network.proxy.backend import BackendError
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.ipvs.backend import IpvsBackend, interface, remove
from sampan.network.proxy.ipvs.plan import RealServer, VirtualServer, change, parse, virtual_servers
from sampan.network.proxy.ipvs.render import IpvsRendering
from sampan.network.proxy.memory import MemoryBackend
from sampan.network.proxy.nftables import sets
from sampan.network.proxy.plan import ServiceKey, plan_service
from sampan.network.proxy.rules.values import Chain

NODES = {4: "192.0.2.1", 6: "2001:db8::1"}
WEB = ServiceKey("default", "web")


def planned(*entries, name="web", ip="10.96.0.20", **spec):
    ends = [make.endpoint(*entry) if isinstance(entry, tuple) else make.endpoint(entry) for entry in entries]
    return plan_service(make.service(name, ip, **spec), [make.endpoint_slice(name, ends)], Place("node1"))


class FakeIpvs:
    """Takes ``ipvsadm``'s words and refuses what the kernel would."""

    def __init__(self):
        self.servers = {}
        self.held = None
        self.restored = []

    async def saved(self):
        lines = []
        for (flag, name), (options, reals) in self.servers.items():
            lines.append(f"-A {flag} {name} {options}")
            lines += [f"-a {flag} {name} -r {real} -m -w 1" for real in sorted(reals)]
        return "\n".join(lines) + "\n"

    async def restore(self, text):
        self.restored.append(text)
        for line in text.splitlines():
            verb, flag, name, *rest = line.split()
            known = (flag, name) in self.servers
            if known == (verb == "-A"):
                raise BackendError(f"ipvsadm: {line}")
            if verb in ("-A", "-E"):
                reals = self.servers[flag, name][1] if known else set()
                self.servers[flag, name] = " ".join(rest), reals
            elif verb == "-D":
                del self.servers[flag, name]
            elif verb == "-a":
                assert rest[2:] == ["-m", "-w", "1"]
                self.servers[flag, name][1].add(rest[1])
            else:
                self.servers[flag, name][1].remove(rest[1])

    async def addresses(self, _):
        return None if self.held is None else frozenset(self.held)

    async def make(self, _):
        assert self.held is None
        self.held = set()

    async def change_addresses(self, _, add, remove):
        assert not self.held & set(add)
        self.held |= set(add)
        self.held -= set(remove)

    async def remove(self, _):
        self.held = None


def test_a_service_has_a_virtual_server_for_each_way_in():
    plan = planned(
        "10.244.0.2",
        type="LoadBalancer",
        ports=[make.port(80, nodePort=30080)],
        externalIPs=["198.51.100.7"],
        sessionAffinity="ClientIP",
    )
    servers = virtual_servers(plan, NODES, "rr")
    assert {(server.address, server.port): server.options for server in servers} == {
        ("10.96.0.20", 80): "-s rr -p 10800",
        ("198.51.100.7", 80): "-s rr -p 10800",
        ("192.0.2.1", 30080): "-s rr -p 10800",
    }
    assert set(servers.values()) == {frozenset({RealServer("10.244.0.2", 8080)})}


def test_policy_local_means_the_node_s_own_endpoints_from_outside_alone():
    plan = planned(
        "10.244.0.2",
        ("10.244.1.2", "node2"),
        type="NodePort",
        externalTrafficPolicy="Local",
        ports=[make.port(80, nodePort=30080)],
    )
    servers = {
        server.address: {real.ip for real in reals} for server, reals in virtual_servers(plan, NODES, "sh").items()
    }
    assert servers == {"10.96.0.20": {"10.244.0.2", "10.244.1.2"}, "192.0.2.1": {"10.244.0.2"}}


@pytest.mark.parametrize("scheduler", ["rr", "lc", "sh"])
def test_golden_words(scheduler):
    one, two = RealServer("10.244.0.2", 8080), RealServer("fd00::2", 8080)
    server = VirtualServer("tcp", "10.96.0.20", 80, scheduler)
    other = VirtualServer("sctp", "fd00::1", 80, scheduler, 60)
    made = change({}, {server: frozenset({one}), other: frozenset({two})})
    assert made == (
        f"-A -t 10.96.0.20:80 -s {scheduler}\n-a -t 10.96.0.20:80 -r 10.244.0.2:8080 -m -w 1\n"
        f"-A --sctp-service [fd00::1]:80 -s {scheduler} -p 60\n"
        f"-a --sctp-service [fd00::1]:80 -r [fd00::2]:8080 -m -w 1\n"
    )
    assert parse(made) == {server: frozenset({one}), other: frozenset({two})}


def test_servers_that_stay_keep_their_connections_and_new_endpoints_come_before_old_ones_go():
    old, new = RealServer("10.244.0.2", 8080), RealServer("10.244.0.3", 8080)
    before = VirtualServer("udp", "10.96.0.20", 53)
    after = dataclasses.replace(before, scheduler="lc")
    assert change({before: frozenset({old})}, {after: frozenset({new})}) == (
        "-E -u 10.96.0.20:53 -s lc\n"
        "-a -u 10.96.0.20:53 -r 10.244.0.3:8080 -m -w 1\n"
        "-d -u 10.96.0.20:53 -r 10.244.0.2:8080\n"
    )
    assert change({before: frozenset({old})}, {before: frozenset({old})}) == ""
    assert change({before: frozenset({old})}, {}) == "-D -u 10.96.0.20:53\n"


@pytest.fixture
def kernel():
    return FakeIpvs()


@pytest.fixture
def backend(config, kernel):
    return IpvsBackend(config, "rr", MemoryBackend(), kernel)


async def test_any_changes_end_where_a_fresh_start_would(backend, kernel, config):
    for count in (1, 3, 0, 2, 1):
        backend.plan(WEB, planned(*(f"10.244.0.{n + 2}" for n in range(count)), externalIPs=["198.51.100.7"]))
        other = planned("10.244.0.9", name="other", ip="10.96.0.30", externalIPs=["198.51.100.7"])
        backend.plan(other.key, other)
        await backend.apply()
        fresh_kernel = FakeIpvs()
        fresh = IpvsBackend(config, "rr", MemoryBackend(), fresh_kernel)
        for plan in (other, planned(*(f"10.244.0.{n + 2}" for n in range(count)), externalIPs=["198.51.100.7"])):
            fresh.plan(plan.key, plan)
        await fresh.apply()
        assert (kernel.servers, kernel.held) == (fresh_kernel.servers, fresh_kernel.held)
    assert "-r 10.244.0.2:8080" in await kernel.saved()


async def test_a_restart_takes_over_what_it_finds_and_others_keep_theirs(backend, kernel, config):
    kernel.servers = {("-t", "203.0.113.1:80"): ("-s rr", {"203.0.113.2:80"})}
    backend.plan(WEB, planned("10.244.0.2"))
    await backend.apply()
    again = IpvsBackend(config, "rr", MemoryBackend(), kernel)
    again.plan(WEB, planned("10.244.0.2"))
    await again.apply()
    assert kernel.restored[-1] == ""
    emptied = IpvsBackend(config, "rr", MemoryBackend(), kernel)
    await emptied.apply()
    assert set(kernel.servers) == {("-t", "203.0.113.1:80")}
    assert kernel.held == set()


async def test_servers_that_somebody_removed_are_made_again(backend, kernel):
    backend.plan(WEB, planned("10.244.0.2"))
    await backend.apply()
    before = dict(kernel.servers)
    kernel.servers.clear()
    await backend.repair(whole=False)
    await backend.apply()
    assert kernel.servers == before


async def test_an_instance_goes_with_its_servers_and_interface(backend, kernel):
    backend.plan(WEB, planned("10.244.0.2"))
    await backend.apply()
    kernel.servers["-t", "203.0.113.1:80"] = ("-s rr", set())
    await remove("test", kernel)
    assert kernel.held is None
    assert set(kernel.servers) == {("-t", "203.0.113.1:80")}
    await remove("test", kernel)


@pytest.mark.parametrize("instance", ["default", "x" * 40])
def test_the_interface_s_name_is_short_enough(instance):
    assert len(interface(instance)) <= 15


def test_rules_beside_servers_masquerade_and_refuse_and_translate_nothing(config):
    rendering = IpvsRendering(config)
    contents = rendering.service(
        planned("10.244.0.2", type="NodePort", ports=[make.port(80, nodePort=30080)], externalIPs=["198.51.100.7"])
    )
    assert contents.chains == {}
    assert contents.collections == {
        sets.V4.cluster_ips: {"10.96.0.20": ""},
        sets.V4.hairpin: {"10.244.0.2 . 10.244.0.2": ""},
        sets.V4.masqueraded_ips: {"198.51.100.7 . tcp . 80": ""},
        sets.V4.masqueraded_nodeports: {"tcp . 30080": ""},
    }
    assert rendering.service(planned()).collections[sets.V4.no_endpoint_ips] == {"10.96.0.20 . tcp . 80": ""}
    far = planned(
        ("10.244.1.2", "node2"), type="LoadBalancer", externalTrafficPolicy="Local", externalIPs=["198.51.100.7"]
    )
    assert rendering.service(far).collections[sets.V4.silent_ips] == {"198.51.100.7 . tcp . 80": ""}
    assert rendering.base().chains[Chain("unknown-ports")] == ()


def test_families_that_a_cluster_has_not_are_left_alone():
    plan = planned("10.244.0.2")
    assert virtual_servers(plan, {6: "2001:db8::1"}, "rr") == {}
    assert all(ipaddress.ip_address(server.address).version == 4 for server in virtual_servers(plan, NODES, "rr"))
