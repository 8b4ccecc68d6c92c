"""A cluster in one file: what a backup takes, what a restore refuses, and what it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.api.clock import FixedClock
from sampan.cluster import instance as instances
from sampan.cluster import supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance, nameless
from sampan.cluster.moving import restore as restoring
from sampan.cluster.moving import upkeep
from sampan.cluster.moving.backup import back_up
from sampan.cluster.moving.exchange import put_in_place
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.store.protocol import Compacted
from sampan.store.sqlite import SqliteStore

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


class Told:
    """Progress, as a list."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def warn(self, text: str) -> None:
        self.steps.append(text)

    def count(self, done: int, total: int) -> None:
        assert done <= total or not total


def of(tmp_path: Path, name: str, machine: str = "one") -> Instance:
    return nameless(name, state_root=tmp_path / machine / "state", run_root=tmp_path / machine / "run")


@pytest.fixture
async def blue(tmp_path: Path) -> Instance:
    """A cluster with a store, certificates and settings, which does not run."""
    made = replace(
        of(tmp_path, "blue"),
        cluster=ClusterSettings("blue", api_port=7443),
        node=NodeSettings(name="n1", roles=("control-plane",), simulate="2", simulated_count=2),
    )
    made.save()
    made.pki.mkdir()
    (made.pki / "ca.crt").write_bytes(b"the CA of blue")
    (made.pki / "ca.key").write_bytes(b"its key")
    await write(made, 10)
    return made


async def write(instance: Instance, count: int) -> int:
    store = await SqliteStore.open(instance.store, clock=CLOCK)
    try:
        for n in range(count):
            await store.commit(f"/registry/core/pods/default/p{n}", None, b"%d" % n)
        await store.commit("/registry/masterleases/192.0.2.1", None, b"for now", ttl_seconds=15)
        return store.revision
    finally:
        await store.close()


async def revision(instance: Instance) -> int:
    store = await SqliteStore.open(instance.store, clock=CLOCK, create=False)
    try:
        assert await store.get("/registry/core/pods/default/p9") is not None
        assert await store.get("/registry/masterleases/192.0.2.1") is None
        return store.revision
    finally:
        await store.close()


def taken(instance: Instance, path: Path, *, history: bool = True, certificates: bool = True) -> Path:
    back_up(instance, path, clock=CLOCK, progress=Told(), history=history, certificates=certificates)
    return path


async def restored(
    path: Path, instance: Instance, *, moved: bool = False, certificates: bool = True, force: bool = False
) -> Instance:
    archive = restoring.open_archive(path, Told())
    planned = await restoring.plan(
        archive, instance, moved=moved, certificates=certificates, force=force, progress=Told()
    )
    await restoring.restore(planned, clock=CLOCK, progress=Told())
    return instances.load(instance.name, state_root=instance.state_root, run_root=instance.run_root)


@contextmanager
def running(instance: Instance) -> Iterator[None]:
    descriptor = supervisor.hold_lock(instance)
    try:
        yield
    finally:
        os.close(descriptor)


async def test_a_cluster_comes_back_on_another_machine_under_another_name(tmp_path: Path, blue: Instance) -> None:
    green = await restored(taken(blue, tmp_path / "b"), of(tmp_path, "green", "two"))
    assert (green.cluster.name, green.cluster.api_port, green.node.name) == ("green", 7443, "n1")
    assert (green.pki / "ca.crt").read_bytes() == b"the CA of blue"
    assert (green.pki / "ca.key").stat().st_mode & 0o777 == 0o600
    assert await revision(green) == 11 + restoring.JUMP


async def test_watchers_of_lost_revisions_list_anew(tmp_path: Path, blue: Instance) -> None:
    path = taken(blue, tmp_path / "b")
    lost = await write(blue, 5)
    green = await restored(path, of(tmp_path, "green", "two"))
    store = await SqliteStore.open(green.store, clock=CLOCK, create=False)
    try:
        with pytest.raises(Compacted):
            await store.changes("/", lost, store.revision, 10)
        assert store.revision > lost
    finally:
        await store.close()


async def test_what_is_moved_goes_on_with_its_revisions_and_history(tmp_path: Path, blue: Instance) -> None:
    green = await restored(taken(blue, tmp_path / "b"), of(tmp_path, "green", "two"), moved=True)
    assert await revision(green) == 11
    store = await SqliteStore.open(green.store, clock=CLOCK, create=False)
    try:
        assert len((await store.range("/", revision=4)).entries) == 4
    finally:
        await store.close()


async def test_a_cluster_that_is_there_is_replaced_by_force_alone_and_kept_aside(
    tmp_path: Path, blue: Instance
) -> None:
    path = taken(blue, tmp_path / "b")
    later = await write(blue, 5)
    with pytest.raises(ClusterError, match="already") as refused:
        await restored(path, blue)
    assert "--force" in refused.value.fix
    with pytest.raises(ClusterError, match="it did run on"):
        await restored(path, blue, force=True, moved=True)
    await restored(path, blue, force=True)
    assert await revision(blue) == later + restoring.JUMP
    aside = await SqliteStore.open(blue.state / "store.before-restore", clock=CLOCK, create=False)
    try:
        assert aside.revision == later
    finally:
        await aside.close()
    assert not list(blue.state.glob("*.restoring"))


