"""What people do with kubectl to objects, by each kubectl there is: unmodified 1.32 and Debian's 1.20."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from e2e_harness import Kubectl, described, eventually
from e2e_manifests import web

pytestmark = pytest.mark.timeout(400)

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {tier: front}}
data: {color: blue}
"""


def test_apply_twice_is_unchanged(each_kubectl: Kubectl) -> None:
    assert "configmap/settings created" in each_kubectl("apply", "-f", "-", stdin=CONFIG)
    assert "configmap/settings unchanged" in each_kubectl("apply", "-f", "-", stdin=CONFIG)
    changed = CONFIG.replace("blue", "red")
    assert "configmap/settings configured" in each_kubectl("apply", "-f", "-", stdin=changed)


def test_apply_of_a_workload_twice_is_unchanged(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=0))
    said = each_kubectl("apply", "-f", "-", stdin=web(replicas=0))
    assert said.splitlines() == ["deployment.apps/web unchanged", "service/web unchanged"]


def test_diff_shows_what_apply_would_change(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=CONFIG)
    assert each_kubectl.run("diff", "-f", "-", stdin=CONFIG, check=False).returncode == 0
    done = each_kubectl.run("diff", "-f", "-", stdin=CONFIG.replace("blue", "red"), check=False)
    assert done.returncode == 1
    assert "+  color: red" in done.stdout


@pytest.mark.parametrize(
    "kind",
    [
        "pods", "deployments", "replicasets", "services", "endpoints", "endpointslices", "configmaps", "secrets",
        "serviceaccounts", "nodes", "namespaces", "events", "leases", "roles", "rolebindings", "clusterroles",
        "clusterrolebindings", "statefulsets", "daemonsets", "jobs", "cronjobs", "ingresses", "networkpolicies",
        "persistentvolumes", "persistentvolumeclaims", "storageclasses", "hpa", "pdb", "priorityclasses", "csr",
        "resourcequotas", "limitranges", "rc", "controllerrevisions", "crd", "apiservices", "runtimeclasses",
    ],
)  # fmt: skip
def test_get_lists_every_common_kind(kubectl: Kubectl, kind: str) -> None:
    assert kubectl.run("get", kind, "-A", "-o", "wide").returncode == 0


def test_get_output_forms(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=CONFIG)
    assert each_kubectl("get", "cm", "settings", "-o", "name") == "configmap/settings\n"
    assert each_kubectl("get", "cm", "settings", "-o", "jsonpath={.data.color}") == "blue"
    assert "color: blue" in each_kubectl("get", "cm", "settings", "-o", "yaml")
    assert each_kubectl.json("get", "cm", "settings")["kind"] == "ConfigMap"
    assert each_kubectl("get", "cm", "settings", "--no-headers").split()[:2] == ["settings", "1"]
    assert each_kubectl("get", "cm", "-o", "custom-columns=N:.metadata.name", "--no-headers").split()[-1] == "settings"


def test_get_selects_by_label_and_field(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=CONFIG)
    assert each_kubectl("get", "cm", "-l", "tier in (front,back)", "-o", "name") == "configmap/settings\n"
    assert each_kubectl("get", "cm", "-l", "tier!=front,tier", "-o", "name") == ""
    assert each_kubectl("get", "cm", "--field-selector", "metadata.name=settings", "-o", "name") != ""
    assert "field label not supported" in each_kubectl.fails("get", "cm", "--field-selector", "spec.x=1")


def test_get_watch_shows_changes(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=CONFIG)
    watch = each_kubectl.popen("get", "cm", "settings", "-w", "-o", "jsonpath={.data.color}{'\\n'}")
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "blue\n"
        each_kubectl("patch", "cm", "settings", "-p", '{"data":{"color":"green"}}')
        assert watch.stdout.readline() == "green\n"
    finally:
        watch.kill()
        watch.communicate()


def test_describe_common_kinds(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=1))
    each_kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    assert "NewReplicaSet:" in each_kubectl("describe", "deployment", "web")
    described(each_kubectl, "pod", "-l", "app=web", says=["Started container web"])
    assert "Controlled By:  Deployment/web" in each_kubectl("describe", "rs", "-l", "app=web")
    assert ":8080" in each_kubectl("describe", "service", "web")
    node = each_kubectl("get", "nodes", "-o", "name").strip()
    assert "kubelet is posting ready status" in each_kubectl("describe", node)
    for kind in ("namespace", "configmap", "serviceaccount", "endpoints"):
        assert "Name:" in each_kubectl("describe", kind)


def test_create_label_annotate_and_each_patch(each_kubectl: Kubectl) -> None:
    each_kubectl("create", "configmap", "made", "--from-literal=a=1")
    each_kubectl("create", "secret", "generic", "hidden", "--from-literal=p=x")
    each_kubectl("label", "cm", "made", "team=a")
    assert "already has a value" in each_kubectl.fails("label", "cm", "made", "team=b")
    each_kubectl("label", "cm", "made", "team=b", "--overwrite")
    each_kubectl("annotate", "cm", "made", "note=hello there")
    each_kubectl("patch", "cm", "made", "--type=merge", "-p", '{"data":{"b":"2"}}')
    each_kubectl("patch", "cm", "made", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"3"}]')
    each_kubectl("patch", "cm", "made", "-p", '{"data":{"a":null}}')
    made = each_kubectl.json("get", "cm", "made")
    assert made["data"] == {"b": "2", "c": "3"}
    assert made["metadata"]["labels"] == {"team": "b"}
    each_kubectl("label", "cm", "made", "team-")
    assert "labels" not in each_kubectl.json("get", "cm", "made")["metadata"]


