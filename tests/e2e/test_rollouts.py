"""Rolling updates under steady load, bad images, and the healing of pods and containers."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import pod, web
from kubernetes import client as official

pytestmark = pytest.mark.timeout(400)


class Load:
    """Requests to one address, one after another from several threads, until stopped; counts what failed."""

    def __init__(self, url: str, threads: int = 4) -> None:
        self.url, self.answered, self.failures = url, 0, []  # type: ignore[var-annotated]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self._stop.is_set():
            try:
                with opener.open(self.url, timeout=5) as answer:
                    answer.read()
                self.answered += 1
            except (OSError, urllib.error.URLError) as error:
                self.failures.append(repr(error))
            time.sleep(0.01)


def service_url(kubectl: Kubectl) -> str:
    return "http://" + kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + "/"


@pytest.fixture
def rolled_out(kubectl: Kubectl) -> Kubectl:
    kubectl("apply", "-f", "-", stdin=web())
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    return kubectl


def test_a_rolling_update_under_load_fails_no_request(rolled_out: Kubectl) -> None:
    with Load(service_url(rolled_out)) as load:
        eventually(lambda: load.answered > 20)
        rolled_out("apply", "-f", "-", stdin=web(annotation="two"))
        rolled_out("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
        old_gone = "jsonpath={.items[?(@.metadata.annotations.note=='one')].metadata.name}"
        eventually(lambda: rolled_out("get", "pods", "-l", "app=web", "-o", old_gone) == "")
        eventually(lambda: load.answered > 100)
    assert load.failures == []


def test_a_bad_image_stalls_with_the_old_pods_serving_and_undo_mends_it(rolled_out: Kubectl) -> None:
    with Load(service_url(rolled_out), threads=1) as load:
        rolled_out("set", "image", "deployment/web", "web=docker.io/nobody/nothing:1")
        waiting = "jsonpath={.items[*].status.containerStatuses[0].state.waiting.reason}"
        eventually(
            lambda: rolled_out("get", "pods", "-l", "app=web", "-o", waiting) in ("ErrImagePull", "ImagePullBackOff"),
        )
        stalled = rolled_out.json("get", "deployment", "web")["status"]
        assert stalled["availableReplicas"] == 3
        rolled_out("rollout", "undo", "deployment/web")
        rolled_out("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    assert load.failures == []


def test_a_deleted_pod_is_replaced(rolled_out: Kubectl) -> None:
    before = rolled_out("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}").split()
    rolled_out("delete", "pod", before[0], "--wait=false")
    eventually(
        lambda: (
            rolled_out.json("get", "deployment", "web")["status"].get("readyReplicas") == 3
            and before[0] not in rolled_out("get", "pods", "-o", "name")
        )
    )


def container_pid(command_mark: str) -> int:
    """The pid, on this machine, of the process whose command line holds a mark."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if command_mark in path.read_bytes().decode(errors="replace").replace("\0", " "):
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no process with {command_mark}")


