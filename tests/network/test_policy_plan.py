"""What a node enforces, planned change by change, against a judge who reads the objects plainly."""

import ipaddress
import logging

import policy_worlds as make
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_driver import NODE, OUTSIDE, Driver

from sampan.network.policy import intervals, planner, sets
from sampan.network.policy.memory import MemoryBackend
from sampan.network.policy.model import PodKey, PolicyKey
from sampan.network.policy.nft.render import Table, rule_lines
from sampan.network.policy.reading import read_policy


def test_pods_that_no_policy_selects_cost_nothing():
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("a", "10.244.0.2", {"app": "web"}))
    driver.put(make.policy("p", {"app": "db"}, ingress=[]))
    assert not driver.sync()
    assert driver.lets(OUTSIDE, "10.244.0.2")


def test_one_pods_change_touches_the_sets_it_is_among_and_nothing_else():
    driver = Driver()
    driver.put(make.namespace("default"))
    for number in range(200):
        driver.put(make.pod(f"p{number}", f"10.244.1.{number}", {"app": f"a{number % 20}"}, node="node2"))
    for number in range(20):
        driver.put(
            make.policy(
                f"p{number}",
                {"of": "here"},
                ingress=[{"from": [{"podSelector": {"matchLabels": {"app": f"a{number}"}}}]}],
            )
        )
    driver.put(make.pod("mine", "10.244.0.2", {"of": "here"}))
    driver.sync()
    driver.put(make.pod("new", "10.244.1.250", {"app": "a3"}, node="node2"))
    delta = driver.sync()
    assert [list(elements.values()) for elements in delta.elements.values()] == [[True]]
    assert not delta.sets and not delta.chains and not delta.policies and not delta.pods
    driver.drop(PodKey("default", "new"))
    assert [list(elements.values()) for elements in driver.sync().elements.values()] == [[False]]


def test_an_address_that_goes_to_another_pod_is_judged_as_that_one():
    driver = Driver()
    driver.put(make.namespace("default"), make.policy("p", {"app": "db"}, ingress=[]))
    driver.put(make.pod("old", "10.244.0.2", {"app": "db"}))
    driver.sync()
    assert not driver.lets(OUTSIDE, "10.244.0.2")
    driver.put(
        make.pod("old", "10.244.0.2", {"app": "db"}, phase="Succeeded"), make.pod("new", "10.244.0.2", {"app": "web"})
    )
    driver.sync()
    assert driver.lets(OUTSIDE, "10.244.0.2")


def test_what_comes_and_goes_between_two_looks_is_no_news():
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("a", "10.244.0.2"))
    driver.put(make.policy("p", ingress=[{"from": [{"podSelector": {}}]}]))
    driver.sync()
    driver.put(make.pod("b", "10.244.1.2", node="node2"))
    driver.drop(PodKey("default", "b"))
    driver.drop(PolicyKey("NetworkPolicy", "default", "p"))
    driver.put(make.policy("p", ingress=[{"from": [{"podSelector": {}}]}]))
    assert not driver.sync()


def test_a_rule_that_is_not_understood_closes():
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("a", "10.244.0.2"), make.pod("b", "10.244.0.3"))
    driver.put(make.policy("p", ingress=[{"from": [{"ipBlock": {"cidr": "10.244.0.0/33"}}]}, {"from": [{}]}]))
    driver.put(
        make.cluster_policy(
            "c", egress=[{"action": "Pass", "to": [{"domainNames": ["example.com"]}]}], subject={"namespaces": {}}
        )
    )
    driver.sync()
    assert not driver.lets("10.244.1.9", "10.244.0.2")
    assert not driver.lets("10.244.0.3", OUTSIDE)


@pytest.mark.parametrize("seed", range(300))
def test_random_policies_as_they_change_let_through_what_the_judge_does(seed, monkeypatch):
    """Of each seed: a cluster of pods here and elsewhere, policies of all kinds, and changes of everything."""
    monkeypatch.setattr(sets, "_AT_ONCE", 2)
    monkeypatch.setattr(planner, "_AT_ONCE", 1)
    dice = make.Dice(seed)
    driver, random = Driver(), dice.random
    names = ["a", "b", "c"]
    addresses = [f"10.244.0.{number}" for number in range(2, 6)] + [f"10.244.1.{number}" for number in range(2, 5)]

    def change():
        kind = random.randrange(10)
        if kind < 2:
            driver.put(make.namespace(random.choice(names), **dice.labels()))
        elif kind < 5:
            number = random.randrange(len(addresses))
            node = NODE if number < 4 else "node2"
            driver.put(dice.pod(f"p{number}", addresses[number], names[number % 3], node))
        elif kind < 7:
            driver.put(dice.network_policy(f"n{random.randrange(4)}", random.choice(names)))
        elif kind < 8:
            driver.put(dice.cluster_policy(f"c{random.randrange(3)}"))
        elif held := [*driver.pods, *driver.policies]:
            driver.drop(random.choice(held))

    for number, address in enumerate(addresses):
        driver.put(dice.pod(f"p{number}", address, names[number % 3], NODE if number < 4 else "node2"))
    for name in names:
        driver.put(make.namespace(name, **dice.labels()))
        driver.put(dice.network_policy("n0", name))
    for _ in range(4):
        for _ in range(random.randrange(1, 5)):
            change()
        # Sometimes there are changes while sets are filled.
        if seed % 2:
            for _ in driver.planner.preparing():
                if random.random() < 0.5:
                    change()
        # Now and then somebody has lost all of it, and is told all.
        whole = random.random() < 0.3
        if whole:
            driver.backend = MemoryBackend()
        driver.sync(whole)
        driver.agree(random, 40)


