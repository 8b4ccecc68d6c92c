"""``sampan restore``: a cluster out of a backup, on this machine or another, under its name or a new one.

The cluster does not run meanwhile. What is made is made beside what is there and put in its place at the end; what was
there is kept aside. Clients may have seen revisions after the backup's, of which it knows nothing; so the restored
store counts on from far above, and everything before is compacted: whoever watched lists again, instead of
going on without the changes that are no more.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson

from sampan.api.clock import Clock
from sampan.api.faults import fault
from sampan.cluster import choosing, locks, supervisor
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member
from sampan.cluster.instance import Instance
from sampan.cluster.moving.backup import CERTIFICATES
from sampan.cluster.moving.etcd import reached
from sampan.cluster.moving.exchange import free_name, put_in_place, unused
from sampan.cluster.moving.progress import Progress, counting
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.records import dataclass
from sampan.store.archive.building import build
from sampan.store.archive.format import Archive, verify
from sampan.store.archive.records import ArchiveError, Extent, Record
from sampan.store.archive.sources import Snapshot
from sampan.store.protocol import StoreError, StoreUnavailable

#: More commits than any cluster makes between two backups; etcd's own advice for its snapshots.
JUMP = 1_000_000_000
#: Told by each API server while it runs, and true of no other moment.
_OF_THE_MOMENT = ("/registry/masterleases/",)
_ASIDE = "before-restore"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore will do. ``existing``: the revision of the store that it replaces; None: there is none."""

    instance: Instance
    archive: Archive
    existing: int | None
    extent: Extent
    moved: bool
    certificates: bool

    def lines(self, *, moves_on: bool = False) -> Iterator[str]:
        """``moves_on``: it goes to etcd at once."""
        manifest, name = self.archive.manifest, self.instance.name
        yield (
            f"cluster {name!r} of the backup of {manifest.get('cluster')!r} taken {manifest.get('taken')} at revision "
            f"{self.archive.extent.revision:,}: {self.archive.records:,} records"
        )
        if self.existing is not None:
            yield (
                f"the cluster {name!r} that is here (revision {self.existing:,}) is replaced; its store"
                f"{' and certificates are' if self.certificates else ' is'} kept as *.{_ASIDE} in {self.instance.state}"
            )
        if moves_on:
            yield "it is restored to SQLite, and moved to etcd from there"
        elif self.archive.extent.kind != "sqlite":
            yield "it was on etcd and is restored to SQLite; --to etcd, or `sampan store migrate` later, moves it on"
        if self.moved:
            yield f"revisions go on from {self.extent.revision:,}, history and watches too"
        else:
            yield f"revisions go on from {self.extent.revision:,}, so that all clients list anew; no history before"
        if self.certificates:
            yield "certificates and keys are the backup's: kubeconfigs and tokens of the old cluster are valid"
        else:
            yield "certificates and keys are made anew: kubeconfigs and tokens of the old cluster are not valid"


def open_archive(path: Path, progress: Progress) -> Archive:
    """Raises ClusterError: it is no backup, or not whole."""
    progress.step(f"Checking {path}")
    try:
        return verify(path, lambda count: progress.count(count, 0))
    except ArchiveError as error:
        raise ClusterError(str(error), fix="take another backup; nothing was changed") from error
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {error.strerror}", fix="name the file that `sampan backup` wrote"
        ) from error


async def plan(
    archive: Archive, instance: Instance, *, moved: bool, certificates: bool, force: bool, progress: Progress
) -> Plan:
    """``instance``: known by its name. Raises ClusterError when it may not be."""
    wanted = settings_of(archive, instance)
    if supervisor.is_running(instance):
        raise ClusterError(f"cluster {instance.name!r} is running", fix=f"`{instance.command('down')}`, then again")
    existing = _existing(instance)
    if existing is not None and not force:
        raise ClusterError(
            f"there is a cluster {instance.name!r} on this machine already"
            + (f" (revision {existing:,})" if existing else ""),
            fix="add --force to replace it (its store is kept aside), or give another name with --name",
        )
    if existing is not None and (on_etcd := _on_etcd(instance)) is not None:
        existing = await _reached_at_etcd(on_etcd, progress)
    extent = archive.extent
    if moved and existing == 0:
        raise ClusterError(
            f"which revision the cluster {instance.name!r} that is here has come to cannot be read from a SQLite store",
            fix="leave --moved out: clients list anew then",
        )
    seen = max(extent.revision, existing or 0)
    if moved and seen > extent.revision:
        raise ClusterError(
            f"the cluster that is here is at revision {existing:,}, the backup at {extent.revision:,}: it did run on",
            fix="leave --moved out",
        )
    if not moved:
        extent = replace(extent, revision=seen + JUMP, oldest=seen + JUMP)
    try:
        choosing.refuse_clash(wanted, list(choosing.others(wanted)))
    except ClusterError as error:  # there is no option to leave out: they are the backup's
        raise ClusterError(
            f"{error.message}; ports and ranges are the backup's",
            fix="restore it on another machine, or where that cluster is gone (`sampan down --purge --name ...`)",
        ) from error
    has = certificates and any(name.startswith(f"{CERTIFICATES}/") for name in archive.files)
    return Plan(wanted, archive, existing, extent, moved, has)


