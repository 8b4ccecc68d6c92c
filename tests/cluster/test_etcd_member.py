"""The member of etcd that an instance runs: what it is told, who is known, and members that come and go."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from etcd_members import Member, free_ports, running

from sampan.cluster import choosing, processes, supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member, members
from sampan.cluster.instance import Instance, nameless
from sampan.cluster.nodesettings import ROLES, NodeSettings
from sampan.cluster.processes import Process
from sampan.cluster.settings import ClusterSettings
from sampan.store.etcd.client import Client
from sampan.store.etcd.settings import EtcdSettings


def instance(tmp_path: Path) -> Instance:
    made = nameless("blue", state_root=tmp_path / "state", run_root=tmp_path / "run")
    node = NodeSettings(name="one", address="192.0.2.7", roles=(*ROLES, "etcd"))
    return dataclasses.replace(made, cluster=ClusterSettings("blue", store="etcd"), node=node)


def config(made: Instance) -> dict[str, str]:
    found: dict[str, str] = json.loads(member.config_file(made).read_bytes())
    return found


def test_a_first_member_begins_a_cluster_of_its_own_that_asks_everybody_for_a_certificate(tmp_path: Path) -> None:
    made = instance(tmp_path)
    member.write_config(made)
    told = config(made)
    assert told["initial-cluster"] == "one=https://192.0.2.7:2380" and told["initial-cluster-state"] == "new"
    assert told["listen-client-urls"] == "https://127.0.0.1:2379,https://192.0.2.7:2379"
    for part in ("client", "peer"):
        security = json.loads(member.config_file(made).read_bytes())[f"{part}-transport-security"]
        assert security["client-cert-auth"] is True
        assert security["trusted-ca-file"] == str(made.pki / "etcd" / "ca.crt")


def test_one_that_joins_keeps_what_it_was_told_of_the_others(tmp_path: Path) -> None:
    made = instance(tmp_path)
    member.write_config(made, {"zero": "https://192.0.2.6:2380", "one": "https://192.0.2.7:2380"})
    member.write_config(made)  # as the next `up` does
    told = config(made)
    assert told["initial-cluster"] == "zero=https://192.0.2.6:2380,one=https://192.0.2.7:2380"
    assert told["initial-cluster-state"] == "existing"


def test_a_control_plane_talks_to_its_own_member_first(tmp_path: Path) -> None:
    made = instance(tmp_path)
    assert member.endpoints(made) == ("127.0.0.1:2379",)
    assert member.keep_endpoints(made, ["192.0.2.7:2379", "192.0.2.6:2379"])
    assert not member.keep_endpoints(made, ["192.0.2.6:2379", "192.0.2.7:2379"])
    assert member.endpoints(made) == ("127.0.0.1:2379", "192.0.2.6:2379")
    member.members_file(made).write_text("damaged")
    assert member.endpoints(made) == ("127.0.0.1:2379",)


def test_the_member_is_a_child_that_starts_first_and_is_known_again(tmp_path: Path) -> None:
    made = instance(tmp_path)
    first = supervisor.programs(made)[0]
    assert first.name == "etcd"
    process = Process(7, 1, 0, "etcd-3.5", ("whatever", *first.argv[1:]))
    assert processes.is_program(process, made)
    other = nameless("green", state_root=made.state_root, run_root=made.run_root)
    assert not processes.is_program(process, other)
    without = dataclasses.replace(made, node=dataclasses.replace(made.node, roles=ROLES))
    assert "etcd" not in [program.name for program in supervisor.programs(without)]


def test_two_clusters_of_a_machine_have_members_at_different_ports(tmp_path: Path) -> None:
    there = choosing.choose(instance(tmp_path), choosing.Given(), choosing.Machine())
    new = nameless("green")
    new = dataclasses.replace(new, node=dataclasses.replace(new.node, roles=(*ROLES, "etcd")))
    second = choosing.choose(new, choosing.Given(), choosing.Machine(others=(there,)))
    ports = {each.node.etcd_client_port for each in (there, second)} | {
        each.node.etcd_peer_port for each in (there, second)
    }
    assert len(ports) == 4


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"store": "raft"}, "--store 'raft' is not known"),
        ({"store": "etcd", "etcd_endpoints": "a:b"}, "no endpoint of etcd"),
        ({"store": "etcd", "etcd_endpoints": "a:1", "etcd_certfile": "/c"}, "needs its key"),
        ({"store": "etcd", "etcd_endpoints": "a:1", "etcd_cafile": "/none"}, "--etcd-cafile /none is no file"),
        ({"store": "etcd", "etcd_cafile": "/none"}, "is for an etcd that others run"),
        ({"store": "etcd", "etcd_prefix": "/"}, "--etcd-prefix '/' is not valid"),
    ],
)
def test_settings_that_name_no_store_are_refused_by_their_option(chosen: dict[str, str], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        dataclasses.replace(ClusterSettings("blue"), **chosen).validate()


async def test_a_member_comes_without_a_vote_gets_one_and_goes(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        client = Client(EtcdSettings(endpoints=first.endpoints))
        client_port, peer_port = free_ports(2)
        second = Member("m1", tmp_path / "m1", client_port, peer_port)
        added, everybody = await members.add(client, second.peer, learner=True)
        assert added.learner and len(everybody) == 2
        again, _ = await members.add(client, second.peer, learner=True)
        assert again.id == added.id, "who was added is taken as it is"
        assert members.initial_cluster(everybody, added, "m1") == {"m0": first.all[0].peer, "m1": second.peer}
        second.arguments = ("--initial-cluster-state", "existing")
        second.start([first.all[0], second], first.program)
        try:
            await members.promote(client, added.id)
            await members.promote(client, added.id)
            voters = members.endpoints_of(await members.list_members(client))
            assert set(voters) == {first.endpoints[0], second.endpoint}
            seen = await members.health(EtcdSettings(endpoints=(*first.endpoints, second.endpoint)), seconds=20)
            assert [each.problem for each in seen] == ["", ""] and sum(each.leads for each in seen) == 1
            left = await members.remove(client, added.id)
            assert [each.name for each in left] == ["m0"]
            assert await members.remove(client, added.id) == left
        finally:
            second.kill()
            await client.close()
        (well, gone) = await members.health(EtcdSettings(endpoints=(*first.endpoints, second.endpoint)), seconds=1)
        assert not well.problem and "gave no answer" in gone.problem
