"""A node's certificates are renewed in time and taken up while it runs."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from cryptography import x509

from sampan.api.clock import FixedClock, SystemClock
from sampan.cluster import nodecertificates, pki
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.nodecertificates import NodeCertificates, Validity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILES = ["ca", "kubelet-client", "kubelet", "front-proxy-ca"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    home = tmp_path_factory.mktemp("pki")
    instance = Instance(ClusterSettings("one"), home, home, NodeSettings(name="n1", address="192.0.2.1"))
    pki.ensure(instance, SystemClock())
    return instance


@pytest.mark.parametrize("stem", FILES)
def test_the_time_of_a_certificate_is_read_as_the_library_reads_it(made: Instance, stem: str) -> None:
    pem = (made.pki / f"{stem}.crt").read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    ends = certificate.not_valid_after_utc
    assert nodecertificates.validity(pem) == Validity(certificate.not_valid_before_utc, ends)


def test_what_is_no_certificate_is_an_error_and_nothing_worse(made: Instance) -> None:
    pem = (made.pki / "kubelet.crt").read_bytes()
    lines, choice = pem.splitlines(), random.Random(7)
    broken = [b"", b"x", pem[:80], b"\n".join([*lines[:3], lines[-1]])]
    for _ in range(200):
        at = choice.randrange(30, len(pem) - 30)
        broken.append(pem[:at] + choice.choice([b"A", b"\n", b"!", b"//8="]) + pem[at + 1 :])
    for each in broken:
        try:
            nodecertificates.validity(each)
        except ValueError:
            continue


def test_the_next_one_is_asked_for_between_seven_and_nine_tenths_of_its_life() -> None:
    told = Validity(NOW, NOW + timedelta(days=100))
    assert nodecertificates.due(told, 0.0) == NOW + timedelta(days=70)
    assert nodecertificates.due(told, 1.0) == NOW + timedelta(days=90)


def test_files_are_replaced_together_and_what_was_cut_short_is_completed(made: Instance, tmp_path: Path) -> None:
    instance = Instance(ClusterSettings("two"), tmp_path, tmp_path)
    instance.pki.mkdir(parents=True)
    nodecertificates.keep(instance, {"a.crt": "1", "a.key": "2"})
    assert [(path.name, path.stat().st_mode & 0o77) for path in sorted(instance.pki.iterdir())] == [
        ("a.crt", 0), ("a.key", 0),
    ]  # fmt: skip
    # A crash between the two: what was to be is there whole.
    (instance.pki / "pending.json").write_bytes(orjson.dumps({"a.crt": "3", "a.key": "4"}))
    (instance.pki / "a.crt").write_text("3")
    nodecertificates.complete(instance)
    assert (instance.pki / "a.key").read_text() == "4"
    assert not (instance.pki / "pending.json").exists()


class Asking(NodeCertificates):
    """Instead of the program that asks a cluster."""

    def __init__(self, instance: Instance, use: nodecertificates.Use, clock: FixedClock) -> None:
        super().__init__(instance, {"kubelet": use}, clock, random.Random(1))
        self.asked: list[list[str]] = []

    async def _ask(self, stems: list[str]) -> bool:
        self.asked.append(stems)
        return True


async def test_new_files_are_taken_up_and_a_pair_that_does_not_fit_waits_for_its_other_half(
    made: Instance, tmp_path: Path
) -> None:
    instance = Instance(ClusterSettings("two"), tmp_path, tmp_path)
    instance.pki.mkdir(parents=True)
    certificate, key = instance.pki / "kubelet.crt", instance.pki / "kubelet.key"
    first, second = ((made.pki / f"{stem}.crt").read_bytes() for stem in ("kubelet", "ingress-client"))
    certificate.write_bytes(first)
    key.write_bytes(b"whole")
    taken: list[bytes] = []

    def use(certificate: bytes, key: bytes) -> None:
        if key == b"half":
            raise ValueError("key values mismatch")
        taken.append(certificate)

    looking = Asking(instance, use, FixedClock(SystemClock().now()))
    await looking.look()
    await looking.look()
    assert taken == []  # what it began with
    certificate.write_bytes(second)
    key.write_bytes(b"half")
    await looking.look()
    assert taken == []
    key.write_bytes(b"other")
    await looking.look()
    await looking.look()
    assert taken == [second]
    certificate.unlink()
    await looking.look()  # nothing worse than a word in the log


@pytest.mark.parametrize(
    ("roles", "days", "asked"),
    [(("node",), 364, [["kubelet"]]), (("node",), 10, []), (("control-plane", "node"), 364, [])],
    ids=["in time", "too early", "has the CA"],
)
async def test_a_node_without_the_ca_asks_when_it_is_time(
    made: Instance, roles: tuple[str, ...], days: int, asked: list[list[str]]
) -> None:
    instance = Instance(made.cluster, made.state_root, made.run_root, NodeSettings(name="n1", roles=roles))
    looking = Asking(instance, lambda *pair: None, FixedClock(SystemClock().now() + timedelta(days=days)))
    await looking.look()
    assert looking.asked == asked


async def test_a_certificate_that_names_an_address_of_before_is_asked_for_at_once(
    made: Instance, tmp_path: Path
) -> None:
    node = NodeSettings(name="n1", address="192.0.2.1", roles=("node",))
    instance = Instance(ClusterSettings("two"), tmp_path, tmp_path, node)
    pki.keep_given(instance, {name: (made.pki / name).read_text() for name in pki.NODE_FILES})
    pki.check_given(instance)
    assert not (instance.pki / pki.RENEW_NOW).exists()
    moved = Instance(ClusterSettings("two"), tmp_path, tmp_path, replace(node, address="192.0.2.9"))
    pki.check_given(moved)
    looking = Asking(moved, lambda *pair: None, FixedClock(SystemClock().now()))
    await looking.look()
    await looking.look()
    assert looking.asked == [["kubelet"]]
    assert pki.RENEW_NOW == nodecertificates.RENEW_NOW
