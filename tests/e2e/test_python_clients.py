"""Two Python clients, unmodified: the official ``kubernetes`` and ``kr8s``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kr8s
import pytest
import yaml
from e2e_harness import Cluster, eventually
from e2e_manifests import IMAGE, pod
from kr8s._async_utils import as_sync_func
from kubernetes import client as official
from kubernetes import watch as official_watch
from kubernetes.stream import stream

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = [pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def core(official_client: Any) -> Any:
    return official.CoreV1Api(official_client())


def test_official_client_creates_reads_updates_patches_and_deletes(core: Any, namespace: str) -> None:
    made = core.create_namespaced_config_map(
        namespace, official.V1ConfigMap(metadata=official.V1ObjectMeta(name="c"), data={"a": "1"})
    )
    assert made.metadata.uid
    read = core.read_namespaced_config_map("c", namespace)
    read.data["b"] = "2"
    core.replace_namespaced_config_map("c", namespace, read)
    core.patch_namespaced_config_map("c", namespace, {"data": {"a": None}})
    assert core.read_namespaced_config_map("c", namespace).data == {"b": "2"}
    with pytest.raises(official.ApiException) as raised:
        core.replace_namespaced_config_map("c", namespace, made)
    assert raised.value.status == 409
    core.delete_namespaced_config_map("c", namespace)
    with pytest.raises(official.ApiException) as raised:
        core.read_namespaced_config_map("c", namespace)
    assert raised.value.status == 404


def test_official_client_watches(core: Any, namespace: str) -> None:
    revision = core.list_namespaced_config_map(namespace).metadata.resource_version
    for name in ("one", "two"):
        core.create_namespaced_config_map(
            namespace, official.V1ConfigMap(metadata=official.V1ObjectMeta(name=name), data={})
        )
    core.delete_namespaced_config_map("one", namespace)
    seen = []
    watch = official_watch.Watch()
    for event in watch.stream(
        core.list_namespaced_config_map, namespace, resource_version=revision, timeout_seconds=10
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            watch.stop()
    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one")]


def test_official_client_runs_commands_and_reads_logs(core: Any, namespace: str) -> None:
    core.create_namespaced_pod(namespace, yaml.safe_load(pod("p", "echo hello; sleep 3600")))
    eventually(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running")
    answer = stream(
        core.connect_get_namespaced_pod_exec, "p", namespace, command=["sh", "-c", "echo out; echo err >&2"],
        stderr=True, stdin=False, stdout=True, tty=False,
    )  # fmt: skip
    assert sorted(answer.split()) == ["err", "out"]
    conversation = stream(
        core.connect_get_namespaced_pod_exec, "p", namespace, command=["sh"],
        stderr=True, stdin=True, stdout=True, tty=False, _preload_content=False,
    )  # fmt: skip
    conversation.write_stdin("echo $((6*7)); exit 5\n")
    conversation.run_forever(timeout=120)
    assert conversation.read_stdout().strip() == "42"
    assert conversation.returncode == 5
    assert core.read_namespaced_pod_log("p", namespace) == "hello\n"


def test_official_client_uses_other_groups(official_client: Any, namespace: str) -> None:
    apps = official.AppsV1Api(official_client())
    labels = {"app": "d"}
    apps.create_namespaced_deployment(
        namespace,
        official.V1Deployment(
            metadata=official.V1ObjectMeta(name="d"),
            spec=official.V1DeploymentSpec(
                replicas=1,
                selector=official.V1LabelSelector(match_labels=labels),
                template=official.V1PodTemplateSpec(
                    metadata=official.V1ObjectMeta(labels=labels),
                    spec=official.V1PodSpec(
                        containers=[official.V1Container(name="c", image=IMAGE, command=["sleep", "3600"])]
                    ),
                ),
            ),
        ),
    )
    apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 2}})
    eventually(lambda: apps.read_namespaced_deployment("d", namespace).status.ready_replicas == 2)


@pytest.fixture
def kr8s_api(cluster: Cluster) -> Iterator[Any]:
    """kr8s keeps its connections in a thread that lives as long as the process, and has no public way to close them."""
    made = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    yield made
    as_sync_func(made._session.aclose)()


def test_kr8s_creates_patches_runs_and_deletes(kr8s_api: Any, namespace: str) -> None:
    api = kr8s_api
    made = kr8s.objects.Pod(yaml.safe_load(pod("p", "echo hello; sleep 3600")), namespace=namespace, api=api)
    made.create()
    made.wait("condition=Ready", timeout=150)
    assert made.exec(["echo", "inside"]).stdout == b"inside\n"
    assert list(made.logs()) == ["hello"]
    made.label({"team": "a"})
    found = list(api.get("pods", namespace=namespace, label_selector={"team": "a"}))
    assert [item.name for item in found] == ["p"]
    made.delete(grace_period=0)
    eventually(lambda: not made.exists())
