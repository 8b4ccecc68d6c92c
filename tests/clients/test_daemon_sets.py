"""DaemonSets as upstream requires them, with the official client and kubectl, on a simulated node."""

from __future__ import annotations

from typing import Any

import pytest
from client_harness import Program, eventually
from kubernetes import client as k8s

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")


def daemon_set(name: str = "d", image: str = "example.com/a:1", **pod: Any) -> dict[str, Any]:
    labels = {"daemonset-name": name}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": image}], **pod}
    template = {"metadata": {"labels": labels}, "spec": spec}
    metadata = {"name": name, "labels": labels}
    return {"metadata": metadata, "spec": {"selector": {"matchLabels": labels}, "template": template}}


@pytest.fixture
def apps(official: Any) -> Any:
    return k8s.AppsV1Api(official)


@pytest.fixture
def core(official: Any) -> Any:
    return k8s.CoreV1Api(official)


def nodes(core: Any) -> set[str]:
    return {node.metadata.name for node in core.list_node().items}


def placed(core: Any, namespace: str, image: str = "example.com/a:1") -> list[str]:
    """Nodes on which a pod of that image runs."""
    pods = core.list_namespaced_pod(namespace).items
    return sorted(
        pod.spec.node_name
        for pod in pods
        if pod.status.phase == "Running"
        and not pod.metadata.deletion_timestamp
        and pod.spec.containers[0].image == image
    )


class TestLife:
    def test_a_simple_daemon_runs_on_each_node_and_comes_back(self, core: Any, apps: Any, namespace: str) -> None:
        """[sig-apps] Daemon set [Serial] should run and stop simple daemon"""
        apps.create_namespaced_daemon_set(namespace, daemon_set())
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        eventually(lambda: apps.read_namespaced_daemon_set("d", namespace).status.number_ready == len(nodes(core)))
        victim = core.list_namespaced_pod(namespace).items[0].metadata
        core.delete_namespaced_pod(victim.name, namespace)
        eventually(
            lambda: (
                placed(core, namespace) == sorted(nodes(core))
                and victim.uid not in {pod.metadata.uid for pod in core.list_namespaced_pod(namespace).items}
            )
        )
        apps.delete_namespaced_daemon_set("d", namespace)
        eventually(lambda: not core.list_namespaced_pod(namespace).items)

    def test_a_complex_daemon_follows_the_labels_of_nodes(self, core: Any, apps: Any, namespace: str) -> None:
        """[sig-apps] Daemon set [Serial] should run and stop complex daemon"""
        label = f"colour-{namespace}"
        apps.create_namespaced_daemon_set(namespace, daemon_set(nodeSelector={label: "blue"}))
        node = sorted(nodes(core))[0]
        eventually(lambda: apps.read_namespaced_daemon_set("d", namespace).status.observed_generation == 1)
        assert placed(core, namespace) == []
        core.patch_node(node, {"metadata": {"labels": {label: "blue"}}})
        eventually(lambda: placed(core, namespace) == [node])
        core.patch_node(node, {"metadata": {"labels": {label: "green"}}})
        eventually(lambda: not core.list_namespaced_pod(namespace).items)
        selector = {"spec": {"template": {"spec": {"nodeSelector": {label: "green"}}}}}
        apps.patch_namespaced_daemon_set("d", namespace, selector)
        eventually(lambda: placed(core, namespace) == [node])
        core.patch_node(node, {"metadata": {"labels": {label: None}}})
        eventually(lambda: not core.list_namespaced_pod(namespace).items)

    def test_a_failed_pod_is_made_again(self, core: Any, apps: Any, namespace: str) -> None:
        """[sig-apps] Daemon set [Serial] should retry creating failed daemon pods"""
        apps.create_namespaced_daemon_set(namespace, daemon_set())
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        victim = core.list_namespaced_pod(namespace).items[0]
        failed = {"status": {"phase": "Failed", "reason": "Tested"}}
        core.patch_namespaced_pod_status(victim.metadata.name, namespace, failed)
        eventually(
            lambda: victim.metadata.uid not in {p.metadata.uid for p in core.list_namespaced_pod(namespace).items}
        )
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        reasons = {event.reason for event in core.list_namespaced_event(namespace).items}
        assert "FailedDaemonPod" in reasons


