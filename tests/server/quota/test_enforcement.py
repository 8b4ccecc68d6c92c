"""What updates of objects mean to quotas, and what is said to whoever does not fit."""

from __future__ import annotations

from typing import Any

NAMESPACE = "/api/v1/namespaces/default"
PODS = f"{NAMESPACE}/pods"
SERVICES = f"{NAMESPACE}/services"
CLAIMS = f"{NAMESPACE}/persistentvolumeclaims"
MERGE = {"content_type": "application/merge-patch+json"}
STRATEGIC = {"content_type": "application/strategic-merge-patch+json"}


def pod(name: str, cpu: str = "", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}], **spec},
    }


async def test_a_pod_must_say_what_is_limited(quotas: Any) -> None:
    await quotas.make("q", {"requests.cpu": "1", "limits.memory": "1Gi"})
    refused = await quotas.api("POST", PODS, pod("p"))
    assert refused.message == (
        'pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c'
    )


async def test_a_quota_without_a_status_is_no_quota_yet_and_one_without_counts_refuses(api: Any) -> None:
    body = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}
    await api("POST", f"{NAMESPACE}/resourcequotas", body)
    assert (await api("POST", PODS, pod("a"))).status == 201
    status = {"status": {"hard": {"pods": "1", "services": "1"}, "used": {"services": "0"}}}
    await api("PATCH", f"{NAMESPACE}/resourcequotas/q/status", status, **MERGE)
    refused = await api("POST", PODS, pod("b"))
    assert refused.message == 'pods "b" is forbidden: status unknown for quota: q, resources: pods'


async def test_every_quota_of_the_namespace_has_to_have_room(quotas: Any) -> None:
    await quotas.make("a", {"pods": "5"})
    await quotas.make("b", {"cpu": "1"})
    refused = await quotas.api("POST", PODS, pod("p", "2"))
    assert refused.message == 'pods "p" is forbidden: exceeded quota: b, requested: cpu=2, used: cpu=0, limited: cpu=1'
    assert (await quotas.used("a"), await quotas.used("b")) == ({"pods": "0"}, {"cpu": "0"})


async def test_a_service_that_takes_more_ports_of_nodes_is_charged_for_them(quotas: Any) -> None:
    await quotas.make("q", {"services": "5", "services.nodeports": "1", "services.loadbalancers": "0"})
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    await quotas.api("POST", SERVICES, {"metadata": {"name": "s"}, "spec": {"ports": ports}})
    refused = await quotas.api("PATCH", f"{SERVICES}/s", {"spec": {"type": "NodePort"}}, **MERGE)
    assert refused.message == (
        'services "s" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, '
        "limited: services.nodeports=1"
    )
    one = {"spec": {"type": "NodePort", "ports": ports[:1]}}
    assert (await quotas.api("PATCH", f"{SERVICES}/s", one, **MERGE)).status == 200
    await quotas.until_used("q", services="1", services_nodeports="1")
    back = await quotas.api("PATCH", f"{SERVICES}/s", {"spec": {"type": "ClusterIP"}}, **MERGE)
    assert back.status == 200
    await quotas.until_used("q", services="1", services_nodeports="0")


async def test_a_pod_that_gets_a_deadline_moves_to_the_other_quota(quotas: Any) -> None:
    await quotas.make("short", {"pods": "1"}, scopes=["Terminating"])
    await quotas.make("long", {"pods": "5"}, scopes=["NotTerminating"])
    for name in ("a", "b"):
        await quotas.api("POST", PODS, pod(name))
    deadline = {"spec": {"activeDeadlineSeconds": 60}}
    assert (await quotas.api("PATCH", f"{PODS}/a", deadline, **MERGE)).status == 200
    await quotas.until_used("short", pods="1")
    await quotas.until_used("long", pods="1")
    assert "exceeded quota: short" in (await quotas.api("PATCH", f"{PODS}/b", deadline, **MERGE)).message


