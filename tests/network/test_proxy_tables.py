"""Random tables of Services: an obviously right reading of them, the rules read back, and real connections agree.

Each example is two tables, the second of which replaces the first. ``SAMPAN_SERVICE_TABLES`` says how many are tried.
"""

import asyncio
import dataclasses
import os
import re
import shutil
import socket

import network_lab
import network_objects as make
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.network.proxy import modes
from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.iptables.backend import IptablesBackend
from sampan.network.proxy.iptables.restore import IptablesTables
from sampan.network.proxy.nftables import sets
from sampan.network.proxy.nftables.backend import NftBackend
from sampan.network.proxy.nftables.nft import NftCommand
from sampan.network.proxy.plan import ServiceKey, plan_service
from sampan.network.proxy.userspace.backend import UserspaceBackend

pytestmark = pytest.mark.timeout(600)

TABLES = int(os.environ.get("SAMPAN_SERVICE_TABLES", "10"))
SERVICES = 3
PODS = {4: tuple(network_lab.PODS.values()), 6: tuple(network_lab.PODS6.values())}
NODE = {4: network_lab.NODE_ADDRESS, 6: network_lab.NODE_ADDRESS6}
OUTSIDE = {4: f"{network_lab.OUTSIDE_ADDRESS}/32", 6: f"{network_lab.OUTSIDE_ADDRESS6}/128"}
NOBODY = {4: "203.0.113.0/24", 6: "2001:db8:2::/64"}
STATES = {
    "ready": {"ready": True},
    "ending": {"ready": False, "serving": True, "terminating": True},
    "starting": {"ready": False, "serving": False},
    "ended": {"ready": False, "serving": False, "terminating": True},
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """``endpoints`` are (pod, whether it is on this node, state); ``admitted`` None: no source ranges."""

    families: tuple[int, ...]
    node_port: bool
    balanced: bool
    internal_local: bool
    external_local: bool
    sticky: bool
    admitted: bool | None
    endpoints: tuple[tuple[int, bool, str], ...]


SPECS = st.builds(
    Spec,
    families=st.sampled_from([(4,), (6,), (4, 6), (6, 4)]),
    node_port=st.booleans(),
    balanced=st.booleans(),
    internal_local=st.booleans(),
    external_local=st.booleans(),
    sticky=st.booleans(),
    admitted=st.sampled_from([None, None, True, False]),
    endpoints=st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from(["ready", "ready", *STATES])),
        unique_by=lambda entry: entry[0],
        max_size=3,
    ).map(tuple),
)
TABLE = st.tuples(*[st.none() | SPECS] * SERVICES)


def vip(number, family):
    return f"10.96.7.{number + 1}" if family == 4 else f"fd00:10:96::7:{number + 1}"


def balancer(number, family):
    return f"198.51.100.{number + 1}" if family == 4 else f"2001:db8:1::{number + 1}"


def planned(number, spec):
    name = f"s{number}"
    kind = "LoadBalancer" if spec.balanced else "NodePort" if spec.node_port else "ClusterIP"
    port = make.port(80, nodePort=30000 + number) if spec.node_port else make.port(80)
    ranges = [] if spec.admitted is None else [(OUTSIDE if spec.admitted else NOBODY)[family] for family in (4, 6)]
    service = make.service(
        name,
        vip(number, spec.families[0]),
        clusterIPs=[vip(number, family) for family in spec.families],
        ports=[port],
        type=kind,
        internalTrafficPolicy="Local" if spec.internal_local else "Cluster",
        externalTrafficPolicy="Local" if spec.external_local else "Cluster",
        sessionAffinity="ClientIP" if spec.sticky else "None",
        loadBalancerSourceRanges=ranges,
    )
    service["status"] = {"loadBalancer": {"ingress": [{"ip": balancer(number, family)} for family in spec.families]}}
    slices = [
        make.endpoint_slice(
            name,
            [
                make.endpoint(PODS[family][pod], "node1" if here else "node2", **STATES[state])
                for pod, here, state in spec.endpoints
            ],
            addressType=f"IPv{family}",
            suffix=f"v{family}",
        )
        for family in spec.families
    ]
    return plan_service(service, slices, Place("node1"))


def usable(spec, *, here_only):
    """The pods that may be asked: the ready ones, or those that end and still answer."""
    mine = [(pod, state) for pod, here, state in spec.endpoints if here or not here_only]
    for wanted in ("ready", "ending"):
        found = {f"pod{pod + 1}" for pod, state in mine if state == wanted}
        if found:
            return found
    return set()


def inside(spec):
    """What a pod may hear from the cluster address."""
    everywhere, here = usable(spec, here_only=False), usable(spec, here_only=True)
    if spec.internal_local:
        return here or ({"silence"} if everywhere else {"refused"})
    return everywhere or {"refused"}


def from_outside(spec):
    """What the outside world may hear from a node port."""
    everywhere, here = usable(spec, here_only=False), usable(spec, here_only=True)
    if not everywhere:
        return {"refused"}
    return (here or {"silence"}) if spec.external_local else everywhere


def from_outside_by_balancer(spec):
    if spec.admitted is not False:
        return from_outside(spec)
    # Who may not come in is not told whether there is anybody.
    return {"silence"} if usable(spec, here_only=False) else {"silence", "refused"}


