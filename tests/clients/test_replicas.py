"""Deployments, ReplicaSets, ReplicationControllers and disruption budgets as upstream requires them, with the official
client and kubectl, on a simulated node."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from client_harness import Program, eventually
from kubernetes import client as k8s

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

LABELS = {"app": "r"}
OLD, NEW = "example.com/a:1", "example.com/b:1"


def template(image: str = OLD) -> dict[str, Any]:
    container = {"name": "c", "image": image}
    return {"metadata": {"labels": LABELS}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}


def owner(replicas: int, name: str = "r", *, image: str = OLD, **spec: Any) -> dict[str, Any]:
    """Of a Deployment or a ReplicaSet."""
    wanted = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template(image), **spec}
    return {"metadata": {"name": name, "labels": LABELS}, "spec": wanted}


def controller(replicas: int, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "r", "labels": LABELS},
        "spec": {"replicas": replicas, "selector": LABELS, "template": template(), **spec},
    }


@pytest.fixture
def apps(official: Any) -> Any:
    return k8s.AppsV1Api(official)


@pytest.fixture
def core(official: Any) -> Any:
    return k8s.CoreV1Api(official)


def images(core: Any, namespace: str) -> Counter[str]:
    """Of the pods that run."""
    return Counter(
        pod.spec.containers[0].image
        for pod in core.list_namespaced_pod(namespace).items
        if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp
    )


def with_retries(change: Any) -> Any:
    """An update by reading and writing, against a controller that writes too."""

    def once() -> Any:
        try:
            return change()
        except k8s.ApiException as error:
            assert error.status == 409, error
            return None

    return eventually(once)


def set_image(apps: Any, namespace: str, image: str, **spec: Any) -> Any:
    container = {"name": "c", "image": image}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}, **spec}}
    return apps.patch_namespaced_deployment("r", namespace, patch)


def rolled_out(apps: Any, namespace: str) -> bool:
    found = apps.read_namespaced_deployment("r", namespace)
    wanted, status = found.spec.replicas, found.status
    counts = (status.updated_replicas, status.replicas, status.available_replicas)
    return status.observed_generation == found.metadata.generation and counts == (wanted,) * 3


class TestDeployments:
    def test_a_roll_replaces_the_pods(self, core: Any, apps: Any, namespace: str) -> None:
        """Deployment RollingUpdateDeployment should delete old pods and create new ones"""
        revision = "deployment.kubernetes.io/revision"
        before = owner(1, "adopted")
        before["metadata"]["annotations"] = {revision: "41"}
        apps.create_namespaced_replica_set(namespace, before)
        eventually(lambda: images(core, namespace) == {OLD: 1})
        apps.create_namespaced_deployment(namespace, owner(1, image=NEW))
        eventually(lambda: rolled_out(apps, namespace))
        eventually(lambda: images(core, namespace) == {NEW: 1})
        old = apps.read_namespaced_replica_set("adopted", namespace)
        assert old.metadata.owner_references[0].name == "r"
        assert old.spec.replicas == 0
        assert apps.read_namespaced_deployment("r", namespace).metadata.annotations[revision] == "42"

    def test_recreation_never_runs_both(self, core: Any, apps: Any, namespace: str) -> None:
        """Deployment RecreateDeployment should delete old pods and create new ones"""
        apps.create_namespaced_deployment(namespace, owner(2, strategy={"type": "Recreate"}))
        eventually(lambda: rolled_out(apps, namespace))
        set_image(apps, namespace, NEW)

        def seen() -> bool:
            found = images(core, namespace)
            assert len(found) <= 1, found
            return found == {NEW: 2}

        eventually(seen)

    def test_old_replica_sets_are_cleaned_up(self, core: Any, apps: Any, namespace: str) -> None:
        """Deployment deployment should delete old replica sets"""
        apps.create_namespaced_replica_set(namespace, owner(1, "adopted"))
        eventually(lambda: images(core, namespace) == {OLD: 1})
        apps.create_namespaced_deployment(namespace, owner(1, image=NEW, revisionHistoryLimit=0))
        eventually(lambda: rolled_out(apps, namespace))
        eventually(lambda: len(apps.list_namespaced_replica_set(namespace).items) == 1)

    def test_a_newer_roll_takes_over(self, core: Any, apps: Any, namespace: str) -> None:
        """Deployment deployment should support rollover"""
        apps.create_namespaced_deployment(namespace, owner(1, minReadySeconds=500))
        eventually(lambda: images(core, namespace)[OLD] == 1)
        set_image(apps, namespace, "example.com/never:1")
        eventually(lambda: len(apps.list_namespaced_replica_set(namespace).items) == 2)
        set_image(apps, namespace, NEW, minReadySeconds=0)
        eventually(lambda: rolled_out(apps, namespace))
        eventually(lambda: images(core, namespace) == {NEW: 1})

    def test_scaling_in_the_middle_of_a_roll_is_shared(self, core: Any, apps: Any, namespace: str) -> None:
        """Deployment deployment should support proportional scaling"""
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
        apps.create_namespaced_deployment(namespace, owner(10, strategy=rolling))
        eventually(lambda: rolled_out(apps, namespace))
        gate = [{"conditionType": "example.com/never"}]
        patch = {"spec": {"template": {"spec": {"readinessGates": gate}}}}
        apps.patch_namespaced_deployment("r", namespace, patch)

        def sizes() -> list[int]:
            return sorted(each.spec.replicas for each in apps.list_namespaced_replica_set(namespace).items)

        eventually(lambda: sizes() == [5, 8])
        apps.patch_namespaced_deployment_scale("r", namespace, {"spec": {"replicas": 30}})
        eventually(lambda: sizes() == [13, 20])

    def test_the_scale_subresource_works(self, apps: Any, namespace: str) -> None:
        """Deployment Deployment should have a working scale subresource"""
        apps.create_namespaced_deployment(namespace, owner(1))
        eventually(lambda: rolled_out(apps, namespace))
        scale = apps.read_namespaced_deployment_scale("r", namespace)
        assert (scale.spec.replicas, scale.status.replicas) == (1, 1)
        scale.metadata.resource_version, scale.spec.replicas = "", 2
        assert apps.replace_namespaced_deployment_scale("r", namespace, scale).spec.replicas == 2
        patched = apps.patch_namespaced_deployment_scale("r", namespace, {"spec": {"replicas": 4}})
        assert patched.spec.replicas == 4
        assert apps.read_namespaced_deployment("r", namespace).spec.replicas == 4

    def test_the_life_of_a_deployment(self, core: Any, apps: Any, kubectl: Program, namespace: str) -> None:
        """Deployment should run the lifecycle of a Deployment"""
        apps.create_namespaced_deployment(namespace, owner(1))
        eventually(lambda: rolled_out(apps, namespace))
        patch = {"metadata": {"labels": {"test-deployment": "patched"}}, "spec": {"replicas": 2}}
        assert apps.patch_namespaced_deployment("r", namespace, patch).metadata.labels["test-deployment"] == "patched"
        [found] = apps.list_deployment_for_all_namespaces(
            label_selector="test-deployment=patched", field_selector=f"metadata.namespace={namespace}"
        ).items

        def update() -> Any:
            now = apps.read_namespaced_deployment("r", namespace)
            now.spec.template.spec.containers[0].image = NEW
            now.metadata.labels["test-deployment"] = "updated"
            return apps.replace_namespaced_deployment("r", namespace, now)

        assert found.metadata.name == "r"
        with_retries(update)
        eventually(lambda: images(core, namespace) == {NEW: 2})
        assert "successfully rolled out" in kubectl("rollout", "status", "deployment/r", "--timeout=60s")
        apps.delete_collection_namespaced_deployment(namespace, label_selector="test-deployment=updated")
        eventually(lambda: not apps.list_namespaced_deployment(namespace).items)

    def test_a_status_is_read_updated_and_patched(self, apps: Any, namespace: str) -> None:
        """Deployment should validate Deployment Status endpoints"""
        apps.create_namespaced_deployment(namespace, owner(1))
        eventually(lambda: rolled_out(apps, namespace))

        def update() -> Any:
            found = apps.read_namespaced_deployment_status("r", namespace)
            condition = k8s.V1DeploymentCondition(
                type="StatusUpdate", status="True", reason="E2E", message="Set from e2e"
            )
            found.status.conditions = [*found.status.conditions, condition]
            return apps.replace_namespaced_deployment_status("r", namespace, found)

        with_retries(update)
        condition = {"type": "StatusPatched", "status": "True"}
        patched = apps.patch_namespaced_deployment_status("r", namespace, {"status": {"conditions": [condition]}})
        assert {"StatusUpdate", "StatusPatched"} <= {each.type for each in patched.status.conditions}


class TestReplicaSets:
    def test_pods_serve_and_a_collection_goes(self, core: Any, apps: Any, namespace: str) -> None:
        """ReplicaSet should serve a basic image on each replica with a public image

        ReplicaSet should list and delete a collection of ReplicaSets
        """
        apps.create_namespaced_replica_set(namespace, owner(3))
        eventually(lambda: images(core, namespace) == {OLD: 3})
        assert all(pod.status.pod_ip for pod in core.list_namespaced_pod(namespace).items)
        [found] = apps.list_namespaced_replica_set(namespace, label_selector="app=r").items
        assert found.metadata.name == "r"
        apps.delete_collection_namespaced_replica_set(namespace, label_selector="app=r")
        assert apps.list_namespaced_replica_set(namespace).items == []

    def test_it_is_replaced_and_patched(self, apps: Any, namespace: str) -> None:
        """ReplicaSet Replace and Patch tests"""
        apps.create_namespaced_replica_set(namespace, owner(1))
        eventually(lambda: apps.read_namespaced_replica_set("r", namespace).status.ready_replicas == 1)

        def replace() -> Any:
            found = apps.read_namespaced_replica_set("r", namespace)
            found.spec.replicas = 2
            return apps.replace_namespaced_replica_set("r", namespace, found)

        with_retries(replace)
        eventually(lambda: apps.read_namespaced_replica_set("r", namespace).status.ready_replicas == 2)
        patch = {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 3}}
        assert apps.patch_namespaced_replica_set("r", namespace, patch).metadata.labels["patched"] == "yes"
        eventually(lambda: apps.read_namespaced_replica_set("r", namespace).status.ready_replicas == 3)

    def test_the_scale_subresource_works(self, apps: Any, namespace: str) -> None:
        """ReplicaSet Replicaset should have a working scale subresource"""
        apps.create_namespaced_replica_set(namespace, owner(1))
        eventually(lambda: apps.read_namespaced_replica_set("r", namespace).status.ready_replicas == 1)
        scale = apps.read_namespaced_replica_set_scale("r", namespace)
        scale.metadata.resource_version, scale.spec.replicas = "", 2
        assert apps.replace_namespaced_replica_set_scale("r", namespace, scale).spec.replicas == 2
        patched = apps.patch_namespaced_replica_set_scale("r", namespace, {"spec": {"replicas": 4}})
        assert patched.spec.replicas == 4

    def test_matching_pods_are_adopted_and_others_let_go(self, core: Any, apps: Any, namespace: str) -> None:
        """ReplicaSet should adopt matching pods on creation and release no longer matching pods"""
        core.create_namespaced_pod(
            namespace, {"metadata": {"name": "mine", "labels": LABELS}, "spec": template()["spec"]}
        )
        apps.create_namespaced_replica_set(namespace, owner(1))
        eventually(lambda: core.read_namespaced_pod("mine", namespace).metadata.owner_references)
        assert len(core.list_namespaced_pod(namespace).items) == 1
        core.patch_namespaced_pod("mine", namespace, {"metadata": {"labels": {"app": "other"}}})
        eventually(lambda: not core.read_namespaced_pod("mine", namespace).metadata.owner_references)
        eventually(lambda: len(core.list_namespaced_pod(namespace).items) == 2)

    def test_a_status_is_read_updated_and_patched(self, apps: Any, namespace: str) -> None:
        """ReplicaSet should validate Replicaset Status endpoints"""
        apps.create_namespaced_replica_set(namespace, owner(1))
        eventually(lambda: apps.read_namespaced_replica_set("r", namespace).status.ready_replicas == 1)

        def update() -> Any:
            found = apps.read_namespaced_replica_set_status("r", namespace)
            condition = k8s.V1ReplicaSetCondition(
                type="StatusUpdate", status="True", reason="E2E", message="Set from e2e"
            )
            found.status.conditions = [condition]
            return apps.replace_namespaced_replica_set_status("r", namespace, found)

        with_retries(update)
        condition = {"type": "StatusPatched", "status": "True"}
        patched = apps.patch_namespaced_replica_set_status("r", namespace, {"status": {"conditions": [condition]}})
        assert {each.type for each in patched.status.conditions} == {"StatusUpdate", "StatusPatched"}


class TestReplicationControllers:
    def test_pods_serve(self, core: Any, namespace: str) -> None:
        """ReplicationController should serve a basic image on each replica with a public image"""
        core.create_namespaced_replication_controller(namespace, controller(2))
        eventually(lambda: images(core, namespace) == {OLD: 2})
        assert all(pod.status.pod_ip for pod in core.list_namespaced_pod(namespace).items)

    def test_matching_pods_are_adopted_and_others_let_go(self, core: Any, namespace: str) -> None:
        """ReplicationController should adopt matching pods on creation; ReplicationController should release no longer
        matching pods"""
        core.create_namespaced_pod(
            namespace, {"metadata": {"name": "mine", "labels": LABELS}, "spec": template()["spec"]}
        )
        core.create_namespaced_replication_controller(namespace, controller(1))
        eventually(lambda: core.read_namespaced_pod("mine", namespace).metadata.owner_references)
        core.patch_namespaced_pod("mine", namespace, {"metadata": {"labels": {"app": "other"}}})
        eventually(lambda: not core.read_namespaced_pod("mine", namespace).metadata.owner_references)

    def test_a_quota_that_is_full_is_a_condition_until_there_is_room(self, core: Any, namespace: str) -> None:
        """ReplicationController should surface a failure condition on a common issue like exceeded quota"""
        core.create_namespaced_resource_quota(namespace, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}})
        eventually(lambda: core.read_namespaced_resource_quota("q", namespace).status.hard)
        core.create_namespaced_replication_controller(namespace, controller(3))

        def failure() -> Any:
            conditions = core.read_namespaced_replication_controller("r", namespace).status.conditions or ()
            return next((each for each in conditions if each.type == "ReplicaFailure"), None)

        found = eventually(failure)
        assert (found.status, found.reason) == ("True", "FailedCreate")
        assert "exceeded quota: q" in found.message
        core.patch_namespaced_replication_controller_scale("r", namespace, {"spec": {"replicas": 2}})
        eventually(lambda: failure() is None)

    def test_the_life_of_a_controller(self, core: Any, namespace: str) -> None:
        """ReplicationController should test the lifecycle of a ReplicationController; ReplicationController should get
        and update a ReplicationController scale"""
        core.create_namespaced_replication_controller(namespace, controller(1))
        eventually(lambda: core.read_namespaced_replication_controller("r", namespace).status.ready_replicas == 1)
        patched = core.patch_namespaced_replication_controller(
            "r", namespace, {"metadata": {"labels": {"patched": "yes"}}}
        )
        assert patched.metadata.labels["patched"] == "yes"
        core.patch_namespaced_replication_controller_status(
            "r", namespace, {"status": {"readyReplicas": 0, "availableReplicas": 0}}
        )
        eventually(lambda: core.read_namespaced_replication_controller("r", namespace).status.ready_replicas == 1)
        scale = core.read_namespaced_replication_controller_scale("r", namespace)
        assert (scale.spec.replicas, scale.status.selector) == (1, "app=r")
        scale.metadata.resource_version, scale.spec.replicas = "", 2
        assert core.replace_namespaced_replication_controller_scale("r", namespace, scale).spec.replicas == 2
        eventually(lambda: images(core, namespace) == {OLD: 2})
        found = core.list_replication_controller_for_all_namespaces(label_selector="patched=yes").items
        assert namespace in {each.metadata.namespace for each in found}
        core.delete_collection_namespaced_replication_controller(namespace, label_selector="patched=yes")
        eventually(lambda: not core.list_namespaced_replication_controller(namespace).items)


class TestBudgets:
    """PodDisruptionBudgets and evictions."""

    @pytest.fixture
    def policy(self, official: Any) -> Any:
        return k8s.PolicyV1Api(official)

    def budget(self, name: str = "b", **spec: Any) -> dict[str, Any]:
        wanted = {"selector": {"matchLabels": LABELS}, **spec}
        return {"metadata": {"name": name, "labels": {"group": name}}, "spec": wanted}

    def status(self, policy: Any, namespace: str) -> Any:
        return policy.read_namespaced_pod_disruption_budget("b", namespace).status

    def test_it_is_made_changed_and_deleted(self, policy: Any, namespace: str) -> None:
        """DisruptionController should create a PodDisruptionBudget"""
        policy.create_namespaced_pod_disruption_budget(namespace, self.budget(minAvailable="1%"))

        def update() -> Any:
            found = policy.read_namespaced_pod_disruption_budget("b", namespace)
            found.spec.min_available = "2%"
            return policy.replace_namespaced_pod_disruption_budget("b", namespace, found)

        assert with_retries(update).spec.min_available == "2%"
        patched = policy.patch_namespaced_pod_disruption_budget("b", namespace, {"spec": {"minAvailable": "3%"}})
        assert patched.spec.min_available == "3%"
        policy.delete_namespaced_pod_disruption_budget("b", namespace)
        assert policy.list_namespaced_pod_disruption_budget(namespace).items == []

    def test_many_are_listed_everywhere_and_a_collection_goes(self, policy: Any, namespace: str) -> None:
        """DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of
        PodDisruptionBudgets"""
        for name in ("b", "c"):
            policy.create_namespaced_pod_disruption_budget(namespace, self.budget(name, minAvailable=1))
        found = policy.list_pod_disruption_budget_for_all_namespaces().items
        assert {each.metadata.name for each in found if each.metadata.namespace == namespace} == {"b", "c"}
        policy.delete_collection_namespaced_pod_disruption_budget(namespace, label_selector="group=c")
        left = policy.list_namespaced_pod_disruption_budget(namespace).items
        assert [each.metadata.name for each in left] == ["b"]

    def test_its_status_follows_the_pods(self, apps: Any, policy: Any, namespace: str) -> None:
        """DisruptionController should observe PodDisruptionBudget status updated"""
        policy.create_namespaced_pod_disruption_budget(namespace, self.budget(minAvailable=1))
        apps.create_namespaced_replica_set(namespace, owner(3))
        eventually(lambda: self.status(policy, namespace).disruptions_allowed == 2)
        assert self.status(policy, namespace).current_healthy == 3

    def test_its_status_is_updated_and_patched(self, apps: Any, policy: Any, namespace: str) -> None:
        """DisruptionController should update/patch PodDisruptionBudget status"""
        policy.create_namespaced_pod_disruption_budget(namespace, self.budget(minAvailable=1))
        eventually(lambda: self.status(policy, namespace).observed_generation == 1)

        def update() -> Any:
            found = policy.read_namespaced_pod_disruption_budget_status("b", namespace)
            found.status.disrupted_pods = {"one": "2026-01-01T00:00:00Z"}
            return policy.replace_namespaced_pod_disruption_budget_status("b", namespace, found)

        assert with_retries(update).status.disrupted_pods.keys() == {"one"}
        patch = {"status": {"disruptedPods": {"two": "2026-01-01T00:00:00Z"}}}
        answer = policy.patch_namespaced_pod_disruption_budget_status("b", namespace, patch)
        assert "two" in answer.status.disrupted_pods

    def test_an_eviction_waits_for_the_budget(self, core: Any, apps: Any, policy: Any, namespace: str) -> None:
        """DisruptionController should block an eviction until the PDB is updated to allow it"""
        policy.create_namespaced_pod_disruption_budget(namespace, self.budget(minAvailable=3))
        apps.create_namespaced_replica_set(namespace, owner(3))
        eventually(lambda: self.status(policy, namespace).current_healthy == 3)
        name = core.list_namespaced_pod(namespace).items[0].metadata.name

        def evict() -> bool:
            body = k8s.V1Eviction(metadata=k8s.V1ObjectMeta(name=name, namespace=namespace))
            try:
                core.create_namespaced_pod_eviction(name, namespace, body)
            except k8s.ApiException as error:
                assert error.status == 429, error
                return False
            return True

        assert not evict()
        policy.patch_namespaced_pod_disruption_budget("b", namespace, {"spec": {"minAvailable": 2}})
        eventually(lambda: self.status(policy, namespace).disruptions_allowed == 1)
        assert eventually(evict)
        gone = lambda: name not in {pod.metadata.name for pod in core.list_namespaced_pod(namespace).items}  # noqa: E731
        eventually(gone)
