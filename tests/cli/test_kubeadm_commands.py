"""kubeadm's commands under its own name and ours: what they print, refuse, and take as it stands."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.clock import SystemClock
from sampan.cli import entry as command_line
from sampan.client.kubeconfig import KubeConfig
from sampan.cluster import instance as instances
from sampan.cluster import kubeconfigs, kubernetesdir, pki
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command line in this process on an empty machine; gives exit code and everything it said."""
    for function in (instances.load, instances.nameless):
        assert function.__kwdefaults__ is not None
        monkeypatch.setitem(function.__kwdefaults__, "state_root", tmp_path / "state")
        monkeypatch.setitem(function.__kwdefaults__, "run_root", tmp_path / "run")
    monkeypatch.setattr("sampan.cluster.kubernetesdir.DEFAULT", tmp_path / "none")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # `-v=5` sets it in this process: set and taken away here, it is gone again after the test.
    monkeypatch.setenv("SAMPAN_TRACEBACK", "")
    monkeypatch.delenv("SAMPAN_TRACEBACK")

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", list(words))
        code: object = 0
        try:
            command_line.main()
        except SystemExit as ended:
            code = ended.code or 0
        assert isinstance(code, int)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


@pytest.fixture
def made(tmp_path: Path) -> Instance:
    """A control plane as ``init`` leaves it, that runs nothing."""
    node = NodeSettings("n", address="192.0.2.1", roles=("control-plane",), kubernetes_dir=str(tmp_path / "etc"))
    instance = Instance(ClusterSettings("default"), tmp_path / "state", tmp_path / "run", node)
    instance.save()
    kubernetesdir.link_pki(instance)
    pki.ensure(instance, SystemClock())
    kubeconfigs.write_all(instance)
    return instance


@pytest.mark.parametrize("program", [("kubeadm",), ("/usr/bin/kubeadm",), ("sampan", "kubeadm")])
def test_the_program_goes_by_either_name(run: Run, program: tuple[str, ...]) -> None:
    code, said = run(*program, "version", "-o", "short")
    assert (code, said) == (0, "v1.37.0\n")
    assert run(*program, "token", "generate", "-v=5")[0] == 0
    code, said = run(*program, "token", "--v", "x", "generate")
    assert (code, "is no level" in said) == (2, True)


def test_a_generated_token_and_a_key_have_their_forms(run: Run) -> None:
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}\n", run("sampan", "token", "generate")[1])
    assert re.fullmatch(r"[0-9a-f]{64}\n", run("sampan", "certs", "certificate-key")[1])


def test_images_are_listed_for_mirrors_and_need_no_pull(run: Run) -> None:
    code, said = run("kubeadm", "config", "images", "list", "--image-repository", "mirror.example/k8s")
    assert code == 0
    assert "mirror.example/k8s/kube-apiserver:v1.37.0\n" in said
    listed = orjson.loads(run("kubeadm", "config", "images", "list", "-o", "json")[1])["images"]
    assert len(listed) == 7
    code, said = run("kubeadm", "config", "images", "pull")
    assert (code, "Nothing needs to be pulled" in said) == (0, True)


