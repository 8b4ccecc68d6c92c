"""What a machine needs before it becomes a control plane of a cluster that there is."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import SystemClock
from sampan.api.errors import NotFound
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection
from sampan.cluster import pki
from sampan.cluster.choosing import Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import certificates
from sampan.cluster.initializing.phases import Step
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings
from sampan.cluster.joining import controlplane, worker
from sampan.cluster.joining.wanted import ControlPlane, Wanted

KEY = "0f" * 32
ETCD = ClusterSettings("one", store="etcd", api_address="192.0.2.1", api_port=443)


class Secrets:
    """A transport that gives one Secret, or none."""

    def __init__(self, secret: dict[str, Any] | None) -> None:
        self._secret = secret

    async def call(self, call: Any) -> Any:
        if self._secret is None:
            raise NotFound("not here")
        return self._secret


def client(secret: dict[str, Any] | None) -> Client:
    return Client(Secrets(secret))  # type: ignore[arg-type]  # it answers the only call that is made


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    home = tmp_path_factory.mktemp("first")
    node = NodeSettings(name="m1", address="192.0.2.1", roles=("control-plane", "node", "etcd"))
    made = Instance(ETCD, home, home, node)
    pki.ensure(made, SystemClock())
    return made


@pytest.fixture
def joining(tmp_path: Path) -> Instance:
    return Instance(ETCD, tmp_path, tmp_path, NodeSettings(name="m2", kubernetes_dir=str(tmp_path / "kubernetes")))


def sealed(first: Instance) -> dict[str, Any]:
    owner = {"metadata": {"name": "bootstrap-token-abcdef", "uid": "1"}}
    files = certificates.read_shared(first.pki)
    return certificates.seal(files, certificates.parse_key(KEY), lambda count: b"n" * count, owner)


def test_a_cluster_whose_store_is_a_file_has_one_control_plane() -> None:
    with pytest.raises(ClusterError, match="which no other can share"):
        controlplane.settings(ClusterSettings("one"), ControlPlane(), 6443)


def test_its_own_api_server_is_here_at_the_port_of_the_others_or_its_own() -> None:
    made = controlplane.settings(ETCD, ControlPlane(), 6443)
    assert (made.api_address, made.api_port) == ("", 6443)
    assert controlplane.settings(ETCD, ControlPlane(bind_port=7443), 6443).api_port == 7443


def test_it_has_a_member_of_etcd_where_sampan_runs_that() -> None:
    node = controlplane.node_settings(NodeSettings(), ETCD, ControlPlane(advertise_address="192.0.2.9"))
    assert (node.roles, node.given_address) == (("control-plane", "node", "etcd"), "192.0.2.9")
    others = ClusterSettings("one", store="etcd", etcd_endpoints="192.0.2.7:2379")
    assert controlplane.node_settings(NodeSettings(), others, ControlPlane()).roles == ("control-plane", "node")


async def test_the_keys_come_sealed_and_are_those_of_the_first(first: Instance, joining: Instance) -> None:
    files = await controlplane.keys(client(sealed(first)), ControlPlane(KEY), joining, b"")
    assert set(files) == {*certificates.SHARED, *certificates.SHARED_ETCD}
    assert files["sa.key"] == (first.pki / "sa.key").read_text()
    pki.keep_given(joining, files)
    pki.ensure(joining, SystemClock())  # takes them up, and makes its own certificates with them
    assert (joining.pki / "ca.crt").read_bytes() == (first.pki / "ca.crt").read_bytes()
    assert (joining.pki / "etcd" / "peer.crt").exists() is joining.node.runs_etcd


@pytest.mark.parametrize(
    ("secret", "key", "said"),
    [("none", KEY, "it might have expired"), ("sealed", "ab" * 32, "cannot be decrypted"),
     ("sealed", "xyz", "is not 64 hexadecimal digits"), ("empty", KEY, "has no ca.crt"),
     ("sealed", "", "a control plane needs the cluster's keys")],
)  # fmt: skip
async def test_without_the_right_key_it_says_what_to_do(
    first: Instance, joining: Instance, secret: str, key: str, said: str
) -> None:
    there = {"none": None, "sealed": sealed(first), "empty": {"data": {"x": base64.b64encode(b"y").decode()}}}[secret]
    with pytest.raises(ClusterError, match=said) as error:
        await controlplane.keys(client(there), ControlPlane(key), joining, b"")
    assert error.value.fix


def copied(first: Instance, joining: Instance) -> Path:
    place = Path(joining.node.kubernetes_dir) / "pki"
    for name, content in certificates.read_shared(first.pki).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


async def test_keys_that_a_person_copied_are_taken_as_they_are(first: Instance, joining: Instance) -> None:
    copied(first, joining)
    known = (first.pki / "ca.crt").read_bytes()
    assert await controlplane.keys(client(None), ControlPlane(), joining, known) == {}


async def test_keys_of_another_cluster_are_neither_taken_nor_lost(
    first: Instance, joining: Instance, tmp_path: Path
) -> None:
    place = copied(first, joining)
    another = Instance(ETCD, tmp_path / "b", tmp_path / "b", NodeSettings(name="m1"))
    known = pki.ensure(another, SystemClock()).pem
    with pytest.raises(ClusterError, match=r"ca\.crt is another cluster's CA"):
        await controlplane.keys(client(None), ControlPlane(), joining, known)
    before = (place / "ca.key").read_bytes()
    with pytest.raises(ClusterError, match="it would be lost"):
        await controlplane.keys(client(sealed(another)), ControlPlane(KEY), joining, known)
    assert (place / "ca.key").read_bytes() == before


async def test_the_ca_of_etcd_is_among_what_is_copied(first: Instance, joining: Instance) -> None:
    (copied(first, joining) / "etcd" / "ca.key").unlink()
    with pytest.raises(ClusterError, match=r"etcd/ca\.key is not there"):
        await controlplane.keys(client(None), ControlPlane(), joining, b"")


class Quiet:
    def step(self, text: str) -> None:
        return

    def warn(self, text: str) -> None:
        return


async def found(connection: Connection) -> Connection:
    return connection


@pytest.mark.parametrize("step", [Step("control-plane-prepare", ("certs",)), Step("kubelet-start")], ids=str)
async def test_no_ca_is_made_in_place_of_the_clusters_where_a_phase_was_left_out(
    first: Instance, joining: Instance, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    known = Connection("https://192.0.2.1:443", ca_pem=(first.pki / "ca.crt").read_bytes())
    node = replace(joining.node, roles=("control-plane", "node", "etcd"))
    wanted = Wanted(endpoint="192.0.2.1:443", token="abcdef.0123456789abcdef", control_plane=ControlPlane())
    run = worker.Joining(
        replace(joining, node=node), wanted, Given({}), SystemClock(), Quiet(), timeout_seconds=1, alone=True
    )
    monkeypatch.setattr(worker, "find", lambda *_: found(known))
    with pytest.raises(ClusterError, match=r"needs the cluster's keys, and .*ca\.crt is not there"):
        await getattr(run, f"_{step.phase.replace('-', '_')}")(step)
    assert not list(joining.state_root.rglob("*.key"))
