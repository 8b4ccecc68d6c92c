"""Upstream's requirements on what kubectl does with a cluster, with the newest stock kubectl."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from client_harness import LIMIT_SECONDS, Program, eventually
from kubernetes import client as k8s

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

CONTROLLER = {
    "apiVersion": "v1",
    "kind": "ReplicationController",
    "metadata": {"name": "primary", "labels": {"app": "store"}},
    "spec": {
        "replicas": 2,
        "selector": {"app": "store"},
        "template": {
            "metadata": {"labels": {"app": "store"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "example.com/a:1", "ports": [{"containerPort": 6379}]}],
            },
        },
    },
}
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "example.com/a:1"}]}
"""


@pytest.fixture
def store(kubectl: Program) -> None:
    """Two pods of a ReplicationController, running."""
    kubectl("apply", "-f", "-", stdin=json.dumps(CONTROLLER))
    eventually(lambda: running(kubectl) == 2)


def running(kubectl: Program) -> int:
    found = kubectl("get", "pods", "-l", "app=store", "-o", "jsonpath={.items[*].status.phase}").split()
    return len(found) if set(found) <= {"Running"} else -1


def test_v1_is_among_the_versions(kubectl: Program) -> None:
    """Kubectl client Kubectl api-versions should check if v1 is in available api versions"""
    assert "v1" in kubectl("api-versions").split()


def test_the_control_plane_is_in_cluster_info(kubectl: Program) -> None:
    """Kubectl client Kubectl cluster-info should check if Kubernetes control plane services is included in
    cluster-info"""
    assert kubectl("cluster-info").startswith("Kubernetes control plane is running at https://")


def test_versions_of_client_and_server_are_told(kubectl: Program) -> None:
    """Kubectl client Kubectl version should check is all data is printed"""
    told = kubectl.json("version")
    for side in ("clientVersion", "serverVersion"):
        assert told[side]["major"].isdigit() and told[side]["minor"].isdigit()
        assert all(told[side][key] for key in ("gitVersion", "gitTreeState", "buildDate", "platform"))
    assert told["serverVersion"]["gitVersion"] in kubectl("version")


@pytest.mark.usefixtures("store")
def test_descriptions_say_what_matters(kubectl: Program, namespace: str) -> None:
    """Kubectl client Kubectl describe should check if kubectl describe prints relevant information for rc and pods"""
    controller = kubectl("describe", "rc", "primary")
    wanted = (
        "Name:         primary",
        f"Namespace:    {namespace}",
        "Selector:     app=store",
        "Labels:       app=store",
        "Replicas:     2 current / 2 desired",
        "Pods Status:  2 Running",
        "Pod Template:",
        "Image:         example.com/a:1",
        "Events:",
    )
    assert [line for line in wanted if line not in controller] == []
    pods = kubectl("describe", "pods", "-l", "app=store")
    wanted = (
        "Name:             primary-",
        f"Namespace:        {namespace}",
        "Node:             ",
        "Labels:           app=store",
        "Status:           Running",
        "IP:               ",
        "Controlled By:  ReplicationController/primary",
        "Image:          example.com/a:1",
        "State:          Running",
        "QoS Class:                   BestEffort",
    )
    assert [line for line in wanted if line not in pods] == []
    kubectl("expose", "rc", "primary", "--name=s", "--port=1234", "--target-port=6379")
    service = kubectl("describe", "service", "s")
    wanted = (
        "Name:                     s",
        "Selector:                 app=store",
        "Type:                     ClusterIP",
        "Port:                     <unset>  1234/TCP",
        "TargetPort:               6379/TCP",
    )
    assert [line for line in wanted if line not in service] == []
    node = kubectl("describe", "node")
    wanted = (
        "Labels:",
        "Annotations:",
        "CreationTimestamp:",
        "Conditions:",
        "Type",
        "Status",
        "LastHeartbeatTime",
        "LastTransitionTime",
        "Reason",
        "Message",
        "Addresses:",
        "Capacity:",
        "Allocatable:",
        "Container Runtime Version:",
        "Kubelet Version:",
        "Non-terminated Pods:",
    )
    assert [word for word in wanted if word not in node] == []
    assert "Status:       Active" in kubectl("describe", "namespace", namespace)


