"""Whom a joining machine believes: the token's signature, the pin of the CA, and nothing else.

Requirement shown here: kubeadm's "token-based discovery with CA pinning".
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from sampan.api.clock import SystemClock
from sampan.cluster import pki
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.joining import discovery
from sampan.controllers.bootstrap.tokens import detached_signature

TOKEN = discovery.Token("abcdef", "0123456789abcdef")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = tmp_path_factory.mktemp("ca")
    made = Instance(ClusterSettings("one"), home, home, NodeSettings(name="first", address="192.0.2.1"))
    return pki.ensure(made, SystemClock()).pem


def kubeconfig(ca: bytes, server: str = "https://192.0.2.1:6443") -> str:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca).decode()}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "", "cluster": cluster}]})


def info(config: str, token: discovery.Token = TOKEN) -> dict[str, Any]:
    signature = detached_signature(config, token.identity, token.secret)
    return {"data": {"kubeconfig": config, f"jws-kubeconfig-{token.identity}": signature}}


def pin(ca: bytes) -> str:
    return discovery.pin_of(x509.load_pem_x509_certificate(ca))


def test_what_the_token_signed_and_the_pin_fits_is_the_cluster(ca: bytes) -> None:
    place = discovery.verify(info(kubeconfig(ca)), TOKEN, [pin(ca).upper().replace("SHA256", "sha256")])
    assert place == discovery.Place("https://192.0.2.1:6443", ca)


def test_the_pin_is_what_the_notes_pipeline_of_openssl_prints(ca: bytes, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(ca)
    public = subprocess.run(
        ["openssl", "x509", "-pubkey", "-noout", "-in", str(tmp_path / "ca.crt")], capture_output=True, check=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public, capture_output=True, check=True
    )
    assert pin(ca) == f"sha256:{hashlib.sha256(der.stdout).hexdigest()}"


def test_another_ca_is_refused_by_its_hash(ca: bytes) -> None:
    with pytest.raises(ClusterError, match=r"cluster CA found in cluster-info ConfigMap is invalid: none of the pub"):
        discovery.verify(info(kubeconfig(ca)), TOKEN, [f"sha256:{'0' * 64}"])


def test_a_token_that_did_not_sign_is_unknown_or_expired(ca: bytes) -> None:
    with pytest.raises(discovery.NotSigned, match='for token ID "zzzzzz"'):
        discovery.verify(info(kubeconfig(ca)), discovery.Token("zzzzzz", TOKEN.secret), [pin(ca)])


def test_a_wrong_secret_or_a_changed_address_is_not_trusted(ca: bytes) -> None:
    with pytest.raises(ClusterError, match="can't trust this API server"):
        discovery.verify(info(kubeconfig(ca)), discovery.Token("abcdef", "f" * 16), [pin(ca)])
    told = info(kubeconfig(ca))
    told["data"]["kubeconfig"] = kubeconfig(ca, "https://198.51.100.9:6443")
    with pytest.raises(ClusterError, match="can't trust this API server"):
        discovery.verify(told, TOKEN, [])


@pytest.mark.parametrize(
    "config",
    ["a: [", "[]", "clusters: 3", "clusters: [{name: x}]", "clusters: [{cluster: {server: 'http://x'}}]", "&a [*a, *a]",
     "clusters: [{cluster: {server: 'https://x', certificate-authority-data: '%%'}}]"],
)  # fmt: skip
def test_what_is_signed_and_no_kubeconfig_is_refused_in_words(config: str) -> None:
    with pytest.raises(ClusterError, match="holds no kubeconfig with a server"):
        discovery.verify(info(config), TOKEN, [])


def test_a_cluster_that_is_not_set_up_for_tokens_says_so() -> None:
    with pytest.raises(ClusterError, match="isn't set up for token bootstrapping"):
        discovery.verify({"data": {}}, TOKEN, [])


@pytest.mark.parametrize(
    "written", ["", "abc", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef0123456789"]
)
def test_a_token_of_another_form_is_refused(written: str) -> None:
    with pytest.raises(ClusterError, match="was not of the form"):
        discovery.parse_token(written)


def test_no_pin_takes_an_explicit_word() -> None:
    with pytest.raises(ClusterError, match="can be unsafe"):
        discovery.check_pins([], unsafe=False)
    discovery.check_pins([], unsafe=True)
    with pytest.raises(ClusterError, match="is not of the form"):
        discovery.check_pins(["md5:00"], unsafe=False)


def test_a_ca_beside_the_pinned_one_does_not_vouch_for_itself(ca: bytes, tmp_path: Path) -> None:
    other = pki.ensure(Instance(ClusterSettings("evil"), tmp_path, tmp_path, NodeSettings(name="n")), SystemClock()).pem
    assert discovery.verify(info(kubeconfig(ca + other)), TOKEN, [pin(ca)]).ca_pem == ca + other
    assert discovery.pinned(ca + other, [pin(ca)]) == ca
    with pytest.raises(ClusterError, match="none of the public keys"):
        discovery.pinned(other, [pin(ca)])
