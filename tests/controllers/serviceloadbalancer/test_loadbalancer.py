"""LoadBalancers without a cloud: who gets which address, who is refused by name, and that nothing is left over."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import loadbalancing as balancing
from sampan.api.resources import CONFIG_MAPS, ENDPOINT_SLICES, EVENTS, NODES, PODS, SERVICES
from sampan.client.client import Client
from sampan.controllers.serviceloadbalancer import plan
from sampan.controllers.serviceloadbalancer.controller import ServiceLoadBalancerController, _pool_addresses
from sampan.controllers.serviceloadbalancer.plan import NodeView
from sampan.server.app import Server
from sampan.server.config import ServerConfig

Obj = dict[str, Any]
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
MARK = "loadbalancer.sampan.io/class"


def service(name: str = "web", *ports: int, balancer_class: str = "", created: int = 0, **spec: Any) -> Obj:
    listed = [{"port": port, "protocol": "TCP"} for port in ports or (80,)]
    named = {"loadBalancerClass": balancer_class} if balancer_class else {}
    meta = {"name": name, "namespace": "default", "uid": name, "creationTimestamp": f"2026-01-01T00:00:{created:02}Z"}
    wanted = {"type": "LoadBalancer", "ports": listed, "ipFamilies": ["IPv4"], **named, **spec}
    return {"metadata": meta, "spec": wanted, "status": {"loadBalancer": {}}}


def node(name: str, *addresses: str, ready: bool = True, busy: str = "", **labels: str) -> Obj:
    told = {balancing.HOST_PORTS: busy}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": told},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "addresses": [{"type": "InternalIP", "address": each} for each in addresses],
        },
    }


def as_given(address: str, owner: Obj) -> Obj:
    """An address of a node as a status has it."""
    ports = [{"port": each["port"], "protocol": "TCP"} for each in owner["spec"]["ports"]]
    return {"ip": address, "ipMode": "VIP", "ports": ports}


def pools(**data: str) -> Obj:
    return {"metadata": {"name": "sampan-loadbalancer", "namespace": "kube-system"}, "data": data}


def endpoints(owner: str, *nodes: str) -> Obj:
    meta = {"name": f"{owner}-1", "namespace": "default", "labels": {"kubernetes.io/service-name": owner}}
    listed = [{"addresses": ["10.244.0.9"], "nodeName": each, "conditions": {"ready": True}} for each in nodes]
    return {"metadata": meta, "addressType": "IPv4", "endpoints": listed}


@pytest.fixture
async def cluster(api: Any, context: Any, running: Any, wait: Any) -> AsyncIterator[Cluster]:
    async with running(ServiceLoadBalancerController(context)):
        yield Cluster(api, wait)


class Cluster:
    def __init__(self, api: Any, wait: Any) -> None:
        self.api, self._wait = api, wait

    async def has(self, name: str, *addresses: str) -> None:
        await self._wait.until(lambda: balancing.addresses(self.service(name)) == addresses)

    async def told(self, message: str) -> None:
        await self._wait.until(lambda: any(message in said for _, said in self.events()))

    async def quiet(self) -> None:
        await self._wait.quiet(self.api)

    def service(self, name: str = "web") -> Obj:
        found: Obj = next(each for each in self.api.all(SERVICES) if each["metadata"]["name"] == name)
        return found

    def events(self) -> list[tuple[str, str]]:
        return [(event["reason"], event["message"]) for event in self.api.all(EVENTS)]


async def test_a_service_without_a_class_gets_the_addresses_of_ready_nodes(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1"))
    api.add(NODES, node("b", "192.0.2.2", ready=False))
    api.add(NODES, node("c", "192.0.2.3", **{plan.EXCLUDED: ""}))
    api.add(SERVICES, service())
    await cluster.has("web", "192.0.2.1")
    await cluster.told("Ensured load balancer")
    assert cluster.service()["metadata"]["finalizers"] == [FINALIZER]
    assert cluster.service()["status"]["loadBalancer"]["ingress"] == [
        {"ip": "192.0.2.1", "ipMode": "VIP", "ports": [{"port": 80, "protocol": "TCP"}]}
    ]
    assert [reason for reason, _ in cluster.events()] == ["EnsuringLoadBalancer", "EnsuredLoadBalancer"]
    api.change(NODES, "", "b", lambda held: held.update(node("b", "192.0.2.2")))
    await cluster.has("web", "192.0.2.1", "192.0.2.2")
    await cluster.told("Updated load balancer with new hosts")


async def test_the_last_ready_node_keeps_its_address_and_no_node_is_told_of(cluster: Cluster) -> None:
    api = cluster.api
    api.add(SERVICES, service())
    await cluster.told("There are no available nodes for LoadBalancer")
    api.add(NODES, node("a", "192.0.2.1"))
    await cluster.has("web", "192.0.2.1")
    api.change(NODES, "", "a", lambda held: held.update(node("a", "192.0.2.1", ready=False)))
    await cluster.quiet()
    await cluster.has("web", "192.0.2.1")


async def test_a_port_of_a_node_belongs_to_one_service_and_the_next_has_it_when_that_goes(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1"))
    api.add(SERVICES, service("first"))
    await cluster.has("first", "192.0.2.1")
    api.add(SERVICES, service("second"))
    await cluster.told("port TCP/80 of 192.0.2.1 belongs to Service default/first")
    await cluster.has("second")
    assert cluster.service("second")["metadata"]["finalizers"] == [FINALIZER]
    api.change(SERVICES, "default", "first", lambda held: held["spec"].update(type="ClusterIP"))
    await cluster.has("second", "192.0.2.1")
    await cluster.has("first")
    assert not cluster.service("first")["metadata"].get("finalizers")
    assert MARK not in cluster.service("first")["metadata"].get("annotations", {})


async def test_programs_node_ports_and_host_ports_of_the_node_keep_theirs(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1", busy="TCP/22,TCP/6443"))
    ported = service("ported", 81, balancer_class="example.com/other")
    ported["spec"]["ports"][0]["nodePort"] = 30081
    api.add(SERVICES, ported)
    container = {"name": "c", "ports": [{"containerPort": 1, "hostPort": 8080, "protocol": "TCP"}]}
    api.add(PODS, {"metadata": {"name": "p", "namespace": "x"}, "spec": {"nodeName": "a", "containers": [container]}})
    for name, port in ("ssh", 22), ("np", 30081), ("hp", 8080):
        api.add(SERVICES, service(name, port))
    await cluster.told("port TCP/22 of 192.0.2.1 belongs to a program of node a")
    await cluster.told("port TCP/30081 of 192.0.2.1 belongs to Service default/ported, as its node port")
    await cluster.told("port TCP/8080 of 192.0.2.1 belongs to Pod x/p, as its host port")
    for name in ("ssh", "np", "hp", "ported"):
        await cluster.has(name)
    assert not cluster.service("ported")["metadata"].get("finalizers")


async def test_a_program_that_comes_later_does_not_take_the_port_and_is_told_of_once(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1"))
    api.add(SERVICES, service())
    await cluster.has("web", "192.0.2.1")
    api.change(NODES, "", "a", lambda held: held.update(node("a", "192.0.2.1", busy="TCP/80")))
    await cluster.told("port TCP/80 of 192.0.2.1 leads here; a program of node a listens there too")
    await cluster.has("web", "192.0.2.1")
    api.change(NODES, "", "a", lambda held: held.update(node("a", "192.0.2.1", busy="TCP/22,TCP/80")))
    await cluster.quiet()
    assert [reason for reason, _ in cluster.events()].count("PortInUse") == 1


@pytest.mark.parametrize("port", [22, 443, 6443, 10250])
async def test_whoever_has_an_address_of_a_node_cannot_write_himself_a_port_of_its_programs(
    cluster: Cluster, port: int
) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1", busy="TCP/22,TCP/443,TCP/6443,TCP/10250"))
    api.add(SERVICES, service())
    await cluster.has("web", "192.0.2.1")
    api.change(SERVICES, "default", "web", lambda held: held["spec"].update(ports=service("x", port)["spec"]["ports"]))
    await cluster.told(f"port TCP/{port} of 192.0.2.1 belongs to a program of node a")
    await cluster.has("web")


async def test_no_port_is_given_that_is_asked_for_while_no_node_is_ready(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1", busy="TCP/22"))
    api.add(SERVICES, service())
    await cluster.has("web", "192.0.2.1")
    api.change(NODES, "", "a", lambda held: held.update(node("a", "192.0.2.1", busy="TCP/22", ready=False)))
    api.change(SERVICES, "default", "web", lambda held: held["spec"].update(ports=service("x", 22)["spec"]["ports"]))
    await cluster.quiet()
    assert balancing.granted(cluster.service()) == (("192.0.2.1", "TCP/80"),)


async def test_a_node_that_has_not_told_what_it_listens_on_gives_no_port_away(cluster: Cluster) -> None:
    api = cluster.api
    silent = node("a", "192.0.2.1")
    del silent["metadata"]["annotations"]
    api.add(NODES, silent)
    api.add(SERVICES, service("ssh", 22))
    await cluster.told("node a has not told yet which ports of 192.0.2.1 belong to its programs")
    await cluster.has("ssh")
    api.change(NODES, "", "a", lambda held: held.update(node("a", "192.0.2.1", busy="TCP/443")))
    await cluster.has("ssh", "192.0.2.1")


def test_a_service_whose_annotations_were_taken_off_keeps_its_address_from_those_who_wait() -> None:
    held = service()
    held["status"]["loadBalancer"]["ingress"] = [{"ip": "198.51.100.1", "ipMode": "VIP"}]
    assert tuple(_pool_addresses(held)) == ("198.51.100.1",)
    held["status"]["loadBalancer"]["ingress"] = [as_given("192.0.2.1", held)]
    assert not _pool_addresses(held)  # a node's, of which others have other ports


async def test_a_local_service_has_the_nodes_with_its_endpoints(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1"))
    api.add(NODES, node("b", "192.0.2.2"))
    api.add(ENDPOINT_SLICES, endpoints("web", "b"))
    api.add(SERVICES, service(externalTrafficPolicy="Local"))
    await cluster.has("web", "192.0.2.2")
    api.change(ENDPOINT_SLICES, "default", "web-1", lambda held: held.update(endpoints("web", "a", "b")))
    await cluster.has("web", "192.0.2.1", "192.0.2.2")


async def test_an_address_of_a_pool_is_one_services_and_comes_back_when_it_goes(cluster: Cluster) -> None:
    api = cluster.api
    l2 = balancing.LAYER2_CLASS
    api.add(NODES, node("a", "192.0.2.10"))
    api.add(SERVICES, service("one", balancer_class=l2))
    await cluster.told("there is no pool of addresses in ConfigMap kube-system/sampan-loadbalancer")
    api.add(CONFIG_MAPS, pools(office="192.0.2.10-192.0.2.11, nonsense"))
    await cluster.has("one", "192.0.2.11")  # the node's own address is nobody's
    await cluster.told("node a announces 192.0.2.11")
    await cluster.told('office: "nonsense" is not a range')
    assert balancing.announced_by(cluster.service("one")) == "a"
    api.add(SERVICES, service("two", balancer_class=l2))
    await cluster.told("no address is free in the pools")
    api.add(SERVICES, service("wish", balancer_class=l2, loadBalancerIP="192.0.2.11"))
    await cluster.told("loadBalancerIP 192.0.2.11 belongs to Service default/one")
    api.change(
        SERVICES, "default", "one", lambda held: held["metadata"].update(deletionTimestamp="2026-01-01T02:00:00Z")
    )
    await cluster.has("two", "192.0.2.11")
    api.change(
        CONFIG_MAPS, "kube-system", "sampan-loadbalancer", lambda held: held.update(pools(lab="198.51.100.0/30"))
    )
    await cluster.has("two", "198.51.100.0")
    await cluster.told("loadBalancerIP 192.0.2.11 is in no pool")


async def test_a_service_without_its_mark_is_let_go_all_the_same_when_it_is_deleted(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1"))
    lone = service()
    lone["metadata"].update(deletionTimestamp="2026-01-01T02:00:00Z", finalizers=[FINALIZER, "example.com/other"])
    api.add(SERVICES, lone)
    foreign = service("foreign", balancer_class="example.com/other")
    foreign["metadata"].update(deletionTimestamp="2026-01-01T02:00:00Z", finalizers=[FINALIZER])
    api.add(SERVICES, foreign)
    await cluster.told("Deleted load balancer")
    await cluster.quiet()
    assert cluster.service("web")["metadata"]["finalizers"] == ["example.com/other"]
    assert cluster.service("foreign")["metadata"]["finalizers"] == [FINALIZER]


async def test_another_ready_node_announces_when_the_first_is_not_ready(cluster: Cluster) -> None:
    api = cluster.api
    api.add(CONFIG_MAPS, pools(lab="198.51.100.1,2001:db8::1"))
    for name, address in ("a", "192.0.2.1"), ("b", "192.0.2.2"):
        api.add(NODES, node(name, address))
    api.add(SERVICES, service(balancer_class=balancing.LAYER2_CLASS, ipFamilies=["IPv6", "IPv4"]))
    await cluster.has("web", "2001:db8::1", "198.51.100.1")
    first = balancing.announced_by(cluster.service())
    other = "b" if first == "a" else "a"
    api.change(NODES, "", first, lambda held: held["status"].update(conditions=[{"type": "Ready", "status": "False"}]))
    await cluster.told(f"node {other} announces 2001:db8::1, 198.51.100.1")
    api.change(NODES, "", first, lambda held: held["status"].update(conditions=[{"type": "Ready", "status": "True"}]))
    await cluster.quiet()
    assert balancing.announced_by(cluster.service()) == other  # it does not move without need


async def test_the_pools_say_what_services_without_a_class_get(cluster: Cluster) -> None:
    api = cluster.api
    api.add(NODES, node("a", "192.0.2.1"))
    api.add(CONFIG_MAPS, pools(lab="198.51.100.1", **{"default-class": "sampan.io/l2"}))
    api.add(SERVICES, service())
    await cluster.has("web", "198.51.100.1")
    none = pools(lab="198.51.100.1", **{"default-class": "none"})
    api.change(CONFIG_MAPS, "kube-system", "sampan-loadbalancer", lambda held: held.update(none))
    await cluster.quiet()
    api.add(SERVICES, service("late"))
    await cluster.quiet()
    await cluster.has("late")
    assert "finalizers" not in cluster.service("late")["metadata"]  # another program's to serve
    await cluster.has("web", "198.51.100.1")


async def test_the_real_server_takes_what_the_controller_writes_with_its_role(make_context: Any, run_with: Any) -> None:
    """Upstream's role lets it write statuses alone: finalizer, mark and addresses go in one patch of the status."""
    async with Server(ServerConfig(listen=False, openapi=False)) as server:
        admin = Client(server.local_transport())
        account = Client(server.local_transport("system:serviceaccount:kube-system:service-controller"))
        context = dataclasses.replace(make_context(server.local_transport()), client_for=lambda name: account)
        async with run_with(context, ServiceLoadBalancerController(context)):
            await admin.create(NODES, {"metadata": {"name": "a", "annotations": {balancing.HOST_PORTS: "TCP/22"}}})
            ready = node("a", "192.0.2.1")["status"]
            await admin.patch(NODES, "a", {"status": ready}, subresource="status")
            spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
            await admin.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
            services = context.informers.informer(SERVICES)
            await services.wait_until(
                lambda: balancing.addresses(services.get("default", "web") or {}) == ("192.0.2.1",)
            )
            stored = await admin.get(SERVICES, "web", "default")
            assert stored["metadata"]["finalizers"] == [FINALIZER]
            settled = plan.Outcome(("192.0.2.1",))
            assert (
                plan.render(stored, balancing.NODE_CLASS, settled) is None
            )  # as it was written: nothing is to be done
            await admin.delete(SERVICES, "web", "default")
            await services.wait_until(lambda: services.get("default", "web") is None)


