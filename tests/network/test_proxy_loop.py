"""The loop: what the proxy does with changes, refusals and lost tables, on the fake nftables."""

import asyncio
import dataclasses
import socket
import threading

import aiohttp
import network_objects as make
import pytest

from sampan.api.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from sampan.client.informer import InformerFactory
from sampan.network.proxy import proxy as proxy_module
from sampan.network.proxy.backend import BackendError
from sampan.network.proxy.conntrack import Conntrack, StaleFlow, _few
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.health import Health, HealthServers
from sampan.network.proxy.memory import MemoryBackend
from sampan.network.proxy.nftables.fake import FakeNft
from sampan.network.proxy.nftables.sets import V4
from sampan.network.proxy.plan import Flow, ServiceKey
from sampan.network.proxy.proxy import ServiceProxy
from sampan.network.proxy.rules.values import NftError, NftMissing, Op, Table

PLACE = "10.96.0.20 . 80 . 0"
ONE = V4.spread_ips("tcp", 1)


class Noticing(FakeNft):
    """Tells when something was applied."""

    def __init__(self):
        super().__init__()
        self.happened = asyncio.Event()

    async def apply(self, transaction):
        await super().apply(transaction)
        self.happened.set()


@pytest.fixture
async def nft():
    return Noticing()


@pytest.fixture
async def proxy(api, client, config, run_proxy, nft, conntrack):
    api.add(SERVICES, make.service("web"))
    api.add(ENDPOINT_SLICES, make.endpoint_slice("web", [make.endpoint("10.244.0.2")]))
    async with run_proxy(client, config, nft=nft, conntrack=conntrack) as running:
        yield running


async def test_the_start_replaces_the_whole_table(proxy, nft):
    assert nft.applied[0][:3] == (Op("add", Table()), Op("delete", Table()), Op("add", Table()))
    assert await nft.elements(ONE) == {PLACE: "10.244.0.2 . 8080"}


async def test_a_change_of_endpoints_touches_only_their_service(proxy, nft, api):
    entries = [make.endpoint("10.244.0.2"), make.endpoint("10.244.0.3")]
    api.change(ENDPOINT_SLICES, "default", "web-x", lambda obj: obj.update(endpoints=entries))
    await proxy.settled()
    # its hairpin, and of two places one is new
    assert len(nft.applied[-1]) == 4
    assert await nft.elements(ONE) == {}
    assert await nft.elements(V4.spread_ips("tcp", 2)) == {
        PLACE: "10.244.0.2 . 8080",
        "10.96.0.20 . 80 . 1": "10.244.0.3 . 8080",
    }


async def test_changes_that_mean_nothing_here_are_no_transaction(proxy, nft, api):
    count = len(nft.applied)
    api.change(SERVICES, "default", "web", lambda obj: obj["metadata"].update(labels={"a": "b"}))
    await proxy.settled()
    assert len(nft.applied) == count


async def test_many_changes_at_once_are_one_transaction(proxy, nft, api):
    count = len(nft.applied)
    for number in range(50):
        api.add(SERVICES, make.service(f"s{number}", f"10.96.1.{number}"))
    await proxy.settled()
    assert len(nft.applied) == count + 1


async def test_a_deleted_service_leaves_nothing(proxy, nft, api):
    api.remove(SERVICES, "default", "web")
    api.remove(ENDPOINT_SLICES, "default", "web-x")
    await proxy.settled()
    assert await nft.elements(ONE) == {}
    assert not [name for _, name in await nft.names() if "web" in name]


async def test_a_refused_change_is_followed_by_the_whole_table(proxy, nft, api):
    nft.fail_next = [NftMissing("gone")]
    api.add(SERVICES, make.service("other", "10.96.0.30"))
    await proxy.settled()
    assert nft.applied[-2][0] == Op("add", Table())
    assert set(await nft.elements(V4.no_endpoint_ips)) == {"10.96.0.30 . tcp . 80"}


@pytest.mark.logs_errors("table sampan-test could not be written")
async def test_a_refused_table_is_tried_again(proxy, nft, api):
    nft.fail_next = [NftError("no"), NftError("no"), NftError("no")]
    api.remove(SERVICES, "default", "web")
    await proxy.settled()
    assert await nft.elements(ONE) == {}


