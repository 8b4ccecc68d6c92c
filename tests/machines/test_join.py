"""A machine joins by a token, and nobody joins who must not; what a joined node's credentials are good for.

Attacks are made with the very files of a joined node, by kubectl.
"""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from e2e_harness import DEMO_IMAGE, Kubectl, eventually
from machines_lab import Machine, Machines, pods_run

from sampan.cluster import instance as instances
from sampan.cluster import nodecertificates, pki
from sampan.cluster.joining import requests

JOINER = "third"


@pytest.fixture
def as_node(machines: Machines, kubectl: Kubectl) -> Kubectl:
    """kubectl with the credentials of node m2, on its machine."""
    m2 = machines[2]
    return Kubectl(_with_kubeconfig(m2, machines.state(m2) / "kubelet.conf"), m2, kubectl.namespace)


def _with_kubeconfig(machine: Machine, file: Path) -> Path:
    wrapper = machine.tools / f"kubectl-{machine.name}-{file.name}"
    wrapper.write_text(f'#!/bin/sh\nexec {machine.tool("kubectl")} --kubeconfig {file} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def join(machines: Machines, *arguments: str, node: str = JOINER) -> str:
    """What a join of machine 2 as another node says that is refused; it leaves nothing."""
    name = f"{machines[2].name}x"
    done = machines[2].sampan("join", *arguments, "--name", name, "--node-name", node, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert not (Path("/var/lib/sampan") / name).exists()
    assert "Traceback" not in done.stderr
    assert "To mend it:" in done.stderr
    return done.stderr


def test_another_ca_a_token_nobody_knows_and_a_token_that_is_over_are_refused(machines: Machines) -> None:
    endpoint, _, token, flag, pin = machines.found_by()
    assert "none of the public keys" in join(machines, endpoint, "--token", token, flag, f"sha256:{'0' * 64}")
    assert "trust this API server" in join(machines, endpoint, "--token", f"{token[:7]}{'0' * 16}", flag, pin)
    config = machines[2].home / "join.yaml"
    over = machines.let_join(ttl_seconds=1e-3)
    for wrong in ("zzzzzz.0123456789abcdef", over):
        bootstrap = {"apiServerEndpoint": endpoint, "token": wrong, "caCertHashes": [pin]}
        document = {
            "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": bootstrap}, "timeouts": {"discovery": "1s"},
        }  # fmt: skip
        config.write_text(json.dumps(document))
        wanted = f'for token ID "{wrong[:6]}"'
        # On a busy machine the server may have no answer within that second.
        eventually(lambda wanted=wanted: wanted in join(machines, "--config", str(config)))


def test_a_token_that_may_only_sign_or_has_no_rights_gets_no_certificate(machines: Machines) -> None:
    endpoint, _, _, *pin = machines.found_by()
    signing = machines.let_join(usages=["signing"], groups=[])
    assert "does not take the token" in join(machines, endpoint, "--token", signing, *pin)
    rightless = machines.let_join(groups=["system:bootstrappers:nobody"])
    assert "this token may not read it" in join(machines, endpoint, "--token", rightless, *pin)


def test_a_living_nodes_name_and_a_foreign_nodes_identity_are_refused(machines: Machines) -> None:
    assert 'a Node with name "m1" and status "Ready" already exists' in join(machines, *machines.found_by(), node="m1")
    own = machines.state(machines[2]) / "kubelet.conf"
    assert "the credentials given are those of node 'm2'" in join(machines, "--discovery-file", str(own))


def test_a_machine_that_is_part_of_a_cluster_joins_no_other(machines: Machines) -> None:
    m2 = machines[2]
    done = m2.sampan("join", *machines.found_by(), "--name", m2.name, check=False)
    assert "is part of a cluster" in done.stderr
    assert done.returncode == 1
    # It is started and stopped like any other, and has no administrator.
    assert "It is node 'm2' of the cluster at https://192.0.2.1:" in m2.sampan("up", "--name", m2.name).stdout


def test_nobody_is_given_the_identity_of_a_living_node_by_a_token(machines: Machines) -> None:
    """With the token alone, past all that ``sampan join`` refuses itself."""
    kubectl = machines.cluster.kubectl()
    leaf = pki.node_leaves("m1", [])[0]
    holder = ("--token", machines.token, "--server", f"https://{machines.found_by()[0]}", "--insecure-skip-tls-verify")
    machines[2].run("env", "KUBECONFIG=", "kubectl", *holder, "create", "-f", "-", stdin=_request("take-over", leaf))
    log = machines.state(machines.cluster) / "logs" / "server.log"
    eventually(lambda: "request take-over is not approved: system:node:m1 is alive" in log.read_text())
    assert (
        "status" not in kubectl.json("get", "csr", "take-over") or not kubectl.json("get", "csr", "take-over")["status"]
    )
    kubectl("delete", "csr", "take-over")


def test_a_nodes_credentials_reach_its_own_pods_objects_only(
    machines: Machines, kubectl: Kubectl, as_node: Kubectl
) -> None:
    for number in (1, 2):
        kubectl("create", "secret", "generic", f"s{number}", "--from-literal=a=b")
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}"},
            "spec": {
                "nodeName": f"m{number}",
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": DEMO_IMAGE, "command": ["sleep", "3600"],
                                "envFrom": [{"secretRef": {"name": f"s{number}"}}]}],
            },
        }  # fmt: skip
        kubectl("create", "-f", "-", stdin=json.dumps(pod))
    pods_run(kubectl, ["p1", "p2"])
    assert json.loads(as_node("get", "secret", "s2", "-o", "json"))["data"] == {"a": base64.b64encode(b"b").decode()}
    refused = [
        ("get", "secret", "s1"),
        ("get", "secrets"),
        ("get", "secrets", "-A"),
        ("delete", "pod", "p1", "--grace-period=0", "--force"),
        ("exec", "p1", "--", "true"),
        ("label", "node", "m1", "a=b"),
        ("label", "node", "m2", "node-role.kubernetes.io/control-plane="),
        ("delete", "node", "m1"),
        ("delete", "node", "m2"),
        ("taint", "node", "m1", "a=b:NoExecute"),
        ("create", "token", "default"),
        ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=system:node:m2"),
        ("get", "configmap", "-n", "kube-system", "extension-apiserver-authentication"),
        ("run", "intruder", f"--image={DEMO_IMAGE}"),
    ]
    for command in refused:
        said = as_node.fails(*command)
        assert "orbidden" in said or "not allowed" in said or "can only" in said, (command, said)
    as_other = ("--as", "system:node:m1", "--as-group", "system:nodes")
    assert "cannot impersonate" in as_node.fails(*as_other, "get", "nodes")