def test_what_is_printed_can_be_used_and_migrated(run: Run, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    printed.write_text(run("kubeadm", "config", "print", "init-defaults")[1])
    assert run("kubeadm", "config", "validate", "--config", str(printed)) == (0, "ok\n")
    old = tmp_path / "old"
    old.write_text(
        "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: {extraArgs: {runtime-config: a}}\n"
    )
    code, said = run("kubeadm", "config", "validate", "--config", str(old))
    assert (code, "config migrate" in said) == (0, True)
    new = tmp_path / "new"
    assert run("kubeadm", "config", "migrate", "--old-config", str(old), "--new-config", str(new))[0] == 0
    assert yaml.safe_load(new.read_text())["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    (tmp_path / "bad").write_text("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nx: 1\n")
    code, said = run("kubeadm", "config", "validate", "--config", str(tmp_path / "bad"))
    assert (code, 'unknown field "x"' in said) == (1, True)


def test_phases_are_listed_and_unknown_ones_refused(run: Run) -> None:
    code, said = run("kubeadm", "init", "phase")
    assert (code, "mark-control-plane" in said) == (0, True)
    assert run("kubeadm", "init", "phase", "nothing")[0] == 2
    assert run("kubeadm", "init", "fase")[0] == 2
    code, said = run("kubeadm", "join", "phase")
    assert code == 0
    names = ["preflight", "control-plane-prepare", "kubelet-start", "control-plane-join", "wait-control-plane"]
    assert [said.index(f"  {name} ") for name in names] == sorted(said.index(f"  {name} ") for name in names)
    for wrong in (
        ["phase", "certs"],
        ["phase", "control-plane-join"],
        ["phase", "preflight", "a:1", "b:1"],
        ["a", "b"],
    ):
        assert run("kubeadm", "join", *wrong)[0] == 2, wrong


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--node-name", "Bad_Name"], "node name 'Bad_Name' is not valid"),
        (["--node-labels", "a b=c"], "--node-labels: "),
    ],
)
def test_what_join_can_see_by_itself_is_refused_before_the_cluster_is_looked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], why: str
) -> None:
    monkeypatch.setattr("sampan.cluster.machine.require_root", lambda _command: None)
    code, said = run("sampan", "join", "192.0.2.1:6443", "--token", "abcdef.0123456789abcdef", *words)
    assert code == 1 and why in said and "Looking for" not in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--config", "FILE", "--pod-network-cidr", "10.1.0.0/16"], "can not mix '--config' with arguments"),
        (["--kubernetes-version", "v1.20.0"], "this is Kubernetes v1.37"),
        (["--token", "short", "--dry-run"], "was not of the form"),
        (["--token-ttl", "soon"], "invalid duration"),
        (["--ignore-preflight-errors", "all,Swap"], "don't specify individual checks"),
        (["--feature-gates", "A"], "'A' is not valid"),
        (["--control-plane-endpoint", "a:0", "--dry-run"], "is not a host and a port"),
        (["--apiserver-cert-extra-sans", "a_b", "--dry-run"], "neither a DNS name nor an address"),
        (["--skip-phases", "nothing"], "there is no phase 'nothing'"),
        (["--apiserver-advertise-address", "198.51.100.9", "--dry-run"], "--apiserver-advertise-address 198.51.100.9"),
        (["--pod-network-cidr", "x", "--dry-run"], "address range is not valid"),
    ],
)
def test_what_init_cannot_do_is_refused_before_anything_is_done(
    run: Run, tmp_path: Path, words: list[str], why: str
) -> None:
    (tmp_path / "FILE").write_text("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n")
    code, said = run("kubeadm", "init", *[str(tmp_path / word) if word == "FILE" else word for word in words])
    assert code in (1, 2)
    assert why in said
    assert "To mend it" in said
    assert not (tmp_path / "state" / "default").exists()


def test_who_is_not_root_is_told_with_all_else_that_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("sampan.cluster.preflight.cni_directory", lambda: None)
    code, said = run("kubeadm", "init", "--node-name", "n")
    assert code == 2
    assert "[ERROR IsPrivilegedUser]: not running as root" in said
    assert "[ERROR FileExisting-cni]" in said
    code, said = run("kubeadm", "init", "phase", "certs", "all")
    assert (code, "not running as root" in said) == (1, True)


def test_a_dry_run_of_init_says_what_it_would_do_and_does_nothing(run: Run, tmp_path: Path) -> None:
    code, said = run("kubeadm", "init", "--dry-run", "--node-name", "n", "--pod-network-cidr", "10.77.0.0/16")
    assert code == 0
    assert "[dryrun]   mark-control-plane" in said
    assert "podSubnet: 10.77.0.0/16" in said
    assert not (tmp_path / "state" / "default").exists()
    (tmp_path / "f").write_text("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\ndryRun: true\n")
    code, said = run("kubeadm", "init", "--node-name", "n", "--config", str(tmp_path / "f"))
    assert (code, "[dryrun]" in said) == (0, True)


def test_the_ends_of_certificates_are_shown_by_kubeadm_s_names(run: Run, made: Instance) -> None:
    code, said = run("kubeadm", "certs", "check-expiration")
    assert code == 0
    rows = {line.split()[0]: line for line in said.splitlines() if line}
    assert "364d" in rows["apiserver"]
    assert re.search(r"ca +no$", rows["admin.conf"])
    assert "front-proxy-ca" in rows["front-proxy-client"]
    assert "9y" in rows["ca"]
    told = orjson.loads(run("kubeadm", "certs", "check-expiration", "-o", "json")[1])
    assert {"super-admin.conf", "controller-manager.conf", "scheduler.conf"} < {
        each["name"] for each in told["certificates"]
    }
    (made.pki / "admin.crt").unlink()
    assert "!MISSING! admin.conf" in run("kubeadm", "certs", "check-expiration")[1]