async def test_a_service_that_the_kernel_does_not_take_is_tried_again_by_itself(
    client, config, run_proxy, nft, conntrack, api, monkeypatch
):
    config = dataclasses.replace(config, check_seconds=0.01)
    apply, refused = nft.apply, []

    async def short_of_memory(transaction):
        if len(refused) < 5 and any("10.96.0.30" in str(op) for op in transaction):
            refused.append(transaction)
            raise NftError("Error: Cannot allocate memory")
        await apply(transaction)

    monkeypatch.setattr(nft, "apply", short_of_memory)
    async with run_proxy(client, config, nft=nft, conntrack=conntrack) as proxy:
        api.add(SERVICES, make.service("other", "10.96.0.30"))
        await proxy.settled()
        assert await nft.elements(V4.no_endpoint_ips) == {}
        nft.happened.clear()
        await nft.happened.wait()
        assert set(await nft.elements(V4.no_endpoint_ips)) == {"10.96.0.30 . tcp . 80"}
    assert len(refused) == 5


async def test_who_is_refused_later_is_tried_again_as_soon_as_the_first(client, config, run_proxy, nft, conntrack, api):
    apply, want, tries = nft.apply, {"10.96.0.30", "10.96.0.40"}, []

    async def refuse(transaction):
        if found := {each for each in want if each in str(transaction)}:
            tries.append(found)
            raise NftError("Error: Cannot allocate memory")
        await apply(transaction)

    nft.apply = refuse
    async with run_proxy(client, config, nft=nft, conntrack=conntrack) as proxy:
        backend = proxy._backend
        api.add(SERVICES, make.service("former", "10.96.0.30"))
        await proxy.settled()
        tries.clear()
        for _ in range(300):
            await backend.repair(whole=False)
        assert len(tries) == 9, "after 1, 2, 4 looks and so on; then after 64"
        api.add(SERVICES, make.service("latter", "10.96.0.40"))
        await proxy.settled()
        want.remove("10.96.0.40")
        await backend.repair(whole=False)
        assert set(await nft.elements(V4.no_endpoint_ips)) == {"10.96.0.40 . tcp . 80"}


async def test_a_lost_table_is_noticed_without_a_change(client, config, run_proxy, nft, conntrack):
    config = dataclasses.replace(config, check_seconds=0.01)
    async with run_proxy(client, config, nft=nft, conntrack=conntrack):
        nft.happened.clear()
        nft.lose_table()
        await nft.happened.wait()
        assert await nft.exists()


async def test_the_table_is_written_anew_now_and_then(client, config, run_proxy, nft, conntrack):
    config = dataclasses.replace(config, check_seconds=0.01, resync_seconds=0.01)
    async with run_proxy(client, config, nft=nft, conntrack=conntrack):
        nft.happened.clear()
        await nft.happened.wait()
        assert nft.applied[-1][0].verb == "flush"


async def test_host_ports_come_and_go_with_their_pod(proxy, nft, api):
    api.add(PODS, make.pod("a", "10.244.0.9", [{"hostPort": 8081, "containerPort": 80}]))
    api.add(PODS, make.pod("b", "10.244.1.9", [{"hostPort": 8082, "containerPort": 80}], node="node2"))
    await proxy.settled()
    assert await nft.elements(V4.host_ports) == {"tcp . 8081": "10.244.0.9 . 80"}
    api.change(PODS, "default", "a", lambda pod: pod["status"].update(phase="Succeeded"))
    await proxy.settled()
    assert await nft.elements(V4.host_ports) == {}


async def test_the_zone_of_the_node_decides_hints(proxy, nft, api):
    entries = [
        {**make.endpoint(f"10.244.0.{number}"), "hints": {"forZones": [{"name": zone}]}}
        for number, zone in ((2, "a"), (3, "b"))
    ]
    api.change(ENDPOINT_SLICES, "default", "web-x", lambda obj: obj.update(endpoints=entries))
    node = {"metadata": {"name": "node1", "labels": {"topology.kubernetes.io/zone": "b"}}}
    api.add(NODES, node)
    await proxy.settled()
    assert await nft.elements(ONE) == {PLACE: "10.244.0.3 . 8080"}


async def test_udp_flows_of_a_lost_endpoint_are_forgotten(proxy, conntrack, api):
    port = make.port(53, "UDP")
    api.add(SERVICES, make.service("dns", "10.96.0.40", [port]))
    api.add(ENDPOINT_SLICES, make.endpoint_slice("dns", [make.endpoint("10.244.0.2")], [port]))
    await proxy.settled()
    conntrack.forgotten.clear()
    api.change(ENDPOINT_SLICES, "default", "dns-x", lambda obj: obj.update(endpoints=[]))
    await proxy.settled()
    assert conntrack.forgotten == [StaleFlow(Flow("10.96.0.40", 53), "10.244.0.2")]


