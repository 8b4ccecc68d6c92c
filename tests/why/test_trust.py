"""What tenants can write into objects and Events does nothing to whoever asks; no fix costs data or rights unsaid."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from situations import pod, workload

from sampan.api.types import Obj
from sampan.why import fit, reader
from sampan.why.dump import Dump, Unreadable, read
from sampan.why.fixes import command
from sampan.why.model import Action, Explanation, Fix, Ref
from sampan.why.rendering import words
from sampan.why.subjects import kind_named
from sampan.why.templates import change, holder
from sampan.why.world import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = "2026-01-01T00:00:00Z"


def of(kind: str, name: str, namespace: str = "default", **rest: Any) -> Obj:
    found = kind_named(kind)
    assert found is not None
    where = {"namespace": namespace} if found.namespaced else {}
    meta = {"name": name, "uid": f"uid-{name}", "creationTimestamp": CREATED, **where, **rest.pop("metadata", {})}
    return {"apiVersion": found.api_version, "kind": kind, "metadata": meta, **rest}


def ref(kind: str, name: str) -> Ref:
    found = kind_named(kind)
    assert found is not None
    return Ref(found, name, "default" if found.namespaced else "")


def explain(kind: str, name: str, *objects: Obj) -> Explanation:
    kinds = ("Event", "Pod", "ReplicaSet", "PersistentVolumeClaim", "ClusterRole", "ClusterRoleBinding", "Role")
    others = [of(each, "other", "other") for each in kinds]
    return asyncio.run(reader.explained(Dump([*objects, *others]).ask, ref(kind, name), NOW))


def refused(message: str) -> Explanation:
    """A Deployment of which an Event says so."""
    made = workload()
    made["metadata"] |= {"namespace": "default", "uid": "uid-web", "creationTimestamp": CREATED}
    about = {"kind": "Deployment", "name": "web", "namespace": "default"}
    said = of("Event", "e", reason="FailedCreate", message=message, involvedObject=about, lastTimestamp=CREATED)
    return explain("deployment", "web", {**made, "status": {}}, said)


def test_messages_of_tenants_cannot_move_the_cursor_nor_look_like_a_line_of_ours() -> None:
    found = refused("no \x1b[2J\x9b1A\u202ereally\nTo mend it: do what I say\n  kubectl delete ns shop")
    told = words(found, verbose=True)
    assert "no" in told and "really" in told
    assert all(each.isprintable() or each == "\n" for each in told)
    assert not [line for line in told.splitlines() if line.startswith(("To mend it: do", "  kubectl delete"))]


def test_a_name_of_a_message_is_a_word_to_the_shell() -> None:
    found = refused("exceeded quota: $(id)`id`;id, requested: pods=1, used: pods=1, limited: pods=1")
    [action] = next(each.fix.actions for each in found.causes if each.rule == "quota" and each.fix is not None)
    assert shlex.split(command(action))[2:4] == ["resourcequotas", "$(id)`id`;id"]


@pytest.mark.parametrize("verb", ["patch", "json", "delete", "approve"])
def test_every_command_quotes_names(verb: Any) -> None:
    action = Action(verb, Ref(ref("pod", "x").resource, "$(id)", "a;b"), {"x": "\x9b\u202e"})
    told = command(action)
    assert "$(id)" in shlex.split(told) and told.isprintable() and told.isascii()


def test_an_event_does_not_hand_out_rights() -> None:
    """Whoever may write Events of a namespace could ask for any."""
    found = refused('User "system:serviceaccount:default:evil" cannot get resource "secrets" in API group ""')
    [cause] = [each for each in found.causes if each.rule == "forbidden"]
    assert cause.fix is not None and not cause.fix.actions and "who-can" in cause.fix.text


@pytest.mark.parametrize("name", ["orphan", "foregroundDeletion", "batch.kubernetes.io/job-tracking"])
def test_a_finalizer_of_the_cluster_itself_is_left_alone(name: str) -> None:
    made = of("ConfigMap", "c", metadata={"deletionTimestamp": CREATED, "finalizers": [name]})
    [cause] = explain("configmap", "c", made).causes
    assert cause.rule == "finalizer" and cause.fix is not None and not cause.fix.actions


def test_taking_a_finalizer_away_says_what_that_costs() -> None:
    made = of("ConfigMap", "c", metadata={"deletionTimestamp": CREATED, "finalizers": ["example.com/keep"]})
    found = explain("configmap", "c", made)
    fix = found.causes[0].fix
    assert fix is not None and fix.actions and "not cleaned up" in fix.risk
    assert "Before you do: what example.com/keep stands for is then not cleaned up" in words(found)


def test_objects_of_a_namespace_keep_the_finalizers_that_guard_data() -> None:
    left = {"type": "NamespaceContentRemaining", "status": "True", "message":
            "Some resources are remaining: persistentvolumeclaims. has 1 resource instances"}  # fmt: skip
    space = of("Namespace", "old", metadata={"deletionTimestamp": CREATED}, status={"conditions": [left]})
    held = ["kubernetes.io/pvc-protection"]
    claim = of("PersistentVolumeClaim", "data", "old", metadata={"finalizers": held})
    [cause] = [each for each in explain("namespace", "old", space, claim).causes if each.rule == "namespace-content"]
    assert cause.fix is not None and not cause.fix.actions
    claim["metadata"]["finalizers"] = [*held, "example.com/x"]
    [cause] = [each for each in explain("namespace", "old", space, claim).causes if each.rule == "namespace-content"]
    assert cause.fix is not None
    assert [each.body for each in cause.fix.actions] == [{"metadata": {"finalizers": held}}]


def test_a_claim_with_a_volume_is_not_made_anew_because_a_dump_lacks_its_status() -> None:
    claim = of("PersistentVolumeClaim", "data", spec={"storageClassName": "gone", "volumeName": "v"})
    objects = claim, of("StorageClass", "other"), of("PersistentVolume", "v")
    assert not [action for each in explain("pvc", "data", *objects).causes if each.fix for action in each.fix.actions]


def changed(**meta: Any) -> Fix:
    made = {**pod(), "status": {}}
    made["metadata"] |= {"namespace": "default", **meta}
    held = holder(World({}, NOW, closed=True), ref("pod", "p").resource, made)
    return change(held, "ask for less", lambda template: None)


def test_a_pod_that_somebody_else_makes_is_changed_there() -> None:
    """Though nobody here knows its maker, or it may not be read."""
    owner = {"apiVersion": "example.com/v1", "kind": "Broker", "name": "b", "uid": "1", "controller": True}
    assert changed(ownerReferences=[owner]) == Fix("ask for less; change that in Broker b, which makes the pod")
    assert "static pod" in changed(annotations={"kubernetes.io/config.mirror": "1"}).text
    assert not changed(annotations={"kubernetes.io/config.mirror": "1"}).actions
    assert changed().actions


@pytest.mark.parametrize("key", sorted(fit.CONDITIONS))
def test_no_pod_is_told_to_tolerate_what_ails_a_node(key: str) -> None:
    waiting = {**pod(), "status": {"phase": "Pending"}}
    waiting["metadata"] |= {"namespace": "default", "uid": "u"}
    node = of("Node", "n", spec={"taints": [{"key": key, "effect": "NoSchedule"}]},
              status={"conditions": [{"type": "Ready", "status": "True"}]})  # fmt: skip
    [cause] = [each for each in explain("pod", "p", waiting, node).causes if each.rule == "node-taint"]
    assert cause.fix is not None and not cause.fix.actions and "sampan why node/n" in cause.fix.text


def test_what_other_nodes_hold_is_not_denied_when_they_were_not_looked_at() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}
    own = pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    node = of("Node", "n", metadata={"labels": {"zone": "a"}})
    world = World({}, NOW, closed=True)
    kinds = [each.kind for each in fit.refusals(world, own, node, fit.Neighbours({}, [node], whole=False))]
    assert "pod-affinity" not in kinds
    kinds = [each.kind for each in fit.refusals(world, own, node, fit.Neighbours({}, [node]))]
    assert "pod-affinity" in kinds


@pytest.mark.parametrize(
    "status", [{"observedGeneration": "x", "availableReplicas": 1}, {"availableReplicas": 1, "updatedReplicas": "x"}]
)
def test_a_damaged_status_is_told(status: Obj) -> None:
    made = {**workload(), "status": status}
    made["metadata"] |= {"namespace": "default"}
    found = explain("deployment", "web", made)
    assert found.found and not found.healthy


@pytest.mark.parametrize("text", ["a: !!int foo", "a: 0b_", "a: " + "9" * 5000, "[" * 5000])
def test_a_dump_that_is_none_is_told(text: str) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        read("-", io.BytesIO(text.encode()))


def test_a_pipe_is_read_and_one_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "x.yaml"
    os.mkfifo(pipe)
    with pytest.raises(Unreadable, match="holds no YAML"):
        read(str(tmp_path), io.BytesIO())
    writer = threading.Thread(target=pipe.write_text, args=(json.dumps(of("Pod", "p")),))
    writer.start()
    found = read(str(pipe), io.BytesIO())
    writer.join()
    assert found.taken_at == NOW
