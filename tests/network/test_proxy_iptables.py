"""The iptables back end: what changes touch, whose rules they leave alone, and what stays behind."""

import dataclasses
import random
import shutil
import subprocess

import network_objects as make
import pytest
import uvloop

from sampan.network.proxy.endpoints import Place
from sampan.network.proxy.iptables.backend import IptablesBackend
from sampan.network.proxy.iptables.names import Names, tag
from sampan.network.proxy.iptables.render import IptablesRendering
from sampan.network.proxy.iptables.restore import Block, IptablesTables, blocks, clean, remove
from sampan.network.proxy.model import HostPort
from sampan.network.proxy.nftables.fake import FakeNft
from sampan.network.proxy.plan import ServiceKey, plan_service
from sampan.network.proxy.rules.values import Chain, NftUnavailable, Op, Rule, Table

PLACE = Place("node1")


def service(name, number, endpoints=2, **spec):
    ends = [make.endpoint(f"10.244.0.{n + 1}") for n in range(endpoints)]
    return plan_service(make.service(name, f"10.97.0.{number}", **spec), [make.endpoint_slice(name, ends)], PLACE)


@pytest.mark.parametrize("instance", ["default", "a", "a-name-of-more-than-eight-characters"])
def test_names_are_short_enough_and_the_instance_s_alone(instance):
    names = Names(instance, 4)
    longest = names.short("SVC", "some/service/tcp/80")
    assert len(longest) <= 28
    assert longest != names.short("SVC", "other/service/tcp/80") != Names("b", 4).short("SVC", "other/service/tcp/80")
    assert tag("a-name-of-more-than-8") != tag("a-name-of-more-than-9")


@pytest.mark.parametrize("other", ["dev-2", "dev-a", "dev-SVC", "dev-long-name-of-another"])
def test_what_belongs_to_an_instance_whose_name_begins_alike_stays(other):
    theirs, block = Names(other, 4), Block()
    chains = [theirs.short("PRE"), theirs.short("SVC", "default/web/tcp/80")]
    ours = [Names("dev", 4).short("PRE"), Names("dev", 4).short("SVC", "default/web/tcp/80")]
    saved = [f":{chain} - [0:0]" for chain in (*chains, *ours)] + [f"-A PREROUTING -j {chains[0]}"]
    clean(block, Names("dev", 4), "\n".join([*saved, f"-A PREROUTING -j {ours[0]}", ""]))
    assert sorted(block.declared) == sorted(ours)
    assert block.lines == [f"-D PREROUTING -j {ours[0]}"]


def test_golden_cluster_ip(config):
    contents = IptablesRendering(config).service(service("web", 20))
    names = Names("test", 4)
    label = "default/web/tcp/80"
    first, second = (names.short("SEP", f"{label}/10.244.0.{n}/8080") for n in (1, 2))
    svc = names.short("SVC", label)
    assert {chain.name.removeprefix("4/nat/"): rules for chain, rules in contents.chains.items()} == {
        svc: (
            "! -s 10.244.0.0/16 -d 10.97.0.20/32 -p tcp -m tcp --dport 80 -j SAM-test-MARK",
            f"-m statistic --mode random --probability 0.5000000000 -j {first}",
            f"-j {second}",
        ),
        first: ("-s 10.244.0.1/32 -j SAM-test-MARK", "-p tcp -m tcp -j DNAT --to-destination 10.244.0.1:8080"),
        second: ("-s 10.244.0.2/32 -j SAM-test-MARK", "-p tcp -m tcp -j DNAT --to-destination 10.244.0.2:8080"),
    }
    ((collection, elements),) = contents.collections.items()
    assert collection.name == "4/nat/SAM-test-SERVICES"
    assert elements == {f"-d 10.97.0.20/32 -p tcp -m tcp --dport 80 -j {svc}": ""}


async def test_a_change_of_endpoints_touches_no_chain_of_others(config):
    tables = FakeNft()
    backend = IptablesBackend(config, tables)
    for number in range(1, 100):
        backend.plan(ServiceKey("default", f"s{number}"), service(f"s{number}", number))
    await backend.apply()
    backend.plan(ServiceKey("default", "s3"), service("s3", 3, endpoints=3))
    await backend.apply()
    ((key, block),) = blocks(tables.applied[-1]).items()
    assert key == (4, "nat")
    assert len(block.text("nat").splitlines()) < 15
    assert "SERVICES" not in block.text("nat")


def run(lab, *arguments):
    subprocess.run([*lab.command("node"), "iptables", *arguments], check=True)


