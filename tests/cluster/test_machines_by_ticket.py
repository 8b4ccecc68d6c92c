"""A machine becomes a node by a ticket: the cluster's settings and the credentials of that node, and nothing more."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from cryptography import x509

from sampan.api.clock import SystemClock
from sampan.cluster import instance as instances
from sampan.cluster import kubeconfigs, pki, worker
from sampan.cluster.choosing import Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings

NODE = Given({"--node-address": "192.0.2.2"})


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    home = tmp_path_factory.mktemp("control")
    settings = ClusterSettings("one", pod_cidr="10.7.0.0/16", service_cidr="10.8.0.0/16", admission_config="/a/file")
    made = Instance(settings, home, home, NodeSettings(name="first", address="192.0.2.1"))
    pki.ensure(made, SystemClock())
    return made


@pytest.fixture(autouse=True)
def _every_address_is_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.cluster.machine.check_own", lambda address: None)


def ticket(control: Instance) -> bytes:
    return worker.ticket(control, "second", ["192.0.2.2", "2001:db8::2"], SystemClock())


def test_the_other_machine_has_the_clusters_settings_and_the_role_of_a_node(control: Instance, tmp_path: Path) -> None:
    named = instances.nameless("two", state_root=tmp_path, run_root=tmp_path)
    made = worker.admit(named, ticket(control), NODE)
    assert (made.name, made.cluster.pod_cidr, made.api_url) == ("two", "10.7.0.0/16", "https://192.0.2.1:6443")
    assert (made.node.name, made.node.address, made.node.roles) == ("second", "192.0.2.2", ("node",))
    assert made.cluster.admission_config == ""


def test_a_ticket_makes_nobody_but_that_node(control: Instance) -> None:
    files = orjson.loads(ticket(control))["files"]
    assert set(files) == set(pki.NODE_FILES)
    # What the node's process speaks with, each of its parts as itself.
    assert {"kubelet-client.key", "network-client.key", "ingress-client.key"} < set(files)
    authority = x509.load_pem_x509_certificate(files["ca.crt"].encode())
    names = {}
    for name in ("kubelet-client", "kubelet", "network-client", "ingress-client"):
        certificate = x509.load_pem_x509_certificate(files[f"{name}.crt"].encode())
        certificate.verify_directly_issued_by(authority)
        names[name] = certificate.subject.rfc4514_string()
    assert names["kubelet-client"] == "CN=system:node:second,O=system:nodes"
    assert names["ingress-client"] == "CN=system:edge:second,O=sampan:ingress"
    assert not [path for path in control.pki.iterdir() if path.is_dir()]


def test_a_node_alone_has_no_administrator_and_makes_no_certificates(control: Instance, tmp_path: Path) -> None:
    named = instances.nameless("two", state_root=tmp_path, run_root=tmp_path)
    written = ticket(control)
    made = worker.admit(named, written, NODE)
    with pytest.raises(ClusterError, match="the CA that could make it is on another machine"):
        pki.check_given(made)
    pki.keep_given(made, orjson.loads(written)["files"])
    pki.check_given(made)
    kubeconfigs.write_all(made)
    assert not made.admin_kubeconfig.exists()
    assert (made.state / "kubelet.conf").exists()
    assert (made.pki / "kubelet.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "written",
    [b"", b"[]", b"{}", b'{"version": 1, "cluster": [], "node": {}, "files": {}}',
     b'{"version": 1, "cluster": {}, "node": {}, "files": {"../x": "y"}}'],
)  # fmt: skip
def test_a_damaged_ticket_is_refused_by_name(written: bytes, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="the ticket is damaged"):
        worker.admit(instances.nameless("two", state_root=tmp_path, run_root=tmp_path), written, NODE)


@pytest.mark.parametrize(
    "wrong", [{"cluster": {"pod_cidr": 7}}, {"cluster": {"service_cidr": None}}, {"node": {"kubelet_port": "many"}}]
)
def test_settings_that_are_none_are_a_damaged_ticket(
    control: Instance, tmp_path: Path, wrong: dict[str, object]
) -> None:
    written = orjson.dumps(orjson.loads(ticket(control)) | wrong)
    with pytest.raises(ClusterError, match="the ticket is damaged"):
        worker.admit(instances.nameless("two", state_root=tmp_path, run_root=tmp_path), written, NODE)


def test_a_ticket_of_another_version_is_refused(control: Instance, tmp_path: Path) -> None:
    changed = orjson.dumps(orjson.loads(ticket(control)) | {"version": 2})
    with pytest.raises(ClusterError, match="another version"):
        worker.admit(instances.nameless("two", state_root=tmp_path, run_root=tmp_path), changed, NODE)


def test_who_has_no_control_plane_makes_no_tickets(control: Instance) -> None:
    elsewhere = Instance(ClusterSettings("two"), node=NodeSettings(name="second", roles=("node",), address="192.0.2.2"))
    with pytest.raises(ClusterError, match="no control plane"):
        worker.ticket(elsewhere, "third", ["192.0.2.3"], SystemClock())


@pytest.mark.parametrize("address", ["nonsense", "", "127.0.0.1", "0.0.0.0"])
def test_an_address_that_is_none_makes_no_ticket(control: Instance, address: str) -> None:
    with pytest.raises(ClusterError, match="node address"):
        worker.ticket(control, "third", [address], SystemClock())


def test_nobody_else_becomes_the_node_of_the_control_plane(control: Instance) -> None:
    with pytest.raises(ClusterError, match="own node"):
        worker.ticket(control, control.node.name, ["192.0.2.3"], SystemClock())


def test_a_file_that_is_no_ticket_is_not_read_to_its_end() -> None:
    with pytest.raises(ClusterError, match="too long"):
        worker.read_ticket(Path("/dev/zero"))
