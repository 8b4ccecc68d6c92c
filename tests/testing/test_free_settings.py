"""Settings of a cluster that stands beside whatever the machine runs."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from random import Random

import pytest

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance, Settings
from sampan.testing import free


def everything(settings: Settings) -> set[int]:
    low, high = settings.node_ports
    return {settings.api_port, settings.kubelet_port, settings.dns_port, *range(low, high + 1)}


@pytest.mark.parametrize("seed", range(5))
def test_a_second_cluster_shares_no_port_and_no_address_with_the_first(tmp_path: Path, seed: int) -> None:
    first = free.settings("one", random=Random(seed), state_root=tmp_path)
    Instance(first, tmp_path, tmp_path).save()
    # The same chances again: only what the first one has keeps it off the same choice.
    second = free.settings("two", random=Random(seed), state_root=tmp_path)
    assert not everything(first) & everything(second)
    ranges = [
        ipaddress.ip_network(text)
        for made in (first, second, Settings())
        for text in (made.pod_cidr, made.service_cidr)
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
        free.settings("one", random=Random(1), state_root=tmp_path)


def test_what_is_chosen_reads_back_from_the_options_of_up(tmp_path: Path) -> None:
    chosen = free.settings("one", random=Random(1), state_root=tmp_path)
    words = free.arguments(chosen)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--api-port"] == str(chosen.api_port)
    assert options["--node-port-range"] == "{}-{}".format(*chosen.node_ports)
