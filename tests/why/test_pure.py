"""Rules as functions of objects alone: situations that are awkward to bring about, and objects that are damaged."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import pod, workload

from sampan.api.resources import PODS, Resource
from sampan.api.types import Obj
from sampan.why import fixes, reader
from sampan.why.dump import Dump
from sampan.why.model import Action, Explanation, Ref
from sampan.why.rendering import words
from sampan.why.subjects import kind_named, known
from sampan.why.table import rules
from sampan.why.world import Answer, Query

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = "2026-01-01T00:00:00Z"


def of(kind: str, name: str, version: str = "v1", namespace: str = "default", **rest: Any) -> Obj:
    found = kind_named(kind)
    assert found is not None
    where = {"namespace": namespace} if found.namespaced else {}
    meta = {"name": name, "uid": f"uid-{name}", "creationTimestamp": CREATED, **where, **rest.pop("metadata", {})}
    return {"apiVersion": found.api_version, "kind": kind, "metadata": meta, **rest}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> Obj:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def event(kind: str, name: str, reason: str, message: str) -> Obj:
    about = {"kind": kind, "name": name, "namespace": "default"}
    return of("Event", f"{name}.1", reason=reason, message=message, type="Warning", involvedObject=about,
              lastTimestamp=CREATED)  # fmt: skip


def bound(node: str = "n", status: Obj | None = None, **spec: Any) -> Obj:
    made = pod(**spec)
    made["metadata"] |= {"namespace": "default", "uid": "uid-p", "creationTimestamp": CREATED}
    made["spec"]["nodeName"] = node
    return {**made, "status": status or {"phase": "Pending"}}


def owned(kind: str, name: str = "web", **status: Any) -> Obj:
    made = workload(kind, name)
    made["metadata"] |= {"namespace": "default", "uid": f"uid-{name}", "creationTimestamp": CREATED}
    return {**made, "status": status}


READY = of("Node", "n", status={"conditions": [condition("Ready", "True")], "allocatable": {"cpu": "4", "pods": "1"}})
#: kinds of which a dump has none need one, to say so
EMPTY = [of(kind, "other", namespace="other") for kind in ("PersistentVolumeClaim", "NetworkPolicy", "Event", "Pod")]


def explain(objects: list[Obj], words_: str) -> Explanation:
    kind, _, name = words_.partition("/")
    resource = kind_named(kind)
    assert resource is not None
    subject = Ref(resource, name, "default" if resource.namespaced else "")
    return asyncio.run(reader.explained(Dump([*objects, *EMPTY]).ask, subject, NOW))


def member(name: str) -> Obj:
    made = pod(schedulingGroup={"podGroupName": "ranks"})
    made["metadata"] |= {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": CREATED}
    return {**made, "status": {"phase": "Pending"}}


def test_a_member_of_a_gang_waits_for_its_group_and_for_enough_of_its_pods() -> None:
    gang = {"schedulingPolicy": {"gang": {"minCount": 3}}}
    group = of("PodGroup", "ranks", spec=gang)
    elsewhere = of("PodGroup", "other", namespace="other", spec=gang)
    (missing,) = explain([member("m0"), elsewhere], "pod/m0").causes
    assert missing.sentence == "Pod default/m0 waits for the PodGroup ranks, which does not exist."
    (few,) = explain([member("m0"), member("m1"), group], "pod/m0").causes
    assert few.sentence == "Pod default/m0 waits for more pods of its gang: 2 of 3 are there."
    (asked,) = explain([member("m0"), member("m1"), group], "podgroup/ranks").causes
    assert asked.rule == "members"
    assert asked.sentence == "PodGroup default/ranks waits for more pods: 2 of 3 are there."
    gangs = [member(f"m{number}") | {"status": SAID} for number in range(3)]
    kept = explain([*gangs, group, LARGE], "podgroup/ranks").causes
    assert kept and all("no device" in each.sentence + " ".join(each.evidence) for each in kept)


def test_a_policy_is_no_cause_of_a_pod_that_has_no_address_yet() -> None:
    shut = of("NetworkPolicy", "shut", spec={"podSelector": {}, "policyTypes": ["Ingress"]})
    waiting = member("p")
    waiting["spec"] = {"schedulerName": "nobody", "containers": waiting["spec"]["containers"]}
    assert [cause.rule for cause in explain([waiting, shut, READY], "pod/p").causes] == ["scheduler"]
    runs = bound(status={"phase": "Running", "podIP": "10.0.0.2", "conditions": [condition("Ready", "True")]})
    assert [cause.rule for cause in explain([runs, shut, READY], "pod/p").causes] == ["policy-drops"]


def test_an_object_whose_status_has_an_error_is_not_called_well() -> None:
    kind = Resource("snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot", True)
    snapshot = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "s", "namespace": "default"},
        "status": {"readyToUse": False, "error": {"message": "no driver makes it"}},
    }
    found = asyncio.run(reader.explained(Dump([snapshot, *EMPTY]).ask, Ref(kind, "s", "default"), NOW))
    assert words(found).startswith("VolumeSnapshot default/s failed: no driver makes it, and no rule knows why.")


def test_no_name_of_a_kind_ends_with_a_dot() -> None:
    """A kind of the core group has no group to be named with; such names came up as what may have been meant."""
    assert not [name for name in known() if name.endswith(".")]
    assert {"pods", "deployments.apps", "deployment.apps"} <= known().keys()


def test_a_manifest_to_make_anew_repeats_nothing_of_what_was_applied() -> None:
    applied = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}
    made = pod()
    assert "annotations" not in fixes.pod_manifest(PODS, {**made, "metadata": {"name": "p", **applied}})["metadata"]
    applied["annotations"]["team"] = "a"
    assert fixes.pod_manifest(PODS, {**made, "metadata": {"name": "p", **applied}})["metadata"]["annotations"] == {
        "team": "a"
    }


def waiting(reason: str, message: str) -> Obj:
    state = {
        "name": "c",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    return {"phase": "Pending", "containerStatuses": [state]}


PENDING = {**bound(), "status": {"phase": "Pending"}}
PENDING = {**PENDING, "spec": {key: value for key, value in PENDING["spec"].items() if key != "nodeName"}}
SAID = {"phase": "Pending", "conditions": [condition("PodScheduled", "False", "Unschedulable", "0/1 nodes: no device")]}
LARGE = of("Node", "n", status={"conditions": [condition("Ready", "True")], "allocatable": {"cpu": "4", "pods": "9"}})
GROWN = of("PersistentVolumeClaim", "data", spec={"volumeName": "v", "resources": {"requests": {"storage": "2Gi"}}},
           status={"phase": "Bound", "capacity": {"storage": "1Gi"},
                   "conditions": [condition("FileSystemResizePending", "True")]})  # fmt: skip
REFUSED = of("PersistentVolumeClaim", "data", spec={"volumeName": "v", "volumeAttributesClassName": "gold"},
             status={"phase": "Bound", "conditions": [condition("ModifyVolumeError", "True", "", "no such thing")],
                     "modifyVolumeStatus": {"status": "Infeasible", "targetVolumeAttributesClassName": "gold"},
                     })  # fmt: skip
PLAIN = of("PersistentVolumeClaim", "data", spec={"volumeName": "v", "volumeAttributesClassName": "gold"},
           metadata={"annotations": {"volume.kubernetes.io/storage-provisioner": "sampan.io/local-path"}},
           status={"phase": "Bound"})  # fmt: skip
HPA = of("HorizontalPodAutoscaler", "web", spec={"maxReplicas": 3, "scaleTargetRef": {}},
         status={"conditions": [condition("ScalingLimited", "True", "TooManyReplicas", "more"),
                                condition("ScalingActive", "True")]})  # fmt: skip
CRON = of("CronJob", "tick", spec={"schedule": "* * * * *", "startingDeadlineSeconds": 5})

CASES: dict[str, tuple[list[Obj], str, str]] = {
    "rejected-by-node": (
        [bound(status={"phase": "Failed", "reason": "NodeAffinity", "message": "no"}), READY],
        "pod/p", "was refused by its"),
    "disrupted": (
        [bound(status={"phase": "Failed", "conditions": [
            condition("DisruptionTarget", "True", "EvictionByEvictionAPI")]}), READY],
        "pod/p", "was ended on purpose: EvictionByEvictionAPI"),
    "node-pods": ([PENDING, {**bound(), "metadata": {"name": "q", "namespace": "default", "uid": "q"}}, READY],
                  "pod/p", "as many pods as may be (1)"),
    "scheduler-says": ([{**PENDING, "status": SAID}, LARGE], "pod/p", "0/1 nodes: no device"),
    "image-other": ([bound(status=waiting("ErrImagePull", "disk full")), READY], "pod/p", "cannot be pulled"),
    "cannot-start": ([bound(status=waiting("RunContainerError", "no such device")), READY],
                     "pod/p", "RunContainerError"),
    "sandbox": ([bound(), READY, event("Pod", "p", "FailedCreatePodSandBox", "plugin failed")], "pod/p", "its sandbox"),
    "mount": ([bound(), READY, event("Pod", "p", "FailedMount", "no such device")],
              "pod/p", "cannot be mounted on node n"),
    "controller-behind": (
        [{**owned("DaemonSet"), "metadata": {**owned("DaemonSet")["metadata"], "generation": 2}}, of("Node", "n")],
        "daemonset/web", "was changed and its controller has not seen that"),
    "cron-missed": ([CRON, event("CronJob", "tick", "MissSchedule", "Missed"), of("Job", "x", namespace="other")],
                    "cronjob/tick", "missed a start later than startingDeadlineSeconds (5 s)"),
    "claim-attributes": (
        [REFUSED, of("VolumeAttributesClass", "gold"), of("PersistentVolume", "v")],
        "pvc/data", "its driver does not take what the VolumeAttributesClass gold says"),
    "claim-growth": ([GROWN, of("PersistentVolume", "v")], "pvc/data", "has 1Gi and is to have 2Gi"),
    "namespace-discovery": (
        [of("Namespace", "old", metadata={"deletionTimestamp": CREATED}, status={
            "phase": "Terminating", "conditions": [condition("NamespaceDeletionDiscoveryFailure", "True", "", "x")]}),
         of("APIService", "v1.x.io", spec={"service": {"name": "x", "namespace": "default"}},
            status={"conditions": [condition("Available", "False", "FailedDiscoveryCheck")]}),
         of("Service", "y", namespace="other")], "ns/old", "what v1.x.io serves cannot be listed"),
    "node-unready": ([of("Node", "n", status={"conditions": [
        condition("Ready", "False", "KubeletNotReady", "cni plugin not initialized")]})],
        "node/n", "pod network is not set"),
    "node-pressure": ([of("Node", "n", status={"conditions": [
        condition("Ready", "True"), condition("DiskPressure", "True")]})], "node/n", "is short of disk space"),
    "node-uninitialized": ([{**READY, "spec": {"taints": [
        {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"}]}}],
        "node/n", "a cloud controller"),
    "autoscaler-limit": ([HPA], "hpa/web", "more replicas than its maxReplicas of 3"),
    "definition-names": ([of("CustomResourceDefinition", "w.x.io", status={"conditions": [
        condition("NamesAccepted", "False", "ShortNamesConflict")]})], "crd/w.x.io", "ShortNamesConflict"),
    "definition-schema": ([of("CustomResourceDefinition", "w.x.io", status={"conditions": [
        condition("NonStructuralSchema", "True", "Violations", "spec: type")]})], "crd/w.x.io", "not structural"),
    "request-denied": ([of("CertificateSigningRequest", "c", status={"conditions": [
        condition("Denied", "True", "No")]})], "csr/c", "it was denied (No)"),
}  # fmt: skip


def test_a_volume_without_attributes_is_told_of() -> None:
    found = explain([PLAIN, of("VolumeAttributesClass", "gold"), of("PersistentVolume", "v")], "pvc/data")
    assert [cause.rule for cause in found.causes] == ["claim-attributes"]
    assert "volumes of sampan.io/local-path have no attributes" in found.causes[0].sentence
    assert found.causes[0].confidence == "certain"


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_situation_is_told_by_its_objects_alone(name: str) -> None:
    objects, subject, says = CASES[name]
    found = explain(objects, subject)
    assert [cause.rule for cause in found.causes][:1] == [name], (found.causes, found.unseen, found.state)
    assert says in found.causes[0].sentence
    assert not [each for each in found.unseen if "failed (" in each]
    assert found.causes[0].sentence.startswith(words(found, verbose=True).splitlines()[0].partition(" (")[0])


def test_a_drain_of_a_pod_that_nobody_makes_anew_is_told() -> None:
    budget = of("PodDisruptionBudget", "x", namespace="other")
    found = explain([{**READY, "spec": {"unschedulable": True}}, bound(status={"phase": "Running"}), budget], "node/n")
    assert {"node-cordon", "drain-bare"} == {cause.rule for cause in found.causes}


def test_a_cluster_without_nodes_is_told() -> None:
    async def ask(query: Query) -> Answer:
        return (
            Answer((PENDING,))
            if query.resource.kind == "Pod" and query.name == "p" and not query.subresource
            else Answer()
        )

    pods = kind_named("pod")
    assert pods is not None
    found = asyncio.run(reader.explained(ask, Ref(pods, "p", "default"), NOW))
    assert "no-nodes" in {cause.rule for cause in found.causes}


#: rules that only lead from one object to another: what they lead to is the cause
LEADS = {
    "replicas-of-deployment",
    "pods-of-owner",
    "service-pods",
    "ingress-endpoints",
    "cron-jobs",
    "claim-of-started-pod",
}


def test_every_rule_is_shown_by_a_test() -> None:
    told = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert not [rule.name for rule in rules() if rule.name not in LEADS and f'"{rule.name}"' not in told]
    assert len(rules()) >= 100


def test_every_rule_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "why.md").read_text()
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert listed == {rule.name for rule in rules()}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/:{}", max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "metadata", "spec", "status", "conditions", "containers", "name", "type", "status", "rules", "finalizers",
            "deletionTimestamp", "template", "selector", "matchLabels", "resources", "requests", "cpu", "volumes",
        ]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Service", "Ingress", "Node", "Namespace",
         "PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget",
         "CertificateSigningRequest")  # fmt: skip


@settings(max_examples=60)
@given(kind=st.sampled_from(KINDS), body=st.fixed_dictionaries({"spec": JUNK, "status": JUNK}), other=JUNK)
def test_damaged_objects_cost_a_rule_and_never_an_explanation(kind: str, body: Obj, other: Any) -> None:
    resource = kind_named(kind)
    assert resource is not None
    obj = {"metadata": {"name": "x", "namespace": "default", "deletionTimestamp": "soon"}, **body}
    others = Answer(({"metadata": {"name": "y", "namespace": "default"}, "spec": other, "status": other},))

    async def ask(query: Query) -> Answer:
        return Answer((obj,)) if query.resource == resource and query.name == "x" else others

    found = asyncio.run(reader.explained(ask, Ref(resource, "x", "default" if resource.namespaced else ""), NOW))
    assert found.found and words(found)


def test_questions_are_bounded_and_what_was_not_asked_is_told() -> None:
    asked: list[Query] = []

    async def ask(query: Query) -> Answer:
        asked.append(query)
        if query.resource.kind == "PersistentVolumeClaim":
            return Answer()
        return Answer((many,)) if query.resource.kind == "Pod" and query.name else Answer()

    claims = [{"name": f"v{n}", "persistentVolumeClaim": {"claimName": f"c{n}"}} for n in range(2000)]
    many = {**PENDING, "spec": {**PENDING["spec"], "volumes": claims}}
    pods = kind_named("pod")
    assert pods is not None
    found = asyncio.run(reader.explained(ask, Ref(pods, "p", "default"), NOW))
    assert len(asked) <= reader.MOST_QUERIES
    assert any("that would be too much" in each for each in found.unseen)


@pytest.mark.parametrize(
    ("verb", "body", "told"),
    [
        ("patch", {"spec": {"replicas": 2}}, "kubectl scale deployments.apps web -n shop --replicas=2"),
        ("patch", {"metadata": {"labels": {"a": "b"}}}, "kubectl label deployments.apps web -n shop --overwrite a=b"),
        ("patch", {"spec": {"paused": None}}, "kubectl rollout resume deployments.apps web -n shop"),
        ("json", [{"op": "remove", "path": "/a'b"}],
         """kubectl patch deployments.apps web -n shop --type=json -p '[{"op": "remove", "path": "/a'"'"'b"}]'"""),
        ("delete", None, "kubectl delete deployments.apps web -n shop"),
    ],
)  # fmt: skip
def test_a_fix_is_a_command_that_a_shell_takes(verb: Any, body: Any, told: str) -> None:
    resource = kind_named("deployment")
    assert resource is not None
    assert fixes.command(Action(verb, Ref(resource, "web", "shop"), body)) == told
