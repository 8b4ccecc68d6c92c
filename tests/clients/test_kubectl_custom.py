"""Unmodified kubectl 1.20, 1.32 and 1.37 on a custom kind, which they cannot tell from a built-in one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from client_harness import Program

pytestmark = pytest.mark.usefixtures("gadgets")


def gadget(**spec: Any) -> str:
    meta = {"name": "g", "labels": {"set": "x"}}
    return yaml.safe_dump({"apiVersion": "clients.example.com/v1", "kind": "Gadget", "metadata": meta, "spec": spec})


def test_custom_objects_are_applied_shown_marked_and_deleted(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert kubectl("apply", "-f", "-", stdin=gadget(colour="red")) == "gadget.clients.example.com/g created\n"
    assert kubectl("apply", "-f", "-", stdin=gadget(colour="red")) == "gadget.clients.example.com/g unchanged\n"
    assert kubectl("get", "gdg").splitlines()[0].split() == ["NAME", "COLOUR", "READY"]
    assert kubectl("get", "toys", "--no-headers").split()[:2] == ["g", "red"]
    assert kubectl.json("get", "gadget", "g")["spec"] == {"colour": "red", "replicas": 1}
    kubectl("label", "gadget", "g", "team=a")
    kubectl("annotate", "gadget", "g", "note=x")
    assert kubectl("get", "gadgets", "-l", "set=x,team=a", "-o", "name") == "gadget.clients.example.com/g\n"
    assert "colour" in kubectl("describe", "gadget", "g").lower()
    kubectl("delete", "gadget", "g", "--timeout=60s")
    assert kubectl("get", "gadgets", "-o", "name") == ""


def test_custom_objects_take_the_patches_that_they_can(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    kubectl("create", "-f", "-", stdin=gadget(colour="red"))
    kubectl("patch", "gadget", "g", "--type=merge", "-p", '{"spec":{"colour":"blue"}}')
    kubectl("patch", "gadget", "g", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":2}]')
    assert kubectl.json("get", "gadget", "g")["spec"] == {"colour": "blue", "replicas": 2}
    assert "application/strategic-merge-patch+json" in kubectl.fails("patch", "gadget", "g", "-p", '{"spec":{}}')
    editor = kubectl.with_extra(KUBE_EDITOR="sed -i s/blue/green/")
    assert "edited" in editor("edit", "gadget", "g")
    kubectl("scale", "gadget", "g", "--replicas=3")
    assert kubectl.json("get", "gadget", "g")["spec"] == {"colour": "green", "replicas": 3}


def test_custom_objects_are_applied_on_the_servers_side_by_several(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    for manager, size in (("one", 1), ("two", 2)):
        parts = [{"name": manager, "size": size}]
        kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=gadget(parts=parts))
    parts = kubectl.json("get", "gadget", "g")["spec"]["parts"]
    assert parts == [{"name": "one", "size": 1}, {"name": "two", "size": 2}]
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=gadget(parts=[]))
    assert kubectl.json("get", "gadget", "g")["spec"]["parts"] == [{"name": "two", "size": 2}]


def test_custom_objects_are_explained_and_diffed(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    assert "What it looks like." in kubectl("explain", "gadget.spec.colour")
    assert "gadgets" in kubectl("api-resources", "--api-group=clients.example.com", "-o", "name")
    kubectl("apply", "-f", "-", stdin=gadget(colour="red"))
    changed = kubectl.run("diff", "-f", "-", stdin=gadget(colour="blue"), check=False)
    assert changed.returncode == 1
    assert "+  colour: blue" in changed.stdout


def test_custom_objects_that_break_their_rules_are_refused(each_kubectl: Program) -> None:
    kubectl = each_kubectl
    said = kubectl.fails("create", "--validate=false", "-f", "-", stdin=gadget(colour="pink"))
    assert 'spec.colour: Unsupported value: "pink"' in said
    said = kubectl.fails("create", "--validate=false", "-f", "-", stdin=gadget(replicas=9, colour="blue"))
    assert "only red ones are made in numbers" in said
    assert "created" in kubectl("create", "-f", "-", stdin=gadget(replicas=9, colour="red"))


def test_custom_objects_are_selected_by_a_field_and_waited_for(kubectl: Program) -> None:
    kubectl("create", "-f", "-", stdin=gadget(colour="red"))
    assert kubectl("get", "gadgets", "--field-selector=spec.colour=blue", "-o", "name") == ""
    assert kubectl("get", "gadgets", "--field-selector=spec.colour=red", "-o", "name") != ""
    kubectl("patch", "gadget", "g", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":1}}')
    assert "condition met" in kubectl("wait", "gadget/g", "--for=jsonpath={.status.replicas}=1", "--timeout=60s")


def test_unknown_fields_of_custom_objects_are_refused_by_name(kubectl: Program) -> None:
    """[sig-api-machinery] FieldValidation should create/apply an invalid CR with extra properties for CRD with
    validation schema [Conformance]"""
    assert 'unknown field "spec.nonsense"' in kubectl.fails("create", "-f", "-", stdin=gadget(nonsense=1))
    said = kubectl.fails("apply", "--server-side", "-f", "-", stdin=gadget(nonsense=1))
    assert ".spec.nonsense: field not declared in schema" in said
    kubectl("create", "--validate=ignore", "-f", "-", stdin=gadget(nonsense=1))
    assert kubectl.json("get", "gadget", "g")["spec"] == {"replicas": 1}