async def test_a_pod_that_is_resized_is_charged_the_difference(quotas: Any) -> None:
    await quotas.make("q", {"requests.cpu": "2"})
    await quotas.api("POST", PODS, pod("p", "500m"))

    async def resize(cpu: str) -> Any:
        patch = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}
        return await quotas.api("PATCH", f"{PODS}/p/resize", patch, **STRATEGIC)

    assert (await resize("1500m")).status == 200
    assert await quotas.used("q") == {"requests.cpu": "1500m"}
    assert (await resize("3")).message == (
        'pods "p" is forbidden: exceeded quota: q, requested: requests.cpu=1500m, used: requests.cpu=1500m, '
        "limited: requests.cpu=2"
    )


async def test_a_pod_that_ends_gives_back_all_but_its_own_count(quotas: Any) -> None:
    await quotas.make("q", {"pods": "1", "cpu": "1", "count/pods": "5"})
    await quotas.api("POST", PODS, pod("p", "1"))
    await quotas.api("PATCH", f"{PODS}/p/status", {"status": {"phase": "Succeeded"}}, **MERGE)
    await quotas.until("q", lambda status: status["used"] == {"pods": "0", "cpu": "0", "count/pods": "1"})
    assert (await quotas.api("POST", PODS, pod("next", "1"))).status == 201


async def test_pods_of_a_priority_are_counted_apart(quotas: Any) -> None:
    for name, value in (("high", 10), ("low", 1)):
        await quotas.api(
            "POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": value}
        )
    term = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    await quotas.make("q", {"pods": "1"}, scopeSelector={"matchExpressions": [term]})
    made = [
        await quotas.api("POST", PODS, pod(f"{name}{i}", priorityClassName=name))
        for name in ("high", "low")
        for i in (1, 2)
    ]
    assert [answer.status for answer in made] == [201, 403, 201, 201]


async def test_a_claim_of_a_class_is_held_against_that_class(quotas: Any) -> None:
    await quotas.make("q", {"gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "requests.storage": "9Gi"})

    def claim(name: str, of: str) -> dict[str, Any]:
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": of, "resources": {"requests": {"storage": "2Gi"}}}
        return {"metadata": {"name": name}, "spec": spec}

    refused = await quotas.api("POST", CLAIMS, claim("a", "gold"))
    assert "exceeded quota: q, requested: gold.storageclass.storage.k8s.io/requests.storage=2Gi" in refused.message
    assert (await quotas.api("POST", CLAIMS, claim("a", "bronze"))).status == 201
    assert (await quotas.used("q"))["requests.storage"] == "2Gi"


async def test_a_count_that_says_of_no_revisions_is_refused(quotas: Any) -> None:
    made = await quotas.make("q", {"pods": "1"})
    for at in ("x", "pods", "pods:-1", ":5", f"pods:{'9' * 30}"):
        answer = await quotas.api("PUT", f"{NAMESPACE}/resourcequotas/q/status?countedAt={at}", made.obj)
        assert (answer.status, answer.reason) == (400, "BadRequest")


async def test_a_limit_that_has_changed_makes_an_older_count_a_conflict(quotas: Any) -> None:
    made = (await quotas.make("q", {"pods": "1"})).obj
    made["status"] = {"hard": {"pods": "7"}, "used": {"pods": "0"}}
    answer = await quotas.api("PUT", f"{NAMESPACE}/resourcequotas/q/status?countedAt=pods:9999", made)
    assert (answer.status, answer.reason) == (409, "Conflict")


async def test_a_claim_that_is_to_have_other_attributes_is_held_against_the_quota_of_their_class(quotas: Any) -> None:
    term = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"]}
    await quotas.make("gold", {"persistentvolumeclaims": "1"}, scopeSelector={"matchExpressions": [term]})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    for name in ("a", "b"):
        assert (await quotas.api("POST", CLAIMS, {"metadata": {"name": name}, "spec": spec})).status == 201
        bound = {"status": {"phase": "Bound"}}
        await quotas.api("PATCH", f"{CLAIMS}/{name}/status", bound, **MERGE)
    wanted = {"spec": {"volumeAttributesClassName": "gold"}}
    assert (await quotas.api("PATCH", f"{CLAIMS}/a", wanted, **MERGE)).status == 200
    refused = await quotas.api("PATCH", f"{CLAIMS}/b", wanted, **MERGE)
    words = "exceeded quota: gold, requested: persistentvolumeclaims=1, used: persistentvolumeclaims=1"
    assert refused.status == 403 and words in refused.message
