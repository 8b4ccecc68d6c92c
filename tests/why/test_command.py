"""``sampan why`` as people run it: words, data, exit codes; of a cluster and of a dump."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from sampan.api.clock import SystemClock
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.why import reader
from sampan.why.fixes import command
from sampan.why.model import Explanation, Ref
from sampan.why.subjects import kind_named

DUMP = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, creationTimestamp: 2026-01-01T00:00:00Z}
  spec:
    containers: [{name: c, image: app:1, resources: {requests: {cpu: 9}}}]
  status: {phase: Pending}
- apiVersion: v1
  kind: Node
  metadata: {name: n, creationTimestamp: 2026-01-01T00:00:00Z}
  status:
    allocatable: {cpu: 4, memory: 8Gi, pods: 110}
    conditions: [{type: Ready, status: "True"}]
"""


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: gone
contexts: [{name: gone, context: {cluster: gone, user: me}}]
clusters: [{name: gone, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: me, user: {}}]
"""


def sampan(*words: str, stdin: str = "", kubeconfig: Path | None = None) -> tuple[int, str, str]:
    program = [sys.executable, "-c", "from sampan.cli.entry import main; main()", *words]
    environ = os.environ | {"KUBECONFIG": str(kubeconfig or "/nonexistent")}
    done = subprocess.run(program, input=stdin, capture_output=True, text=True, timeout=60, check=False, env=environ)
    return done.returncode, done.stdout, done.stderr


def test_the_cause_comes_first_then_what_shows_it_then_what_mends_it() -> None:
    code, out, err = sampan("why", "pod/web", "-n", "shop", "-f", "-", stdin=DUMP)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Pod shop/web asks for 9 cpu, and no node is that large: the largest has 4."
    assert "What shows it:" in lines and any(line.startswith("To mend it: let container c ask for 4") for line in lines)
    assert "  kubectl replace --force -f - <<'EOF'" in lines
    told = lines[lines.index("What could not be seen:") :]
    assert any("events" in line and "the dump has no objects of this kind" in line for line in told)
    assert all(len(line) <= 80 for line in lines)


def test_programs_get_the_same_with_requests_instead_of_commands() -> None:
    code, out, _ = sampan("why", "pod", "web", "-n", "shop", "-f", "-", "-o", "json", stdin=DUMP)
    found = json.loads(out)
    assert code == 0 and not found["healthy"]
    [cause] = found["causes"]
    assert cause["rule"] == "node-resources" and cause["confidence"] == "certain"
    [action] = cause["fix"]["actions"]
    assert action["verb"] == "replace"
    assert action["body"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "4"}


def test_a_folder_is_a_dump_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "all.yaml").write_text(DUMP)
    assert sampan("why", "pod/web", "-n", "shop", "-f", str(tmp_path))[0] == 0
    (tmp_path / "bad.yaml").write_text("a: [")
    code, _, err = sampan("why", "pod/web", "-f", str(tmp_path))
    assert code == 2 and "bad.yaml cannot be read" in err
    assert sampan("why", "pod/web", "-f", str(tmp_path / "none"))[0] == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("pod/wbe",), 1, "there is no Pod shop/wbe; there is web"),
        (("gadget/x",), 1, "the cluster has no kind 'gadget'"),
        (("pdo/x",), 1, "did you mean"),
        (("pod",), 2, "names no object"),
    ],
)
def test_what_is_not_there_is_told_with_what_may_have_been_meant(words: tuple[str, ...], code: int, told: str) -> None:
    found, out, err = sampan("why", *words, "-n", "shop", "-f", "-", stdin=DUMP)
    assert found == code and told in err and not out


def test_a_cluster_is_asked_by_its_kubeconfig(sampan_kubeconfig: Path) -> None:
    code, out, err = sampan("why", "node/node-0", kubeconfig=sampan_kubeconfig)
    assert (code, err) == (0, "")
    assert out.startswith("Node node-0 is Ready: no rule found anything wrong.")
    code, out, _ = sampan(
        "why", 'no matches for kind "Gadget" in version "example.com/v1"', kubeconfig=sampan_kubeconfig
    )
    assert code == 0 and "the cluster does not know the kind Gadget" in " ".join(out.split())


def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    code, _, err = sampan("why", "pod/web", kubeconfig=config)
    assert code == 1 and "127.0.0.1" in err


MANIFESTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: app:1, resources: {requests: {cpu: "64"}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {containers: [{name: c, image: app:1, envFrom: [{configMapRef: {name: "settings"}}]}], nodeSelector: {disk: ssd}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: wbe}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 0
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec: {containers: [{name: c, image: app:1}]}
"""
#: what is asked about, and how many causes there are one behind the other
ASKED = {"deployment/web": 1, "service/web": 1, "deployment/idle": 1, "pod/alone": 2}