def test_a_difference_between_live_and_declared_is_found(kubectl: Program) -> None:
    """Kubectl client Kubectl diff should check if kubectl diff finds a difference for Deployments"""
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    changed = DEPLOYMENT.replace("example.com/a:1", "example.com/b:1")
    found = kubectl.run("diff", "-f", "-", stdin=changed, check=False)
    assert found.returncode == 1, found.stderr
    lines = [line.split() for line in found.stdout.splitlines()]
    assert ["-", "-", "image:", "example.com/a:1"] in lines
    assert ["+", "-", "image:", "example.com/b:1"] in lines
    assert kubectl.run("diff", "-f", "-", stdin=DEPLOYMENT).stdout == ""


@pytest.mark.usefixtures("store")
def test_services_are_made_of_controllers_and_of_services(kubectl: Program) -> None:
    """Kubectl client Kubectl expose should create services for rc"""
    kubectl("expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379")
    kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        [found] = kubectl.json("get", "service", name)["spec"]["ports"]
        assert (found["port"], found["targetPort"]) == (port, 6379)

        def ports(name: str = name) -> list[Any]:
            return [
                port for subset in kubectl.json("get", "endpoints", name).get("subsets", ()) for port in subset["ports"]
            ]

        eventually(lambda ports=ports: [port["port"] for port in ports()] == [6379])


def test_a_label_comes_and_goes(kubectl: Program) -> None:
    """Kubectl client Kubectl label should update the label on a resource"""
    kubectl("run", "p", "--image=example.com/a:1", "--restart=Never")
    kubectl("label", "pods", "p", "testing-label=testing-label-value")
    listed = kubectl("get", "pod", "-l", "testing-label", "-L", "testing-label", "--no-headers").split()
    assert (listed[0], listed[-1]) == ("p", "testing-label-value")
    kubectl("label", "pods", "p", "testing-label-")
    assert kubectl("get", "pod", "-l", "testing-label", "--no-headers") == ""


@pytest.mark.usefixtures("store")
def test_annotations_are_patched_into_each_pod(kubectl: Program) -> None:
    """Kubectl client Kubectl patch should add annotations for pods in rc"""
    for name in kubectl("get", "pods", "-l", "app=store", "-o", "name").split():
        kubectl("patch", name, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    found = kubectl.json("get", "pods", "-l", "app=store")["items"]
    assert [pod["metadata"]["annotations"]["x"] for pod in found] == ["y", "y"]


def test_a_pod_is_replaced_with_another_image(kubectl: Program) -> None:
    """Kubectl client Kubectl replace should update a single-container pod's image"""
    kubectl("run", "p", "--image=example.com/a:1", "--labels=run=p")
    eventually(lambda: kubectl("get", "pod", "p", "-o", "jsonpath={.status.phase}") == "Running")
    live = kubectl("get", "pod", "p", "-o", "json")
    kubectl("replace", "-f", "-", stdin=live.replace("example.com/a:1", "example.com/b:1"))
    assert kubectl("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}") == "example.com/b:1"


def test_run_makes_one_pod_of_the_image(kubectl: Program) -> None:
    """Kubectl client Kubectl run pod should create a pod from an image when restart is Never"""
    kubectl("run", "p", "--restart=Never", "--image=example.com/a:1", "--pod-running-timeout=2m0s")
    spec = kubectl.json("get", "pod", "p")["spec"]
    assert [container["image"] for container in spec["containers"]] == ["example.com/a:1"]
    assert spec["restartPolicy"] == "Never"


def test_a_rehearsed_patch_changes_nothing(kubectl: Program) -> None:
    """Kubectl client Kubectl server-side dry-run should check if kubectl can dry-run update Pods"""
    kubectl("run", "p", "--image=example.com/a:1")
    patch = '{"spec":{"containers":[{"name":"p","image":"example.com/b:1"}]}}'
    rehearsed = kubectl(
        "patch", "pod", "p", "-p", patch, "--dry-run=server", "-o", "jsonpath={.spec.containers[0].image}"
    )
    assert rehearsed == "example.com/b:1"
    assert kubectl("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}") == "example.com/a:1"


@contextmanager
def proxy(kubectl: Program, *arguments: str) -> Iterator[str]:
    """``kubectl proxy`` while it serves; what it says when it begins."""
    process = subprocess.Popen(
        [kubectl.path, "proxy", *arguments], env=kubectl.served.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.wait(LIMIT_SECONDS)
        process.stdout.close()


def test_a_proxy_on_a_port_of_its_choice_serves_the_api(kubectl: Program) -> None:
    """Kubectl client Proxy server should support proxy with --port 0"""
    with proxy(kubectl, "--port=0", "--disable-filter=true") as said:
        port = int(said.rpartition(":")[2])
        with urlopen(f"http://127.0.0.1:{port}/api/", timeout=LIMIT_SECONDS) as answer:
            assert json.load(answer)["versions"] == ["v1"]


def test_a_proxy_on_a_socket_serves_the_api(kubectl: Program, tmp_path: Path) -> None:
    """Kubectl client Proxy server should support --unix-socket=/path"""
    path = tmp_path / "s"
    with proxy(kubectl, f"--unix-socket={path}") as said:
        assert str(path) in said
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT_SECONDS)
            connection.connect(str(path))
            connection.sendall(b"GET /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b'"v1"' in body


def test_a_controller_runs_scales_and_stops(kubectl: Program) -> None:
    """Kubectl client Update Demo should create and stop a replication controller; Kubectl client Update Demo should
    scale a replication controller"""
    kubectl("create", "-f", "-", stdin=json.dumps(CONTROLLER))
    eventually(lambda: running(kubectl) == 2)
    for replicas in (1, 2):
        kubectl("scale", "rc", "primary", f"--replicas={replicas}", "--timeout=5m")
        eventually(lambda replicas=replicas: running(kubectl) == replicas)
    kubectl("delete", "rc", "primary")
    eventually(lambda: running(kubectl) == 0)


def event(name: str, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"testevent": "yes"}},
        "reason": "Tested",
        "type": "Normal",
        "action": "Testing",
        "reportingInstance": "one",
        **more,
    }