class ReadBack:
    """Follows the rules as they stand in the kernel."""

    def __init__(self, program, family):
        self.program = program
        self.sets = sets.OF[family]
        self.table = program.table

    async def targets(self, address):
        """Addresses of the endpoints that a new TCP connection to port 80 may be given."""
        for places in sets.PLACES:
            elements = await self.program.elements(self.sets.spread_ips("tcp", places))
            found = {value for key, value in elements.items() if key.startswith(f"{address} . 80 . ")}
            if found:
                assert len([key for key in elements if key.startswith(f"{address} . ")]) == places
                return {value.split(" . ")[0] for value in found}
        led = await self.program.elements(self.sets.service_ips)
        verdict = led.get(f"{address} . tcp . 80", "")
        return await self._chain(verdict.removeprefix("goto ")) if verdict else set()

    async def _chain(self, chain):
        text = await self.program._run("list", "chain", "inet", self.table, chain)
        found = set(re.findall(r"dnat ip6? to \[?([0-9a-f:.]+?)\]?:\d+$", text, re.MULTILINE))
        for count, first, name in re.findall(r"numgen random mod (\d+)(?: offset (\d+))? v?map @(\S+)", text):
            collection = next(each for each in self.sets.all if each.name == name)
            elements = await self.program.elements(collection)
            for index in range(int(count)):
                value = elements[str(int(first or 0) + index)]
                if value.startswith("goto "):
                    found |= await self._chain(value.removeprefix("goto "))
                else:
                    found.add(value.split(" . ")[0])
        return found


async def check(lab, config, table, read_back):
    for number, spec in enumerate(table):
        if spec is None:
            continue
        for family in spec.families:
            expected = inside(spec)
            await hears(lab, "pod3", vip(number, family), 80, expected)
            if read_back is not None:
                pods = {
                    f"pod{PODS[family].index(ip) + 1}" for ip in await read_back[family].targets(vip(number, family))
                }
                assert pods == expected - {"refused", "silence"}
            if spec.balanced:
                await hears(lab, "outside", balancer(number, family), 80, from_outside_by_balancer(spec))
            if spec.node_port:
                await hears(lab, "outside", NODE[family], 30000 + number, from_outside(spec))


async def hears(lab, client, address, port, expected):
    patience = 0.1 if "silence" in expected else 15
    for _ in range(1 if expected & {"silence", "refused"} else 3):
        heard = (await lab.get(client, address, port, patience)).split()[0]
        assert heard in expected, f"{client} asked {address} port {port} and heard {heard}, not {expected}"


async def apply(backend, table):
    for number, spec in enumerate(table):
        key = ServiceKey("default", f"s{number}")
        backend.plan(key, None if spec is None else planned(number, spec))
    await backend.apply()


def both(config):
    return dataclasses.replace(
        config,
        node_address=",".join(NODE.values()),
        node_pod_cidr="10.244.0.0/24,fd00:10:244::/64",
        cluster_pod_cidr="10.244.0.0/16,fd00:10:244::/48",
        service_cidr="10.96.0.0/16,fd00:10:96::/112",
        dns_ip="",
    )


async def run(lab, config, tables, make_backend, clean, read_back=None):
    opened = [await lab.serve_tcp(name, 8080, every) for name in network_lab.PODS for every in ("0.0.0.0", "::")]
    backend = make_backend(config)
    try:
        await apply(backend, tables[0])
        await apply(backend, tables[1])
        await check(lab, config, tables[1], read_back)
    finally:
        await backend.close()
        await clean()
        for server in opened:
            server.close()


@given(tables=st.tuples(TABLE, TABLE))
@settings(max_examples=TABLES, suppress_health_check=list(HealthCheck))
def test_random_tables_of_services_are_what_packets_meet(lab, config, tables):
    config = both(config)
    program = NftCommand(config.table, lab.command("node"))
    read_back = {family: ReadBack(program, family) for family in (4, 6)}
    asyncio.run(
        run(
            lab,
            config,
            tables,
            lambda config: NftBackend(config, lab.nft(config.table)),
            lambda: modes.remove("nftables", config.instance, lab.command("node")),
            read_back,
        )
    )


@pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed")
@given(tables=st.tuples(TABLE, TABLE))
@settings(max_examples=max(1, TABLES // 3), suppress_health_check=list(HealthCheck))
def test_random_tables_of_services_are_what_packets_meet_by_iptables(lab, config, tables):
    config = both(config)
    node = lab.command("node")
    asyncio.run(
        run(
            lab,
            config,
            tables,
            lambda config: IptablesBackend(config, IptablesTables(config.instance, (4, 6), node)),
            lambda: modes.remove("iptables", config.instance, node),
        )
    )


@given(tables=st.tuples(TABLE, TABLE))
@settings(max_examples=max(1, TABLES // 3), suppress_health_check=list(HealthCheck))
def test_random_tables_of_services_are_what_packets_meet_by_relays(lab, config, tables):
    config = both(config)

    def in_node(*what):
        with lab.inside("node"):
            return socket.socket(*what)

    asyncio.run(
        run(
            lab,
            config,
            tables,
            lambda config: UserspaceBackend(config, NftBackend(config, lab.nft(config.table)), in_node),
            lambda: modes.remove("userspace", config.instance, lab.command("node")),
        )
    )