def saved(lab, program="iptables"):
    return subprocess.run(
        [*lab.command("node"), f"{program}-save"], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def rules_of(lines):
    return sorted(line for line in lines if line.startswith("-A"))


@pytest.fixture
async def tables(lab, config):
    if shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    yield IptablesTables(config.instance, (4,), lab.command("node"))
    await remove(config.instance, lab.command("node"))


async def test_after_any_changes_the_rules_are_what_fresh_ones_would_be(lab, config, tables):
    chance = random.Random(7)
    backend = IptablesBackend(config, tables)
    plans = {}
    for _ in range(6):
        for number in range(4):
            key = ServiceKey("default", f"s{number}")
            if chance.random() < 0.2:
                plans.pop(key, None)
                backend.plan(key, None)
                continue
            spec = {
                "type": "LoadBalancer",
                "ports": [make.port(80, nodePort=30000 + number)],
                "externalIPs": [f"198.51.100.{chance.randrange(3)}"],
                "sessionAffinity": chance.choice(["None", "ClientIP"]),
                "externalTrafficPolicy": chance.choice(["Cluster", "Local"]),
                "loadBalancerSourceRanges": chance.choice([[], ["203.0.113.0/24"]]),
            }
            plans[key] = service(f"s{number}", number + 1, chance.randrange(4), **spec)
            backend.plan(key, plans[key])
        backend.plan_host_ports([HostPort("", "tcp", 8000, f"10.244.0.{chance.randrange(1, 3)}", 80)])
        await backend.apply()
    changed = rules_of(saved(lab))
    await backend.repair(whole=True)
    assert rules_of(saved(lab)) == changed
    fresh = IptablesBackend(config, tables)
    for key, plan in plans.items():
        fresh.plan(key, plan)
    fresh.plan_host_ports([HostPort("", "tcp", 8000, chance_pod(changed), 80)])
    await fresh.apply()
    assert rules_of(saved(lab)) == changed


def chance_pod(lines):
    """Whom the last host port leads to."""
    (found,) = [line for line in lines if "HOSTPORTS" in line and "DNAT" in line]
    return found.rpartition(" ")[2].removesuffix(":80")


async def test_rules_of_others_stay_and_ours_go_without_a_trace(lab, config, tables):
    theirs = ["-t", "nat", "-A", "PREROUTING", "-p", "tcp", "-m", "tcp", "--dport", "9", "-j", "RETURN"]
    run(lab, *theirs)
    try:
        other = IptablesTables("test2", (4,), lab.command("node"))
        await IptablesBackend(dataclasses.replace(config, instance="test2"), other).apply()
        before = saved(lab)
        backend = IptablesBackend(config, tables)
        backend.plan(ServiceKey("default", "web"), service("web", 1))
        assert not await tables.exists()
        await backend.apply()
        assert await tables.exists()
        assert rules_of(saved(lab)) != rules_of(before)
        await remove(config.instance, lab.command("node"))
        assert rules_of(saved(lab)) == rules_of(before)
        assert not [line for line in saved(lab) if "SAM-test-" in line]
        await remove("test2", lab.command("node"))
        assert rules_of(saved(lab)) == ["-A PREROUTING -p tcp -m tcp --dport 9 -j RETURN"]
        assert not [line for program in ("iptables", "ip6tables") for line in saved(lab, program) if "SAM-" in line]
    finally:
        run(lab, "-t", "nat", "-D", *theirs[3:])


async def test_rules_that_somebody_flushed_are_noticed_and_written_again(lab, config, tables, caplog):
    backend = IptablesBackend(config, tables)
    await backend.apply()
    before = rules_of(saved(lab))
    run(lab, "-t", "nat", "-F", "PREROUTING")
    await backend.repair(whole=False)
    await backend.apply()
    assert rules_of(saved(lab)) == before
    assert "is gone" in caplog.text


def test_a_program_that_ends_without_reading_its_input_breaks_nothing_on_the_node_s_event_loop():
    """The node process runs on uvloop, which raises RuntimeError where asyncio overlooks a broken pipe."""
    whole = [Op("delete", Table()), Op("add", Chain("4/nat/SAM-test-a"))]

    async def several():
        for _ in range(10):
            await IptablesTables("t", (4,), ("true",)).apply(whole)

    uvloop.run(several())


async def test_a_missing_program_is_named_with_its_package():
    with pytest.raises(NftUnavailable, match="apt-get install -y iptables"):
        await IptablesTables("t", (4,), ("/nonexistent/program",)).apply([Op("add", Rule("4/nat/a", "-j DROP"))])


async def test_what_is_refused_after_something_was_changed_is_no_fault_of_one_service(lab, config, tables):
    good, bad = Op("add", Chain("4/raw/SAM-test-A")), Op("add", Rule("4/nat/SAM-test-B", "-j NOWHERE"))
    with pytest.raises(NftUnavailable):
        await tables.apply([good, bad])
