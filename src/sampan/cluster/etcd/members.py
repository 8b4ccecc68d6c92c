"""The members of the instance's etcd cluster: who they are, how they are, adding and removing one.

Used by ``up`` (is it healthy), ``join`` and ``reset`` (a member comes, goes) and by the server process, which keeps the
list of their addresses. Each call is one question to etcd and says in a ClusterError what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member
from sampan.cluster.instance import Instance
from sampan.records import dataclass
from sampan.store.etcd.client import Client
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.settings import EtcdSettings, parse_endpoints
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

_CLUSTER: Final = "/etcdserverpb.Cluster/"
_STATUS: Final = "/etcdserverpb.Maintenance/Status"
_ALARM: Final = "/etcdserverpb.Maintenance/Alarm"
_LOOK_SECONDS: Final = 0.25
#: between two looks at who is a member, in a server that runs
KEEP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Member:
    """``name`` "": it was added and has not started. ``learner``: it gets everything and has no vote yet."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """``problem`` "": it answers and has a leader."""

    endpoint: str
    version: str = ""
    leads: bool = False
    size_bytes: int = 0
    problem: str = ""


def settings_of(instance: Instance, *, seconds: float = 15.0) -> EtcdSettings:
    """How this machine's control plane speaks to its etcd, the managed one or somebody else's."""
    cluster = instance.cluster
    if cluster.etcd_endpoints:
        paths = [_path(text) for text in (cluster.etcd_cafile, cluster.etcd_certfile, cluster.etcd_keyfile)]
        return EtcdSettings(
            endpoints=parse_endpoints(cluster.etcd_endpoints),
            ca=paths[0], cert=paths[1], key=paths[2], call_seconds=seconds,
        )  # fmt: skip
    return EtcdSettings(
        endpoints=member.endpoints(instance),
        ca=instance.pki / "etcd" / "ca.crt",
        cert=instance.pki / "apiserver-etcd-client.crt",
        key=instance.pki / "apiserver-etcd-client.key",
        call_seconds=seconds,
    )


def _path(text: str) -> Any:
    from pathlib import Path

    return Path(text) if text else None


@asynccontextmanager
async def connected(settings: EtcdSettings) -> AsyncIterator[Client]:
    client = Client(settings)
    try:
        yield client
    except StoreError as error:
        raise ClusterError(
            str(error), fix="look at the logs of etcd's members (`sampan logs etcd`); most of them must run"
        ) from error
    finally:
        await client.close()


async def list_members(client: Client) -> list[Member]:
    found = await client.call(f"{_CLUSTER}MemberList", pb.MemberListRequest(linearizable=True))
    return [_member(each) for each in found.members]


async def add(client: Client, peer_url: str, *, learner: bool = False) -> tuple[Member, list[Member]]:
    """The new member, and all. One with this peer URL that is there already is taken as it is."""
    there = await list_members(client)
    for each in there:
        if peer_url in each.peer_urls:
            return each, there
    ask = pb.MemberAddRequest(peerURLs=[peer_url], isLearner=learner)
    added = await client.call(f"{_CLUSTER}MemberAdd", ask)
    return _member(added.member), [_member(each) for each in added.members]


async def remove(client: Client, member_id: int) -> list[Member]:
    """Those that are left. One that is gone already is as good."""
    there = await list_members(client)
    if member_id not in {each.id for each in there}:
        return there
    left = await client.call(f"{_CLUSTER}MemberRemove", pb.MemberRemoveRequest(ID=member_id))
    return [_member(each) for each in left.members]


async def promote(client: Client, member_id: int, *, timeout_seconds: float = 60.0) -> None:
    """Gives a learner its vote once it has caught up; one that has it keeps it. Raises StoreError, TimeoutError."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            try:
                await client.call(f"{_CLUSTER}MemberPromote", pb.MemberPromoteRequest(ID=member_id), seconds=10)
                return
            except StoreError as error:
                text = str(error)
                if "in sync" not in text:
                    if "can only promote a learner" in text:  # it votes already
                        return
                    raise
            await asyncio.sleep(_LOOK_SECONDS)


def initial_cluster(members: Sequence[Member], new: Member, name: str) -> dict[str, str]:
    """What the new member's configuration says of all (``member.write_config``)."""
    return {name if each.id == new.id else each.name: each.peer_urls[0] for each in members if each.peer_urls}


async def health(settings: EtcdSettings, seconds: float = 2.0) -> list[Health]:
    """Of each endpoint, in their order. Never raises for one that does not answer."""
    client = Client(settings)
    try:
        return list(await asyncio.gather(*(_health(client, endpoint, seconds) for endpoint in settings.endpoints)))
    finally:
        await client.close()


async def _health(client: Client, endpoint: str, seconds: float) -> Health:
    try:
        found = await client.call(_STATUS, pb.StatusRequest(), seconds=seconds, member=endpoint)
        alarms = await client.call(_ALARM, pb.AlarmRequest(action=pb.AlarmRequest.GET), seconds=seconds)
    except StoreError as error:
        return Health(endpoint, problem=str(error))
    problem = "" if found.leader else "it knows of no leader"
    for alarm in alarms.alarms:
        if alarm.memberID == found.header.member_id:
            problem = f"alarm {pb.AlarmType.Name(alarm.alarm)}"
    return Health(endpoint, found.version, found.leader == found.header.member_id, found.dbSize, problem)


def endpoints_of(members: Sequence[Member]) -> tuple[str, ...]:
    """Where the members that have started and vote take clients."""
    urls = [url for each in members if not each.learner for url in each.client_urls]
    return tuple(dict.fromkeys(url.removeprefix("https://").removeprefix("http://") for url in urls))


class Following(Protocol):
    """The store, as far as it is told who the members are."""

    def use_endpoints(self, endpoints: Sequence[str]) -> None: ...


async def keep_current(instance: Instance, store: Following) -> None:
    """Until cancelled: members that come and go are known to the store that runs, and on disk to the next one."""
    while True:
        try:
            async with connected(settings_of(instance, seconds=5)) as client:
                known = endpoints_of(await list_members(client))
            changed = await asyncio.to_thread(member.keep_endpoints, instance, known) if known else False
            if changed:
                store.use_endpoints(member.endpoints(instance))
        except (ClusterError, OSError) as error:
            log.warning("the list of etcd's members cannot be kept: %s", error)
        await asyncio.sleep(KEEP_SECONDS)


def _member(found: Any) -> Member:
    return Member(found.ID, found.name, tuple(found.peerURLs), tuple(found.clientURLs), found.isLearner)
