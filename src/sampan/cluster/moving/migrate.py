"""``sampan store migrate``: a stopped cluster from SQLite to etcd or back, with every key's bytes compared.

The settings change last: whoever is interrupted has the cluster as it was, and the same command goes on where it
stopped. The old store is kept aside until ``--delete-old``. To SQLite, revisions stay as they are. Etcd counts itself:
the store's revisions are its own and an offset from then on, which lifts them above the old store's. Each entry gets a
new one, and what is before is compacted, so that every client lists anew.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from sampan.api.clock import Clock
from sampan.api.faults import fault
from sampan.cluster import choosing, locks, pki, supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member
from sampan.cluster.instance import Instance
from sampan.cluster.moving.etcd import reached
from sampan.cluster.moving.exchange import free_name, put_in_place, unused
from sampan.cluster.moving.progress import Progress, counting
from sampan.records import dataclass
from sampan.store.archive.building import build
from sampan.store.archive.etcdside import EtcdSide, digest
from sampan.store.archive.records import ArchiveError, Record
from sampan.store.archive.sources import Snapshot
from sampan.store.protocol import StoreError

_ASIDE = "before-migrate"
#: what an API server writes below
_PREFIXES = ("/registry/", "/ranges/")
#: true of API servers that run
_OF_THE_MOMENT = ("/registry/masterleases/",)
#: an API server's entry that is not renewed has ended by then
_SERVER_SECONDS = 16.0
_AS_IT_WAS = "the cluster is as it was"
_PORT_STEP = 100
_PORTS = range(2379, 32000, _PORT_STEP)


@dataclass(frozen=True, slots=True)
class Moved:
    instance: Instance
    records: int
    before: int
    after: int


def target_of(instance: Instance, to: str, options: dict[str, Any]) -> Instance:
    """The settings of the cluster once it has moved. ``options``: of an etcd that others run. Raises ClusterError."""
    cluster, node = instance.cluster, instance.node
    if to == "sqlite":
        roles = tuple(role for role in node.roles if role != "etcd")
        target = replace(
            instance,
            cluster=replace(
                cluster, store="sqlite", etcd_endpoints="", etcd_cafile="", etcd_certfile="", etcd_keyfile=""
            ),
            node=replace(node, roles=roles),
        )
    elif to == "etcd":
        client = node.etcd_client_port
        if not node.runs_etcd:
            client = next((port for port in _PORTS if choosing.is_free(port) and choosing.is_free(port + 1)), client)
        target = replace(
            instance,
            cluster=replace(cluster, store="etcd"),
            node=replace(
                node,
                roles=tuple(dict.fromkeys((*node.roles, "etcd"))),
                etcd_client_port=client,
                etcd_peer_port=node.etcd_peer_port if node.runs_etcd else client + 1,
            ),
        )
    else:
        endpoints = to.removeprefix("etcd://")
        target = replace(instance, cluster=replace(cluster, store="etcd", etcd_endpoints=endpoints, **options))
    if target.cluster.store == "etcd":  # which is asked at its own endpoints
        target = replace(target, node=replace(target.node, etcd_endpoint=""))
    target.validate()
    return target


async def migrate(instance: Instance, target: Instance, *, clock: Clock, progress: Progress) -> Moved:
    """Raises ClusterError; then the cluster is as it was."""
    if instance.cluster.store == target.cluster.store and instance.cluster == target.cluster:
        raise ClusterError(
            f"cluster {instance.name!r} is on {instance.cluster.store} already", fix="there is nothing to do"
        )
    if instance.cluster.store == target.cluster.store:
        raise ClusterError(
            "from one etcd to another the way is over SQLite", fix="`--to sqlite` first; or etcd's own tools"
        )
    async with locks.changing(instance, progress):
        if supervisor.is_running(instance):
            raise ClusterError(f"cluster {instance.name!r} is running", fix=f"`{instance.command('down')}`, then again")
        try:
            if target.cluster.store == "etcd":
                with unused(instance.store):
                    return await _to_etcd(instance, target, clock, progress)
            return await _to_sqlite(instance, target, clock, progress)
        except (StoreError, ArchiveError) as error:
            raise ClusterError(
                f"the store was not moved: {error}", fix=f"{_AS_IT_WAS}; the same command goes on"
            ) from error
        except OSError as error:
            raise ClusterError(f"the store was not moved: {fault(error)}", fix=_AS_IT_WAS) from error


async def move_on(restored: Instance, target: Instance, to: str, *, clock: Clock, progress: Progress) -> Moved:
    """The rest of a restore to etcd, whose first half is done. Raises ClusterError that says so."""
    try:
        return await migrate(restored, target, clock=clock, progress=progress)
    except ClusterError as error:
        first = "" if error.fix.startswith(_AS_IT_WAS) else f"{error.fix}; then "
        raise ClusterError(
            f"the backup is restored to SQLite, and was not moved on to etcd: {error.message}",
            fix=f"{first}`{restored.command(f'store migrate --to {to}')}` moves it on; it can be started as it is, too",
        ) from error


async def _to_etcd(instance: Instance, target: Instance, clock: Clock, progress: Progress) -> Moved:
    with Snapshot(instance.store, history=False) as snapshot:
        extent = snapshot.extent
        if target.cluster.manages_etcd:
            progress.step("Certificates of etcd")
            pki.ensure(target, clock)
            member.write_config(target)
        foreign = next((r.key for r in snapshot.records(trusting=True) if not r.key.startswith(_PREFIXES)), None)
        if foreign is not None:
            raise ArchiveError(f"{foreign} is no key of an API server; delete it first (`sampan etcd serve`)")
        async with reached(target, progress) as side:
            await _claim(side, extent.identity, extent.revision)
            progress.step(f"Writing {extent.records:,} entries")
            there = await side.digests((await side.extent()).revision)
            await side.write_all(_kept(snapshot), there, counting(progress, extent.records))
            progress.step("Comparing every entry")
            reached_revision = (await side.extent()).revision
            found = await side.digests(reached_revision)
            _compare({r.key: (digest(r.value), r.expires_ms) for r in _kept(snapshot)}, found)
            await side.compact(reached_revision)
            progress.step("Switching the cluster over")
            target.save()
            # Only now: without it a second run would take these entries for another cluster's.
            try:
                await side.remove_marker()
            except StoreError as error:
                progress.warn(f"the cluster has moved; a mark of the move stays in etcd: {error}")
    instance.store.rename(free_name(instance.store.with_name(f"{instance.store.name}.{_ASIDE}")))
    return Moved(target, len(found), extent.revision, reached_revision)


async def _claim(side: EtcdSide, identity: str, revision: int) -> None:
    """The etcd is to be empty, or what an interrupted move of this very store left, which goes where the store has
    changed since. Raises ArchiveError."""
    marker = orjson.dumps({"identity": identity, "revision": revision})
    had = await side.marker()
    if had is not None and not had.startswith(orjson.dumps({"identity": identity})[:-1]):
        raise ArchiveError("another store was being moved into that etcd: finish that move, or take an empty one")
    if had != marker:
        await side.claim(marker, had, revision)


async def _refuse_servers(side: EtcdSide, clock: Clock, progress: Progress) -> None:
    """API servers of other machines would go on writing to etcd, and this copy would not have it. Each renews its
    entry there every few seconds; that of one that was killed ends by itself. Raises ArchiveError."""
    if not await _living(side, clock):
        return
    progress.step("Waiting for API servers on etcd to end")
    await asyncio.sleep(_SERVER_SECONDS)
    if living := await _living(side, clock):
        raise ArchiveError(f"API servers still work on that etcd: {', '.join(living)}; stop them (`sampan down`) first")


async def _living(side: EtcdSide, clock: Clock) -> list[str]:
    now_ms = clock.now().timestamp() * 1000
    ends = await side.ends(_OF_THE_MOMENT[0])
    return sorted(key.removeprefix(_OF_THE_MOMENT[0]) for key, end_ms in ends.items() if end_ms > now_ms)


async def _to_sqlite(instance: Instance, target: Instance, clock: Clock, progress: Progress) -> Moved:
    made = instance.state / "store.migrating"
    shutil.rmtree(made, ignore_errors=True)
    try:
        async with reached(instance, progress) as side:
            await _refuse_servers(side, clock, progress)
            extent = await side.extent()
            progress.step(f"Reading {extent.records:,} entries at revision {extent.revision:,}")
            records: list[Record] = []
            async for record in side.records(extent.revision):
                if not record.key.startswith(_OF_THE_MOMENT):
                    records.append(record)
                    progress.count(len(records), extent.records)
            progress.step(f"Writing {len(records):,} entries")
            build(made, records, extent, counting(progress, len(records)))
            progress.step("Comparing every entry")
            with Snapshot(made, history=False) as snapshot:
                mine = {r.key: (r.revision, digest(r.value), r.expires_ms) for r in snapshot.records()}
            there = await side.digests(extent.revision)
            wanted = {key: value for key, value in there.items() if not key.startswith(_OF_THE_MOMENT)}
            if mine != wanted:
                differs = sorted(key for key in mine.keys() | wanted.keys() if mine.get(key) != wanted.get(key))
                raise ArchiveError(f"{differs[0]} is not the same after the move")
            if (now := (await side.extent()).revision) != extent.revision:
                raise ArchiveError(f"somebody wrote to etcd meanwhile, up to revision {now:,}: stop every API server")
        progress.step("Switching the cluster over")
        aside = free_name(target.store.with_name(f"{target.store.name}.{_ASIDE}"))
        put_in_place(made, target.store, aside)  # one that is there is of an earlier life
        target.save()
        if instance.cluster.manages_etcd:
            folder = member.folder(instance)
            folder.rename(free_name(folder.with_name(f"{folder.name}.{_ASIDE}")))
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Moved(target, len(records), extent.revision, extent.revision)


def _kept(snapshot: Snapshot) -> Iterator[Record]:
    return (record for record in snapshot.records() if not record.key.startswith(_OF_THE_MOMENT))


def _compare(wanted: dict[str, tuple[bytes, int | None]], found: dict[str, tuple[int, bytes, int | None]]) -> None:
    """Raises ArchiveError for the first key that differs."""
    has = {key: value[1:] for key, value in found.items()}
    for key in sorted(wanted.keys() | has.keys()):
        if wanted.get(key) != has.get(key):
            raise ArchiveError(f"{key} is not the same after the move")


def delete_old(instance: Instance) -> int:
    """Removes what moves left aside, and gives how many bytes that were. Raises ClusterError."""
    size = 0
    for path in instance.state.glob(f"*.{_ASIDE}*"):
        size += sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise ClusterError(f"{path} cannot be removed: {fault(error)}", fix="remove it by hand") from error
    return size
