"""Server-side apply by unmodified kubectl: conflicts, force, what it shows, and coming from client-side apply."""

from __future__ import annotations

import json
from typing import Any

import yaml
from client_harness import Program


def config(**data: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})


def deployment(image: str, **spec: Any) -> str:
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]},
    }
    selector = {"matchLabels": {"app": "w"}}
    return yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d"},
            "spec": {"selector": selector, "template": template, **spec},
        }
    )


def owners(kubectl: Program, *what: str) -> list[tuple[str, str]]:
    found = json.loads(kubectl("get", *what, "-o", "json", "--show-managed-fields"))
    return [(entry["manager"], entry["operation"]) for entry in found["metadata"].get("managedFields", [])]


def test_apply_creates_keeps_takes_and_removes(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    apply = ("apply", "--server-side", "-f", "-")
    assert kubectl(*apply, stdin=config(a="1", b="2")) == "configmap/c serverside-applied\n"
    version = kubectl("get", "configmap", "c", "-o", "jsonpath={.metadata.resourceVersion}")
    assert kubectl(*apply, stdin=config(a="1", b="2")) == "configmap/c serverside-applied\n"
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.metadata.resourceVersion}") == version
    refused = kubectl.fails(*apply, "--field-manager=other", stdin=config(a="9"))
    assert 'conflict with "kubectl"' in refused
    assert ".data.a" in refused
    kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=config(a="9"))
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data.a}{.data.b}") == "92"
    kubectl(*apply, "--force-conflicts", stdin=config(a="9"))
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data}") == '{"a":"9"}'


def test_managed_fields_are_hidden_until_they_are_asked_for(kubectl: Program) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=deployment("example.com/w:1"))
    assert "managedFields" not in kubectl("get", "deployment", "d", "-o", "yaml")
    shown = yaml.safe_load(kubectl("get", "deployment", "d", "-o", "yaml", "--show-managed-fields"))
    entry = next(e for e in shown["metadata"]["managedFields"] if e["operation"] == "Apply")
    assert entry["manager"] == "kubectl"
    containers = entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    ports = {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}
    assert containers == {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}, "f:ports": ports}}


def test_a_client_side_applied_object_becomes_a_server_side_applied_one(kubectl: Program) -> None:
    kubectl("apply", "-f", "-", stdin=config(a="1", b="2"))
    assert owners(kubectl, "configmap", "c") == [("kubectl-client-side-apply", "Update")]
    # what the annotation says kubectl applied, it may change without force
    kubectl("apply", "--server-side", "-f", "-", stdin=config(a="5"))
    assert ("kubectl", "Apply") in owners(kubectl, "configmap", "c")
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data.a}") == "5"
    kubectl("apply", "--server-side", "-f", "-", stdin=config(z="3"))
    left = kubectl("get", "configmap", "c", "-o", "jsonpath={.data}")
    assert "a" not in json.loads(left)
    assert json.loads(left)["z"] == "3"


def test_client_side_apply_goes_on_after_server_side_apply(kubectl: Program) -> None:
    kubectl("apply", "-f", "-", stdin=config(a="1", b="2"))
    kubectl("apply", "--server-side", "-f", "-", stdin=config(a="2", b="2"))
    # the annotation was kept true, so that b is known to have been applied
    kubectl("apply", "-f", "-", stdin=config(a="3"))
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data}") == '{"a":"3"}'


def test_diff_shows_what_an_apply_would_change_and_changes_nothing(kubectl: Program) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=deployment("example.com/w:1"))
    version = kubectl("get", "deployment", "d", "-o", "jsonpath={.metadata.generation}")
    run = kubectl.run("diff", "--server-side", "-f", "-", stdin=deployment("example.com/w:2"), check=False)
    assert run.returncode == 1
    changed = [line.split() for line in run.stdout.splitlines() if line.startswith(("-", "+")) and "image:" in line]
    assert [words[-1] for words in changed] == ["example.com/w:1", "example.com/w:2"]
    assert kubectl("get", "deployment", "d", "-o", "jsonpath={.metadata.generation}") == version
    same = kubectl.run("diff", "--server-side", "-f", "-", stdin=deployment("example.com/w:1"), check=False)
    assert (same.returncode, same.stdout) == (0, "")


def test_an_unknown_field_is_refused_with_its_path(kubectl: Program) -> None:
    """Server side field validation, typed object"""
    text = deployment("example.com/w:1", bogus=True)
    said = kubectl.fails("apply", "--server-side", "--validate=false", "-f", "-", stdin=text)
    assert ".spec.bogus: field not declared in schema" in said


def test_scale_takes_the_replicas_from_who_applied_them(kubectl: Program) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=deployment("example.com/w:1", replicas=1))
    kubectl("scale", "deployment", "d", "--replicas=2")
    refused = kubectl.fails("apply", "--server-side", "-f", "-", stdin=deployment("example.com/w:1", replicas=1))
    assert 'with subresource "scale" using apps/v1: .spec.replicas' in refused
