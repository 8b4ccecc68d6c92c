"""Certificates are made once, kept while they serve, and made anew when they would not."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from sampan.api.clock import FixedClock
from sampan.cluster import pki
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(
        ClusterSettings("one"), tmp_path / "state", tmp_path / "run", NodeSettings("n", address="192.0.2.1")
    )


def ensure(instance: Instance, *, days: float = 0) -> dict[str, bytes]:
    """The directory's files after ``ensure`` at a time."""
    pki.ensure(instance, FixedClock(NOW + datetime.timedelta(days=days)))
    return {path.name: path.read_bytes() for path in sorted(instance.pki.iterdir())}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    assert before.keys() == after.keys()
    return {name.removesuffix(".crt") for name in before if name.endswith(".crt") and before[name] != after[name]}


def all_leaves(instance: Instance) -> set[str]:
    return {leaf.stem for leaf in pki.leaves(instance)}


def test_a_second_time_changes_nothing(instance: Instance) -> None:
    assert ensure(instance) == ensure(instance, days=1)


def test_leaves_are_renewed_three_months_before_they_end_and_the_ca_stays(instance: Instance) -> None:
    first = ensure(instance)
    assert changed(first, ensure(instance, days=274)) == set()
    renewed = ensure(instance, days=276)
    assert changed(first, renewed) == all_leaves(instance)
    assert renewed["sa.key"] == first["sa.key"]


def test_expired_leaves_are_renewed(instance: Instance) -> None:
    assert changed(ensure(instance), ensure(instance, days=500)) == all_leaves(instance)


def test_a_certificate_from_the_future_is_renewed(instance: Instance) -> None:
    """The machine's clock was wrong when they were made. The CA then too: it is kept, clients know it."""
    first = ensure(instance, days=30)
    assert changed(first, ensure(instance, days=0)) == all_leaves(instance)


def test_a_changed_address_reissues_the_serving_certificates_only(instance: Instance) -> None:
    first = ensure(instance)
    moved = replace(instance, node=replace(instance.node, address="192.0.2.99"))
    after = ensure(moved)
    assert changed(first, after) == {"apiserver", "kubelet"}
    names = x509.load_pem_x509_certificate(after["apiserver.crt"]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = {str(address) for address in names.value.get_values_for_type(x509.IPAddress)}
    assert addresses == {"192.0.2.99", "127.0.0.1", "10.96.0.1"}


@pytest.mark.parametrize("stem", ["admin", "apiserver"])
@pytest.mark.parametrize("suffix", ["crt", "key"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_missing_or_damaged_leaf_is_made_anew(
    instance: Instance, stem: str, suffix: str, content: bytes | None
) -> None:
    first = ensure(instance)
    path = instance.pki / f"{stem}.{suffix}"
    path.unlink() if content is None else path.write_bytes(content)
    assert changed(first, ensure(instance)) == {stem}


def test_a_key_that_is_not_the_certificates_is_replaced(instance: Instance) -> None:
    first = ensure(instance)
    (instance.pki / "admin.key").write_bytes(first["kubelet.key"])
    assert changed(first, ensure(instance)) == {"admin"}


def test_leaves_of_a_lost_ca_are_made_anew(instance: Instance) -> None:
    first = ensure(instance)
    for name in ("ca.key", "ca.crt"):
        (instance.pki / name).unlink()
    of_the_cluster = {stem for stem in all_leaves(instance) if not stem.startswith("front-proxy-")}
    assert changed(first, ensure(instance)) == {*of_the_cluster, "ca"}


def test_the_front_proxy_has_a_ca_of_its_own(instance: Instance) -> None:
    """Else whoever holds a client certificate of the cluster could say that somebody else asks."""
    first = ensure(instance)
    proxy = x509.load_pem_x509_certificate(first["front-proxy-client.crt"])
    proxy.verify_directly_issued_by(x509.load_pem_x509_certificate(first["front-proxy-ca.crt"]))
    with pytest.raises(ValueError, match="Issuer"):
        proxy.verify_directly_issued_by(x509.load_pem_x509_certificate(first["ca.crt"]))
    for name in ("front-proxy-ca.key", "front-proxy-ca.crt"):
        (instance.pki / name).unlink()
    assert changed(first, ensure(instance)) == {"front-proxy-client", "front-proxy-ca"}


def test_a_damaged_ca_is_not_replaced_behind_ones_back(instance: Instance) -> None:
    ensure(instance)
    (instance.pki / "ca.crt").write_bytes(b"rubbish")
    with pytest.raises(ClusterError, match=r"CA in .* is damaged"):
        ensure(instance)


def test_a_ca_with_another_key_is_told(instance: Instance) -> None:
    first = ensure(instance)
    (instance.pki / "ca.key").write_bytes(first["admin.key"])
    with pytest.raises(ClusterError, match="is not the key of"):
        ensure(instance)


def test_an_expired_ca_is_told(instance: Instance) -> None:
    ensure(instance)
    with pytest.raises(ClusterError, match="expired on 2036-11-18"):
        ensure(instance, days=3660)


def test_a_leaf_never_outlives_the_ca(instance: Instance) -> None:
    ensure(instance)
    late = ensure(instance, days=3640)
    ends = x509.load_pem_x509_certificate(late["admin.crt"]).not_valid_after_utc
    assert ends == x509.load_pem_x509_certificate(late["ca.crt"]).not_valid_after_utc


def test_keys_are_the_owners_alone(instance: Instance) -> None:
    ensure(instance)
    assert {path.stat().st_mode & 0o777 for path in instance.pki.glob("*.key")} == {0o600}
    assert instance.pki.stat().st_mode & 0o777 == 0o700


def test_identities_are_kubeadms(instance: Instance) -> None:
    subjects = {
        name: x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
        for name, pem in ensure(instance).items()
        if name.endswith(".crt")
    }
    assert subjects["admin.crt"] == "CN=kubernetes-admin,O=kubeadm:cluster-admins"
    assert subjects["kubelet-client.crt"] == "CN=system:node:n,O=system:nodes"
    assert subjects["apiserver-kubelet-client.crt"] == "CN=kube-apiserver-kubelet-client,O=system:masters"
    assert subjects["ca.crt"] == "CN=kubernetes"


@pytest.mark.parametrize("stem", ["ca", "front-proxy-ca"])
def test_a_ca_whose_key_is_gone_is_not_replaced(instance: Instance, stem: str) -> None:
    first = ensure(instance)
    (instance.pki / f"{stem}.key").unlink()
    with pytest.raises(ClusterError, match="is missing"):
        ensure(instance)
    assert (instance.pki / f"{stem}.crt").read_bytes() == first[f"{stem}.crt"]


def test_a_key_without_its_certificate_stays_and_gets_another(instance: Instance) -> None:
    first = ensure(instance)
    key = (instance.pki / "ca.key").read_bytes()
    (instance.pki / "ca.crt").unlink()
    assert ensure(instance, days=1)["ca.crt"] != first["ca.crt"]
    assert (instance.pki / "ca.key").read_bytes() == key
    (instance.pki / "ca.crt").unlink()
    (instance.pki / "ca.key").write_bytes(b"half of a")
    with pytest.raises(ClusterError, match="damaged"):
        ensure(instance)