def test_a_killed_container_is_restarted_without_a_back_off(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("p", f"exec sh -c 'while true; do sleep 1; : {kubectl.namespace}; done'"))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    os.kill(container_pid(kubectl.namespace), signal.SIGKILL)
    status = "jsonpath={.status.containerStatuses[0].restartCount}:{.status.containerStatuses[0].ready}"
    eventually(lambda: kubectl("get", "pod", "p", "-o", status) == "1:true", every=0.05)
    now = kubectl.json("get", "pod", "p")["status"]["containerStatuses"][0]
    last = now["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    # By the node's own clock, however slow the machine is: the shortest back-off is ten seconds.
    started, ended = (
        datetime.fromisoformat(text) for text in (now["state"]["running"]["startedAt"], last["finishedAt"])
    )
    assert (started - ended).total_seconds() < 9


def test_crash_looping_container_backs_off(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=pod("p", "exit 1"))
    eventually(lambda: "CrashLoopBackOff" in kubectl("get", "pod", "p"))
    eventually(lambda: "Back-off restarting failed container" in kubectl("get", "events"))


def test_progress_deadline_is_reported(kubectl: Kubectl) -> None:
    text = web(image="docker.io/nobody/nothing:1").replace(
        "replicas: 3", "replicas: 1\n  progressDeadlineSeconds: 3", 1
    )
    kubectl("apply", "-f", "-", stdin=text)
    done = kubectl.run("rollout", "status", "deployment/web", "--timeout=90s", check=False, timeout=100)
    assert done.returncode == 1
    assert "exceeded its progress deadline" in done.stdout + done.stderr


def test_volumes_environment_and_service_discovery(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "c", "--from-literal=k=from-config")
    kubectl("create", "secret", "generic", "s", "--from-literal=k=from-secret")
    kubectl("apply", "-f", "-", stdin=web(replicas=1))
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    extra = """
volumes:
  - {name: config, configMap: {name: c}}
  - {name: secret, secret: {secretName: s}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: scratch, emptyDir: {medium: Memory}}
"""
    container = """
env:
  - {name: A, value: literal}
  - {name: B, valueFrom: {configMapKeyRef: {name: c, key: k}}}
  - {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}
  - {name: D, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: E, value: $(A)-expanded}
volumeMounts:
  - {name: config, mountPath: /config}
  - {name: secret, mountPath: /secret}
  - {name: info, mountPath: /info}
  - {name: scratch, mountPath: /scratch}
"""
    kubectl("apply", "-f", "-", stdin=pod("p", extra=extra, container_extra=container))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    address = kubectl("get", "pod", "p", "-o", "jsonpath={.status.podIP}")
    inside = lambda text: kubectl("exec", "p", "--", "sh", "-c", text).strip()  # noqa: E731
    assert inside("echo $A $B $C $D $E") == f"literal from-config from-secret {address} literal-expanded"
    assert inside("cat /config/k /secret/k") == "from-configfrom-secret"
    assert 'app="p"' in inside("cat /info/labels")
    assert "tmpfs" in inside("grep /scratch /proc/mounts")
    assert inside("wget -qO- http://web/").startswith("web-")
    assert inside(f"wget -qO- http://web.{kubectl.namespace}.svc.cluster.local/").startswith("web-")
    assert inside("echo $WEB_SERVICE_PORT") == "80"
    assert inside("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace") == kubectl.namespace
    kubectl("patch", "cm", "c", "-p", '{"data":{"k":"changed"}}')
    eventually(lambda: inside("cat /config/k") == "changed", seconds=180)


@pytest.mark.filterwarnings("ignore")  # of the client library
def test_a_pod_reaches_the_api_server_with_its_token(kubectl: Kubectl, official_client: Any) -> None:
    kubectl("apply", "-f", "-", stdin=pod("p"))
    kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    token = kubectl("exec", "p", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    asking = official_client()
    connection = asking.configuration
    connection.cert_file = connection.key_file = None
    connection.api_key = {"authorization": f"Bearer {token}"}
    asking.rest_client = type(asking.rest_client)(connection)  # which reads credentials when it is made
    reviews = official.AuthenticationV1Api(asking)
    who = reviews.create_self_subject_review(official.V1SelfSubjectReview()).status.user_info
    assert who.username == f"system:serviceaccount:{kubectl.namespace}:default"
    assert "ok" in kubectl("exec", "p", "--", "sh", "-c", "nc -w 3 $KUBERNETES_SERVICE_HOST 443 </dev/null && echo ok")


def test_node_port_and_session_affinity_and_no_endpoints(rolled_out: Kubectl) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    rolled_out("patch", "service", "web", "-p", '{"spec":{"type":"NodePort","sessionAffinity":"ClientIP"}}')
    service = rolled_out.json("get", "service", "web")
    node = rolled_out("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    url = f"http://{node}:{service['spec']['ports'][0]['nodePort']}/"

    def answer() -> str:
        try:
            with opener.open(url, timeout=3) as page:
                return str(page.read().decode())
        except OSError:
            return ""

    eventually(answer)
    assert len({answer() for _ in range(8)}) == 1
    rolled_out("scale", "deployment", "web", "--replicas=0")

    def refused() -> bool:
        try:
            opener.open(service_url(rolled_out), timeout=3)
        except urllib.error.URLError as error:
            return isinstance(error.reason, ConnectionRefusedError)
        return False

    eventually(refused)
