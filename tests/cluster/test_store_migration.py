"""Clusters move from SQLite to etcd and back; what they had is there, byte by byte, and clients list anew."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import Conflict
from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.cluster import instance as instances
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member, members
from sampan.cluster.instance import Instance, nameless
from sampan.cluster.moving import migrate as moving
from sampan.cluster.moving import restore as restoring
from sampan.cluster.moving.backup import back_up, back_up_etcd
from sampan.cluster.moving.etcd import reached
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.archive.building import build
from sampan.store.archive.etcdside import EtcdSide
from sampan.store.archive.records import Extent, Record
from sampan.store.etcd.store import EtcdStore
from sampan.store.protocol import Compacted
from sampan.store.sqlite import SqliteStore

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
KEY = "/registry/core/pods/default/p{}"
_prefixes = (f"/moved{n}" for n in itertools.count())


class Told:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def warn(self, text: str) -> None:
        self.steps.append(text)

    def count(self, done: int, total: int) -> None:
        return


@pytest.fixture(autouse=True)
def _ports_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that was stopped finds its port free again, whatever other tests start meanwhile at the usual one."""
    monkeypatch.setattr(moving, "_PORTS", range(10_000 + 2 * (os.getpid() % 9_000), 30_000, 2))


@pytest.fixture
async def blue(tmp_path: Path) -> AsyncIterator[Instance]:
    instance = nameless("blue", state_root=tmp_path / "state", run_root=tmp_path / "run")
    made = replace(
        instance,
        cluster=ClusterSettings("blue", etcd_prefix=next(_prefixes)),
        node=NodeSettings(name="n1", roles=("control-plane",), simulate="1", simulated_count=1),
    )
    made.save()
    store = await SqliteStore.open(made.store, clock=CLOCK)
    for n in range(30):
        await store.commit(KEY.format(n), None, b"%d" % n * n)
    await store.commit(KEY.format(3), None, b"changed")
    await store.commit(KEY.format(4), None, None)
    await store.commit("/registry/core/events/default/e", None, b"event", ttl_seconds=3600)
    await store.commit("/ranges/servicenodeports/30080", None, b"{}")
    await store.commit("/registry/masterleases/192.0.2.1", None, b"for now", ttl_seconds=15)
    await store.close()
    yield made


async def state(instance: Instance) -> dict[str, bytes]:
    store = await SqliteStore.open(instance.store, clock=CLOCK, create=False)
    try:
        found = (await store.range("/")).entries
        return {entry.key: entry.value for entry in found if "masterleases" not in entry.key}
    finally:
        await store.close()


async def opened(instance: Instance) -> EtcdStore:
    """As an API server opens it."""
    settings = replace(members.settings_of(instance), prefix=instance.cluster.etcd_prefix, strip="/registry")
    return await EtcdStore.open(settings, clock=CLOCK)


async def move(instance: Instance, to: str, **options: str) -> moving.Moved:
    target = moving.target_of(instance, to, options)
    return await moving.migrate(instance, target, clock=CLOCK, progress=Told())


def again(instance: Instance) -> Instance:
    return instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)


async def test_a_store_moves_to_etcd_and_back(blue: Instance, etcd_endpoint: str) -> None:
    before = await state(blue)
    moved = await move(blue, f"etcd://{etcd_endpoint}")
    assert moved.records == len(before) == 31
    assert moved.after >= moved.before + 30, "every entry has a revision that no client has seen"
    there = again(blue)
    assert (there.cluster.store, there.cluster.etcd_endpoints) == ("etcd", etcd_endpoint)
    assert not there.store.exists()
    async with reached(there, Told()) as side:
        extent = await side.extent()
        found = {record.key: record async for record in side.records(extent.revision)}
        assert {key: record.value for key, record in found.items()} == before
        assert found["/registry/core/events/default/e"].expires_ms == int(CLOCK.now().timestamp() + 3600) * 1000
    back = await move(there, "sqlite")
    assert (back.before, back.after) == (back.after, back.before), "revisions stay"
    here = again(blue)
    assert here.cluster.store == "sqlite"
    assert await state(here) == before
    assert moving.delete_old(here) > 0
    assert not list(here.state.glob("*.before-migrate"))


