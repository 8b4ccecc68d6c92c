"""StatefulSets as upstream requires them, with the official client and kubectl, on a simulated node."""

from __future__ import annotations

from typing import Any

import pytest
from client_harness import Program, eventually
from kubernetes import client as k8s
from kubernetes import watch as k8s_watch

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")


def stateful_set(replicas: int = 3, image: str = "example.com/a:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": "ss"}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "web", "image": image}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    wanted = {"replicas": replicas, "serviceName": "s", "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "ss", "labels": labels}, "spec": {**wanted, **spec}}


@pytest.fixture
def apps(official: Any) -> Any:
    return k8s.AppsV1Api(official)


@pytest.fixture
def core(official: Any) -> Any:
    return k8s.CoreV1Api(official)


def images(core: Any, namespace: str) -> dict[str, str]:
    """Of the pods that run."""
    return {
        pod.metadata.name: pod.spec.containers[0].image
        for pod in core.list_namespaced_pod(namespace).items
        if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp
    }


def status(apps: Any, namespace: str) -> Any:
    return apps.read_namespaced_stateful_set("ss", namespace).status


def set_ready(core: Any, namespace: str, name: str, ready: bool) -> None:
    """By a readiness gate: the simulated node has no probes that fail."""
    condition = {"type": "example.com/gate", "status": str(ready)}
    core.patch_namespaced_pod_status(name, namespace, {"status": {"conditions": [condition]}})


def gated(replicas: int, **spec: Any) -> dict[str, Any]:
    made = stateful_set(replicas, **spec)
    made["spec"]["template"]["spec"]["readinessGates"] = [{"conditionType": "example.com/gate"}]
    return made


def ready(core: Any, namespace: str) -> list[str]:
    return sorted(
        pod.metadata.name
        for pod in core.list_namespaced_pod(namespace).items
        if any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ())
    )