def _request(name: str, leaf: pki.Leaf) -> str:
    csr = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return json.dumps({**csr, **requests.request(leaf, requests.new_key()), "metadata": {"name": name}})


def test_a_node_cannot_even_ask_to_be_another_one(machines: Machines, as_node: Kubectl) -> None:
    said = as_node.fails("create", "-f", "-", stdin=_request("other", pki.node_leaves("m1", [])[0]))
    assert "can only create a node CSR with CN=system:node:m2" in said


@pytest.mark.parametrize("what", ["administrator", "address"])
def test_a_nodes_request_for_what_is_not_its_own_is_never_signed(
    machines: Machines, as_node: Kubectl, what: str
) -> None:
    """The administrator's name, or the API server's address; nor can it approve them."""
    kubectl = machines.cluster.kubectl()
    leaf = {
        "administrator": pki.Leaf("x", "kubernetes-admin", ("kubeadm:cluster-admins",)),
        "address": pki.node_leaves("m2", [machines.cluster.ipv4])[-1],
    }[what]
    as_node("create", "-f", "-", stdin=_request(f"wrong-{what}", leaf))
    assert "orbidden" in as_node.fails("certificate", "approve", f"wrong-{what}")
    # A right one that comes later is signed: the approvers have seen this one.
    as_node("create", "-f", "-", stdin=_request(f"right-{what}", pki.node_leaves("m2", [machines[2].ipv4])[-1]))
    eventually(lambda: kubectl("get", "csr", f"right-{what}", "-o", "jsonpath={.status.certificate}"))
    assert kubectl("get", "csr", f"wrong-{what}", "-o", "jsonpath={.status.certificate}") == ""
    kubectl("delete", "csr", f"wrong-{what}", f"right-{what}")


def test_a_nodes_certificates_are_renewed_before_they_end_without_a_restart(
    machines: Machines, kubectl: Kubectl
) -> None:
    """Those of two hours with two minutes left: the node process goes on, and the API reaches the node."""
    m1, m2 = machines.cluster, machines[2]
    before = _pids(m2)
    now = datetime.now(UTC)
    for leaf in pki.node_leaves("m2", [m2.ipv4, m2.ipv6]):
        short = _issued(machines.state(m1) / "pki", leaf, now - timedelta(hours=2), now + timedelta(minutes=2))
        nodecertificates.keep(instances.load(m2.name), {f"{leaf.stem}.crt": short[0], f"{leaf.stem}.key": short[1]})
    for leaf in pki.node_leaves("m2", []):
        file = machines.state(m2) / "pki" / f"{leaf.stem}.crt"
        eventually(lambda file=file: nodecertificates.validity(file.read_bytes()).ends > now + timedelta(days=300))
    log = machines.state(m2) / "logs" / "node.log"
    eventually(lambda: log.read_text().count("is new, and in use") >= 2 * 4)
    kubectl("run", "after", f"--image={DEMO_IMAGE}", "--restart=Never", f"--overrides={ON_M2}", "--", "echo", "works")
    assert eventually(lambda: kubectl.run("logs", "after", check=False).stdout) == "works\n"
    assert _pids(m2) == before