@pytest.mark.timeout(180)
def test_the_commands_that_mend_are_taken_by_kubectl_as_they_are_printed(sampan_kubeconfig: Path) -> None:
    kubectl = which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: run scripts/setup dev")
    environ = os.environ | {"KUBECONFIG": str(sampan_kubeconfig)}

    def shell(words: str, stdin: str = "") -> None:
        done = subprocess.run(
            ["bash", "-c", words], input=stdin, capture_output=True, text=True, timeout=60, check=False, env=environ
        )
        assert done.returncode == 0, (words, done.stderr)

    async def asked(what: str) -> Explanation:
        kind, _, name = what.partition("/")
        resource = kind_named(kind)
        assert resource is not None
        transport = HttpTransport(KubeConfig.load(sampan_kubeconfig).connection())
        try:
            return await reader.explain_in(Client(transport), Ref(resource, name, "default"), SystemClock().now())
        finally:
            await transport.close()

    def explained(what: str, well: bool, but: set[str] = set()) -> Explanation:  # noqa: B006 (read only)
        """Once it is known: what is made takes its time."""

        async def until() -> Explanation:
            while True:
                found = await asked(what)
                rule = found.causes[0].rule if found.causes else ""
                if found.healthy == well and (well or (rule and rule not in but)):
                    return found
                await asyncio.sleep(0.1)

        return asyncio.run(until())

    shell("kubectl create -f -", MANIFESTS)
    for what, causes in ASKED.items():
        done: set[str] = set()
        for _ in range(causes):
            cause = explained(what, well=False, but=done).causes[0]
            done.add(cause.rule)
            assert cause.fix is not None
            for action in cause.fix.actions:
                shell(command(action))
        explained(what, well=True)


def test_why_not_and_who_can_as_people_ask(sampan_kubeconfig: Path) -> None:
    code, out, err = sampan("why-not", "pod/web", "--node", "n", "-n", "shop", "-f", "-", stdin=DUMP)
    assert (code, err) == (0, "") and out.startswith("Node n has 4 of its 4 cpu free.")
    code, _, err = sampan("why-not", "pod/web", "--node", "m", "-n", "shop", "-f", "-", stdin=DUMP)
    assert code == 1 and "there is no Node m" in err
    small = DUMP.replace("cpu: 9", "cpu: 1")
    code, out, _ = sampan("why-not", "pod/web", "--node", "n", "-n", "shop", "-f", "-", stdin=small)
    assert code == 0 and out.startswith("Pod shop/web would fit on node n: no rule found anything wrong.")
    assert "What was looked at:\n  taints, cordons, " in out
    code, out, _ = sampan("who-can", "create", "pods", kubeconfig=sampan_kubeconfig)
    assert code == 0 and out.splitlines()[0] == "Who can create pods in namespace default:"
    assert any(line.split()[:2] == ["ServiceAccount", "kube-system/job-controller"] for line in out.splitlines())
    code, out, _ = sampan("who-can", "get", "/healthz", "-o", "json", kubeconfig=sampan_kubeconfig)
    subjects = [(each["kind"], each["name"]) for each in json.loads(out)["subjects"]]
    assert code == 0 and ("Group", "system:authenticated") in subjects and subjects[0] == ("Group", "system:masters")
    code, _, err = sampan("who-can", "delte", "pods", kubeconfig=sampan_kubeconfig)
    assert code == 0
    assert err == "Warning: verb 'delte' is not a known verb of resources; did you mean delete or escalate?\n"
    code, _, err = sampan("who-can", "list", "/healthz", kubeconfig=sampan_kubeconfig)
    assert code == 0 and err.startswith("Warning: verb 'list' is not a known verb of paths")
    # Roles may name any verb (ServiceAccounts' tokens for kubelets have one such): it is looked up all the same.
    code, out, _ = sampan("who-can", "knit", "pods", "-o", "json", kubeconfig=sampan_kubeconfig)
    assert code == 0 and ("Group", "system:masters") in [(e["kind"], e["name"]) for e in json.loads(out)["subjects"]]
    code, _, err = sampan("who-can", "get", "gadgets", kubeconfig=sampan_kubeconfig)
    assert code == 1 and "no resource 'gadgets'" in err
    code, _, err = sampan("who-can", "get", "podz", kubeconfig=sampan_kubeconfig)
    assert code == 1 and "no resource 'podz'; did you mean pod or pods" in err


def test_what_a_dump_does_not_have_is_to_be_taken_into_it() -> None:
    code, _, err = sampan("why", "svc/web", "-f", "-", stdin=DUMP)
    assert code == 1 and "the dump has no objects of this kind" in err
    assert "kubectl get services -A -o yaml" in err


@pytest.mark.parametrize("asked", [("why", "pod/web"), ("why-not", "pod/web", "--node", "n")])
def test_a_cluster_that_does_not_answer_is_not_taken_for_one_without_the_object(
    asked: tuple[str, ...], tmp_path: Path
) -> None:
    with socket.socket() as nobody:  # bound and not listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        config = tmp_path / "config"
        config.write_text(KUBECONFIG % nobody.getsockname()[1])
        code, out, err = sampan(*asked, kubeconfig=config)
    assert (code, out) == (1, "")
    assert "connection refused" in err and "there is no" not in err
    assert "`sampan status`" in err