def test_a_peer_of_thousands_of_pods_is_filled_in_steps_and_one_pods_news_is_one_element():
    """Counted in what is touched, which no machine's speed changes."""
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("mine", "10.244.0.2", {"app": "mine"}))
    for number in range(3000):
        driver.put(make.pod(f"p{number}", f"10.245.{number // 250}.{number % 250}", {"app": "x"}, node="node2"))
    peers = [{"from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}]
    driver.put(make.policy("p", {"app": "mine"}, ingress=peers))
    assert sum(1 for _ in driver.planner.preparing()) >= 3000 // 200 - 1
    assert sum(map(len, driver.sync().elements.values())) == 3000
    driver.put(make.pod("new", "10.246.0.1", {"app": "x"}, node="node2"))
    assert sum(1 for _ in driver.planner.preparing()) == 0
    assert sum(map(len, driver.sync().elements.values())) == 1


_FIELDS = [
    *("podSelector", "namespaceSelector", "matchLabels", "matchExpressions", "key", "operator", "values", "from", "to"),
    *("ports", "port", "endPort", "protocol", "ipBlock", "cidr", "except", "pods", "namespaces", "networks", "action"),
    *("protocols", "tcp", "destinationPort", "range", "start", "number", "portNumber", "portRange"),
]
_WORDS = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "10.0.0.0/8", "TCP", "Deny", "In"])
_JUNK = st.recursive(
    _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
    max_leaves=12,
)
_SPEC = st.dictionaries(
    st.sampled_from(["podSelector", "policyTypes", "ingress", "egress", "subject", "priority", "tier"]),
    st.lists(_JUNK, max_size=3) | _JUNK,
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["NetworkPolicy", "ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"]),
    _SPEC,
)
def test_a_damaged_policy_is_read_and_enforced_as_far_as_it_goes(kind, spec):
    """The store may hold anything: it costs nobody but those whom the policy is for."""
    logging.disable(logging.WARNING)
    try:
        driver = Driver()
        driver.put(
            make.namespace("default"), make.pod("a", "10.244.0.2"), make.pod("b", "10.244.0.3", namespace="other")
        )
        driver.put({"kind": kind, "metadata": {"name": "p", "namespace": "default"}, "spec": spec})
        delta = driver.sync()
        Table("sampan-test.policy").render(delta)
        for target in ("10.244.0.2", OUTSIDE):
            assert driver.lets("10.244.0.2", target) in (True, False)
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "selector", [{"matchLabels": {"a": ["b"]}}, {"matchExpressions": [{"key": {}, "operator": "In"}]}, 7]
)
def test_a_policy_of_which_nobody_knows_whom_it_selects_closes_its_namespace(selector):
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("a", "10.244.0.2"), make.pod("b", "10.244.0.3", namespace="other"))
    damaged = make.policy("p", ingress=[{}])
    damaged["spec"]["podSelector"] = selector
    driver.put(damaged)
    driver.sync()
    assert not driver.lets(OUTSIDE, "10.244.0.2")
    assert driver.lets(OUTSIDE, "10.244.0.3")


_CIDRS = st.builds(lambda last, length: f"10.0.0.{last}/{length}", st.integers(0, 255), st.integers(24, 32))


@given(_CIDRS, st.lists(_CIDRS, max_size=6))
def test_a_block_is_its_addresses_without_its_exceptions(cidr, without):
    def addresses(text):
        return set(ipaddress.ip_network(text, strict=False))

    spans = intervals.block(cidr, without)
    left = addresses(cidr).difference(*map(addresses, without))
    assert {address for address in addresses("10.0.0.0/24") if intervals.holds(spans, address)} == left


def test_a_policy_that_comes_to_too_many_rules_closes_and_says_so():
    """A thousand peers by a thousand names of ports would be a million rules on every node."""
    peers = [{"podSelector": {"matchLabels": {"a": str(number)}}} for number in range(200)]
    large = make.policy("p", ingress=[{"from": peers, "ports": [{"port": f"p{number}"} for number in range(200)]}])
    read = read_policy(large)
    assert list(rule_lines(read.ingress[0], "ingress", reply=False)) == []
    (fault,) = read.faults
    assert fault.startswith("all its rules close, for it is too large: no more than 10000 addresses and ports")


def test_a_policy_of_too_many_peers_by_labels_closes_too():
    """Each is two sets of the kernel's, and a rule for each."""
    peers = [{"podSelector": {"matchLabels": {"a": str(number)}}} for number in range(1000)]
    assert read_policy(make.policy("p", ingress=[{"from": peers[:900]}])).faults == ()
    read = read_policy(make.policy("p", ingress=[{"from": peers}]))
    assert read.faults
    assert not read.ingress[0].peers


def test_thousands_of_exceptions_of_one_block_are_enforced():
    holes = [f"10.{number // 256}.{number % 256}.1/32" for number in range(9_000)]
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": holes}}
    read = read_policy(make.policy("p", ingress=[{"from": [block]}]))
    assert read.faults == ()
    assert len(read.ingress[0].blocks) == 9_001


def test_a_pod_is_judged_once_of_however_many_policies_that_change_together(monkeypatch):
    judged, select = [], planner.select
    monkeypatch.setattr(planner, "select", lambda *each: judged.append(each) or select(*each))
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("a", "10.244.0.2"), make.pod("b", "10.244.0.3"))
    driver.sync()
    judged.clear()
    driver.put(*(make.policy(f"p{number}", ingress=[]) for number in range(40)))
    driver.sync()
    assert len(judged) == 2 * len(planner.DIRECTIONS)
    assert not driver.lets(OUTSIDE, "10.244.0.2")