async def test_a_cluster_that_runs_is_not_replaced(tmp_path: Path, blue: Instance) -> None:
    path = taken(blue, tmp_path / "b")
    with running(blue), pytest.raises(ClusterError, match="is running"):
        await restored(path, blue, force=True)


async def test_ports_of_another_cluster_on_this_machine_are_refused(tmp_path: Path, blue: Instance) -> None:
    with pytest.raises(ClusterError, match=r"'blue'.*the backup's") as refused:
        await restored(taken(blue, tmp_path / "b"), of(tmp_path, "green"))
    assert "leave the option out" not in refused.value.fix  # a restore has no such option
    assert not of(tmp_path, "green").exists()


@pytest.mark.parametrize("side", ["backup", "restore"])
async def test_certificates_can_be_left_out_on_either_side(tmp_path: Path, blue: Instance, side: str) -> None:
    path = taken(blue, tmp_path / "b", certificates=side != "backup")
    green = await restored(path, of(tmp_path, "green", "two"), certificates=side != "restore")
    assert not green.pki.exists()


async def test_a_backup_without_history_has_what_is_there_now(tmp_path: Path, blue: Instance) -> None:
    await write(blue, 10)
    green = await restored(taken(blue, tmp_path / "b", history=False), of(tmp_path, "green", "two"), moved=True)
    assert await revision(green) == 22


async def test_a_damaged_backup_changes_nothing(tmp_path: Path, blue: Instance) -> None:
    path = taken(blue, tmp_path / "b")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ClusterError, match="is not a whole backup"):
        await restored(path, of(tmp_path, "green", "two"))
    assert not (tmp_path / "two").exists()


async def test_a_backup_is_not_written_over_another_file(tmp_path: Path, blue: Instance) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(ClusterError, match="is there already"):
        taken(blue, tmp_path / "b")
    with pytest.raises(ClusterError, match="there is no directory"):
        taken(blue, tmp_path / "nowhere" / "b")
    with pytest.raises(ClusterError, match="is a directory"):
        taken(blue, tmp_path)
    assert (tmp_path / "b").read_text() == "mine"


async def test_a_store_tells_what_it_holds_and_is_kept_up_while_it_is_closed(tmp_path: Path, blue: Instance) -> None:
    found = upkeep.info(blue)
    assert (found.revision, found.oldest) == (11, 0)
    assert found.kinds[0] == ("core/pods", 10, 10)
    assert upkeep.problems(blue) == []
    assert await upkeep.compact(blue, None) == 11
    with pytest.raises(ClusterError, match="in the future"):
        await upkeep.compact(blue, 99)
    before, after = upkeep.shrink(blue)
    assert after <= before
    assert upkeep.info(blue).oldest == 11
    with running(blue), pytest.raises(ClusterError, match="is running"):
        upkeep.shrink(blue)


def test_a_directory_takes_anothers_place(tmp_path: Path) -> None:
    made, place, aside = (tmp_path / name for name in ("made", "place", "aside"))
    (made / "x").mkdir(parents=True)
    assert not put_in_place(made, place, aside)
    (made / "y").mkdir(parents=True)
    assert put_in_place(made, place, aside)
    assert (place / "y").exists()
    assert (aside / "x").exists()
    assert not made.exists()


async def test_a_store_that_a_server_of_its_own_unit_has_open_is_not_replaced(tmp_path: Path, blue: Instance) -> None:
    path = taken(blue, tmp_path / "b")
    store = await SqliteStore.open(blue.store, clock=CLOCK)
    try:
        with pytest.raises(ClusterError, match="open in another process"):
            await restored(path, blue, force=True)
        assert not list(blue.state.glob("*.before-restore*"))
    finally:
        await store.close()


async def test_a_second_restore_keeps_what_the_first_put_aside(tmp_path: Path, blue: Instance) -> None:
    path = taken(blue, tmp_path / "b")
    later = await write(blue, 5)
    await restored(path, blue, force=True)
    await restored(path, blue, force=True)
    assert {each.name for each in blue.state.glob("*.before-restore*")} == {
        f"{name}.before-restore{again}" for name in ("store", "pki") for again in ("", ".2")
    }
    first = await SqliteStore.open(blue.state / "store.before-restore", clock=CLOCK, create=False)
    try:
        assert first.revision == later, "the cluster that was there before either"
    finally:
        await first.close()


async def test_a_cluster_whose_revision_is_not_known_did_perhaps_run_on(tmp_path: Path, blue: Instance) -> None:
    """It is on etcd, or its store cannot be read."""
    path = taken(blue, tmp_path / "b")
    blue.store.rename(blue.state / "elsewhere")
    with pytest.raises(ClusterError, match="cannot be read"):
        await restored(path, blue, force=True, moved=True)
    assert await revision(await restored(path, blue, force=True)) == 11 + restoring.JUMP


async def test_a_restore_that_stops_before_the_store_is_in_place_changes_nothing_beside_it(
    tmp_path: Path, blue: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (blue.state / "manifests").mkdir()
    static = blue.state / "manifests" / "pod.yaml"
    static.write_bytes(b"of then")
    path = taken(blue, tmp_path / "b")
    static.write_bytes(b"of now")

    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device", "store")

    monkeypatch.setattr(restoring, "put_in_place", full)
    with pytest.raises(ClusterError, match="not restored"):
        await restored(path, blue, force=True)
    assert static.read_bytes() == b"of now"
    assert not list(blue.state.glob("*.restoring"))