async def test_load_balancers_learn_whether_this_node_has_endpoints(proxy, api):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port}
    api.change(SERVICES, "default", "web", lambda service: service["spec"].update(spec))
    await proxy.settled()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
            assert (await answer.json())["localEndpoints"] == 1
        api.change(ENDPOINT_SLICES, "default", "web-x", lambda obj: obj.update(endpoints=[]))
        await proxy.settled()
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 503


async def test_one_strange_service_does_not_stop_the_others(proxy, nft, api):
    api.add(SERVICES, make.service("odd", "10.96.0.50", [{"protocol": "TCP"}]))
    api.add(SERVICES, make.service("good", "10.96.0.51"))
    await proxy.settled()
    assert set(await nft.elements(V4.no_endpoint_ips)) == {"10.96.0.51 . tcp . 80"}


@pytest.mark.logs_errors("sampan.network.proxy.proxy: no")
async def test_the_loop_knows_no_nftables(api, client, config, run_proxy, conntrack):
    backend = MemoryBackend()
    api.add(SERVICES, make.service("web"))
    api.add(ENDPOINT_SLICES, make.endpoint_slice("web", [make.endpoint("10.244.0.2")]))
    api.add(PODS, make.pod("a", "10.244.0.9", [{"hostPort": 8081, "containerPort": 80}]))
    async with run_proxy(client, config, backend=backend, conntrack=conntrack) as proxy:
        await proxy.settled()
        (plan,) = backend.services.values()
        assert [endpoint.ip for endpoint in plan.ports[0].choice.cluster] == ["10.244.0.2"]
        assert [port.port for port in backend.host_ports] == [8081]
        backend.fail_next = [BackendError("no"), BackendError("no")]
        api.remove(SERVICES, "default", "web")
        await proxy.settled()
        assert backend.services == {}


async def test_one_strange_endpoint_or_slice_or_pod_does_not_stop_the_others(proxy, nft, api):
    entries = [{"addresses": []}, make.endpoint("nonsense"), make.endpoint("fd00::1"), make.endpoint("10.244.0.7")]
    api.change(ENDPOINT_SLICES, "default", "web-x", lambda obj: obj.update(endpoints=entries))
    odd = make.endpoint_slice("odd", [make.endpoint("10.244.0.8")])
    odd["metadata"]["labels"] = None
    api.add(ENDPOINT_SLICES, odd)
    api.add(PODS, make.pod("strange", "10.244.0.8", [{"hostPort": 1}]))
    api.add(PODS, make.pod("plain", "10.244.0.9", [{"hostPort": 8081, "containerPort": 80}]))
    await proxy.settled()
    assert await nft.elements(ONE) == {PLACE: "10.244.0.7 . 8080"}
    assert await nft.elements(V4.host_ports) == {"tcp . 8081": "10.244.0.9 . 80"}


async def test_the_table_is_looked_at_though_something_changes_all_the_time(client, config, conntrack):
    """Changes that mean nothing to the table touch nothing of it, and put nothing off."""

    class Looked(Exception):
        pass

    class Busy(MemoryBackend):
        async def apply(self):
            proxy._changed.set()  # there is always something new
            return False

        async def repair(self, *, whole):
            raise Looked

    config = dataclasses.replace(config, check_seconds=0.02, min_sync_seconds=0.001)
    proxy = ServiceProxy(InformerFactory(client), config, Busy(), conntrack=conntrack)
    with pytest.raises(Looked):
        async with asyncio.timeout(5):
            await proxy._loop(asyncio.Event())


async def test_a_service_that_never_rests_keeps_no_other_waiting(client, config, conntrack):
    """What changes while plans are made is of the next round, after this one is applied."""

    class Restless(ServiceProxy):
        planned = 0

        async def _planned(self, key, old):
            self.planned += 1
            assert self.planned < 100, "nothing is applied while something changes"
            self._mark(key)
            return await super()._planned(key, old)

    proxy = Restless(InformerFactory(client), config, MemoryBackend(), conntrack=conntrack)
    proxy._mark(ServiceKey("default", "web"))
    assert await proxy._sync()
    assert proxy.planned == 1
    assert proxy._dirty == {ServiceKey("default", "web")}


