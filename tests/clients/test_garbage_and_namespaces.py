"""Owners and what they own, namespaces and what is in them: upstream's requirements, with the official client."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from client_harness import Served, eventually
from kubernetes import client as k8s
from kubernetes import config as official_config
from kubernetes import watch as k8s_watch

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

LABELS = {"app": "owned"}
TEMPLATE = {
    "metadata": {"labels": LABELS},
    "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "example.com/a:1"}]},
}


def controller(name: str, replicas: int) -> dict[str, Any]:
    spec = {"replicas": replicas, "selector": LABELS, "template": deepcopy(TEMPLATE)}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, replicas: int) -> dict[str, Any]:
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def pod(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": TEMPLATE["spec"]}


def names(listed: Any) -> list[str]:
    return [each.metadata.name for each in listed.items]


@pytest.fixture
def core(official: Any) -> Any:
    return k8s.CoreV1Api(official)


@pytest.fixture
def apps(official: Any) -> Any:
    return k8s.AppsV1Api(official)


def policy(name: str) -> Any:
    return k8s.V1DeleteOptions(propagation_policy=name)


class TestReplicationControllers:
    def test_pods_go_with_their_controller(self, core: Any, namespace: str) -> None:
        """Garbage collector should delete pods created by rc when not orphaning"""
        core.create_namespaced_replication_controller(namespace, controller("rc", 2))
        eventually(lambda: len(names(core.list_namespaced_pod(namespace))) == 2)
        core.delete_namespaced_replication_controller("rc", namespace, body=policy("Background"))
        eventually(lambda: not names(core.list_namespaced_pod(namespace)))

    def test_pods_stay_as_orphans(self, core: Any, namespace: str) -> None:
        """Garbage collector should orphan pods created by rc if delete options say so [Serial]"""
        core.create_namespaced_replication_controller(namespace, controller("rc", 10))
        eventually(lambda: len(names(core.list_namespaced_pod(namespace))) == 10)
        core.delete_namespaced_replication_controller("rc", namespace, body=policy("Orphan"))
        eventually(lambda: not names(core.list_namespaced_replication_controller(namespace)))
        pods = core.list_namespaced_pod(namespace).items
        assert [(each.metadata.owner_references, each.metadata.deletion_timestamp) for each in pods] == [
            (None, None)
        ] * 10

    def test_the_controller_goes_last_in_the_foreground(self, core: Any, namespace: str) -> None:
        """Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so
        [Serial]"""
        core.create_namespaced_replication_controller(namespace, controller("rc", 10))
        eventually(lambda: len(names(core.list_namespaced_pod(namespace))) == 10)
        held = names(core.list_namespaced_pod(namespace))[0]
        core.patch_namespaced_pod(held, namespace, {"metadata": {"finalizers": ["example.com/held"]}})
        core.delete_namespaced_replication_controller("rc", namespace, body=policy("Foreground"))
        eventually(lambda: names(core.list_namespaced_pod(namespace)) == [held])
        waiting = core.read_namespaced_replication_controller("rc", namespace)
        assert waiting.metadata.finalizers == ["foregroundDeletion"]
        core.patch_namespaced_pod(held, namespace, {"metadata": {"finalizers": None}})
        eventually(lambda: not names(core.list_namespaced_replication_controller(namespace)))
        assert not names(core.list_namespaced_pod(namespace))

    def test_a_pod_of_two_owners_stays_while_one_is_there(self, core: Any, namespace: str) -> None:
        """Garbage collector should not delete dependents that have both valid owner and owner that's waiting for
        dependents to be deleted [Serial]"""
        core.create_namespaced_replication_controller(namespace, controller("first", 10))
        other = controller("second", 0)
        other["spec"]["selector"] = other["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
        second = core.create_namespaced_replication_controller(namespace, other)
        eventually(lambda: len(names(core.list_namespaced_pod(namespace))) == 10)
        shared = names(core.list_namespaced_pod(namespace))[:5]
        reference = {
            "apiVersion": "v1", "kind": "ReplicationController", "name": "second", "uid": second.metadata.uid
        }  # fmt: skip
        for name in shared:
            core.patch_namespaced_pod(name, namespace, {"metadata": {"ownerReferences": [reference]}})
        core.delete_namespaced_replication_controller("first", namespace, body=policy("Foreground"))
        eventually(lambda: names(core.list_namespaced_replication_controller(namespace)) == ["second"])
        left = core.list_namespaced_pod(namespace).items
        assert sorted(each.metadata.name for each in left) == sorted(shared)
        assert all(each.metadata.deletion_timestamp is None for each in left)
        assert {owner.name for each in left for owner in each.metadata.owner_references} == {"second"}

    def test_a_circle_of_owners_ends_with_its_first(self, core: Any, namespace: str) -> None:
        """Garbage collector should not be blocked by dependency circle"""
        made = {name: core.create_namespaced_pod(namespace, pod(name)) for name in ("pod1", "pod2", "pod3")}
        for owned, owner in (("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")):
            reference = {"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": made[owner].metadata.uid}
            reference |= {"controller": True, "blockOwnerDeletion": True}
            core.patch_namespaced_pod(owned, namespace, {"metadata": {"ownerReferences": [reference]}})
        core.delete_namespaced_pod("pod1", namespace, body=policy("Foreground"))
        eventually(lambda: not names(core.list_namespaced_pod(namespace)))


class TestDeployments:
    def test_everything_below_goes(self, core: Any, apps: Any, namespace: str) -> None:
        """Garbage collector should delete RS created by deployment when not orphaning"""
        apps.create_namespaced_deployment(namespace, deployment("web", 2))
        eventually(lambda: len(names(core.list_namespaced_pod(namespace))) == 2)
        apps.delete_namespaced_deployment("web", namespace, body=policy("Background"))
        eventually(lambda: not names(apps.list_namespaced_replica_set(namespace)))
        eventually(lambda: not names(core.list_namespaced_pod(namespace)))

    def test_replica_set_and_pods_stay(self, core: Any, apps: Any, namespace: str) -> None:
        """Garbage collector should orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan"""
        apps.create_namespaced_deployment(namespace, deployment("web", 2))
        eventually(lambda: len(names(core.list_namespaced_pod(namespace))) == 2)
        pods = names(core.list_namespaced_pod(namespace))
        apps.delete_namespaced_deployment("web", namespace, body=policy("Orphan"))
        eventually(lambda: not names(apps.list_namespaced_deployment(namespace)))
        [left] = apps.list_namespaced_replica_set(namespace).items
        assert left.metadata.owner_references is None
        assert names(core.list_namespaced_pod(namespace)) == pods


class TestNamespaces:
    def test_labels_by_patch_and_by_update(self, core: Any, namespace: str) -> None:
        """Namespace patching; Namespace, apply update to a namespace"""
        patched = core.patch_namespace(namespace, {"metadata": {"labels": {"tested": "patched"}}})
        assert patched.metadata.labels["tested"] == "patched"
        patched.metadata.labels["tested"] = "updated"
        core.replace_namespace(namespace, patched)
        assert core.read_namespace(namespace).metadata.labels["tested"] == "updated"

    def test_conditions_by_patch_and_update_of_the_status(self, core: Any, namespace: str) -> None:
        """Namespace, apply changes to a namespace status"""
        found = core.read_namespace_status(namespace)
        assert found.status.phase == "Active"
        condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "patched"}
        patched = core.patch_namespace_status(namespace, {"status": {"conditions": [condition]}})
        assert [(each.type, each.message) for each in patched.status.conditions] == [("StatusPatch", "patched")]
        patched.status.conditions.append(
            k8s.V1NamespaceCondition(type="StatusUpdate", status="True", reason="E2E", message="updated")
        )
        core.replace_namespace_status(namespace, patched)
        kinds = [each.type for each in core.read_namespace(namespace).status.conditions]
        assert kinds == ["StatusPatch", "StatusUpdate"]

    def test_a_finalizer_comes_and_goes(self, core: Any, namespace: str) -> None:
        """Namespace, apply finalizer to a namespace"""
        found = core.read_namespace(namespace)
        found.spec.finalizers.append("example.com/fake")
        changed = core.replace_namespace_finalize(namespace, found)
        assert changed.spec.finalizers == ["kubernetes", "example.com/fake"]
        changed.spec.finalizers.remove("example.com/fake")
        assert core.replace_namespace_finalize(namespace, changed).spec.finalizers == ["kubernetes"]

    def test_what_was_in_a_namespace_is_gone_when_it_comes_back(self, core: Any, namespace: str) -> None:
        """Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted; Namespaces [Serial]
        should ensure that all services are removed when a namespace is deleted"""
        inner = f"{namespace}-inner"
        for _ in range(2):
            core.create_namespace({"metadata": {"name": inner}})
            eventually(lambda: "default" in names(core.list_namespaced_service_account(inner)))
            assert (names(core.list_namespaced_pod(inner)), names(core.list_namespaced_service(inner))) == ([], [])
            core.create_namespaced_pod(inner, pod("p"))
            core.create_namespaced_service(inner, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
            core.delete_namespace(inner)
            eventually(lambda: inner not in names(core.list_namespace()))

    def test_pods_go_before_what_they_may_still_need(self, core: Any, namespace: str) -> None:
        """OrderedNamespaceDeletion namespace deletion should delete pod first"""
        inner = f"{namespace}-ordered"
        core.create_namespace({"metadata": {"name": inner}})
        eventually(lambda: "default" in names(core.list_namespaced_service_account(inner)))
        held = pod("held")
        held["metadata"]["finalizers"] = ["example.com/held"]
        core.create_namespaced_pod(inner, held)
        core.create_namespaced_config_map(inner, {"metadata": {"name": "needed"}})
        core.delete_namespace(inner)

        def told() -> bool:
            conditions = core.read_namespace(inner).status.conditions or []
            return any(
                each.type == "NamespaceDeletionContentFailure" and each.status == "False" for each in conditions
            ) and any(each.type == "NamespaceFinalizersRemaining" and each.status == "True" for each in conditions)

        eventually(told)
        assert core.read_namespaced_pod("held", inner).metadata.deletion_timestamp is not None
        assert core.read_namespaced_config_map("needed", inner).metadata.deletion_timestamp is None
        core.patch_namespaced_pod("held", inner, {"metadata": {"finalizers": None}})
        eventually(lambda: inner not in names(core.list_namespace()))


class TestServiceAccounts:
    def test_the_ca_is_in_every_namespace_again_and_again(self, core: Any, namespace: str) -> None:
        """ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace"""
        name = "kube-root-ca.crt"
        made = eventually(
            lambda: next((c for c in core.list_namespaced_config_map(namespace).items if c.metadata.name == name), None)
        )
        assert made.data["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
        core.delete_namespaced_config_map(name, namespace)
        eventually(lambda: name in names(core.list_namespaced_config_map(namespace)))
        core.patch_namespaced_config_map(name, namespace, {"data": {"ca.crt": "", "other": "mine"}})
        eventually(lambda: core.read_namespaced_config_map(name, namespace).data == made.data)

    def test_a_token_made_by_request_is_its_accounts(self, core: Any, official: Any, namespace: str) -> None:
        """ServiceAccount, create and review token"""
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "mine"}})
        spec = {"spec": {"audiences": [], "expirationSeconds": 600}}
        token = core.create_namespaced_service_account_token("mine", namespace, spec).status.token
        assert token
        review = k8s.AuthenticationV1Api(official).create_token_review({"spec": {"token": token}})
        assert (review.status.authenticated, review.status.error) == (True, None)
        assert review.status.user.username == f"system:serviceaccount:{namespace}:mine"

    def test_the_life_of_an_account(self, core: Any, namespace: str) -> None:
        """ServiceAccount lifecycle test; ServiceAccount, update a ServiceAccount"""
        revision = core.list_namespaced_service_account(namespace).metadata.resource_version
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "mine", "labels": {"static": "yes"}}})
        patched = core.patch_namespaced_service_account("mine", namespace, {"automountServiceAccountToken": False})
        assert patched.automount_service_account_token is False
        patched.automount_service_account_token = True
        core.replace_namespaced_service_account("mine", namespace, patched)
        [found] = core.list_service_account_for_all_namespaces(
            label_selector="static=yes", field_selector=f"metadata.namespace={namespace}"
        ).items
        assert found.automount_service_account_token is True
        core.delete_collection_namespaced_service_account(namespace, label_selector="static=yes")
        watch, seen = k8s_watch.Watch(), []
        for event in watch.stream(
            core.list_namespaced_service_account, namespace, label_selector="static=yes", resource_version=revision,
            timeout_seconds=60,
        ):  # fmt: skip
            seen.append(event["type"])
            if event["type"] == "DELETED":
                watch.stop()
        assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]

    def test_reviews_say_what_an_impersonated_account_may(
        self, core: Any, official: Any, served: Served, namespace: str
    ) -> None:
        """SubjectReview, API Operations"""
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "mine"}})
        user = f"system:serviceaccount:{namespace}:mine"
        asked = {"group": "", "resource": "secrets", "verb": "list", "namespace": namespace}
        reviews = k8s.AuthorizationV1Api(official)
        impersonating = official_config.new_client_from_config(str(served.kubeconfig))
        impersonating.set_default_header("Impersonate-User", user)
        spec = {"user": user, "resourceAttributes": asked}

        def allowed() -> tuple[bool, bool, bool]:
            anywhere = reviews.create_subject_access_review({"spec": spec}).status.allowed
            local = reviews.create_namespaced_local_subject_access_review(
                namespace, {"metadata": {"namespace": namespace}, "spec": spec}
            ).status.allowed
            try:
                k8s.CoreV1Api(impersonating).list_namespaced_secret(namespace)
            except k8s.ApiException as refused:
                assert refused.status == 403
                return anywhere, local, False
            return anywhere, local, True

        assert allowed() == (False, False, False)
        k8s.RbacAuthorizationV1Api(official).create_namespaced_role_binding(
            namespace,
            {
                "metadata": {"name": "mine"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
                "subjects": [{"kind": "ServiceAccount", "name": "mine", "namespace": namespace}],
            },
        )
        assert eventually(lambda: allowed() == (True, True, True))
        impersonating.rest_client.pool_manager.clear()
        impersonating.close()