class TestRolling:
    def test_an_update_rolls_to_the_new_image(self, core: Any, apps: Any, kubectl: Program, namespace: str) -> None:
        """Daemon set [Serial] should update pod when spec was updated and update strategy is RollingUpdate"""
        apps.create_namespaced_daemon_set(namespace, daemon_set())
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        old = core.list_namespaced_pod(namespace).items[0].metadata.labels["controller-revision-hash"]
        kubectl("set", "image", "daemonset/d", "app=example.com/b:1")
        assert "successfully rolled out" in kubectl("rollout", "status", "daemonset/d", "--timeout=60s")
        assert placed(core, namespace, "example.com/b:1") == sorted(nodes(core))
        assert core.list_namespaced_pod(namespace).items[0].metadata.labels["controller-revision-hash"] != old
        assert len(apps.list_namespaced_controller_revision(namespace).items) == 2
        history = kubectl("rollout", "history", "daemonset/d").split()
        assert [word for word in history if word.isdigit()] == ["1", "2"]
        kubectl("rollout", "undo", "daemonset/d")
        kubectl("rollout", "status", "daemonset/d", "--timeout=60s")
        assert placed(core, namespace) == sorted(nodes(core))
        labels = core.list_namespaced_pod(namespace).items[0].metadata.labels
        assert labels["controller-revision-hash"] == old

    def test_a_surge_brings_the_new_pod_before_the_old_one_goes(
        self, core: Any, apps: Any, kubectl: Program, namespace: str
    ) -> None:
        made = daemon_set()
        made["spec"]["updateStrategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        apps.create_namespaced_daemon_set(namespace, made)
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        kubectl("set", "image", "daemonset/d", "app=example.com/b:1")
        kubectl("rollout", "status", "daemonset/d", "--timeout=60s")
        eventually(lambda: placed(core, namespace) == [])
        assert placed(core, namespace, "example.com/b:1") == sorted(nodes(core))


class TestApi:
    def test_a_collection_is_listed_and_deleted(self, core: Any, apps: Any, namespace: str) -> None:
        """[sig-apps] Daemon set [Serial] should list and delete a collection of DaemonSets"""
        apps.create_namespaced_daemon_set(namespace, daemon_set())
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        selector = "daemonset-name=d"
        found = apps.list_daemon_set_for_all_namespaces(label_selector=selector).items
        assert namespace in {each.metadata.namespace for each in found}
        apps.delete_collection_namespaced_daemon_set(namespace, label_selector=selector)
        assert apps.list_namespaced_daemon_set(namespace, label_selector=selector).items == []

    def test_a_status_is_read_updated_and_patched(self, core: Any, apps: Any, namespace: str) -> None:
        """[sig-apps] Daemon set [Serial] should verify changes to a daemon set status"""
        apps.create_namespaced_daemon_set(namespace, daemon_set())
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))

        def updated() -> bool:
            found = apps.read_namespaced_daemon_set_status("d", namespace)
            condition = k8s.V1DaemonSetCondition(
                type="StatusUpdate", status="True", reason="E2E", message="Set from e2e"
            )
            found.status.conditions = [*(found.status.conditions or ()), condition]
            try:
                apps.replace_namespaced_daemon_set_status("d", namespace, found)
            except k8s.ApiException as error:
                assert error.status == 409, error
                return False
            return True

        eventually(updated)
        condition = {"type": "StatusPatched", "status": "True"}
        patched = apps.patch_namespaced_daemon_set_status("d", namespace, {"status": {"conditions": [condition]}})
        assert {each.type for each in patched.status.conditions} == {"StatusUpdate", "StatusPatched"}
        # Conditions of others outlive what the controller writes.
        core.delete_collection_namespaced_pod(namespace)
        eventually(lambda: placed(core, namespace) == sorted(nodes(core)))
        found = apps.read_namespaced_daemon_set("d", namespace)
        assert {each.type for each in found.status.conditions} == {"StatusUpdate", "StatusPatched"}

    def test_a_revision_lives_as_any_object(self, apps: Any, namespace: str) -> None:
        """[sig-apps] ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision"""
        apps.create_namespaced_daemon_set(namespace, daemon_set())
        first = eventually(lambda: apps.list_namespaced_controller_revision(namespace).items)[0]
        name = first.metadata.name
        patched = apps.patch_namespaced_controller_revision(
            name, namespace, {"metadata": {"labels": {name: "patched"}}}
        )
        assert patched.metadata.labels[name] == "patched"
        second = k8s.V1ControllerRevision(
            metadata=k8s.V1ObjectMeta(name=f"{name[:40]}-x", labels=first.metadata.labels), data=first.data, revision=9
        )
        apps.create_namespaced_controller_revision(namespace, second)
        apps.delete_namespaced_controller_revision(name, namespace)

        # The DaemonSet adopts the other: it holds the same.
        eventually(
            lambda: [each.metadata.name for each in apps.list_namespaced_controller_revision(namespace).items
                     if each.metadata.owner_references] == [f"{name[:40]}-x"]
        )  # fmt: skip
        updated = apps.list_namespaced_controller_revision(namespace).items[0]
        updated.metadata.labels["updated"] = "yes"
        eventually(lambda: replaced(apps, namespace, updated.metadata.name))
        apps.delete_collection_namespaced_controller_revision(namespace, label_selector="updated=yes")
        eventually(lambda: not apps.list_namespaced_controller_revision(namespace, label_selector="updated=yes").items)


def replaced(apps: Any, namespace: str, name: str) -> bool:
    found = apps.read_namespaced_controller_revision(name, namespace)
    found.metadata.labels["updated"] = "yes"
    try:
        apps.replace_namespaced_controller_revision(name, namespace, found)
    except k8s.ApiException as error:
        assert error.status == 409, error
        return False
    return True
