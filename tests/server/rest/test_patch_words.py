"""What is told when the result of a patch is no object of its kind: upstream's message, which names the result (of a
strategic merge the patch) and neither kind nor name."""

from __future__ import annotations

from typing import Any

import pytest

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


@pytest.mark.parametrize(
    ("query", "patch", "told"),
    [
        (
            "",
            {"spec": {"replicas": "x"}},
            'patch: Invalid value: "map[spec:map[replicas:x]]": unrecognized type: int32',
        ),
        (
            "?fieldValidation=Strict",
            {"spec": {"what": 1}},
            'patch: Invalid value: "map[spec:map[what:1]]": strict decoding error: unknown field "spec.what"',
        ),
    ],
)
async def test_a_strategic_merge_is_shown(api: Any, query: str, patch: Any, told: str) -> None:
    assert (await api("POST", DEPLOYMENTS, WEB)).status == 201
    answer = await api("PATCH", f"{DEPLOYMENTS}/web{query}", patch, content_type=STRATEGIC)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.message == f' "" is invalid: {told}'
    assert answer.obj["details"].keys() == {"causes"}


async def test_the_result_of_a_merge_patch_is_shown_as_json(api: Any) -> None:
    assert (await api("POST", DEPLOYMENTS, WEB)).status == 201
    answer = await api("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": "<"}}, content_type=MERGE)
    assert answer.status == 422
    assert answer.message.startswith(' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"apps/v1\\",')
    assert '\\"replicas\\":\\"\\\\u003c\\"' in answer.message
    assert answer.message.endswith(
        '": json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32'
    )


async def test_an_operation_of_a_json_patch_has_no_other_members(api: Any) -> None:
    assert (await api("POST", DEPLOYMENTS, WEB)).status == 201
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 0, "why": "so"}]
    warned = await api("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=JSON_PATCH)
    assert (warned.status, warned.warnings) == (200, ['json patch unknown field "[0].why"'])
    strict = await api("PATCH", f"{DEPLOYMENTS}/web?fieldValidation=Strict", patch, content_type=JSON_PATCH)
    assert strict.status == 422
    assert strict.message.endswith('": strict decoding error: json patch unknown field "[0].why"')


async def test_what_does_not_apply_is_told_in_general_words(api: Any) -> None:
    assert (await api("POST", DEPLOYMENTS, WEB)).status == 201
    patch = [{"op": "remove", "path": "/spec/no"}]
    answer = await api("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=JSON_PATCH)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.message == "the server rejected our request due to an error in our request"


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
async def test_what_a_patch_names_is_decoded_and_all_else_is_as_it_was(api: Any, content_type: str) -> None:
    made = (await api("POST", DEPLOYMENTS, WEB)).obj
    url = f"{DEPLOYMENTS}/web"

    async def patched(patch: Any) -> Any:
        return await api("PATCH", url, patch, content_type=content_type)

    annotated = await patched({"metadata": {"annotations": {"a": "b"}}})
    assert {key: annotated.obj[key] for key in ("spec", "status")} == {key: made[key] for key in ("spec", "status")}
    unknown = await patched({"nonsense": {"a": 1}, "spec": {"template": {"spec": {"more": 1}}}})
    assert unknown.warnings == ['unknown field "nonsense"', 'unknown field "spec.template.spec.more"']
    assert unknown.obj["spec"] == made["spec"]
    assert "nonsense" not in unknown.obj
    emptied = await patched({"status": None, "metadata": {"annotations": {"a": None}}})
    assert emptied.obj["status"] == made["status"]
    assert "annotations" not in emptied.obj["metadata"]
    assert (await patched({"spec": {"replicas": "x"}})).status == 422
    assert (await patched({"spec": None})).status == 422
    stored = (await api("GET", url)).obj
    assert stored["spec"] == made["spec"]


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
async def test_of_metadata_what_a_patch_names_is_decoded_too(api: Any, content_type: str) -> None:
    made = (await api("POST", DEPLOYMENTS, WEB)).obj
    url = f"{DEPLOYMENTS}/web"

    async def patched(meta: Any) -> Any:
        return await api("PATCH", url, {"metadata": meta}, content_type=content_type)

    unknown = await patched({"zone": 1, "labels": {"a": "b"}, "area": {}})
    assert unknown.warnings == ['unknown field "metadata.zone"', 'unknown field "metadata.area"']
    assert not {"zone", "area"} & unknown.obj["metadata"].keys()
    assert unknown.obj["metadata"]["labels"] == {"a": "b"}
    emptied = await patched({"labels": None, "annotations": {}, "finalizers": [], "creationTimestamp": None})
    kept = {"resourceVersion": "", "managedFields": []}
    assert emptied.obj["metadata"] | kept == made["metadata"] | kept
    for wrong in ({"labels": {"a": 1}}, {"labels": "a"}, {"finalizers": [1]}, {"generation": "x"}):
        assert (await patched(wrong)).status == 422
    if content_type == STRATEGIC:
        replaced = await patched(
            {"$patch": "replace", "name": "web", "namespace": "default", "annotations": {"c": "d"}}
        )
        assert replaced.obj["metadata"]["annotations"] == {"c": "d"}
        assert replaced.obj["metadata"]["uid"] == made["metadata"]["uid"]