class TestScaling:
    def test_it_goes_in_order_and_halts_while_a_pod_is_ill(self, core: Any, apps: Any, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Scaling should happen in predictable order
        and halt if any stateful pod is unhealthy [Slow]"""
        revision = core.list_namespaced_pod(namespace).metadata.resource_version
        apps.create_namespaced_stateful_set(namespace, gated(3))
        for number in range(3):
            eventually(lambda number=number: f"ss-{number}" in images(core, namespace))
            assert sorted(images(core, namespace)) == [f"ss-{each}" for each in range(number + 1)]
            set_ready(core, namespace, f"ss-{number}", True)
        eventually(lambda: status(apps, namespace).ready_replicas == 3)
        for number in range(3):
            set_ready(core, namespace, f"ss-{number}", False)
        eventually(lambda: not status(apps, namespace).ready_replicas)
        apps.patch_namespaced_stateful_set_scale("ss", namespace, {"spec": {"replicas": 0}})
        eventually(lambda: status(apps, namespace).observed_generation == 2)
        assert len(images(core, namespace)) == 3
        # The first that is ill holds back all above it that are ill too, and is taken itself when it is the last.
        set_ready(core, namespace, "ss-2", True)
        eventually(lambda: "ss-2" not in images(core, namespace))
        set_ready(core, namespace, "ss-1", True)
        eventually(lambda: not core.list_namespaced_pod(namespace).items)
        watch, order = k8s_watch.Watch(), []
        for event in watch.stream(core.list_namespaced_pod, namespace, resource_version=revision, timeout_seconds=60):
            if event["type"] in ("ADDED", "DELETED"):
                order.append(f"{event['type'][0]} {event['object'].metadata.name}")
            if len(order) == 6:
                watch.stop()
        assert order == ["A ss-0", "A ss-1", "A ss-2", "D ss-2", "D ss-1", "D ss-0"]

    def test_a_burst_does_not_wait(self, core: Any, apps: Any, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Burst scaling should run to completion even
        with unhealthy pods [Slow]"""
        apps.create_namespaced_stateful_set(namespace, gated(3, podManagementPolicy="Parallel"))
        eventually(lambda: len(images(core, namespace)) == 3)
        assert ready(core, namespace) == []
        apps.patch_namespaced_stateful_set_scale("ss", namespace, {"spec": {"replicas": 5}})
        eventually(lambda: len(images(core, namespace)) == 5)
        apps.patch_namespaced_stateful_set_scale("ss", namespace, {"spec": {"replicas": 0}})
        eventually(lambda: not core.list_namespaced_pod(namespace).items)

    def test_the_scale_subresource_works(self, core: Any, apps: Any, kubectl: Program, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource"""
        apps.create_namespaced_stateful_set(namespace, stateful_set(1))
        eventually(lambda: status(apps, namespace).ready_replicas == 1)
        scale = apps.read_namespaced_stateful_set_scale("ss", namespace)
        assert (scale.spec.replicas, scale.status.replicas, scale.status.selector) == (1, 1, "app=ss")
        scale.spec.replicas = 2
        assert apps.replace_namespaced_stateful_set_scale("ss", namespace, scale).spec.replicas == 2
        assert apps.read_namespaced_stateful_set("ss", namespace).spec.replicas == 2
        kubectl("scale", "statefulset/ss", "--replicas=4", "--timeout=60s")
        eventually(lambda: status(apps, namespace).ready_replicas == 4)

    def test_a_pod_that_cannot_run_is_made_again_when_it_can(self, core: Any, apps: Any, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Should recreate evicted statefulset"""
        node = core.list_node().items[0].metadata.name
        port = {"containerPort": 21017, "hostPort": 21017}
        blocker = {"name": "c", "image": "example.com/a:1", "ports": [port]}
        core.create_namespaced_pod(
            namespace, {"metadata": {"name": "blocker"}, "spec": {"containers": [blocker], "nodeName": node}}
        )
        made = stateful_set(1)
        made["spec"]["template"]["spec"]["nodeName"] = node
        made["spec"]["template"]["spec"]["containers"][0]["ports"] = [port]
        revision = core.list_namespaced_pod(namespace).metadata.resource_version
        apps.create_namespaced_stateful_set(namespace, made)
        watch, uids = k8s_watch.Watch(), set()
        for event in watch.stream(core.list_namespaced_pod, namespace, resource_version=revision, timeout_seconds=60):
            if event["object"].metadata.name == "ss-0" and event["type"] == "DELETED":
                uids.add(event["object"].metadata.uid)
                watch.stop()
        core.delete_namespaced_pod("blocker", namespace, grace_period_seconds=0)
        eventually(lambda: "ss-0" in images(core, namespace))
        assert core.read_namespaced_pod("ss-0", namespace).metadata.uid not in uids


class TestRolling:
    def test_pods_are_replaced_one_by_one_and_rolled_back(
        self, core: Any, apps: Any, kubectl: Program, namespace: str
    ) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform rolling updates and roll backs
        of template modifications"""
        apps.create_namespaced_stateful_set(namespace, stateful_set())
        eventually(lambda: status(apps, namespace).ready_replicas == 3)
        first = status(apps, namespace).current_revision
        assert first == status(apps, namespace).update_revision
        revision = core.list_namespaced_pod(namespace).metadata.resource_version
        kubectl("set", "image", "statefulset/ss", "web=example.com/b:1")
        eventually(lambda: status(apps, namespace).update_revision != first)
        done = kubectl("rollout", "status", "statefulset/ss", "--timeout=60s")
        assert "roll out complete: 3 new pods have been updated" in done
        watch, order = k8s_watch.Watch(), []
        for event in watch.stream(core.list_namespaced_pod, namespace, resource_version=revision, timeout_seconds=60):
            if event["type"] == "DELETED":
                order.append(event["object"].metadata.name)
            if len(order) == 3:
                watch.stop()
        assert order == ["ss-2", "ss-1", "ss-0"]
        eventually(lambda: status(apps, namespace).current_revision != first)
        kubectl("rollout", "undo", "statefulset/ss")
        kubectl("rollout", "status", "statefulset/ss", "--timeout=60s")
        eventually(lambda: status(apps, namespace).current_revision == first)
        assert set(images(core, namespace).values()) == {"example.com/a:1"}
        assert len(apps.list_namespaced_controller_revision(namespace).items) == 2

    def test_a_canary_stays_one_and_its_phases_follow(self, core: Any, apps: Any, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform canary updates and phased
        rolling updates of template modifications"""
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}
        apps.create_namespaced_stateful_set(namespace, stateful_set(updateStrategy=strategy))
        eventually(lambda: status(apps, namespace).ready_replicas == 3)

        def patch(**spec: Any) -> None:
            generation = apps.patch_namespaced_stateful_set("ss", namespace, {"spec": spec}).metadata.generation
            eventually(lambda: status(apps, namespace).observed_generation >= generation)

        container = {"name": "web", "image": "example.com/b:1"}
        patch(template={"spec": {"containers": [container]}})
        assert set(images(core, namespace).values()) == {"example.com/a:1"}
        for partition in (2, 1, 0):
            patch(updateStrategy={"rollingUpdate": {"partition": partition}})
            wanted = {f"ss-{n}": "example.com/b:1" if n >= partition else "example.com/a:1" for n in range(3)}
            eventually(lambda wanted=wanted: images(core, namespace) == wanted)
            # What is deleted meanwhile comes back on its side of the line.
            for name in ("ss-0", "ss-2"):
                uid = core.read_namespaced_pod(name, namespace).metadata.uid
                core.delete_namespaced_pod(name, namespace)
                eventually(
                    lambda name=name, uid=uid, wanted=wanted: (
                        images(core, namespace) == wanted
                        and core.read_namespaced_pod(name, namespace).metadata.uid != uid
                    )
                )


class TestApi:
    def test_a_collection_is_listed_patched_and_deleted(self, core: Any, apps: Any, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of
        StatefulSets"""
        apps.create_namespaced_stateful_set(namespace, stateful_set(1))
        eventually(lambda: status(apps, namespace).ready_replicas == 1)
        found = apps.list_stateful_set_for_all_namespaces(label_selector="app=ss").items
        assert namespace in {each.metadata.namespace for each in found}
        container = {"name": "web", "image": "example.com/b:1"}
        patch = {
            "metadata": {"labels": {"patched": "true"}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
        }
        patched = apps.patch_namespaced_stateful_set("ss", namespace, patch)
        assert (patched.metadata.labels["patched"], patched.spec.replicas) == ("true", 2)
        eventually(lambda: images(core, namespace) == {"ss-0": "example.com/b:1", "ss-1": "example.com/b:1"})
        apps.delete_collection_namespaced_stateful_set(namespace, label_selector="patched=true")
        assert apps.list_namespaced_stateful_set(namespace).items == []

    def test_a_status_is_read_updated_and_patched(self, apps: Any, namespace: str) -> None:
        """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status
        endpoints"""
        apps.create_namespaced_stateful_set(namespace, stateful_set(1))
        eventually(lambda: status(apps, namespace).ready_replicas == 1)

        def updated() -> bool:
            found = apps.read_namespaced_stateful_set_status("ss", namespace)
            found.status.conditions = [
                k8s.V1StatefulSetCondition(type="StatusUpdate", status="True", reason="E2E", message="Set from e2e")
            ]
            try:
                answer = apps.replace_namespaced_stateful_set_status("ss", namespace, found)
            except k8s.ApiException as error:
                assert error.status == 409, error
                return False
            return [each.type for each in answer.status.conditions] == ["StatusUpdate"]

        eventually(updated)
        condition = {"type": "StatusPatched", "status": "True"}
        patched = apps.patch_namespaced_stateful_set_status("ss", namespace, {"status": {"conditions": [condition]}})
        assert {each.type for each in patched.status.conditions} == {"StatusUpdate", "StatusPatched"}
