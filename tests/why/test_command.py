"""``sampan why`` as people run it: words, data, exit codes; of a cluster and of a dump."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def sampan(*words: str, stdin: str = "", kubeconfig: Path | None = None) -> tuple[int, str, str]:
    command = [sys.executable, "-c", "from sampan.cli.entry import main; main()", *words]
    environ = os.environ | {"KUBECONFIG": str(kubeconfig or "/nonexistent")}
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False, env=environ)
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
