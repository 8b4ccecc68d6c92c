"""Settings of a cluster that stands beside whatever the machine runs."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from random import Random

import pytest

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance
from sampan.testing import free


def everything(made: Instance) -> set[int]:
    low, high = made.cluster.node_ports
    return {made.cluster.api_port, made.node.kubelet_port, made.node.dns_port, *range(low, high + 1)}


@pytest.mark.parametrize("seed", range(5))
def test_a_second_cluster_shares_no_port_and_no_address_with_the_first(tmp_path: Path, seed: int) -> None:
    first = free.instance("one", random=Random(seed), state_root=tmp_path)
    first.save()
    # The same chances again: only what the first one has keeps it off the same choice.
    second = free.instance("two", random=Random(seed), state_root=tmp_path)
    assert not everything(first) & everything(second)
    ranges = [
        ipaddress.ip_network(text)
        for made in (first, second, Instance(ClusterSettings()))
        for text in (made.cluster.pod_cidr, made.cluster.service_cidr)
    ]
    assert not [pair for pair in zip(sorted(ranges), sorted(ranges)[1:], strict=False) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_somebody_holds_is_not_free(kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        assert not free.is_free(port)


def test_a_machine_without_a_free_port_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free, "is_free", lambda port: False)
    with pytest.raises(ClusterError, match="no free ports"):
        free.instance("one", random=Random(1), state_root=tmp_path)


def test_what_is_chosen_reads_back_from_the_options_of_up(tmp_path: Path) -> None:
    chosen = free.instance("one", random=Random(1), state_root=tmp_path)
    words = free.arguments(chosen)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--api-port"] == str(chosen.cluster.api_port)
    assert options["--node-port-range"] == "{}-{}".format(*chosen.cluster.node_ports)


def test_a_runtime_without_a_cluster_gets_a_range_that_a_node_may_have() -> None:
    assert ipaddress.ip_network(free.node_range("one")).prefixlen == 24