@given(
    ports=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    has=st.lists(st.booleans(), min_size=8, max_size=8),
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
)
def test_however_services_come_no_port_of_an_address_has_two(
    ports: list[int], has: list[bool], names: list[str]
) -> None:
    """Settled one by one, in any state before, each port of each address is one Service's."""
    nodes = [NodeView(name, (f"192.0.2.{index + 1}",)) for index, name in enumerate(names)]
    services = [service(f"s{index}", port, created=index) for index, port in enumerate(ports)]
    for each, present in zip(services, has, strict=False):
        each["status"]["loadBalancer"]["ingress"] = [as_given("192.0.2.1", each)] if present else []

    def taken(mine: Obj) -> Any:
        def holder(address: str, port: str) -> str:
            for other in services:
                if ServiceLoadBalancerController._yields_port(mine, other, (address, port)):
                    return str(other["metadata"]["name"])
            return ""

        return holder

    for _ in range(2):
        for each in services:
            outcome = plan.plan_nodes(each, nodes, frozenset(), taken(each))
            each["status"]["loadBalancer"]["ingress"] = [as_given(address, each) for address in outcome.addresses]
    held = [place for each in services for place in balancing.granted(each)]
    assert len(held) == len(set(held))
    assert {port for _, port in held} == {f"TCP/{port}" for port in ports}  # nobody waits for what is free


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("127.0.0.1", "no network carries"),
        ("fe80::1", "no network carries"),
        ("2001:db8::1%eth0", "no network carries"),
        ("10.0.0.9-10.0.0.1", "does not end"),
        ("10.0.0.1-2001:db8::1", "does not end"),
        ("10.0.0.0/33", "is not a range"),
        ("", "is not a range"),
    ],
)
def test_a_range_that_is_none_is_told_of(word: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        balancing.parse_range(word)


def test_of_many_nodes_no_more_are_looked_at_than_a_status_names_and_what_the_service_has_stays() -> None:
    nodes = [NodeView(f"n{number}", (f"192.0.{number // 250}.{number % 250 + 1}",)) for number in range(1000)]
    ported = service("web", *range(1, 101))
    ported["status"]["loadBalancer"]["ingress"] = [as_given("192.0.3.250", ported)]
    looks: list[str] = []

    def taken(address: str, port: str) -> str:
        looks.append(address)
        return ""

    outcome = plan.plan_nodes(ported, nodes, frozenset(), taken)
    assert len(looks) == 100 * plan.MAX_ADDRESSES and len(outcome.addresses) == plan.MAX_ADDRESSES
    assert outcome.addresses[0] == "192.0.0.1" and outcome.addresses[-1] == "192.0.3.250"


def test_of_pools_without_end_the_first_ranges_count_and_no_more_is_read() -> None:
    words = ["192.0.2.1"] * 300
    found = balancing.parse_pools(pools(lab=",".join(words), vast="x," * 400_000))
    assert len(found.ranges["lab"]) == 256
    assert found.faults == ("lab: more than 256 ranges", "vast: too long")
    assert found.ranges["vast"] == ()


def test_a_full_pool_of_any_size_is_looked_through_within_bounds() -> None:
    looks: list[str] = []

    def holder(address: str) -> str:
        looks.append(address)
        return "somebody"

    view = balancing.parse_pools(pools(lab="2001:db8::/32"))
    wanting = service(balancer_class=balancing.LAYER2_CLASS, ipFamilies=["IPv6"])
    assert plan.plan_layer2(wanting, [NodeView("a", ())], frozenset(), view, holder).refusal
    assert len(looks) == plan.MAX_LOOKS + plan.MAX_PROBES


def test_a_large_pool_whose_beginning_is_full_has_an_address_all_the_same() -> None:
    first = {str(address) for address in list(balancing.parse_range("10.0.0.0/20").addresses())}
    view = balancing.parse_pools(pools(lab="10.0.0.0/16"))
    wanting = service(balancer_class=balancing.LAYER2_CLASS)
    outcome = plan.plan_layer2(wanting, [], frozenset(), view, lambda address: "x" if address in first else "")
    (chosen,) = outcome.addresses
    assert chosen not in first and chosen.startswith("10.0.")
