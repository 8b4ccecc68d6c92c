"""Unmodified kubectl 1.20, 1.32 and 1.37 on built-in kinds: no version may see a difference to upstream."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from client_harness import Program, eventually

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [{"name": "web", "image": "example.com/web:1", "env": [{"name": "A", "value": "1"}]}]
            },
        },
    },
}


def text(*objects: Any) -> str:
    return yaml.safe_dump_all(objects)


def test_objects_are_created_read_marked_and_deleted(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert kubectl("create", "configmap", "c", "--from-literal=a=1") == "configmap/c created\n"
    assert kubectl("create", "secret", "generic", "s", "--from-literal=p=secret") == "secret/s created\n"
    assert kubectl("label", "configmap", "c", "team=a") == "configmap/c labeled\n"
    assert kubectl("annotate", "configmap", "c", "note=x") == "configmap/c annotated\n"
    assert "already has a value" in kubectl.fails("label", "configmap", "c", "team=b")
    assert kubectl("get", "configmaps", "-l", "team=a", "-o", "name") == "configmap/c\n"
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.metadata.annotations.note}{.data.a}") == "x1"
    assert kubectl("get", "cm", "c", "--no-headers").split()[:2] == ["c", "1"]
    assert 'configmaps "d" not found' in kubectl.fails("get", "configmap", "d")
    assert 'configmaps "c" already exists' in kubectl.fails("create", "configmap", "c")
    assert 'configmap "c" deleted' in kubectl("delete", "configmap", "c")
    assert kubectl("get", "configmap", "c", "--ignore-not-found") == ""


def test_client_side_apply_changes_and_removes_what_it_applied(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert kubectl("apply", "-f", "-", stdin=text(CONFIG, WEB)) == "configmap/c created\ndeployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", stdin=text(CONFIG)) == "configmap/c unchanged\n"
    kubectl("patch", "configmap", "c", "-p", '{"data":{"mine":"3"}}')
    assert kubectl("apply", "-f", "-", stdin=text({**CONFIG, "data": {"a": "2"}})) == "configmap/c configured\n"
    assert kubectl.json("get", "configmap", "c")["data"] == {"a": "2", "mine": "3"}


def test_server_side_apply_owns_conflicts_and_forces(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    apply = ("apply", "--server-side", "-f", "-")
    assert kubectl(*apply, stdin=text(CONFIG)) == "configmap/c serverside-applied\n"
    other = text({**CONFIG, "data": {"a": "9"}})
    refused = kubectl.fails(*apply, "--field-manager=other", stdin=other)
    assert 'conflict with "kubectl": .data.a' in refused
    kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=other)
    assert kubectl.json("get", "configmap", "c")["data"] == {"a": "9", "b": "2"}
    kubectl(*apply, stdin=text({**CONFIG, "data": {}}))
    assert kubectl.json("get", "configmap", "c")["data"] == {"a": "9"}


def test_an_object_goes_from_client_side_to_server_side_apply(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    kubectl("apply", "-f", "-", stdin=text(CONFIG))
    kubectl("apply", "--server-side", "-f", "-", "--force-conflicts", stdin=text({**CONFIG, "data": {"a": "2"}}))
    assert kubectl.json("get", "configmap", "c")["data"]["a"] == "2"


def test_every_type_of_patch_is_taken(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    kubectl("create", "-f", "-", stdin=text(WEB))
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"B","value":"2"}]}]}}}}'
    kubectl("patch", "deployment", "web", "-p", patch)
    kubectl("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"replicas":1,"paused":null}}')
    kubectl("patch", "deployment", "web", "--type=json", "-p", '[{"op":"remove","path":"/metadata/labels/app"}]')
    spec = kubectl.json("get", "deployment", "web")["spec"]
    assert sorted(each["name"] for each in spec["template"]["spec"]["containers"][0]["env"]) == ["A", "B"]
    assert spec["replicas"] == 1


def test_edit_diff_and_replace(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    kubectl("apply", "-f", "-", stdin=text(CONFIG))
    editor = kubectl.with_extra(KUBE_EDITOR="sed -i 's/  b: .*/  b: 7x/'")
    assert "configmap/c edited" in editor("edit", "configmap", "c")
    assert kubectl.json("get", "configmap", "c")["data"]["b"] == "7x"
    changed = kubectl.run("diff", "-f", "-", stdin=text({**CONFIG, "data": {"a": "8"}}), check=False)
    assert changed.returncode == 1
    assert "+  a: " in changed.stdout
    unchanged = kubectl.run("diff", "-f", "-", stdin=text({**CONFIG, "data": {"a": "1", "b": "7x"}}), check=False)
    assert (unchanged.returncode, unchanged.stdout) == (0, "")
    assert kubectl("replace", "-f", "-", stdin=text({**CONFIG, "data": {"z": "1"}})) == "configmap/c replaced\n"
    assert kubectl.json("get", "configmap", "c")["data"] == {"z": "1"}


def test_explain_and_discovery(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert "replicas" in kubectl("explain", "deployment.spec")
    policy = kubectl("explain", "pod.spec.containers.imagePullPolicy")
    assert ' - `"IfNotPresent"`' in policy
    if kubectl.path.name != "kubectl-1.20":  # that one reads OpenAPI v2 and knows no enumerations
        assert "ENUM:\n    Always\n    IfNotPresent\n    Never\n" in policy
    assert "deployments" in kubectl("api-resources", "--api-group=apps", "-o", "name")
    assert "apps/v1" in kubectl("api-versions").splitlines()
    assert 'the server doesn\'t have a resource type "nonsense"' in kubectl.fails("get", "nonsense")


def test_a_deployment_is_waited_for_scaled_and_undone(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    kubectl("apply", "-f", "-", stdin=text(WEB))
    kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=60s")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("set", "image", "deployment/web", "web=example.com/web:2")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert kubectl("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    assert kubectl("scale", "deployment/web", "--replicas=1") == "deployment.apps/web scaled\n"
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    spec = kubectl.json("get", "deployment", "web")["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (1, "example.com/web:1")
    kubectl("delete", "deployment", "web", "--timeout=60s")
    eventually(lambda: kubectl("get", "pods", "-l", "app=web", "-o", "name") == "")


def test_a_rehearsal_leaves_nothing(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert (
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=text(CONFIG)) == "configmap/c created (server dry run)\n"
    )
    assert kubectl("get", "configmap", "c", "--ignore-not-found") == ""


def test_what_does_not_act_is_told_of_once(each_kubectl: Program) -> None:
    limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}
    fast = {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "fast"},
        "spec": {"type": "Limited", "limited": limited},
    }
    done = each_kubectl.run("apply", "-f", "-", stdin=text(fast))
    each_kubectl("delete", "prioritylevelconfiguration", "fast", "--timeout=60s")
    assert done.stdout == "prioritylevelconfiguration.flowcontrol.apiserver.k8s.io/fast created\n"
    assert done.stderr.count("Warning: Sampan stores this PriorityLevelConfiguration") == 1


def test_applied_objects_that_are_left_out_are_pruned(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    first, second = ({**CONFIG, "metadata": {"name": name, "labels": {"set": "x"}}} for name in ("one", "two"))
    kubectl("apply", "-f", "-", stdin=text(first, second))
    whitelist = "--prune-whitelist" if kubectl.path.name.endswith("1.20") else "--prune-allowlist"
    pruned = kubectl("apply", "--prune", "-l", "set=x", f"{whitelist}=core/v1/ConfigMap", "-f", "-", stdin=text(first))
    assert "configmap/two pruned" in pruned
    assert kubectl("get", "configmaps", "-l", "set=x", "-o", "name") == "configmap/one\n"


def test_ownership_of_fields_is_hidden_until_asked_for(kubectl: Program) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=text(CONFIG))
    assert "managedFields" not in kubectl("get", "configmap", "c", "-o", "yaml")
    shown = kubectl.json("get", "configmap", "c", "--show-managed-fields")["metadata"]["managedFields"]
    assert [(each["manager"], each["operation"]) for each in shown] == [("kubectl", "Apply")]


def test_unknown_fields_are_refused_by_name(kubectl: Program) -> None:
    odd = yaml.safe_dump({**WEB, "spec": {**WEB["spec"], "nonsense": 1}})  # type: ignore[dict-item]
    assert 'unknown field "spec.nonsense"' in kubectl.fails("create", "-f", "-", stdin=odd)
    assert ".spec.nonsense: field not declared in schema" in kubectl.fails(
        "apply", "--server-side", "-f", "-", stdin=odd
    )
    assert "created" in kubectl("create", "--validate=ignore", "-f", "-", stdin=odd)


@pytest.mark.parametrize("what", ["--for=create", "--for=jsonpath={.data.a}=1"])
def test_newer_ways_to_wait(kubectl: Program, what: str) -> None:
    kubectl("create", "configmap", "c", "--from-literal=a=1")
    assert "condition met" in kubectl("wait", "configmap/c", what, "--timeout=60s")


def test_status_is_written_by_its_subresource(kubectl: Program) -> None:
    kubectl("create", "-f", "-", stdin=text(WEB | {"spec": {**WEB["spec"], "paused": True, "replicas": 0}}))  # type: ignore[dict-item]
    patch = '{"status":{"conditions":[{"type":"Mine","status":"True","reason":"R","message":"m"}]}}'
    kubectl("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", patch)
    scale = kubectl.json("get", "deployment", "web", "--subresource=scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {})