ON_M2 = json.dumps({"spec": {"nodeName": "m2"}})


def _pids(machine: Machine) -> dict[str, int]:
    told = json.loads(machine.sampan("status", "--name", machine.name, "-o", "json").stdout)
    return {each["name"]: each["pid"] for each in told["processes"]}


def _issued(ca: Path, leaf: pki.Leaf, begins: datetime, ends: datetime) -> tuple[str, str]:
    key, authority = requests.new_key(), x509.load_pem_x509_certificate((ca / "ca.crt").read_bytes())
    asked = x509.load_pem_x509_csr(base64.b64decode(requests.request(leaf, key)["spec"]["request"]))
    signer = serialization.load_pem_private_key((ca / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if leaf.server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder(authority.subject, asked.subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    for extension in asked.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(signer, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode(), requests.key_pem(key).decode()


def test_a_machine_joins_runs_a_pod_and_leaves_without_a_trace(machines: Machines, kubectl: Kubectl) -> None:
    m3 = machines[3]
    before = _of_machine(m3)
    assert "kubelet-start" in m3.sampan("join", "phase").stdout
    m3.sampan("join", "--config", str(_join_file(machines, m3)), "--name", m3.name, "--timeout", "90")
    node = kubectl.json("get", "node", "m3")
    taints = [each for each in node["spec"]["taints"] if not each["key"].startswith("node.kubernetes.io/")]
    assert taints == [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]
    assert (node["metadata"]["labels"]["disk"], node["status"]["capacity"]["pods"]) == ("ssd", "30")
    machines.build_demo_image(m3)
    pod = {"spec": {"nodeName": "m3", "terminationGracePeriodSeconds": 0}}
    kubectl("run", "guest", f"--image={DEMO_IMAGE}", f"--overrides={json.dumps(pod)}", "--", "sleep", "3600")
    pods_run(kubectl, ["guest"])
    assert kubectl("exec", "guest", "--", "echo", "here") == "here\n"

    assert "aborted reset operation" in m3.sampan("reset", "--name", m3.name, check=False).stderr
    said = m3.sampan("reset", "--force", "--name", m3.name).stdout
    assert "`kubectl delete node m3`, where a control plane is" in said
    assert _of_machine(m3) == before
    assert not (Path("/var/lib/sampan") / m3.name).exists()
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{m3.name}/" in line]
    # A machine that comes again takes its name up, and an administrator may have it deleted at once.
    kubectl("delete", "pod", "guest", "--force", "--grace-period=0")
    assert kubectl("get", "node", "m3", "-o", READY) == "False"
    again = m3.sampan(
        "join", *machines.found_by(), "--name", m3.name, "--node-name", "m3", "--node-address", machines.address(m3),
        "--timeout", "90", "--skip-phases", "preflight",
    )  # fmt: skip
    assert "takes up the Node 'm3'" in again.stdout
    admin = machines.home_file("admin.conf", machines.admin_config())
    assert "Left to do" not in m3.sampan("reset", "-f", "--kubeconfig", str(admin), "--name", m3.name).stdout
    assert "NotFound" in kubectl.fails("get", "node", "m3")
    assert "Nothing of cluster" in m3.sampan("reset", "-f", "--name", m3.name).stdout


def _join_file(machines: Machines, machine: Machine) -> Path:
    """A JoinConfiguration with what a registration may say."""
    endpoint, _, token, _, pin = machines.found_by()
    args = {"node-ip": machines.address(machine), "node-labels": "disk=ssd", "max-pods": "30"}
    document = {
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {"apiServerEndpoint": endpoint, "token": token, "caCertHashes": [pin]},
                      "tlsBootstrapToken": token},
        "nodeRegistration": {
            "name": machine.node_name, "taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}],
            "kubeletExtraArgs": [{"name": name, "value": value} for name, value in args.items()],
        },
    }  # fmt: skip
    path = machine.home / "join-m3.yaml"
    path.write_text(json.dumps(document))
    return path


READY = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'


def _of_machine(machine: Machine) -> list[str]:
    """Processes, interfaces, routes and rules."""
    commands = (("ip", "-o", "link"), ("ip", "route"), ("ip", "-6", "route"), ("nft", "list", "tables"))
    found = [machine.run(*command).stdout for command in commands]
    words = f"/{machine.name}/", f"--name {machine.name} "
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [line for word in words if word in line]
    return found
