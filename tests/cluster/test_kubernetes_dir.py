"""/etc/kubernetes: kubeadm's names there, one truth, kubeconfigs that follow the certificates, and nothing left."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sampan.api.clock import FixedClock
from sampan.client.kubeconfig import KubeConfig
from sampan.cluster import kubeconfigs, kubernetesdir, pki
from sampan.cluster.controlplanenodes import CONTROL_PLANE, MASTER, TOGETHER, plan_untaint
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import marking, preflight
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(
        ClusterSettings("one", control_plane_endpoint="api.example:8443", cert_sans="192.0.2.9"),
        tmp_path / "state",
        tmp_path / "run",
        NodeSettings("n", address="192.0.2.1", kubernetes_dir=str(tmp_path / "etc")),
    )


def make(instance: Instance, *, days: float = 0) -> Path:
    """Everything of it; gives the directory."""
    kubernetesdir.link_pki(instance)
    pki.ensure(instance, FixedClock(NOW + datetime.timedelta(days=days)))
    kubeconfigs.write_all(instance)
    return Path(instance.node.kubernetes_dir)


def test_certificates_have_kubeadm_s_names_there_and_only_those(instance: Instance) -> None:
    place = make(instance)
    made = {path.name for path in (place / "pki").iterdir() if path.is_file()}
    assert made == {name for name in kubernetesdir.FILES if "etcd" not in name}
    assert not any(path.is_symlink() for path in (place / "pki").iterdir())
    assert (place / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600
    # What is renewed is renewed there.
    before = (place / "pki" / "apiserver.crt").read_bytes()
    make(instance, days=300)
    assert (place / "pki" / "apiserver.crt").read_bytes() != before
    assert (instance.pki / "apiserver.crt").is_symlink()


def test_the_api_server_s_certificate_names_the_endpoint_and_further_names(instance: Instance) -> None:
    make(instance)
    certificate = x509.load_pem_x509_certificate((instance.pki / "apiserver.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"api.example", "192.0.2.9", "192.0.2.1"} <= {str(each.value) for each in names}


@pytest.mark.parametrize(
    ("file", "user", "server"),
    [
        ("admin.conf", "kubernetes-admin", "https://api.example:8443"),
        ("super-admin.conf", "kubernetes-super-admin", "https://api.example:8443"),
        ("kubelet.conf", "system:node:n", "https://api.example:8443"),
        ("controller-manager.conf", "system:kube-controller-manager", "https://192.0.2.1:6443"),
        ("scheduler.conf", "system:kube-scheduler", "https://192.0.2.1:6443"),
    ],
)
def test_each_kubeconfig_is_who_kubeadm_s_is(instance: Instance, file: str, user: str, server: str) -> None:
    place = make(instance)
    config = KubeConfig.load(place / file)
    assert config.content["current-context"] == f"{user}@kubernetes"
    connection = config.connection()
    assert connection.server == server
    subject = x509.load_pem_x509_certificate(connection.client_certificate_pem).subject.rfc4514_string()
    assert f"CN={user}" in subject


def test_a_ca_that_is_there_already_is_used_whatever_its_key(instance: Instance, tmp_path: Path) -> None:
    other = replace(instance, cluster=replace(instance.cluster, encryption_algorithm="RSA-2048"), state_root=tmp_path)
    place = make(other)
    key = serialization.load_pem_private_key((place / "pki" / "ca.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    before = (place / "pki" / "ca.crt").read_bytes()
    make(instance)  # ECDSA is its own choice, and it finds the other's CA
    assert (instance.pki / "ca.crt").read_bytes() == before
    certificate = x509.load_pem_x509_certificate((instance.pki / "kubelet.crt").read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(before))


def test_without_the_ca_s_key_what_is_current_serves_and_what_is_not_is_told(instance: Instance) -> None:
    place = make(instance)
    (place / "pki" / "ca.key").unlink()
    pki.ensure(instance, FixedClock(NOW))
    (instance.pki / "admin.crt").unlink()
    with pytest.raises(ClusterError, match=r"admin\.crt is missing or not current"):
        pki.ensure(instance, FixedClock(NOW))


def test_a_directory_of_certificates_of_one_s_own_is_where_they_are(instance: Instance, tmp_path: Path) -> None:
    own = replace(instance, node=replace(instance.node, cert_dir=str(tmp_path / "certs")))
    make(own)
    assert (tmp_path / "certs" / "ca.crt").is_file()
    assert kubernetesdir.pki_directory(own) == tmp_path / "certs"


def test_an_instance_that_had_certificates_moves_them_there(instance: Instance) -> None:
    bare = replace(instance, node=replace(instance.node, kubernetes_dir=""))
    pki.ensure(bare, FixedClock(NOW))
    before = (bare.pki / "ca.crt").read_bytes()
    there = Path(instance.node.kubernetes_dir) / "pki"
    there.mkdir(parents=True)
    (there / "sa.key").touch(mode=0o644)  # everybody's to read, until it is a key
    make(instance)
    assert (there / "ca.crt").read_bytes() == before
    assert (there / "sa.key").stat().st_mode & 0o777 == 0o600


def test_all_of_it_goes_and_what_others_put_there_stays(instance: Instance) -> None:
    place = make(instance)
    kubernetesdir.remove(instance)
    assert not place.exists()
    place = make(instance)
    (place / "mine").write_text("x")
    kubernetesdir.remove(instance)
    assert [path.name for path in place.iterdir()] == ["mine"]
    assert kubernetesdir.remove(replace(instance, node=replace(instance.node, kubernetes_dir=""))) == []


# Labels and taints of the control plane's node


def node(*keys: str, together: bool = True) -> dict[str, object]:
    taints = [{"key": key, "effect": "NoSchedule"} for key in keys]
    annotations = {TOGETHER: "true"} if together else {}
    return {"metadata": {"name": "n", "resourceVersion": "7", "annotations": annotations}, "spec": {"taints": taints}}


def test_a_control_plane_s_node_has_its_labels_and_the_taint_under_both_names() -> None:
    made = marking.marked({"metadata": {"name": "n"}}, None)
    assert made["metadata"]["labels"] == marking.LABELS
    assert [each["key"] for each in made["spec"]["taints"]] == [CONTROL_PLANE, MASTER]
    assert marking.marked(made, None) == made
    assert "spec" not in marking.marked({"metadata": {"name": "n"}}, [])


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ((CONTROL_PLANE, MASTER, "other"), "nothing to do"),
        ((CONTROL_PLANE, "other"), ["other"]),
        ((MASTER, "other"), ["other"]),
        ((MASTER,), None),
    ],
    ids=["both", "the old name went", "the new name went", "no taint is left"],
)
def test_whoever_takes_one_of_the_two_taints_away_has_taken_both(keys: tuple[str, ...], left: object) -> None:
    patch = plan_untaint(node(*keys))
    if left == "nothing to do":
        assert patch is None
        return
    assert patch is not None
    taints = patch["spec"]["taints"]
    assert (taints and [each["key"] for each in taints]) == left
    assert patch["metadata"] == {"resourceVersion": "7", "annotations": {TOGETHER: None}}


def test_taints_that_a_person_chose_are_left_as_they_are() -> None:
    assert plan_untaint(node(CONTROL_PLANE, together=False)) is None


def test_another_clusters_kubeconfigs_and_ca_stand_in_the_way(instance: Instance, tmp_path: Path) -> None:
    place = make(instance)
    fresh = Instance(ClusterSettings("two"), tmp_path / "b", tmp_path / "b", instance.node)

    def named(*, control_plane: bool) -> set[str]:
        looked = preflight.Place(kubernetes_dir=place)
        found = preflight.check(fresh, control_plane=control_plane, node=False, place=looked)
        prefix = f"FileAvailable-{str(place).replace('/', '-')}-"
        return {each.name.removeprefix(prefix) for each in found if each.name.startswith(prefix)}

    # Those of the CA that is there go with it: a CA of one's own, or a phase that is run again.
    assert named(control_plane=True) == set()
    assert named(control_plane=False) == {"kubelet.conf", "pki-ca.crt"}
    (place / "pki" / "ca.crt").unlink()
    configs = {"admin.conf", "super-admin.conf", "kubelet.conf", "controller-manager.conf", "scheduler.conf"}
    assert named(control_plane=True) == configs