def test_the_life_of_an_event(official: Any, namespace: str) -> None:
    """Event, manage lifecycle of an Event; Event, delete a collection"""
    core = k8s.CoreV1Api(official)
    involved = {"kind": "Pod", "name": "p", "namespace": namespace}
    more = {"involvedObject": involved, "reportingComponent": "example.com/tests"}
    core.create_namespaced_event(namespace, event("one", message="first", **more))
    [listed] = core.list_event_for_all_namespaces(
        label_selector="testevent=yes", field_selector=f"metadata.namespace={namespace}"
    ).items
    assert listed.message == "first"
    patched = core.patch_namespaced_event("one", namespace, {"message": "second"})
    assert patched.message == "second"
    patched.series = {"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000001Z"}
    core.replace_namespaced_event("one", namespace, patched)
    assert core.read_namespaced_event("one", namespace).series.count == 100
    core.delete_namespaced_event("one", namespace)
    for name in ("two", "three", "four"):
        core.create_namespaced_event(namespace, event(name, message="m", **more))
    assert len(core.list_namespaced_event(namespace, label_selector="testevent=yes").items) == 3
    core.delete_collection_namespaced_event(namespace, label_selector="testevent=yes")
    assert core.list_namespaced_event(namespace, label_selector="testevent=yes").items == []


def test_the_life_of_a_new_event(official: Any, namespace: str) -> None:
    """New Event resource lifecycle, testing a single event; New Event resource lifecycle, testing a list of events"""
    events = k8s.EventsV1Api(official)
    regarding = {"kind": "Pod", "name": "p", "namespace": namespace}
    more = {"note": "first", "regarding": regarding, "eventTime": "2026-01-01T00:00:00.000001Z"}
    more["reportingController"] = "example.com/tests"
    events.create_namespaced_event(namespace, event("one", **more))
    series = {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000001Z"}
    patched = events.patch_namespaced_event("one", namespace, {"series": series})
    assert patched.series.count == 2
    patched.series = {"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000001Z"}
    events.replace_namespaced_event("one", namespace, patched)
    assert events.read_namespaced_event("one", namespace).series.count == 100
    # The same event through the core group, where its fields have their old names.
    assert k8s.CoreV1Api(official).read_namespaced_event("one", namespace).message == "first"
    events.delete_namespaced_event("one", namespace)
    for name in ("two", "three"):
        events.create_namespaced_event(namespace, event(name, **more))
    found = events.list_event_for_all_namespaces(label_selector="testevent=yes").items
    assert {each.metadata.name for each in found if each.metadata.namespace == namespace} == {"two", "three"}
    events.delete_collection_namespaced_event(namespace, label_selector="testevent=yes")
    assert events.list_namespaced_event(namespace, label_selector="testevent=yes").items == []