def test_one_certificate_or_all_are_renewed_and_go_into_their_kubeconfigs(run: Run, made: Instance) -> None:
    def files() -> dict[str, bytes]:
        places = [*made.pki.glob("*.crt"), *Path(made.node.kubernetes_dir).glob("*.conf")]
        return {path.name: path.read_bytes() for path in places if path.exists()}

    first = files()
    code, said = run("kubeadm", "certs", "renew", "admin.conf")
    assert (code, "to use and for kubeadm itself renewed" in said) == (0, True)
    second = files()
    assert {name for name in first if first[name] != second[name]} == {"admin.crt", "admin.conf"}
    assert run("kubeadm", "certs", "renew", "all")[0] == 0
    third = files()
    kept = {name for name in third if second[name] == third[name]}
    assert {"ca.crt", "front-proxy-ca.crt"} <= kept
    assert not {"apiserver.crt", "scheduler.conf", "front-proxy-client.crt"} & kept
    code, said = run("kubeadm", "certs", "renew", "nothing")
    assert (code, "one of all, admin.conf" in said) == (1, True)


def test_a_cluster_of_up_has_certificates_that_are_shown_and_renewed_too(run: Run, made: Instance) -> None:
    up = dataclasses.replace(made, node=dataclasses.replace(made.node, kubernetes_dir=""))
    up.save()
    shown = run("sampan", "certs", "check-expiration")[1]
    assert "admin.conf" in shown
    assert "scheduler.conf" not in shown
    before = up.admin_kubeconfig.read_bytes()
    assert run("sampan", "certs", "renew", "all")[0] == 0
    assert up.admin_kubeconfig.read_bytes() != before


def test_without_the_ca_s_key_nothing_is_renewed_and_that_is_told(run: Run, made: Instance) -> None:
    (made.pki / "ca.key").resolve().unlink()
    assert re.search(r"apiserver .* ca +yes$", run("kubeadm", "certs", "check-expiration")[1], re.MULTILINE)
    code, said = run("kubeadm", "certs", "renew", "apiserver")
    assert (code, said) == (0, "Detected external ca, certificate for serving the Kubernetes API can't be renewed\n")


def test_requests_are_made_for_a_ca_elsewhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.cluster.machine.node_address", lambda version=4: "192.0.2.1")
    place = tmp_path / "pki"
    words = ("kubeadm", "certs", "generate-csr", "--cert-dir", str(place), "--kubeconfig-dir", str(tmp_path))
    code, said = run(*words)
    assert code == 0
    assert str(place / "apiserver.csr") in said
    request = x509.load_pem_x509_csr((place / "apiserver.csr").read_bytes())
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.1" in {str(each.value) for each in names}
    key = serialization.load_pem_private_key((place / "apiserver.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert request.public_key() == key.public_key()
    before = (place / "apiserver.key").read_bytes()
    run(*words)
    assert (place / "apiserver.key").read_bytes() == before


def test_other_commands_name_where_the_control_plane_is_wanted(run: Run, made: Instance) -> None:
    node = dataclasses.replace(made, node=dataclasses.replace(made.node, roles=("node",)))
    node.save()
    code, said = run("kubeadm", "certs", "renew", "all")
    assert (code, "has no control plane on this machine" in said) == (1, True)
    code, said = run("kubeadm", "token", "list")
    assert (code, "there is no control plane of a cluster 'default'" in said) == (1, True)


def test_lives_are_the_configuration_s(made: Instance) -> None:
    cluster = dataclasses.replace(made.cluster, certificate_seconds=3600.0)
    short = dataclasses.replace(made, cluster=cluster)
    authorities = pki.ensure_authorities(short, SystemClock())
    (leaf,) = [leaf for leaf in pki.leaves(short) if leaf.stem == "admin"]
    pki.ensure_leaf(short, leaf, authorities[leaf.authority], SystemClock(), anew=True)
    certificate = x509.load_pem_x509_certificate((short.pki / "admin.crt").read_bytes())
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == datetime.timedelta(hours=1) + pki.BACKDATE


def test_one_more_user_gets_a_kubeconfig_of_his_own(run: Run, made: Instance) -> None:
    words = ("kubeadm", "kubeconfig", "user", "--client-name", "ann")
    code, said = run(*words, "--org", "dev", "--org", "ops", "--validity-period", "24h")
    assert code == 0
    config = KubeConfig(yaml.safe_load(said))
    connection = config.connection()
    certificate = x509.load_pem_x509_certificate(connection.client_certificate_pem)
    assert certificate.subject.rfc4514_string() == "CN=ann,O=ops,O=dev"
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((made.pki / "ca.crt").read_bytes()))
    assert connection.server == "https://192.0.2.1:6443"
    assert KubeConfig(yaml.safe_load(run(*words, "--token", "t")[1])).connection().token == "t"
    assert run(*words, "--validity-period", "1s")[0] == 2
    assert {path.name for path in made.pki.iterdir()} >= {"admin.crt"}
    assert not (made.pki / "user.crt").exists()
