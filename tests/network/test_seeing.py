"""Who reaches whom, as ``sampan net`` says it, against the judge who reads objects plainly and against real packets."""

import network_objects
import policy_oracle
import policy_worlds as make
import pytest
from policy_lab import OUTSIDE, PATIENCE, POD1, POD2, POD3, SILENCE, Enforced

from sampan.api.resources import ENDPOINT_SLICES, SERVICES
from sampan.network.proxy import NftBackend
from sampan.network.proxy.nftables.nft import NftCommand, Op, Table
from sampan.network.seeing import path, reach, world
from sampan.network.seeing.judging import Connection, judge

NODE = {
    "kind": "Node",
    "metadata": {"name": "node1"},
    "status": {"addresses": [{"type": "Hostname", "address": "node1"}, {"type": "InternalIP", "address": "192.0.2.1"}]},
}


def shop(*policies):
    """A shop and its database, a monitor elsewhere, and a Service."""
    return world.read(
        [
            NODE,
            make.namespace("default"),
            make.namespace("operations", team="operations"),
            make.pod("web", POD1, {"app": "web"}, ports=[("http", "TCP", 8080)]),
            make.pod("shop", POD2, {"app": "shop"}),
            make.pod("monitor", POD3, {}, namespace="operations"),
            make.pod("waiting", []),
            make.pod("agent", "192.0.2.1", hostNetwork=True),
            network_objects.service("web", ports=[network_objects.port(80, name="http")]),
            network_objects.endpoint_slice(
                "web", [network_objects.endpoint(POD1)], [{"name": "http", "port": 8080, "protocol": "TCP"}]
            ),
            *policies,
        ]
    )


def asked(seen, source, target, **options):
    return path.trace(seen, path.find(seen, source), path.find(seen, target), **options)


@pytest.mark.parametrize("seed", range(60))
def test_a_verdict_is_the_judges_for_random_policies(seed):
    dice = make.Dice(seed)
    namespaces = [make.namespace(name, **dice.labels()) for name in "abc"]
    addresses = [f"10.244.0.{number}" for number in range(2, 8)]
    pods = [dice.pod(f"p{number}", each, "abc"[number % 3], "node1") for number, each in enumerate(addresses)]
    policies = [dice.network_policy(f"n{number}", dice.random.choice("abc")) for number in range(5)]
    policies += [dice.cluster_policy(f"c{number}") for number in range(2)]
    seen = world.read([*namespaces, *pods, *policies])
    oracle = policy_oracle.World(
        {each["metadata"]["name"]: each["metadata"]["labels"] for each in namespaces}, pods, policies
    )
    for _ in range(60):
        source, target = dice.random.sample([*addresses, OUTSIDE], 2)
        question = source, target, dice.random.choice(make.PROTOCOLS), dice.random.choice(make.PORTS)
        assert judge(seen, Connection(*question)).allowed == oracle.allowed(*question), question


def test_a_path_goes_through_the_service_to_its_endpoints_and_names_the_policy_that_ends_it():
    seen = shop(
        make.policy(
            "limit",
            {"app": "web"},
            ingress=[{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "none"}}}]}],
        )
    )
    found = asked(seen, "shop", "svc/web")
    (hop,) = found.hops
    assert (found.port, hop.connection, hop.pod, found.answer) == (
        80,
        Connection(POD2, POD1, "TCP", 8080),
        "default/web",
        "does not reach",
    )
    said = path.words(found)
    assert "to Service default/web (10.96.0.20) port 80 TCP" in said
    assert "restricted by NetworkPolicy default/limit" in said
    assert path.wire(found)["endpoints"][0]["ingress"]["selecting"] == ["NetworkPolicy default/limit"]


def test_a_path_names_the_rule_that_allows_it():
    seen = shop(make.policy("limit", {"app": "web"}, ingress=[{"ports": [{"port": 1}]}, {"ports": [{"port": "http"}]}]))
    decision = asked(seen, "operations/monitor", "10.96.0.20").hops[0].verdict.ingress
    assert (decision.allowed, decision.policy.name, decision.rule) == (True, "limit", 1)
    assert "spec.ingress[1]" in decision.because


def test_a_node_reaches_its_own_pods_whatever_is_denied():
    seen = shop(make.policy("deny", ingress=[], egress=[]))
    assert asked(seen, "node/node1", "web").answer == "reaches"
    assert asked(seen, "web", "node/node1").answer == "reaches"
    assert asked(seen, OUTSIDE, "web").answer == "does not reach"


@pytest.mark.parametrize(
    "words, why",
    [
        ("nobody", "there is no pod default/nobody"),
        ("waiting", "pod default/waiting has no address"),
        ("agent", "pod default/agent uses its node's network"),
        ("svc/nobody", "there is no Service default/nobody"),
        ("node/nobody", "there is no node nobody"),
        ("svc/web:81", "svc/web:81 is neither a name nor an address; a port is said apart .--port 81."),
        ("10.0.0.1:81", "a port is said apart"),
        ("deployment/web", "deployment/web makes pods and is no end of a path; ask for one of them, as pod/NAME"),
    ],
)
def test_who_is_not_there_is_said(words, why):
    with pytest.raises(path.Unknown, match=why):
        path.find(shop(), words)


def test_a_service_without_that_port_or_without_endpoints_is_said():
    seen = shop()
    assert asked(seen, "shop", "svc/web", port=81).fault == "Service default/web has no port 81 of protocol TCP"
    empty = world.read([make.pod("shop", POD2), network_objects.service("web")])
    assert asked(empty, "shop", "svc/web").fault == "Service default/web has no ready endpoint"


