"""What conformance asks of ResourceQuota: each test names the requirement it holds."""

from __future__ import annotations

from typing import Any

import pytest

NAMESPACE = "/api/v1/namespaces/default"
QUOTAS = f"{NAMESPACE}/resourcequotas"
DONGLE = "example.com/dongle"
MERGE = {"content_type": "application/merge-patch+json"}


def pod(name: str, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **spec: Any) -> Any:
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}], **spec},
    }


async def test_the_status_of_a_new_quota_is_promptly_calculated(quotas: Any) -> None:
    """ResourceQuota should create a ResourceQuota and ensure its status is promptly calculated."""
    await quotas.make("q", {"cpu": "1", "pods": "5", "services": "10", "resourcequotas": "1"})
    assert await quotas.used("q") == {"cpu": "0", "pods": "0", "resourcequotas": "1", "services": "0"}


TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
STORAGE = {"requests": {"storage": "1Gi"}}
#: what is created, under which collection, and what a quota counts of it
CASES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "ResourceQuota, object count quota, configmap": (
        f"{NAMESPACE}/configmaps",
        {"data": {"a": "b"}},
        {"configmaps": "1", "count/configmaps": "1"},
    ),
    "ResourceQuota, object count quota, secret": (
        f"{NAMESPACE}/secrets",
        {"stringData": {"a": "b"}},
        {"secrets": "1", "count/secrets": "1"},
    ),
    "ResourceQuota, object count quota, service": (
        f"{NAMESPACE}/services",
        {"spec": {"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}},
        {"services": "1", "services.nodeports": "2", "services.loadbalancers": "0"},
    ),
    "ResourceQuota, object count quota, replicationController": (
        f"{NAMESPACE}/replicationcontrollers",
        {"spec": {"replicas": 0, "selector": {"a": "b"}, "template": TEMPLATE}},
        {"replicationcontrollers": "1"},
    ),
    "ResourceQuota, object count quota, replicaSet": (
        "/apis/apps/v1/namespaces/default/replicasets",
        {"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
        {"count/replicasets.apps": "1"},
    ),
    "PersistentVolumeClaims, in all and of a class": (
        f"{NAMESPACE}/persistentvolumeclaims",
        {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gold", "resources": STORAGE}},
        {
            "persistentvolumeclaims": "1",
            "requests.storage": "1Gi",
            "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("requirement", CASES)
async def test_the_life_of_an_object_is_captured(quotas: Any, requirement: str) -> None:
    """ResourceQuota should create a ResourceQuota and capture the life of a configMap.; ResourceQuota should create a
    ResourceQuota and capture the life of a secret.; ResourceQuota should create a ResourceQuota and capture the life
    of a service.; ResourceQuota should create a ResourceQuota and capture the life of a replication controller.;
    ResourceQuota should create a ResourceQuota and capture the life of a replica set."""
    path, body, counted = CASES[requirement]
    await quotas.make("q", dict.fromkeys(counted, "10Gi" if "requests.storage" in counted else "10"))
    assert set((await quotas.used("q")).values()) == {"0"}
    made = await quotas.api("POST", path, {"metadata": {"name": "x"}, **body})
    assert made.status == 201, made.obj
    assert await quotas.used("q") == counted
    assert (await quotas.api("DELETE", f"{path}/x?propagationPolicy=Background")).status == 200
    await quotas.until("q", lambda status: set(status["used"].values()) == {"0"})


async def test_the_life_of_a_pod_is_captured(quotas: Any) -> None:
    """ResourceQuota should create a ResourceQuota and capture the life of a pod."""
    hard = {"pods": "2", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "500Mi", f"requests.{DONGLE}": "3"}
    await quotas.make("q", hard)
    asked = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Mi", DONGLE: "2"}
    made = await quotas.api("POST", f"{NAMESPACE}/pods", pod("p", asked, {DONGLE: "2"}))
    assert made.status == 201, made.obj
    used = {"pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Mi", f"requests.{DONGLE}": "2"}
    assert await quotas.used("q") == used
    greedy = await quotas.api("POST", f"{NAMESPACE}/pods", pod("greedy", {"cpu": "600m", "memory": "100Mi"}))
    assert (greedy.status, greedy.reason) == (403, "Forbidden")
    assert greedy.message == (
        'pods "greedy" is forbidden: exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1'
    )
    extended = await quotas.api(
        "POST", f"{NAMESPACE}/pods", pod("e", {"cpu": "1m", "memory": "1Mi", DONGLE: "2"}, {DONGLE: "2"})
    )
    assert extended.message == (
        f'pods "e" is forbidden: exceeded quota: q, requested: requests.{DONGLE}=2, used: requests.{DONGLE}=2, '
        f"limited: requests.{DONGLE}=3"
    )
    resized = {"spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "600m"}}}]}}
    assert (await quotas.api("PATCH", f"{NAMESPACE}/pods/p", resized, **MERGE)).status == 422
    assert await quotas.used("q") == used
    await quotas.api("DELETE", f"{NAMESPACE}/pods/p?gracePeriodSeconds=0")
    await quotas.until("q", lambda status: set(status["used"].values()) == {"0"})


async def test_best_effort_pods_are_counted_apart(quotas: Any) -> None:
    """ResourceQuota should verify ResourceQuota with best effort scope."""
    await quotas.make("best", {"pods": "5"}, scopes=["BestEffort"])
    await quotas.make("other", {"pods": "5"}, scopes=["NotBestEffort"])
    for name, spec, mine, others in (("a", pod("a"), "best", "other"), ("b", pod("b", {"cpu": "1"}), "other", "best")):
        assert (await quotas.api("POST", f"{NAMESPACE}/pods", spec)).status == 201
        assert (await quotas.used(mine), await quotas.used(others)) == ({"pods": "1"}, {"pods": "0"})
        await quotas.api("DELETE", f"{NAMESPACE}/pods/{name}?gracePeriodSeconds=0")
        await quotas.until_used(mine, pods="0")


async def test_pods_with_a_deadline_are_counted_apart(quotas: Any) -> None:
    """ResourceQuota should verify ResourceQuota with terminating scopes."""
    hard = {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    await quotas.make("short", hard, scopes=["Terminating"])
    await quotas.make("long", hard, scopes=["NotTerminating"])
    resources = ({"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"})
    none = dict.fromkeys(hard, "0")
    some = {
        "pods": "1",
        "requests.cpu": "500m",
        "requests.memory": "200Mi",
        "limits.cpu": "1",
        "limits.memory": "400Mi",
    }
    for name, spec, mine, others in (
        ("a", pod("a", *resources), "long", "short"),
        ("b", pod("b", *resources, activeDeadlineSeconds=3600), "short", "long"),
    ):
        assert (await quotas.api("POST", f"{NAMESPACE}/pods", spec)).status == 201
        assert (await quotas.used(mine), await quotas.used(others)) == (some, none)
        await quotas.api("DELETE", f"{NAMESPACE}/pods/{name}?gracePeriodSeconds=0")
        await quotas.until(mine, lambda status: status["used"] == none)


async def test_a_quota_is_updated_and_deleted(quotas: Any) -> None:
    """ResourceQuota, update and delete"""
    made = await quotas.make("q", {"cpu": "1", "memory": "500Mi"})
    made.obj["spec"]["hard"] = {"cpu": "2", "memory": "1Gi"}
    made.obj["metadata"].pop("resourceVersion")
    assert (await quotas.api("PUT", f"{QUOTAS}/q", made.obj)).status == 200
    await quotas.until("q", lambda status: status["hard"] == {"cpu": "2", "memory": "1Gi"})
    await quotas.api("DELETE", f"{QUOTAS}/q")
    assert (await quotas.api("GET", f"{QUOTAS}/q")).status == 404
    assert (await quotas.api("POST", f"{NAMESPACE}/pods", pod("p"))).status == 201


async def test_the_life_of_a_quota_is_managed_by_labels(quotas: Any) -> None:
    """ResourceQuota, manage lifecycle of a ResourceQuota"""
    body = {"metadata": {"name": "q", "labels": {"e2e": "x"}}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}}
    await quotas.api("POST", QUOTAS, body)
    listed = await quotas.api("GET", "/api/v1/resourcequotas?labelSelector=e2e=x")
    assert [item["metadata"]["name"] for item in listed.obj["items"]] == ["q"]
    patch = {"metadata": {"labels": {"q": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = (await quotas.api("PATCH", f"{QUOTAS}/q", patch, **MERGE)).obj
    assert (patched["metadata"]["labels"]["q"], patched["spec"]["hard"]["memory"]) == ("patched", "750Mi")
    assert (await quotas.api("DELETE", f"{QUOTAS}?labelSelector=q=patched")).status == 200
    assert (await quotas.api("GET", QUOTAS)).obj["items"] == []


async def test_the_status_of_a_quota_is_written_through_its_own_url(api: Any) -> None:
    """ResourceQuota, apply changes to a ResourceQuota status"""
    made = await api("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "500m", "memory": "500Mi"}}})
    made.obj["status"] = {"hard": {"cpu": "2", "memory": "1Gi"}}
    updated = (await api("PUT", f"{QUOTAS}/q/status", made.obj)).obj
    assert updated["status"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    patch = {"spec": {"hard": {"cpu": "9"}}, "status": {"hard": {"cpu": "500m", "memory": "500Mi"}}}
    patched = (await api("PATCH", f"{QUOTAS}/q/status", patch, **MERGE)).obj
    assert patched["status"]["hard"] == {"cpu": "500m", "memory": "500Mi"}
    assert patched["spec"]["hard"] == {"cpu": "500m", "memory": "500Mi"}
    assert (await api("GET", f"{QUOTAS}/q/status")).obj["status"] == patched["status"]


async def test_custom_resources_are_counted_by_name(api: Any, running_controller: Any, until: Any) -> None:
    """ResourceQuota should create a ResourceQuota and capture the life of a custom resource."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd = {
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    boats = "/apis/example.com/v1/namespaces/default/boats"
    await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)

    async def served() -> bool:
        return bool((await api("GET", boats)).status == 200)

    await until(served)
    async with running_controller(api.server):
        hard = {"count/boats.example.com": "1"}
        await api("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}})

        async def counts(used: str) -> bool:
            status = (await api("GET", f"{QUOTAS}/q")).obj.get("status", {})
            return bool(status.get("used") == {"count/boats.example.com": used})

        await until(lambda: counts("0"))
        made = await api("POST", boats, {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "a"}})
        assert made.status == 201, made.obj
        assert await counts("1")
        refused = await api("POST", boats, {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "b"}})
        assert refused.message == (
            'boats.example.com "b" is forbidden: exceeded quota: q, requested: count/boats.example.com=1, '
            "used: count/boats.example.com=1, limited: count/boats.example.com=1"
        )
        await api("DELETE", f"{boats}/a")
        await until(lambda: counts("0"))