def test_replace_is_the_edit_of_scripts(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=CONFIG)
    text = each_kubectl("get", "cm", "settings", "-o", "yaml")
    each_kubectl("replace", "-f", "-", stdin=text.replace("blue", "white"))
    assert each_kubectl("get", "cm", "settings", "-o", "jsonpath={.data.color}") == "white"
    stale = each_kubectl.fails("replace", "-f", "-", stdin=text)
    assert "the object has been modified" in stale


def test_edit_with_an_editor(each_kubectl: Kubectl, tmp_path: Path) -> None:
    each_kubectl("apply", "-f", "-", stdin=CONFIG)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/blue/black/ "$1"\n')
    editor.chmod(0o755)
    edit = each_kubectl.popen("edit", "cm", "settings", env={**each_kubectl.cluster.env, "KUBE_EDITOR": str(editor)})
    said, complaint = edit.communicate(timeout=120)
    assert (edit.returncode, said) == (0, "configmap/settings edited\n"), complaint
    assert each_kubectl("get", "cm", "settings", "-o", "jsonpath={.data.color}") == "black"


def test_delete_waits_and_cascades(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=1))
    pod = eventually(lambda: each_kubectl("get", "pods", "-l", "app=web", "-o", "name").strip())
    each_kubectl("delete", "deployment", "web", "--cascade=orphan", "--wait=true", timeout=120)
    assert each_kubectl("get", pod, "-o", "name").strip() == pod
    replica_set = each_kubectl("get", "rs", "-l", "app=web", "-o", "name").strip()
    each_kubectl("delete", replica_set, "--cascade=foreground", timeout=120)
    assert each_kubectl("get", "rs,pods", "-l", "app=web", "-o", "name") == ""


def test_delete_with_force_is_at_once(each_kubectl: Kubectl) -> None:
    each_kubectl("run", "stuck", "--image=docker.io/sampan/e2e:1", "--", "sleep", "3600")
    each_kubectl("wait", "pod/stuck", "--for=condition=Ready", "--timeout=90s")
    began = time.monotonic()
    each_kubectl("delete", "pod", "stuck", "--grace-period=0", "--force")
    assert "NotFound" in each_kubectl.fails("get", "pod", "stuck")
    assert time.monotonic() - began < 25  # the grace that it would have had is 30


def test_wait_for_a_condition_and_for_deletion(each_kubectl: Kubectl) -> None:
    each_kubectl("run", "short", "--image=docker.io/sampan/e2e:1", "--", "sleep", "3600")
    each_kubectl("wait", "pod/short", "--for=condition=Ready", "--timeout=90s")
    each_kubectl("delete", "pod", "short", "--wait=false", "--grace-period=1")
    each_kubectl("wait", "pod/short", "--for=delete", "--timeout=90s")
    assert "timed out" in each_kubectl.fails("wait", "namespace/default", "--for=condition=Never", "--timeout=1s")


def test_api_resources_and_versions(each_kubectl: Kubectl) -> None:
    resources = each_kubectl("api-resources", "--no-headers")
    for name in ("pods", "deployments", "clusterrolebindings", "storageclasses", "networkpolicies"):
        assert any(line.startswith(name) for line in resources.splitlines()), name
    assert "apps/v1" in each_kubectl("api-versions").splitlines()


def test_explain(each_kubectl: Kubectl) -> None:
    assert "Number of desired pods" in each_kubectl("explain", "deployment.spec.replicas")
    recursive = each_kubectl("explain", "pod.spec", "--recursive")
    assert "containers" in recursive and "livenessProbe" in recursive and "terminationGracePeriodSeconds" in recursive
    assert "ReplicaSet" in each_kubectl("explain", "rs")
    assert "does not exist" in each_kubectl.fails("explain", "pod.spec.nothing")


def test_auth_can_i(each_kubectl: Kubectl) -> None:
    assert each_kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    denied = each_kubectl.run(
        "auth", "can-i", "create", "pods", "--as=system:serviceaccount:default:default", check=False
    )
    assert (denied.stdout.strip(), denied.returncode) == ("no", 1)
    assert "Resources" in each_kubectl("auth", "can-i", "--list")


def test_cluster_info_and_version(each_kubectl: Kubectl) -> None:
    assert "is running at" in each_kubectl("cluster-info")
    assert "1.37" in each_kubectl("version", "-o", "json").replace('"minor": "37"', "1.37")


def test_dry_run_on_the_server_stores_nothing(each_kubectl: Kubectl) -> None:
    assert "(server dry run)" in each_kubectl("apply", "--dry-run=server", "-f", "-", stdin=CONFIG)
    assert "NotFound" in each_kubectl.fails("get", "cm", "settings")


def test_invalid_object_is_refused_with_its_fields(each_kubectl: Kubectl) -> None:
    said = each_kubectl.fails(
        "create", "-f", "-", "--validate=false", stdin=web().replace("matchLabels: {app: web}", "matchLabels: {app: x}")
    )
    assert "`selector` does not match template `labels`" in said
