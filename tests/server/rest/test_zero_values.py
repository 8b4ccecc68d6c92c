"""What a manifest says with zeros is what it says without them, all the way through the server."""

from __future__ import annotations

from typing import Any

import pytest

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"

CONTAINER: dict[str, Any] = {"name": "c", "image": "x"}
ZEROS = {"tty": False, "ports": [], "env": [], "args": [], "workingDir": "", "resources": {}, "stdin": None}


def workload(container: dict[str, Any], *, selector: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "zero"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "zero"}, **(selector or {})},
            "template": {"metadata": {"labels": {"app": "zero"}}, "spec": {**pod, "containers": [container]}},
        },
    }


PLAIN = workload(CONTAINER)
WITH_ZEROS = workload(
    {**CONTAINER, **ZEROS}, selector={"matchExpressions": []}, hostPID=False, volumes=[], nodeSelector={}, hostname=""
)
WITH_ZEROS["spec"] |= {"minReadySeconds": 0, "paused": False}


@pytest.mark.parametrize(("first", "second"), [(WITH_ZEROS, PLAIN), (PLAIN, WITH_ZEROS)])
async def test_zeros_that_come_or_go_are_no_change(api: Any, first: Any, second: Any) -> None:
    created = await api("POST", DEPLOYMENTS, first)
    assert created.status == 201
    updated = await api("PUT", f"{DEPLOYMENTS}/zero", second)
    assert updated.status == 200
    assert updated.obj["metadata"]["generation"] == 1
    assert updated.obj["spec"] == created.obj["spec"]
    assert updated.obj["metadata"]["resourceVersion"] == created.obj["metadata"]["resourceVersion"]


async def test_an_immutable_selector_is_the_same_with_an_empty_list_in_it(api: Any) -> None:
    given = {key: value for key, value in WITH_ZEROS["spec"].items() if key != "paused"}
    created = await api("POST", REPLICA_SETS, {**WITH_ZEROS, "spec": given})
    assert created.status == 201
    assert (await api("PUT", f"{REPLICA_SETS}/zero", PLAIN)).status == 200


async def test_a_typed_client_may_put_back_a_pod_that_was_given_with_zeros(api: Any) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"nodeSelector": {}, "containers": [{**CONTAINER, **ZEROS}]}}
    got = (await api("POST", PODS, pod)).obj
    got["metadata"]["labels"] = {"x": "1"}
    assert not (ZEROS.keys() - {"resources"}) & got["spec"]["containers"][0].keys()
    assert (await api("PUT", f"{PODS}/p", got)).status == 200


@pytest.mark.parametrize("kind", ["merge-patch+json", "strategic-merge-patch+json"])
async def test_a_patch_with_zeros_changes_nothing(api: Any, kind: str) -> None:
    created = await api("POST", DEPLOYMENTS, PLAIN)
    patch = {"spec": {"paused": False, "template": {"spec": {"hostPID": False, "volumes": [], "nodeSelector": {}}}}}
    patched = await api("PATCH", f"{DEPLOYMENTS}/zero", patch, content_type=f"application/{kind}")
    assert patched.status == 200
    assert patched.obj["spec"] == created.obj["spec"]
    assert patched.obj["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("text", "kept"), [(b"x\xffy", "x\ufffdy"), (rb"cut \ud83d", "cut \ufffd"), (rb"\ud83d\ude00", "\N{GRINNING FACE}")]
)
async def test_broken_characters_are_stored_as_replacements(api: Any, text: bytes, kept: str) -> None:
    answer = await api("POST", CONFIG_MAPS, b'{"metadata":{"name":"u"},"data":{"a":"%s"}}' % text)
    assert (answer.status, answer.obj["data"]["a"]) == (201, kept)


async def test_a_json_patch_counts_from_the_end(api: Any) -> None:
    await api("POST", DEPLOYMENTS, PLAIN)
    path = "/spec/template/spec/containers/-1"
    patch = [{"op": "add", "path": path, "value": {"name": "l", "image": "l"}}]
    patched = await api("PATCH", f"{DEPLOYMENTS}/zero", patch, content_type="application/json-patch+json")
    assert [part["name"] for part in patched.obj["spec"]["template"]["spec"]["containers"]] == ["c", "l"]


async def test_a_strategic_patch_without_its_merge_key_is_told_in_go(api: Any) -> None:
    await api("POST", DEPLOYMENTS, PLAIN)
    patch = {"spec": {"template": {"spec": {"containers": [{"image": "q"}]}}}}
    answer = await api("PATCH", f"{DEPLOYMENTS}/zero", patch, content_type="application/strategic-merge-patch+json")
    assert "map: map[image:q] does not contain declared merge key: name" in answer.message
