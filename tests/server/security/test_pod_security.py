"""PodSecurity as a client meets it: refusals, warnings, labels of namespaces, exemptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.podsecurity.policies import Standard
from sampan.api.resources import PODS
from sampan.server.admission.podsecurity import existing
from sampan.server.admission.podsecurity.existing import ExistingPods

PREFIX = "pod-security.kubernetes.io/"
NEEDS_ROOT = {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]}
PLAIN = {"containers": [{"name": "c", "image": "i"}]}
PRIVILEGED = 'privileged (container "c" must not set securityContext.privileged=true)'


@pytest.fixture
async def namespace(api: Any) -> AsyncIterator[Any]:
    """``await namespace("n", enforce="baseline")``"""

    async def make(name: str, **labels: str) -> Any:
        named = {PREFIX + key.replace("_", "-"): value for key, value in labels.items()}
        return await api("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": named}})

    yield make


def pod(name: str, spec: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **meta}, "spec": spec}


async def test_a_pod_that_breaks_the_enforced_level_is_refused_in_upstreams_words(api: Any, namespace: Any) -> None:
    await namespace("n", enforce="baseline", enforce_version="v1.30")
    refused = await api("POST", "/api/v1/namespaces/n/pods", pod("p", NEEDS_ROOT))
    assert (refused.status, refused.reason) == (403, "Forbidden")
    assert refused.message == f'pods "p" is forbidden: violates PodSecurity "baseline:v1.30": {PRIVILEGED}'
    assert (await api("POST", "/api/v1/namespaces/n/pods", pod("p", PLAIN))).status == 201


async def test_warnings_tell_of_pods_and_of_workloads_and_refuse_neither(api: Any, namespace: Any) -> None:
    await namespace("n", warn="baseline", audit="baseline")
    warning = f'would violate PodSecurity "baseline:latest": {PRIVILEGED}'
    made = await api("POST", "/api/v1/namespaces/n/pods", pod("p", NEEDS_ROOT))
    assert (made.status, made.warnings) == (201, [warning])
    labels = {"app": "x"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": NEEDS_ROOT}}
    made = await api("POST", "/apis/apps/v1/namespaces/n/deployments", {"metadata": {"name": "d"}, "spec": spec})
    assert (made.status, made.warnings) == (201, [warning])


def about_pods(answer: Any) -> list[str]:
    """The warnings that are of this plugin."""
    return [text for text in answer.warnings if "PodSecurity" in text]


async def test_a_workload_is_not_refused_by_what_is_enforced_on_pods(api: Any, namespace: Any) -> None:
    await namespace("n", enforce="restricted")
    template = {"spec": {**NEEDS_ROOT, "restartPolicy": "Never"}}
    made = await api(
        "POST", "/apis/batch/v1/namespaces/n/jobs", {"metadata": {"name": "j"}, "spec": {"template": template}}
    )
    assert (made.status, about_pods(made)) == (201, [])


async def test_only_updates_that_matter_are_judged_and_ephemeral_containers_are(api: Any, namespace: Any) -> None:
    await namespace("n")
    await api("POST", "/api/v1/namespaces/n/pods", pod("p", PLAIN))
    labels = {"metadata": {"labels": {PREFIX + "enforce": "restricted"}}}
    merge = {"content_type": "application/merge-patch+json"}
    await api("PATCH", "/api/v1/namespaces/n", labels, **merge)
    path = "/api/v1/namespaces/n/pods/p"
    assert (await api("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, **merge)).status == 200
    assert (await api("PATCH", f"{path}/status", {"status": {"phase": "Running"}}, **merge)).status == 200
    strategic = {"content_type": "application/strategic-merge-patch+json"}
    image = {"spec": {"containers": [{"name": "c", "image": "other"}]}}
    assert (await api("PATCH", path, image, **strategic)).status == 403
    debug = {"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "securityContext": {"privileged": True}}]}}
    refused = await api("PATCH", f"{path}/ephemeralcontainers", debug, **strategic)
    assert refused.status == 403
    assert 'container "e" must not set securityContext.privileged=true' in refused.message


async def test_wrong_labels_of_a_namespace_are_refused_when_they_are_new(api: Any, namespace: Any) -> None:
    refused = await namespace("n", enforce="strict", warn_version="1.3")
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert refused.causes == [
        ("FieldValueInvalid", f"metadata.labels[{PREFIX}enforce]"),
        ("FieldValueInvalid", f"metadata.labels[{PREFIX}warn-version]"),
    ]
    assert (await namespace("n")).status == 201


async def test_stricter_labels_warn_of_the_pods_that_are_there(api: Any, namespace: Any) -> None:
    await namespace("n")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    for name in ("b", "a", "z"):
        await api("POST", "/api/v1/namespaces/n/pods", pod(name, NEEDS_ROOT, ownerReferences=[owner]))
    await api("POST", "/api/v1/namespaces/n/pods", pod("net", {**PLAIN, "hostNetwork": True}))
    await api("POST", "/api/v1/namespaces/n/pods", pod("fine", PLAIN))
    labels = {"metadata": {"labels": {PREFIX + "enforce": "baseline"}}}
    merge = {"content_type": "application/merge-patch+json"}
    changed = await api("PATCH", "/api/v1/namespaces/n", labels, **merge)
    assert changed.warnings == [
        'existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): privileged",
        "net: host namespaces",
    ]
    relaxed = {"metadata": {"labels": {PREFIX + "enforce": "privileged"}}}
    assert (await api("PATCH", "/api/v1/namespaces/n", relaxed, **merge)).warnings == []


async def test_a_namespace_of_more_pods_than_the_bound_says_how_many_were_looked_at(
    reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "MOST_PODS", 2)
    for index in range(5):
        reader.put(PODS, pod(f"p{index}", NEEDS_ROOT, namespace="n"))
    assert await ExistingPods(reader, frozenset()).warnings("n", Standard("baseline")) == [
        "new PodSecurity enforce level only checked against the first 2 of 5 existing pods",
        'existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest"',
        "p0 (and 1 other pod): privileged",
    ]
