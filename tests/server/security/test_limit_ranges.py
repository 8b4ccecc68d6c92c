"""LimitRanges: what conformance asks of them, and how they add up."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.server.admission.limit_ranger import apply_defaults, claim_violations, pod_violations

NAMESPACE = "/api/v1/namespaces/default"
RANGES = f"{NAMESPACE}/limitranges"
MERGE = {"content_type": "application/merge-patch+json"}


def pod(name: str = "p", *resources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{i}", "image": "i", "resources": found} for i, found in enumerate(resources or ({},))]
    return {"metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def resources(cpu: str, memory: str, limit_cpu: str = "", limit_memory: str = "") -> dict[str, Any]:
    limits = {"limits": {"cpu": limit_cpu, "memory": limit_memory}} if limit_cpu else {}
    return {"requests": {"cpu": cpu, "memory": memory}, **limits}


async def test_pods_get_the_defaults_of_a_limit_range(api: Any) -> None:
    """LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied."""
    item = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "max": {"cpu": "500m", "memory": "500Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
    }
    body = {"metadata": {"name": "l"}, "spec": {"limits": [item]}}
    assert (await api("POST", RANGES, body)).status == 201
    assert (await api("GET", f"{RANGES}/l")).obj["spec"]["limits"] == [item]

    async def made(name: str, found: dict[str, Any]) -> Any:
        return await api("POST", f"{NAMESPACE}/pods", pod(name, found))

    plain = (await made("plain", {})).obj["spec"]["containers"][0]["resources"]
    assert plain == {"limits": item["default"], "requests": item["defaultRequest"]}
    partial = (await made("partial", resources("150m", "150Mi"))).obj["spec"]["containers"][0]["resources"]
    assert partial == {"limits": item["default"], "requests": {"cpu": "150m", "memory": "150Mi"}}
    for name, found in (("less", resources("10m", "50Mi")), ("more", resources("600m", "600Mi"))):
        assert (await made(name, found)).status in (403, 422)
    lower = {"spec": {"limits": [{"type": "Container", "min": {"cpu": "9m", "memory": "49Mi"}, "max": item["max"]}]}}
    assert (await api("PATCH", f"{RANGES}/l", lower, **MERGE)).status == 200
    assert (await made("less", resources("10m", "50Mi"))).status == 201
    assert (await made("more", resources("600m", "600Mi"))).status in (403, 422)
    await api("DELETE", f"{RANGES}/l")
    assert (await made("more", resources("600m", "600Mi"))).status == 201


async def test_limit_ranges_are_listed_patched_and_deleted_by_label(api: Any) -> None:
    """LimitRange should list, patch and delete a LimitRange by collection"""
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    other = "/api/v1/namespaces/other/limitranges"
    limits = [{"type": "Container", "max": {"cpu": "1"}}]
    for path in (RANGES, other):
        body = {"metadata": {"name": "l", "labels": {"e2e": "x"}}, "spec": {"limits": limits}}
        assert (await api("POST", path, body)).status == 201
    everywhere = "/api/v1/limitranges?labelSelector=e2e=x"
    assert len((await api("GET", everywhere)).obj["items"]) == 2
    patch = {"metadata": {"labels": {"l": "patched"}}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "2"}}]}}
    patched = (await api("PATCH", f"{RANGES}/l", patch, **MERGE)).obj
    assert (patched["metadata"]["labels"]["l"], patched["spec"]["limits"][0]["max"]) == ("patched", {"cpu": "2"})
    assert (await api("DELETE", f"{RANGES}?labelSelector=l=patched")).status == 200
    assert [item["metadata"]["namespace"] for item in (await api("GET", everywhere)).obj["items"]] == ["other"]


def test_the_first_limit_range_that_has_a_default_gives_it() -> None:
    items = [
        {"type": "Container", "default": {"cpu": "1"}},
        {"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}},
    ]
    made = pod()
    apply_defaults(made, items)
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        # A container that says nothing adds nothing: the others' sum is the pod's.
        (pod("p", resources("600m", "1Gi"), resources("600m", "1Gi"), {}), [
            "maximum cpu usage per Pod is 1.  No limit is specified",
            "maximum memory usage per Pod is 1Gi.  No limit is specified",
        ]),
        (pod("p", resources("100m", "1Mi", "600m", "512Mi"), resources("100m", "1Mi", "600m", "513Mi")), [
            "maximum cpu usage per Pod is 1, but limit is 1200m",
            "maximum memory usage per Pod is 1Gi, but limit is 1025Mi",
        ]),
        # A sidecar runs beside the containers, other init containers before them.
        (pod("p", resources("100m", "1Mi", "500m", "512Mi"), initContainers=[
            {"name": "s", "restartPolicy": "Always", "resources": resources("1m", "1Mi", "600m", "1Mi")}
        ]), ["maximum cpu usage per Pod is 1, but limit is 1100m"]),
        (pod("p", resources("100m", "1Mi", "500m", "512Mi"), initContainers=[
            {"name": "i", "resources": resources("1m", "1Mi", "600m", "1Mi")}
        ]), []),
    ],
)  # fmt: skip
def test_a_pod_is_measured_as_a_whole(made: dict[str, Any], words: list[str]) -> None:
    assert list(pod_violations(made, [{"type": "Pod", "max": {"cpu": "1", "memory": "1Gi"}}])) == words


def test_a_limit_may_not_be_too_many_times_the_request() -> None:
    item = {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}
    said = list(pod_violations(pod("p", resources("100m", "1Mi", "250m", "1Mi"), {}), [item]))
    assert said == [
        "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
        "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
    ]


def test_a_claim_asks_for_neither_too_little_nor_too_much() -> None:
    item = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}

    def said(size: str) -> list[str]:
        return list(claim_violations({"spec": {"resources": {"requests": {"storage": size}}}}, [item]))

    assert said("1Gi") == []
    assert said("1Mi") == ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"]
    assert said("3Gi") == ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]
