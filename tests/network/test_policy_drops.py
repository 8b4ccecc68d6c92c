"""What is dropped is told: by the kernel, by the node, to people."""

import asyncio
import errno
import socket
import struct
from datetime import UTC, datetime

import policy_worlds as make
from hypothesis import given
from hypothesis import strategies as st
from policy_driver import Driver
from policy_lab import OUTSIDE, PATIENCE, POD1, POD2, SILENCE, Enforced

from sampan.api.customresources import validate_definition
from sampan.network.policy.backend import Dropped
from sampan.network.policy.definitions import definitions
from sampan.network.policy.drops import LastDrops
from sampan.network.policy.model import PodKey
from sampan.network.policy.nft import nflog
from sampan.network.policy.packets import Packet
from sampan.network.policy.reporting import Restricted, render_metrics, wire
from sampan.network.seeing import drops as seeing


class At:
    def now(self):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def denying():
    driver = Driver()
    driver.put(make.namespace("default"), make.pod("web", POD1), make.policy("deny", ingress=[], egress=[]))
    driver.sync()
    return driver


async def test_the_kernel_tells_of_each_connection_that_is_dropped_and_answers_name_what_they_answer(lab):
    heard = asyncio.Queue()
    node = Enforced(lab)
    listener = nflog.Listener("test", heard.put_nowait)
    drops = LastDrops(At())
    with lab.inside("node"):
        node.group = listener.open()
    try:
        node.put(make.namespace("default"), make.pod("web", POD1, {"app": "web"}), make.pod("shop", POD2))
        await node.enforce(whole=True)
        loop = asyncio.get_running_loop()
        listening = lab.bound("pod1", "0.0.0.0", 9000, socket.SOCK_STREAM)
        listening.listen()
        client = lab.client("pod2")
        await loop.sock_connect(client, (POD1, 9000))
        server, _ = await loop.sock_accept(listening)
        node.put(make.policy("deny", {"app": "web"}, ingress=[]))
        await node.enforce()
        assert await lab.get("outside", POD1, 80, SILENCE) == "silence"
        packet = await asyncio.wait_for(heard.get(), PATIENCE)
        assert packet[:4] == ("ingress", OUTSIDE, POD1, "TCP") and packet.target_port == 80
        drops.hear(packet, node.planner)
        server.setblocking(False)
        await loop.sock_sendall(server, b"!")
        while packet.prefix != "ingress/r":
            packet = await asyncio.wait_for(heard.get(), PATIENCE)
        drops.hear(packet, node.planner)
        last, first = drops.listed()
        assert (last.flow.source, last.flow.target, last.flow.port) == (POD2, POD1, 9000)
        assert (str(first.pod), first.policies) == ("default/web", ("NetworkPolicy default/deny",))
        for each in (listening, client, server):
            each.close()
    finally:
        listener.close()
        await node.nft.remove()


def test_another_instances_group_is_left_to_it(monkeypatch):
    asked = []

    def answer(_, group, kind, __):
        asked.append((group, kind))
        return errno.EBUSY if group == 7 else 0

    monkeypatch.setattr(nflog, "_asked", answer)
    made, group = nflog._listening(7)
    made.close()
    assert group == 8 and asked[0] == (7, 1)


@given(st.binary(max_size=200))
def test_whatever_is_read_is_a_packet_or_nothing(data):
    list(nflog.parse(data))
    head = struct.pack("IHHII", 16 + len(data), 4 << 8, 0, 0, 0)
    list(nflog.parse(head + data))


def test_a_connection_is_told_once_however_often_it_is_tried_and_only_the_last_are_kept():
    drops, driver = LastDrops(At()), denying()
    for number in range(400):
        for _ in range(2):
            drops.hear(Packet("ingress", OUTSIDE, POD1, "TCP", 40000, number), driver.planner)
    listed = drops.listed()
    assert [drop.flow.port for drop in listed] == list(range(399, 143, -1))
    assert {drop.packets for drop in listed} == {2}
    drops.hear(Packet("of somebody else", OUTSIDE, POD1, "TCP"), driver.planner)
    assert len(drops.listed()) == len(listed)


def test_who_is_restricted_and_what_was_dropped_is_for_programs_and_for_prometheus():
    drops, driver = LastDrops(At()), denying()
    drops.hear(Packet("egress", POD1, OUTSIDE, "UDP", 1, 53), driver.planner)
    restricted = Restricted(POD1, PodKey("default", "web"), driver.planner.judged(POD1), {"egress": Dropped(3, 180)})
    report = wire([restricted], drops.listed())
    (each,) = report["restricted"]
    assert each["egress"] == {"policies": ["NetworkPolicy default/deny"], "dropped": {"packets": 3, "bytes": 180}}
    labels = f'namespace="default",pod="web",ip="{POD1}",direction="egress"'
    assert f"sampan_network_policy_dropped_packets_total{{{labels}}} 3" in render_metrics([restricted])
    said = seeing.words(seeing.listed({"node1": report, "node2": {"fault": "away"}}))
    assert said.splitlines()[1].split()[:8] == [
        "2026-01-02T03:04:05Z", "node1", "default/web", "egress", POD1, OUTSIDE, "53/UDP", "1",
    ]  # fmt: skip
    assert said.endswith("NetworkPolicy default/deny")
    assert "No connection" in seeing.words([])


def test_the_definition_of_cluster_policies_is_one_that_a_server_takes():
    (definition,) = definitions()
    status = {"storedVersions": ["v1alpha2"]}  # as the server sets it before it judges
    assert validate_definition({**definition, "status": status}) == []


def test_a_connection_that_goes_on_being_dropped_names_the_policies_that_select_its_pod_now():
    driver, drops = denying(), LastDrops(At())
    packet = Packet("ingress/", OUTSIDE, POD1, "TCP", 40000, 80)
    drops.hear(packet, driver.planner)
    driver.put(make.policy("later", ingress=[]))
    driver.sync()
    drops.hear(packet, driver.planner)
    (drop,) = drops.listed()
    assert drop.policies == ("NetworkPolicy default/deny", "NetworkPolicy default/later")
    assert (str(drop.pod), drop.packets) == ("default/web", 2)