def test_a_port_of_a_node_leads_to_the_service_that_has_it():
    balancer = network_objects.service(
        "lb", "10.97.0.9", type="LoadBalancer", ports=[network_objects.port(81, nodePort=30081)]
    )
    balancer["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    ends = network_objects.endpoint_slice("lb", [network_objects.endpoint(POD1)])
    seen = shop(balancer, ends)
    for port in (81, 30081):
        for target in ("192.0.2.1", "node/node1"):
            found = asked(seen, OUTSIDE, target, port=port)
            assert (found.target.name, [hop.pod for hop in found.hops]) == ("Service default/lb", ["default/web"])
    assert asked(seen, OUTSIDE, "node/node1", port=22).target.name == "node node1"


def test_cluster_dns_is_answered_by_the_node_and_by_its_pods_where_it_has_some():
    dns = network_objects.service("kube-dns", "10.96.0.10", ports=[network_objects.port(53, "UDP")])
    dns["metadata"]["namespace"] = "kube-system"
    dns["spec"].pop("selector", None)
    found = asked(shop(dns), "shop", "svc/kube-system/kube-dns", protocol="UDP")
    assert (found.answer, found.answerer) == ("reaches", "the DNS server of node node1")
    dns["spec"]["selector"] = {"k8s-app": "kube-dns"}
    assert asked(shop(dns), "shop", "svc/kube-system/kube-dns", protocol="UDP").answer == "does not reach"


def test_a_pod_of_two_families_is_judged_by_the_address_that_it_connects_with():
    policy = make.policy("four", {"app": "six"}, ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])
    seen = shop(
        make.pod("six", ["10.244.0.8", "fd00::8"], {"app": "six"}), make.pod("both", ["10.244.0.9", "fd00::9"]), policy
    )
    assert asked(seen, "both", "six").answer == "reaches"
    found = asked(seen, "both", "fd00::8")
    assert (found.source.address, found.answer) == ("fd00::9", "does not reach")
    assert asked(seen, "2001:db8::1", "six").target.address == "fd00::8"


def test_an_external_name_is_told_as_what_it_is():
    name = {
        "kind": "Service",
        "metadata": {"namespace": "default", "name": "far"},
        "spec": {"type": "ExternalName", "externalName": "example.org"},
    }
    with pytest.raises(path.Unknown, match=r"Service default/far is another name of example\.org"):
        path.find(shop(name), "svc/far")


def test_pods_that_are_alike_are_asked_about_once():
    many = [make.pod(f"web-{number}", f"10.244.0.{number + 10}", {"app": "web"}) for number in range(50)]
    seen = world.read([make.namespace("default"), *many, make.policy("deny", {"app": "web"}, ingress=[])])
    found = reach.matrix(seen)
    assert [group.name for group in found.groups] == ["default/web-0 and 49 like it", "outside"]
    assert found.reaches == {
        "default/web-0 and 49 like it": {"default/web-0 and 49 like it": False, "outside": True},
        "outside": {"default/web-0 and 49 like it": False},
    }
    assert "web-0 and 49 like it" in reach.words(found)


async def test_what_is_said_of_paths_and_reach_is_what_packets_do(lab, client, config, run_proxy):
    """By Service, with its rules and those of policies in one kernel."""
    policies = [
        make.policy("web", {"app": "web"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "shop"}}}]}]),
        make.policy("monitor", egress=[], namespace="operations"),
    ]
    seen = shop(*policies)
    node = Enforced(lab)
    node.put(
        make.namespace("default"),
        make.namespace("operations", team="operations"),
        make.pod("web", POD1, {"app": "web"}, ports=[("http", "TCP", 8080)]),
        make.pod("shop", POD2, {"app": "shop"}),
        make.pod("monitor", POD3, {}, namespace="operations"),
        *policies,
    )
    names = {"default/web": "pod1", "default/shop": "pod2", "operations/monitor": "pod3", "outside": "outside"}
    nft = NftCommand(config.table, lab.command("node"))
    servers = [await lab.serve_tcp(name, 8080) for name in names.values()]
    try:
        await node.enforce(whole=True)
        await client.create(SERVICES, network_objects.service("web", ports=[network_objects.port(80, name="http")]))
        await client.create(
            ENDPOINT_SLICES,
            network_objects.endpoint_slice(
                "web", [network_objects.endpoint(POD1)], [{"name": "http", "port": 8080, "protocol": "TCP"}]
            ),
        )
        async with run_proxy(client, config, backend=NftBackend(config, nft)) as proxy:
            await proxy.settled()
            for source, name in names.items():
                if source != "outside":
                    expected = asked(seen, source, "svc/web").answer == "reaches"
                    said = await lab.get(name, "10.96.0.20", 80, PATIENCE if expected else SILENCE)
                    assert (said != "silence") == expected, source
            found = reach.matrix(seen, port=8080, outside=OUTSIDE)
            for source, row in found.reaches.items():
                for group in found.groups:
                    if group.name in row:
                        expected = row[group.name]
                        said = await lab.get(names[source], group.address, 8080, PATIENCE if expected else SILENCE)
                        assert (said != "silence") == expected, (source, group.name)
    finally:
        for server in servers:
            server.close()
        await node.nft.remove()
        await nft.apply([Op("add", Table()), Op("delete", Table())])
