"""Tables look like upstream's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api import table
from sampan.api.kind import Kind
from sampan.api.registry import registry

NOW = datetime(2026, 1, 1, 1, 0, 0, tzinfo=UTC)
META = {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}


def kind_of(group: str, plural: str, version: str = "v1") -> Kind:
    kind = registry().by_resource(group, version, plural)
    assert kind is not None
    return kind


def cells(group: str, plural: str, obj: dict[str, Any]) -> list[Any]:
    return list(table.cells(kind_of(group, plural), {"metadata": META, **obj}, NOW))


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "c", "state": state, **more}


WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNNING = {"running": {}}
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
FAILED = {"terminated": {"exitCode": 3}}
ERROR = {"terminated": {"exitCode": 1, "reason": "Error"}}
READY = {"type": "Ready", "status": "True"}
RESTARTED = {"terminated": {"finishedAt": "2026-01-01T00:58:00Z"}}


@pytest.mark.parametrize(
    ("status", "metadata", "shown"),
    [
        ({"phase": "Pending"}, {}, ("0/1", "Pending", "0")),
        ({"phase": "Running", "containerStatuses": [container(RUNNING, ready=True)]}, {}, ("1/1", "Running", "0")),
        (
            {"phase": "Running", "containerStatuses": [container(WAITING, restartCount=3, lastState=RESTARTED)]},
            {}, ("0/1", "CrashLoopBackOff", "3 (2m ago)"),
        ),
        ({"phase": "Succeeded", "containerStatuses": [container(DONE)]}, {}, ("0/1", "Completed", "0")),
        ({"phase": "Failed", "containerStatuses": [container(FAILED)]}, {}, ("0/1", "ExitCode:3", "0")),
        (
            {"phase": "Pending", "initContainerStatuses": [container(DONE), container({"waiting": {}})]},
            {}, ("0/1", "Init:1/2", "0"),
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [container(ERROR)]},
            {}, ("0/1", "Init:Error", "0"),
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [container(DONE), container(DONE)],
             "containerStatuses": [container({"waiting": {"reason": "PodInitializing"}})]},
            {}, ("0/1", "PodInitializing", "0"),
        ),
        (
            {"phase": "Running", "containerStatuses": [container(DONE), container(RUNNING, ready=True)]},
            {}, ("1/1", "NotReady", "0"),
        ),
        (
            {"phase": "Running", "conditions": [READY],
             "containerStatuses": [container(DONE), container(RUNNING, ready=True)]},
            {}, ("1/1", "Running", "0"),
        ),
        ({"phase": "Running"}, {"deletionTimestamp": "t"}, ("0/1", "Terminating", "0")),
        ({"phase": "Failed", "reason": "Evicted"}, {}, ("0/1", "Evicted", "0")),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            {}, ("0/1", "SchedulingGated", "0"),
        ),
    ],
)  # fmt: skip
def test_the_status_word_of_a_pod(status: dict[str, Any], metadata: dict[str, Any], shown: tuple[str, ...]) -> None:
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]}
    row = cells("", "pods", {"metadata": {**META, **metadata}, "spec": spec, "status": status})
    assert tuple(row[1:4]) == shown
    assert row[4] == "60m"


@pytest.mark.parametrize(
    ("group", "plural", "obj", "expected"),
    [
        (
            "apps", "deployments",
            {"spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}},
                      "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
             "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}},
            ["a", "2/3", 3, 2, "60m", "c", "i", "a=b"],
        ),
        (
            "", "services",
            {"spec": {"type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30080}]}},
            ["a", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP", "60m", "<none>"],
        ),
        (
            "", "nodes",
            {"metadata": {**META, "labels": {"node-role.kubernetes.io/control-plane": ""}},
             "spec": {"unschedulable": True}, "status": {"conditions": [READY], "nodeInfo": {"kubeletVersion": "v1"}}},
            ["a", "Ready,SchedulingDisabled", "control-plane", "60m", "v1", "<none>", "<none>", "<unknown>",
             "<unknown>", "<unknown>"],
        ),
        ("", "configmaps", {"data": {"a": "", "b": ""}}, ["a", 2, "60m"]),
        (
            "", "endpoints",
            {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(4)], "ports": [{"port": 1}]}]},
            ["a", "10.0.0.0:1,10.0.0.1:1,10.0.0.2:1 + 1 more...", "60m"],
        ),
        (
            "", "events",
            {"involvedObject": {"kind": "Pod", "name": "p"}, "reason": "R", "message": "m\n", "type": "Normal",
             "lastTimestamp": "2026-01-01T00:59:00Z", "firstTimestamp": "2026-01-01T00:58:00Z", "count": 2,
             "source": {"component": "kubelet", "host": "n"}},
            ["60s", "Normal", "R", "pod/p", "", "kubelet, n", "m", "2m", 2, "a"],
        ),
        ("rbac.authorization.k8s.io", "roles", {}, ["a", "2026-01-01T00:00:00Z"]),
        (
            "rbac.authorization.k8s.io", "rolebindings",
            {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]},
            ["a", "Role/r", "60m", "u", "", ""],
        ),
        ("policy", "poddisruptionbudgets", {"spec": {"minAvailable": "50%"}}, ["a", "50%", "N/A", 0, "60m"]),
        (
            "batch", "jobs",
            {"spec": {"completions": 1}, "status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z",
             "completionTime": "2026-01-01T00:00:07Z", "conditions": [{"type": "Complete", "status": "True"}]}},
            ["a", "Complete", "1/1", "7s", "60m", "", "", "<none>"],
        ),
    ],
)  # fmt: skip
def test_rows(group: str, plural: str, obj: dict[str, Any], expected: list[Any]) -> None:
    assert cells(group, plural, obj) == expected


def test_a_table_carries_what_the_client_wants_of_each_object() -> None:
    kind = kind_of("", "configmaps")
    obj = {"kind": "ConfigMap", "metadata": META, "data": {}}
    built = table.build_table(kind, [obj], NOW, metadata={"resourceVersion": "7"})
    assert built["metadata"] == {"resourceVersion": "7"}
    assert [column["name"] for column in built["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert built["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table.row(kind, obj, NOW, "Object")["object"] is obj
    assert "object" not in table.row(kind, obj, NOW, "None")