async def test_services_of_many_endpoints_are_planned_in_a_thread_for_where_the_node_is_then(
    proxy, nft, api, monkeypatch
):
    threads, planned = [], proxy_module.plan_service

    def plan(service, slices, place, reserved):
        threads.append((threading.current_thread() is threading.main_thread(), len(slices[0]["endpoints"])))
        if len(threads) == 1:
            proxy._place = Place("node1", "elsewhere")  # the node's zone changes meanwhile
        return planned(service, slices, place, reserved)

    monkeypatch.setattr(proxy_module, "plan_service", plan)
    entries = [make.endpoint(f"10.244.1.{n}") for n in range(1, 202)]
    api.change(ENDPOINT_SLICES, "default", "web-x", lambda obj: obj.update(endpoints=entries))
    await proxy.settled()
    assert threads == [(False, 201)] * 2
    assert len(await nft.elements(V4.tcp_endpoints)) == 201
    api.change(ENDPOINT_SLICES, "default", "web-x", lambda obj: obj.update(endpoints=entries[:2]))
    await proxy.settled()
    assert threads[2:] == [(True, 2)]


async def test_no_service_takes_the_cluster_s_own_addresses(api, client, config, run_proxy, nft, conntrack, caplog):
    """Neither that of DNS nor another Service's nor a pod's, though one without endpoints elsewhere is served."""
    config = dataclasses.replace(config, service_cidr="10.96.0.0/16")
    wanted = ["10.96.0.10", "10.96.0.1", "10.244.0.9", "203.0.113.9"]
    api.add(SERVICES, make.service("aaa", ports=[make.port(53, "UDP")], externalIPs=wanted))
    api.add(
        ENDPOINT_SLICES, make.endpoint_slice("aaa", [make.endpoint("10.244.0.2")], [{"port": 53, "protocol": "UDP"}])
    )
    async with run_proxy(client, config, nft=nft, conntrack=conntrack):
        taken = {key.split(" ")[0] for key in await nft.elements(V4.spread_ips("udp", 1))}
    assert taken == {"10.96.0.20", "203.0.113.9"}
    assert [record.args[2] for record in caplog.records if "cluster's own" in record.msg] == [
        "10.96.0.10, 10.96.0.1, 10.244.0.9"
    ]


async def test_one_client_cannot_hold_all_connections_of_health(monkeypatch):
    servers = HealthServers("127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await servers.update({port: Health("default", "web", 1)})
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    ends = [asyncio.create_task(reader.read()) for reader, _ in held]
    # Those above the client's share are closed at once, the others wait for a request.
    while sum(end.done() for end in ends) < 12:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert servers._gate.used == 8
    for _, writer in held:
        writer.close()
    while servers._gate.used:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for end in ends:
        end.cancel()
    await asyncio.gather(*ends, return_exceptions=True)
    await servers.close()


async def test_a_conntrack_that_hangs_or_is_not_there_holds_up_nobody(monkeypatch, caplog):
    monkeypatch.setattr("sampan.network.proxy.conntrack._SECONDS", 0.05)
    for prefix in (("sh", "-c", "exec sleep 60"), ("/nonexistent/program",)):
        table = Conntrack(prefix)
        table._present = True
        await table.forget([StaleFlow(Flow("10.96.0.40", 53))])
    assert caplog.text.count("did not forget") == 2


def test_the_flows_of_a_thousand_endpoints_are_forgotten_by_service():
    flow = Flow("10.96.0.40", 53)
    assert _few([StaleFlow(flow, f"10.244.1.{n}") for n in range(1000)]) == [StaleFlow(flow)]
    assert _few([StaleFlow(flow, "10.244.1.1")]) == [StaleFlow(flow, "10.244.1.1")]


@pytest.mark.logs_errors("healthCheckNodePort")
async def test_a_health_port_that_another_program_has_is_told_once_and_opened_when_it_is_free(caplog):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        servers = HealthServers("127.0.0.1")
        for count in (1, 2):
            await servers.update({port: Health("default", "web", count)})
    try:
        await servers.update({port: Health("default", "web", 3)})
        assert [
            record.levelname for record in caplog.records if f" {port} of Service default/web " in record.message
        ] == ["ERROR"]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
            assert (await answer.json())["localEndpoints"] == 3
    finally:
        await servers.close()
