"""Certificates of a cluster that nobody starts again are made anew while it runs."""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
from pathlib import Path

import pytest
import yaml

from sampan.api.clock import FixedClock
from sampan.cluster import kubeconfigs, leftovers, pki, processes, renewal, supervisor
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.processes import Process

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(
        ClusterSettings("one"), tmp_path / "state", tmp_path / "run", NodeSettings("n", address="192.0.2.1")
    )
    made.save()
    pki.ensure(made, FixedClock(NOW))
    kubeconfigs.write_all(made)
    return made


def at(days: int) -> FixedClock:
    return FixedClock(NOW + datetime.timedelta(days=days))


def test_nothing_is_done_as_long_as_they_last(instance: Instance) -> None:
    before = instance.admin_kubeconfig.read_bytes()
    assert not renewal.renew(instance, at(days=200))
    assert instance.admin_kubeconfig.read_bytes() == before


def test_new_ones_are_in_every_kubeconfig_and_the_current_context_stays(instance: Instance, tmp_path: Path) -> None:
    mine, broken = tmp_path / "mine", tmp_path / "broken"
    for path in (mine, broken):
        kubeconfigs.merge(instance, path)
    content = yaml.safe_load(mine.read_text())
    mine.write_text(yaml.safe_dump({**content, "current-context": "chosen"}))
    broken.write_text("{")
    assert renewal.renew(instance, at(days=300))
    after = yaml.safe_load(mine.read_text())
    admin = yaml.safe_load(instance.admin_kubeconfig.read_text())
    assert after["users"] == admin["users"] != content["users"]
    assert (after["clusters"], after["current-context"]) == (content["clusters"], "chosen")
    assert broken.read_text() == "{"
    (told,) = kubeconfigs.refresh(instance)
    assert "keeps its old certificate" in told and str(broken) in told


def test_one_that_was_cut_short_is_done_again(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, or without room on the disk, after the certificates and before who uses them."""

    def no_room(_: Instance) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(kubeconfigs, "write_all", no_room)
        with pytest.raises(OSError, match="no room"):
            renewal.renew(instance, at(days=300))
    before = instance.admin_kubeconfig.read_bytes()
    assert renewal.renew(instance, at(days=301))
    assert instance.admin_kubeconfig.read_bytes() != before


async def test_the_programs_that_use_them_start_again_and_containerd_does_not(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--name", "one", "--state-root", str(instance.state_root))
    node = Process(11, 1, 1, "python3.11", ("python", "-m", "sampan.cluster.node_process", *where))
    runtime = Process(12, 1, 1, "containerd", ("containerd", "--config", str(instance.state / "containerd.toml")))
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(processes, "running", lambda: iter([node, runtime]))
    monkeypatch.setattr(leftovers, "kill", lambda process, number: ended.append((process.pid, number)))
    monkeypatch.setattr(renewal, "CHECK_SECONDS", 0)
    told, kill, marked = asyncio.Event(), os.kill, []

    def noting(pid: int, number: int) -> None:
        marked.append((instance.pki / "renewing").exists())
        kill(pid, number)

    monkeypatch.setattr(os, "kill", noting)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    held = supervisor.hold_lock(instance)
    keeping = asyncio.create_task(renewal.keep_current(instance, at(days=300)))
    try:
        await told.wait()  # this process too
        assert ended == [(11, signal.SIGTERM)]
        assert marked == [False]  # everybody was told, and this process last
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        os.close(held)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
