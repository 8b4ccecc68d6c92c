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
