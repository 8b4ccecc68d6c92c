"""Certificates of a cluster that nobody starts again are made anew while it runs."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from sampan.api.clock import FixedClock
from sampan.cluster import kubeconfigs, pki, renewal
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings

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


async def test_this_process_takes_up_what_was_made_anew_by_it_or_by_a_person(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "check_seconds", lambda _: 0.01)
    clock, taken = at(0), asyncio.Queue[bytes]()
    serving = instance.pki / "apiserver.crt"
    keeping = asyncio.create_task(renewal.keep_current(instance, clock, lambda: taken.put_nowait(serving.read_bytes())))
    try:
        clock.set(at(300).now())
        assert x509.load_pem_x509_certificate(await taken.get()).not_valid_after_utc > at(600).now()
        authorities = pki.ensure_authorities(instance, clock)
        (leaf,) = [leaf for leaf in pki.leaves(instance) if leaf.stem == "apiserver"]
        before = serving.read_bytes()
        pki.ensure_leaf(instance, leaf, authorities[leaf.authority], clock, anew=True)
        while await taken.get() == before:
            continue
        assert not (instance.pki / "renewing").exists()
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_a_fault_is_told_and_tried_again(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "check_seconds", lambda _: 0.01)
    looks = asyncio.Queue[None]()

    def damaged(instance: Instance, clock: object) -> bool:
        looks.put_nowait(None)
        raise ClusterError("the CA is damaged")

    monkeypatch.setattr(renewal, "renew", damaged)
    keeping = asyncio.create_task(renewal.keep_current(instance, at(0), lambda: None))
    try:
        for _ in range(3):
            await looks.get()
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
    assert "certificates are not renewed: the CA is damaged" in caplog.text


@pytest.mark.parametrize(("life", "every"), [(365 * 86400.0, 12 * 3600.0), (60.0, 1.85), (1.0, 1.0)])
def test_short_lives_are_looked_at_more_often(life: float, every: float) -> None:
    seconds = renewal.check_seconds(Instance(ClusterSettings(certificate_seconds=life)))
    assert seconds == pytest.approx(every, abs=0.01)