def _existing(instance: Instance) -> int | None:
    """The revision of the store that is there; 0: there is an instance whose store cannot be read."""
    with suppress(StoreUnavailable), Snapshot(instance.store, history=False) as snapshot:
        return snapshot.extent.revision
    return 0 if instance.exists() else None


def _on_etcd(instance: Instance) -> Instance | None:
    """With its settings, where they can be read and say so."""
    with suppress(ClusterError):
        found = instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)
        return found if found.cluster.store == "etcd" else None
    return None


async def _reached_at_etcd(instance: Instance, progress: Progress) -> int:
    """Revisions that its clients have seen are not to come again with another meaning. Raises ClusterError."""
    try:
        async with reached(instance, progress) as side:
            return (await side.extent()).revision
    except (ClusterError, StoreError) as error:
        raise ClusterError(
            f"which revision the cluster {instance.name!r} that is here has come to cannot be read from etcd: {error}",
            fix=f"have its etcd run; or where that is lost, `{instance.command('down --purge')}` removes what is left "
            "of it, and all its clients have to list anew",
        ) from error


def settings_of(archive: Archive, instance: Instance) -> Instance:
    """The instance as the backup has it, under its new name. Raises ClusterError."""
    found = dict(archive.read_files())
    try:
        cluster = instances.parse(ClusterSettings(), orjson.loads(found["cluster.json"]))
        node = instances.parse(NodeSettings(), orjson.loads(found["node.json"]))
    except (KeyError, ValueError) as error:
        raise ClusterError(
            f"{archive.path} has no settings of a cluster: {error}",
            fix="it holds a store alone, as `etcdctl snapshot save` takes it: take one with `sampan backup`",
        ) from error
    # A backup of any store becomes one of SQLite; where it goes from there is `sampan store migrate`'s.
    cluster = replace(
        cluster,
        name=instance.name,
        store="sqlite",
        etcd_endpoints="",
        etcd_cafile="",
        etcd_certfile="",
        etcd_keyfile="",
    )
    node = replace(node, roles=tuple(role for role in node.roles if role != "etcd"))
    wanted = replace(instance, cluster=cluster, node=node)
    wanted.validate()
    return wanted


async def restore(planned: Plan, *, clock: Clock, progress: Progress) -> None:
    """Raises ClusterError; then what was there is as before."""
    async with locks.changing(planned.instance, progress):
        if supervisor.is_running(planned.instance):
            raise ClusterError(f"cluster {planned.instance.name!r} was started meanwhile", fix="stop it, then again")
        try:
            with unused(planned.instance.store):
                _restore(planned, clock, progress)
        except (StoreUnavailable, ArchiveError) as error:
            raise ClusterError(f"the backup was not restored: {error}", fix="what was there is as before") from error
        except OSError as error:
            raise ClusterError(
                f"the backup was not restored: {fault(error)}", fix="make room; nothing is lost"
            ) from error


def _restore(planned: Plan, clock: Clock, progress: Progress) -> None:
    instance, archive = planned.instance, planned.archive
    state = instance.state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = {name: state / f"{name}.restoring" for name in ("store", CERTIFICATES)}
    try:
        for path in made.values():
            shutil.rmtree(path, ignore_errors=True)
        progress.step(f"Writing {archive.records:,} records")
        now_ms = int(clock.now().timestamp() * 1000)
        extent = planned.extent if planned.moved else replace(planned.extent, oldest_ms=now_ms)
        build(made["store"], _kept(archive), extent, counting(progress, archive.records))
        progress.step("Putting it in place")
        beside: list[tuple[str, bytes]] = []
        for name, data in archive.read_files():
            first = name.split("/", 1)[0]
            if first == name:
                continue  # settings, which were read
            if first == CERTIFICATES and planned.certificates:
                _write(made[CERTIFICATES] / name.split("/", 1)[1], data)
            elif first in ("registries", "manifests"):
                beside.append((name, data))
        for name, path in made.items():
            if path.exists():
                put_in_place(path, state / name, free_name(state / f"{name}.{_ASIDE}"))
        for name, data in beside:  # when nothing can stop the rest any more
            _write(state / name, data)
        instance.save()
        etcd = member.folder(instance)  # last: until then it was the cluster's
        if etcd.exists():
            etcd.rename(free_name(state / f"{etcd.name}.{_ASIDE}"))
    finally:
        for path in made.values():
            shutil.rmtree(path, ignore_errors=True)


def _kept(archive: Archive) -> Iterator[Record]:
    return (record for record in archive.read_records() if not record.key.startswith(_OF_THE_MOMENT))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
    path.chmod(0o644 if path.suffix in (".crt", ".pub") else 0o600)
