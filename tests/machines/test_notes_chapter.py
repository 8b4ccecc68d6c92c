"""The install chapter of a course on Kubernetes, command for command: init, kubeconfig, taint, token and hash, join,
look, run something, drain, delete, reset.

The commands are typed in a shell of their machine as they are printed in the chapter; two things stand in for what a
test must not touch: ``kubeadm`` is a program that adds the name of the test's instance, and ``$KUBERNETES`` is in the
place of /etc/kubernetes. The chapter's network plug-in needs no step here: the pod network is part of each node.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import DEMO_IMAGE, SAMPAN, eventually
from machines_lab import OWN, Machine, Machines

_KUBEADM = """\
#!/bin/sh
command=$1; shift
case $command in
    init|join) exec {sampan} kubeadm $command "$@" --name {name} --kubernetes-dir {kubernetes} ;;
    config|version) exec {sampan} kubeadm $command "$@" ;;
    *) exec {sampan} kubeadm $command "$@" --name {name} ;;
esac
"""
#: hash of the CA, as the chapter has it
HASH = (
    "openssl x509 -pubkey -in $KUBERNETES/pki/ca.crt | openssl rsa -pubin -outform der 2>/dev/null | "
    "openssl dgst -sha256 -hex | sed 's/^.* //'"
)


class Shell:
    """A shell on one machine. What is exported goes on to the next command."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kubernetes = machine.home / f"kubernetes-{machine.number}"
        programs = machine.home / f"bin-{machine.number}"
        programs.mkdir()
        kubeadm = programs / "kubeadm"
        kubeadm.write_text(_KUBEADM.format(sampan=SAMPAN, name=machine.name, kubernetes=self.kubernetes))
        kubeadm.chmod(0o755)
        self._begin = f"export PATH={programs}:$PATH KUBERNETES={self.kubernetes}; unset KUBECONFIG; hash -r\n"
        self._exported = ""

    def __call__(self, command: str, *, timeout: float = 240) -> str:
        done = self.machine.run("bash", "-c", f"{self._begin}{self._exported}{command}", timeout=timeout)
        if command.startswith("export "):
            self._exported += f"{command}\n"
        return done.stdout


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Machines]:
    """Two machines on a network, and nothing on them."""
    made = Machines(tmp_path, 2, kind=OWN)
    made.wire()
    try:
        yield made
    finally:
        left = made.close()
    assert not left, left


@pytest.mark.timeout(420)
def test_the_install_chapter_works_as_it_stands(bare: Machines) -> None:
    """Requirements of the chapter: install, one control plane, one node, a test of the cluster, and the way back."""
    master, node = (Shell(machine) for machine in bare.each)
    address = master.machine.ipv4

    # The control plane.
    assert "kube-apiserver:v1.37" in master("kubeadm config images list")
    said = master(
        f"kubeadm init --apiserver-advertise-address={address} --node-name=master --ignore-preflight-errors=NumCPU,Mem"
    )
    assert "Your Kubernetes control-plane has initialized successfully!" in said
    master("export KUBECONFIG=$KUBERNETES/admin.conf")
    assert eventually(lambda: re.search(r"^master +Ready +control-plane ", master("kubectl get nodes"), re.MULTILINE))
    assert "untainted" in master("kubectl taint nodes --all node-role.kubernetes.io/master:NoSchedule-")
    assert eventually(lambda: master("kubectl get nodes -o jsonpath={.items[*].spec.taints}").strip() in ("", "[]"))

    # A node, by a token and a hash that are looked up by hand.
    token, digest = master("kubeadm token create").strip(), master(HASH).strip()
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token)
    assert f"sha256:{digest}" in said
    port = re.search(rf"{re.escape(address)}:(\d+)", said)
    assert port is not None
    joined = node(
        f"kubeadm join --token {token} {address}:{port[1]} --discovery-token-ca-cert-hash sha256:{digest}"
        " --node-name=node1 --ignore-preflight-errors=NumCPU,Mem"
    )
    assert "This node has joined the cluster" in joined
    assert eventually(lambda: re.search(r"^node1 +Ready ", master("kubectl get node"), re.MULTILINE))
    assert "KubeletReady" in master("kubectl describe node node1")
    assert (node.kubernetes / "kubelet.conf").exists()

    # A test of the cluster: something runs on the node and answers from outside.
    for machine in bare.each:  # there is no registry here
        bare.build_demo_image(machine)
    master(
        f"kubectl create deployment web --image={DEMO_IMAGE} -- "
        "sh -c 'mkdir /www; echo it works > /www/index.html; httpd -f -p 80 -h /www'"
    )
    master("kubectl expose deployment web --port=80 --type=NodePort")
    master("kubectl rollout status deployment/web --timeout=90s")
    node_port = master("kubectl get service web -o jsonpath={.spec.ports[0].nodePort}").strip()
    for host in (address, node.machine.ipv4):
        assert eventually(lambda host=host: "it works" in master(f"busybox wget -qO- http://{host}:{node_port}"))

    # And back: the node goes, then the control plane.
    master("kubectl drain node1 --delete-emptydir-data --force --ignore-daemonsets --timeout=60s")
    assert "SchedulingDisabled" in master("kubectl get node node1")
    master("kubectl delete node node1")
    node("kubeadm reset -f")
    assert not (node.kubernetes / "kubelet.conf").exists()
    assert "node1" not in master("kubectl get nodes"), "a Node that is deleted stays away"
    master("kubectl rollout status deployment/web --timeout=90s")
    master("kubeadm reset -f")
    assert not master.kubernetes.exists()
    for machine in bare.each:
        assert not (Path("/var/lib/sampan") / machine.name).exists()
        assert not _programs(machine.name)


def _programs(name: str) -> str:
    return subprocess.run(["pgrep", "-f", f"/sampan/{name}/"], capture_output=True, text=True, check=False).stdout
