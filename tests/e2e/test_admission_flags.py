"""Admission plugins are switched by flag and told by file, for a cluster that can be stopped and given others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_harness import DEMO_IMAGE, NEEDS, Cluster, Kubectl, build_demo_image, eventually, faults_in_logs, own_name

from sampan.testing import free

NAME = own_name("adm", os.getpid())
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
CONFIG = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline}
    exemptions: {namespaces: [kube-system]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, that is not there yet."""
    if os.geteuid() != 0 or any(shutil.which(program) is None for program in NEEDS):
        pytest.skip("needs root and the programs of a cluster")
    made = Cluster(tmp_path / "kubeconfig", tmp_path, NAME)
    yield made
    faults = faults_in_logs(NAME)
    made.sampan("down", "--name", NAME, "--purge")
    assert not faults, "\n".join(faults)


def run_pod(kubectl: Kubectl, name: str, *options: str) -> None:
    kubectl("run", name, f"--image={DEMO_IMAGE}", *options, "--command", "--", "sleep", "1000")
    kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s", timeout=100)


def test_pods_have_a_token_only_where_the_service_account_plugin_is_on(own: Cluster, tmp_path: Path) -> None:
    """Admission plug-ins by flag; ServiceAccount admission may be removed, and enabling it brings the token back."""
    where = free.arguments(free.instance(NAME))
    own.sampan("up", *where, "--disable-admission-plugins", "ServiceAccount", "--timeout", "90")
    build_demo_image(own)
    kubectl = Kubectl(Path(shutil.which("kubectl") or "kubectl"), own, "default")
    run_pod(kubectl, "bare")
    assert "volumes" not in kubectl.json("get", "pod", "bare")["spec"]
    assert "No such file" in kubectl.fails("exec", "bare", "--", "cat", TOKEN)

    own.sampan("down", "--name", NAME)
    config = tmp_path / "admission.yaml"
    config.write_text(CONFIG.replace("baseline", "strict"))
    wrong = own.sampan("up", "--name", NAME, "--admission-control-config-file", str(config), check=False)
    assert wrong.returncode == 1
    assert f"{config}: plugins[0].configuration.defaults.enforce: Invalid value" in wrong.stderr

    config.write_text(CONFIG)
    told = ("--disable-admission-plugins", "", "--admission-control-config-file", str(config))
    own.sampan("up", "--name", NAME, *told, "--timeout", "90")
    eventually(lambda: kubectl.run("get", "serviceaccount", "default", check=False).returncode == 0)
    run_pod(kubectl, "with-token")
    assert kubectl("exec", "with-token", "--", "cat", TOKEN).count(".") == 2
    said = kubectl.fails("run", "bad", f"--image={DEMO_IMAGE}", "--privileged")
    assert 'violates PodSecurity "baseline:latest": privileged (container "bad" must not set' in said