async def test_a_move_that_was_interrupted_goes_on(
    blue: Instance, etcd_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Exception):
        pass

    async def stop(self: EtcdSide, revision: int) -> None:
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(EtcdSide, "compact", stop)
        await move(blue, f"etcd://{etcd_endpoint}")
    assert again(blue).cluster.store == "sqlite", "nothing has changed"
    written: list[Record] = []
    write_all = EtcdSide.write_all

    async def count(self: EtcdSide, records: Any, there: Any, tell: Any) -> None:
        listed = list(records)
        written.extend(record for record in listed if record.key not in there)
        await write_all(self, listed, there, tell)

    monkeypatch.setattr(EtcdSide, "write_all", count)
    await move(blue, f"etcd://{etcd_endpoint}")
    assert not written, "what was there is not written again"


async def test_a_move_that_is_taken_up_after_the_store_went_on_begins_anew(
    blue: Instance, etcd_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stop(self: EtcdSide, revision: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EtcdSide, "compact", stop)
        await move(blue, f"etcd://{etcd_endpoint}")
    store = await SqliteStore.open(blue.store, clock=CLOCK, create=False)
    await store.commit(KEY.format(5), None, None)
    for n in range(100):
        await store.commit(KEY.format(6), None, b"%d" % n)
    await store.close()
    before = await state(blue)
    moved = await move(blue, f"etcd://{etcd_endpoint}")
    assert moved.records == len(before)
    store = await opened(again(blue))
    found = (await store.range("/registry/")).entries
    assert KEY.format(5) not in {entry.key for entry in found}
    assert min(entry.revision for entry in found) > moved.before, "no revision means two things"
    await store.close()


async def test_an_etcd_that_is_in_use_is_refused(blue: Instance, etcd_endpoint: str) -> None:
    other = replace(blue, cluster=replace(blue.cluster, name="green"))
    other.save()
    other_store = await SqliteStore.open(other.store, clock=CLOCK)
    await other_store.commit(KEY.format(1), None, b"green's")
    await other_store.close()
    await move(other, f"etcd://{etcd_endpoint}")
    with pytest.raises(ClusterError, match="that etcd holds entries already"):
        await move(blue, f"etcd://{etcd_endpoint}")
    to = f"etcd://{etcd_endpoint}"
    with pytest.raises(ClusterError, match="is restored to SQLite, and was not moved on") as error:
        await moving.move_on(blue, moving.target_of(blue, to, {}), to, clock=CLOCK, progress=Told())
    assert error.value.fix.startswith(f"`sampan store migrate --to {to} --name blue` moves it on")
    assert again(blue).cluster.store == "sqlite"


@pytest.mark.parametrize("far", [10_000_000, 3 * restoring.JUMP])
async def test_a_store_whose_revision_is_far_above_etcds_moves_there_and_back_at_once(
    blue: Instance, etcd_endpoint: str, far: int
) -> None:
    await build_far(blue, far)
    moved = await move(blue, f"etcd://{etcd_endpoint}")
    assert far < moved.after < far + 10
    there = again(blue)
    store = await opened(there)
    first = await store.commit(KEY.format(30), 0, b"later")
    assert first > moved.after
    found = await store.range("/registry/")
    assert all(far < entry.revision <= first for entry in found.entries)
    for before in (far, 29):
        with pytest.raises(Compacted):
            await store.range("/registry/", revision=before)
    await store.close()
    back = await move(there, "sqlite")
    assert back.after >= first
    assert len(await state(again(blue))) == 2


async def test_what_is_nowhere_to_go_is_said(blue: Instance, etcd_endpoint: str) -> None:
    with pytest.raises(ClusterError, match="is on sqlite already"):
        await move(blue, "sqlite")
    with pytest.raises(ClusterError, match="no endpoint of etcd"):
        moving.target_of(blue, "etcd://x:y", {})


async def test_a_backup_of_a_cluster_on_etcd_is_restored(blue: Instance, etcd_endpoint: str, tmp_path: Path) -> None:
    before = await state(blue)
    moved = await move(blue, f"etcd://{etcd_endpoint}")
    there = again(blue)
    async with reached(there, Told()) as side:
        taken = await back_up_etcd(there, tmp_path / "b", side, clock=CLOCK, progress=Told())
    assert taken.extent.revision >= moved.after
    archive = restoring.open_archive(tmp_path / "b", Told())
    green = nameless("green", state_root=tmp_path / "two", run_root=tmp_path / "run2")
    planned = await restoring.plan(archive, green, moved=False, certificates=True, force=False, progress=Told())
    await restoring.restore(planned, clock=CLOCK, progress=Told())
    assert again(green).cluster.store == "sqlite"
    assert await state(again(green)) == before
    green = replace(again(green), cluster=replace(again(green).cluster, etcd_prefix=next(_prefixes)))
    back = await move(green, f"etcd://{etcd_endpoint}")
    assert back.after > back.before == taken.extent.revision + restoring.JUMP
    store = await opened(again(green))
    found = {
        entry.key: entry.value for prefix in ("/ranges/", "/registry/") for entry in (await store.range(prefix)).entries
    }
    assert found == before
    await store.close()


@pytest.mark.skipif(member.program(Instance(ClusterSettings())) is None, reason="etcd is not installed")
async def test_a_member_of_the_machines_own_is_started_for_the_move(blue: Instance) -> None:
    before = await state(blue)
    blue = replace(blue, cluster=replace(blue.cluster, etcd_prefix="/registry"))
    moved = await move(blue, "etcd")
    there = again(blue)
    assert there.cluster.manages_etcd
    assert there.node.runs_etcd
    assert moved.records == 31
    back = await move(there, "sqlite")
    assert back.records == 31
    assert not again(blue).node.runs_etcd
    assert await state(again(blue)) == before


@pytest.mark.skipif(member.program(Instance(ClusterSettings())) is None, reason="etcd is not installed")
async def test_a_restore_over_a_cluster_on_etcd_counts_on_from_what_its_clients_have_seen(
    blue: Instance, tmp_path: Path
) -> None:
    blue = replace(blue, cluster=replace(blue.cluster, etcd_prefix="/registry"))
    blue.save()
    back_up(blue, tmp_path / "b", clock=CLOCK, progress=Told())
    await build_far(blue, 5 * restoring.JUMP)
    await move(blue, "etcd")
    archive = restoring.open_archive(tmp_path / "b", Told())

    async def plan(force: bool) -> restoring.Plan:
        here = nameless("blue", state_root=blue.state_root, run_root=blue.run_root)
        return await restoring.plan(archive, here, moved=False, certificates=True, force=force, progress=Told())

    with pytest.raises(ClusterError, match="on this machine already"):
        await plan(force=False)
    planned = await plan(force=True)
    assert planned.existing is not None and planned.existing > 5 * restoring.JUMP
    await restoring.restore(planned, clock=CLOCK, progress=Told())
    store = await SqliteStore.open(again(blue).store, clock=CLOCK, create=False)
    assert store.revision == planned.existing + restoring.JUMP
    await store.close()
    assert not member.folder(blue).exists() and (blue.state / "etcd.before-restore" / "data").exists()
    moved = await move(again(blue), "etcd")  # no member of before is in the way
    assert moved.after > planned.existing + restoring.JUMP
    member.config_file(blue).unlink()
    with pytest.raises(ClusterError, match="cannot be read from etcd"):
        await plan(force=True)


async def test_clients_of_the_api_go_on_or_list_anew_after_a_backup_went_back_to_etcd(
    blue: Instance, etcd_endpoint: str, tmp_path: Path
) -> None:
    def serves(instance: Instance) -> ServerConfig:
        there = instance.cluster
        if there.store == "sqlite":
            return ServerConfig(store="sqlite", data_dir=instance.state, port=0)
        return ServerConfig(
            store="etcd", etcd_endpoints=(there.etcd_endpoints,), etcd_prefix=there.etcd_prefix,
            data_dir=tmp_path / "server", port=0,
        )  # fmt: skip

    shutil.rmtree(blue.store)  # its entries are no objects
    async with Server(serves(blue)) as server:
        client = Client(server.local_transport())
        made = [await client.create(CONFIG_MAPS, {"metadata": {"name": name}}, "default") for name in "abc"]
    await move(blue, f"etcd://{etcd_endpoint}")
    async with reached(again(blue), Told()) as side:
        await back_up_etcd(again(blue), tmp_path / "b", side, clock=CLOCK, progress=Told())
    archive = restoring.open_archive(tmp_path / "b", Told())
    green = nameless("green", state_root=tmp_path / "two", run_root=tmp_path / "run2")
    planned = await restoring.plan(archive, green, moved=False, certificates=True, force=False, progress=Told())
    await restoring.restore(planned, clock=CLOCK, progress=Told())
    green = replace(again(green), cluster=replace(again(green).cluster, etcd_prefix=next(_prefixes)))
    await move(green, f"etcd://{etcd_endpoint}")
    async with Server(serves(again(green))) as server:
        client = Client(server.local_transport())
        path, page = "/api/v1/namespaces/default/configmaps", {"limit": "2"}
        first = await client.raw("GET", path, query=page)
        listed = int(first["metadata"]["resourceVersion"])
        assert listed > restoring.JUMP
        late = await client.create(CONFIG_MAPS, {"metadata": {"name": "d"}}, "default")
        assert int(late["metadata"]["resourceVersion"]) > listed
        rest = await client.raw("GET", path, query={**page, "continue": first["metadata"]["continue"]})
        names = [each["metadata"]["name"] for each in (*first["items"], *rest["items"])]
        assert names == ["a", "b", "c"], "the rest of a list is of the revision at which it began"
        async with client.watch(CONFIG_MAPS, "default", resource_version=str(listed)) as events:
            assert (await anext(events)).object["metadata"]["uid"] == late["metadata"]["uid"]
        with pytest.raises(Conflict):
            await client.update(CONFIG_MAPS, {**made[0], "data": {"of": "the old one"}})
        old = made[-1]["metadata"]["resourceVersion"]
        async with client.watch(CONFIG_MAPS, "default", resource_version=old) as events:
            told = await anext(events)
            assert (told.type, told.object["reason"]) == ("ERROR", "Expired")
        current = await client.get(CONFIG_MAPS, "a", "default")
        changed = await client.update(CONFIG_MAPS, {**current, "data": {"of": "the new one"}})
        assert int(changed["metadata"]["resourceVersion"]) > int(late["metadata"]["resourceVersion"])


async def build_far(instance: Instance, revision: int) -> None:
    shutil.rmtree(instance.store)
    build(instance.store, [Record(1, KEY.format(0), 1, 0, 0, None, b"0")], Extent(revision, revision, 0))


async def test_a_store_that_a_server_of_its_own_unit_has_open_does_not_move(blue: Instance, etcd_endpoint: str) -> None:
    store = await SqliteStore.open(blue.store, clock=CLOCK, create=False)
    try:
        with pytest.raises(ClusterError, match="open in another process"):
            await move(blue, f"etcd://{etcd_endpoint}")
    finally:
        await store.close()
    assert again(blue).cluster.store == "sqlite"


async def test_a_move_that_is_killed_once_the_settings_have_changed_is_done(
    blue: Instance, etcd_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await state(blue)

    async def die(self: EtcdSide) -> None:
        assert again(blue).cluster.store == "etcd", "until then a second run has to know its own entries"
        raise KeyboardInterrupt

    monkeypatch.setattr(EtcdSide, "remove_marker", die)
    with pytest.raises(KeyboardInterrupt):
        await move(blue, f"etcd://{etcd_endpoint}")
    monkeypatch.undo()
    await (await opened(again(blue))).close()
    async with reached(again(blue), Told()) as side:
        assert await side.marker() is None, "what servers write now is not the move's any more, to begin anew with"
    await move(again(blue), "sqlite")
    assert await state(again(blue)) == before


async def test_a_move_away_from_etcd_waits_for_no_server_that_is_left(
    blue: Instance, etcd_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await move(blue, f"etcd://{etcd_endpoint}")
    there = again(blue)
    ends_ms = int(CLOCK.now().timestamp() * 1000)
    monkeypatch.setattr(moving, "_SERVER_SECONDS", 0.0)
    async with reached(there, Told()) as side:
        for end, words in ((ends_ms + 15_000, "still work on that etcd: 192.0.2.2"), (ends_ms, "")):
            entry = Record(1, "/registry/masterleases/192.0.2.2", 1, 0, 0, end, b"{}")
            await side.write_all([entry], {}, lambda count: None)
            if words:
                with pytest.raises(ClusterError, match=words):
                    await move(there, "sqlite")
    assert again(blue).cluster.store == "etcd"
    await move(there, "sqlite")
    assert again(blue).cluster.store == "sqlite"


async def test_a_write_during_the_move_away_from_etcd_is_not_left_behind(
    blue: Instance, etcd_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await move(blue, f"etcd://{etcd_endpoint}")
    there = again(blue)
    digests = EtcdSide.digests

    async def write_then(self: EtcdSide, revision: int) -> Any:
        late = Record(1, "/registry/core/pods/default/late", 1, 0, 0, None, b"late")
        await self.write_all([late], {}, lambda count: None)
        return await digests(self, revision)

    monkeypatch.setattr(EtcdSide, "digests", write_then)
    with pytest.raises(ClusterError, match="somebody wrote to etcd meanwhile"):
        await move(there, "sqlite")
    assert again(blue).cluster.store == "etcd"
    assert not (there.state / "store.migrating").exists()
