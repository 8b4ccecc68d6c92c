"""Corefiles: what of them acts, what needs nothing, and what is told of by name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.network.dns import corefile
from sampan.network.dns.options import NameServer, Options, parse_options

#: As kubeadm writes it.
STOCK = """
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""


def read(text: str, **more: str) -> tuple[Options, tuple[str, ...]]:
    return parse_options({"data": {"Corefile": text, **more}})


def root(*lines: str) -> str:
    return ".:53 {\n" + "\n".join(lines) + "\n}\n"


def test_the_stock_one_asks_for_nothing_that_is_not_done() -> None:
    assert read(STOCK) == (Options(cache_seconds=30, negative_seconds=30), ())


@pytest.mark.parametrize("inner", ["{\nx\n}", "cache {\n{\na\n}\n}", "kubernetes {\n{\n}\n}", "hosts {\n{\n}\n}"])
def test_a_brace_of_nothing_is_told_by_line_and_ends_nothing(inner: str) -> None:
    options, faults = read(root(inner))
    assert options == Options()
    assert len(faults) == 1
    assert "a brace is opened" in faults[0]


def test_a_server_block_of_a_domain_is_a_stub_domain() -> None:
    text = STOCK + "consul.local:53 {\n  errors\n  cache 30\n  forward . 10.150.0.1 10.150.0.2:5353\n}\n"
    options, faults = read(text)
    assert not faults
    assert options.stub_domains == (("consul.local", (NameServer("10.150.0.1"), NameServer("10.150.0.2", 5353))),)


def test_forward_of_a_domain_in_the_root_block_is_a_stub_domain_too() -> None:
    options, faults = read(
        root("forward corp.example. 192.0.2.53", "forward . 192.0.2.1 192.0.2.2 { # two", "policy random", "}")
    )
    assert not faults
    assert options.servers_for("db.corp.example") == (NameServer("192.0.2.53"),)
    assert options.upstreams == (NameServer("192.0.2.1"), NameServer("192.0.2.2")) and options.policy == "random"


def test_hosts_are_names_of_the_block() -> None:
    options, faults = read(root("hosts {", "  192.0.2.7 one.example two.example", "  ttl 60", "  fallthrough", "}"))
    assert (dict(options.hosts), faults) == ({"one.example": ("192.0.2.7",), "two.example": ("192.0.2.7",)}, ())


def test_caches_have_their_limits_and_may_be_stale() -> None:
    options, faults = read(root("cache 60 {", "success 5000 90", "denial 2500 7", "serve_stale 10m", "}"))
    assert not faults
    assert (options.cache_seconds, options.negative_seconds, options.stale_seconds) == (90, 7, 600)


def test_autopath_follows_search_paths() -> None:
    assert read(root("autopath @kubernetes"))[0].autopath


def test_keys_of_the_other_config_map_go_before_it() -> None:
    options, _ = read(root("forward . 192.0.2.1", "cache 60"), upstreamNameservers='["192.0.2.9"]')
    assert options.upstreams == (NameServer("192.0.2.9"),) and options.cache_seconds == 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (root("rewrite name a.example b.example"), "line 2: nothing acts on 'rewrite name a.example b.example' here"),
        (root("errors", "template ANY ANY {", "  rcode NXDOMAIN", "}"), "line 3: nothing acts on 'template ANY ANY'"),
        (root("kubernetes other.example"), "line 2: kubernetes other.example: the cluster's domain is cluster.local"),
        (root("kubernetes cluster.local {", "pods verified", "}"), "nothing acts on 'pods verified' of kubernetes"),
        (root("forward . tls://192.0.2.1"), "name servers are asked by DNS alone"),
        (root("forward . nonsense"), 'upstreamNameservers: "nonsense" is not the address of a name server'),
        (root("forward . /etc/other"), "of files the node's /etc/resolv.conf alone is read"),
        (root("forward ."), "forward names no server"),
        (root("forward . 192.0.2.1 {", "force_tcp", "}"), "line 3: nothing acts on 'force_tcp' of forward here"),
        (root("cache {", "prefetch 10", "}"), "nothing acts on 'prefetch 10' of cache here"),
        (root("hosts /etc/more.hosts"), "hosts of a file: write the lines into the block"),
        ("(snip) {\n errors\n}\n.:53 {\n import snip\n}\n", "line 1: snippets are not read"),
        ("tls://.:853 {\n errors\n}\n", "names are served by DNS at port 53 alone"),
        (".:5300 {\n errors\n}\n", "names are served by DNS at port 53 alone"),
        (".:53 {\n errors\n", "it ends before a brace is closed"),
        (".:53 {\n}\n}\n", "a brace is closed that was not opened"),
        (".:53 { errors }\n", "a brace"),
    ],
)  # fmt: skip
def test_what_is_not_done_is_told_by_name(text: str, told: str) -> None:
    _, (fault, *_) = read(text)
    assert fault.startswith("Corefile: ") and told in fault


def test_one_fault_keeps_nothing_else_from_acting() -> None:
    options, faults = read(root("rewrite stop", "forward . 192.0.2.1"))
    assert options.upstreams and len(faults) == 1


WORDS = st.sampled_from([
    "{", "}", "\n", ".:53", "forward", ".", "192.0.2.1", "cache", "30", "hosts", '"a b"', "#x", "kubernetes", "(s)", "",
    '"', "\\",
])  # fmt: skip


@settings(max_examples=150)
@given(st.lists(WORDS, max_size=40))
def test_whatever_stands_there_is_read_or_told(words: list[str]) -> None:
    options, faults = read(" ".join(words))
    assert isinstance(options, Options) and all(each.startswith("Corefile: ") for each in faults)


def test_a_hostile_one_is_read_in_bounded_time() -> None:
    chance = random.Random(1)
    text = "".join(chance.choice('{}\n"#. a\\') for _ in range(60_000))
    data, faults = corefile.translate(text, "cluster.local")
    assert isinstance(data, dict) and faults
    deep = "a {\n" * 10_000
    assert corefile.translate(deep, "cluster.local") == ({}, ("Corefile: braces are nested deeper than three",))
