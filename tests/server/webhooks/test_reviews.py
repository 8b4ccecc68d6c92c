"""AdmissionReview to the byte: what a webhook is asked, and what of its answers is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from .conftest import Configured, Hook, allow, deny, patched, rule, webhook

MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(**others: Any) -> dict[str, Any]:
    return {"metadata": {"name": "c"}, "data": {"a": "b"}, **others}


async def test_the_whole_question_of_a_creation(guarded_api: Any, certificate_of: Any, hook: Hook) -> None:
    await Configured(guarded_api).validating(webhook(hook.by_url(), rule("configmaps", operations=("CREATE",))))
    await guarded_api("POST", f"{MAPS}?fieldManager=me&fieldValidation=Strict", config_map())
    _, _, body = hook.asked[0]
    uid = body["request"].pop("uid")
    stored, extra = body["request"].pop("object"), body["request"]["userInfo"].pop("extra")
    assert len(uid) == 36
    assert body == {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": "c",
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {"username": "root", "groups": ["admins", "system:authenticated"]},
            "oldObject": None,
            "dryRun": False,
            "options": {
                "kind": "CreateOptions",
                "apiVersion": "meta.k8s.io/v1",
                "fieldManager": "me",
                "fieldValidation": "Strict",
            },
        },
    }
    assert (stored["kind"], stored["apiVersion"], stored["data"]) == ("ConfigMap", "v1", {"a": "b"})
    assert list(extra) == ["authentication.kubernetes.io/credential-id"]
    assert stored["metadata"]["namespace"] == "default" and stored["metadata"]["uid"]


async def test_an_update_shows_what_is_stored(api: Any, configured: Configured, hook: Hook) -> None:
    """CVE-2021-25735: the old object comes from the store, not from the request."""
    created = (await api("POST", MAPS, config_map())).obj
    await configured.validating(webhook(hook.by_url(), rule("configmaps", operations=("UPDATE",))))
    await api("PUT", f"{MAPS}/c", config_map(data={"a": "other"}))
    seen = hook.requests[0]
    assert (seen["oldObject"]["data"], seen["object"]["data"]) == ({"a": "b"}, {"a": "other"})
    assert seen["oldObject"]["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert seen["options"] == {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"}


@pytest.mark.parametrize(
    ("versions", "asked"), [(["v1beta1"], "v1beta1"), (["v1beta1", "v1"], "v1beta1"), (["v7", "v1"], "v1")]
)
async def test_the_first_version_that_both_know_is_spoken(
    api: Any, configured: Configured, hook: Hook, versions: list[str], asked: str
) -> None:
    hook.reply = lambda review: patched(review, {"op": "add", "path": "/data/m", "value": "x"})
    await configured.mutating(webhook(hook.by_url(), admissionReviewVersions=versions))
    answer = await api("POST", MAPS, config_map())
    assert hook.asked[0][2]["apiVersion"] == f"admission.k8s.io/{asked}" and answer.obj["data"]["m"] == "x"


async def test_v1beta1_is_believed_without_uid_and_patch_type(api: Any, configured: Configured, hook: Hook) -> None:
    def old(review: Any) -> Any:
        answer = patched(review, {"op": "add", "path": "/data/m", "value": "x"})
        del answer["response"]["uid"], answer["response"]["patchType"], answer["kind"]
        return answer

    hook.reply = old
    await configured.mutating(webhook(hook.by_url(), admissionReviewVersions=["v1beta1"]))
    assert (await api("POST", MAPS, config_map())).obj["data"]["m"] == "x"


def without(review: Any, *path: str) -> Any:
    answer: Any = allow(review)
    held = answer
    for key in path[:-1]:
        held = held[key]
    del held[path[-1]]
    return answer


INVALID = "received invalid webhook response: "
FAILED = "failed to call webhook: "


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (lambda review: without(review, "response"), f"{INVALID}webhook response was absent"),
        (lambda review: {}, f"{INVALID}webhook response was absent"),
        (lambda review: without(review, "response", "uid"), f'{INVALID}expected response.uid="UID", got ""'),
        (lambda review: allow(review, uid="other"), f'{INVALID}expected response.uid="UID", got "other"'),
        (
            lambda review: without(review, "kind"),
            f"{INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, "
            "got admission.k8s.io/v1, Kind=",
        ),
        (
            lambda review: {"response": allow(review)["response"]},
            f"{INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
        ),
        (
            lambda review: {**allow(review), "apiVersion": "admission.k8s.io/v1beta1"},
            f"{INVALID}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, "
            "got admission.k8s.io/v1beta1, Kind=AdmissionReview",
        ),
        (
            lambda review: allow(review, patch="W10="),
            f"{INVALID}webhook returned response.patch but not response.patchType",
        ),
        (
            lambda review: allow(review, patchType="JSONPatch"),
            f"{INVALID}webhook returned response.patchType but not response.patch",
        ),
        (
            lambda review: allow(review, patchType="", patch="W10="),
            f'{INVALID}webhook returned invalid response.patchType of ""',
        ),
        (
            lambda review: allow(review, patchType="MergePatch", patch="e30="),
            f'{INVALID}unsupported patch type "MergePatch"',
        ),
        (
            lambda review: web.Response(text="<html>", content_type="text/html"),
            f"{FAILED}couldn't get version/kind; json parse error: "
            "invalid character '<' looking for beginning of value",
        ),
        (
            lambda review: web.Response(body=b""),
            f"{FAILED}couldn't get version/kind; json parse error: unexpected end of JSON input",
        ),
        (
            lambda review: web.Response(body=b"[" * 100_000 + b"]" * 100_000),
            f"{FAILED}exceeded max depth",
        ),
        (lambda review: [], f"{FAILED}json: cannot unmarshal array into Go value of type v1.AdmissionReview"),
        (
            lambda review: allow(review, allowed="yes"),
            f"{FAILED}json: cannot unmarshal string into Go struct field AdmissionReview.response.allowed of type bool",
        ),
        (
            lambda review: deny(review, code="500"),
            f"{FAILED}json: cannot unmarshal string into Go struct field "
            "AdmissionReview.response.status.code of type int32",
        ),
        (
            lambda review: deny(review, details={"causes": ["x"]}),
            f"{FAILED}json: cannot unmarshal string into Go struct field "
            "AdmissionReview.response.status.details.causes of type v1.StatusCause",
        ),
        (
            lambda review: deny(review, details={"retryAfterSeconds": "x"}),
            f"{FAILED}json: cannot unmarshal string into Go struct field "
            "AdmissionReview.response.status.details.retryAfterSeconds of type int32",
        ),
        (
            lambda review: allow(review, warnings=[1]),
            f"{FAILED}json: cannot unmarshal number into Go struct field "
            "AdmissionReview.response.warnings of type string",
        ),
        (
            lambda review: allow(review, patchType="JSONPatch", patch="***"),
            f"{FAILED}illegal base64 data in response.patch",
        ),
        (lambda review: web.Response(status=503), f"{FAILED}the server is currently unable to handle the request"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_in_the_references_words(
    api: Any, configured: Configured, hook: Hook, reply: Any, text: str
) -> None:
    hook.reply = reply
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    text = text.replace("UID", hook.requests[0]["uid"])
    assert (answer.status, answer.reason) == (500, "InternalError")
    assert answer.message.startswith(f'Internal error occurred: failed calling webhook "hook.example.com": {text}')


@pytest.mark.parametrize("reply", [lambda review: {}, lambda review: web.Response(text="<html>")])
async def test_an_answer_that_is_none_fails_open_where_failures_are_ignored(
    api: Any, configured: Configured, hook: Hook, reply: Any
) -> None:
    hook.reply = reply
    await configured.mutating(webhook(hook.by_url(), failurePolicy="Ignore"))
    await configured.validating(webhook(hook.by_url(), failurePolicy="Ignore"))
    assert (await api("POST", MAPS, config_map())).status == 201 and len(hook.asked) == 2


async def test_what_webhooks_did_is_counted_under_upstreams_names(
    api: Any, configured: Configured, hook: Hook, unused_port: int
) -> None:
    hook.replies = {"/deny": lambda review: deny(review, code=403)}
    await configured.mutating(
        webhook(hook.by_url("/"), name="good.example.com"),
        webhook({"url": f"https://127.0.0.1:{unused_port}/"}, name="open.example.com", failurePolicy="Ignore"),
    )
    await configured.validating(webhook(hook.by_url("/deny"), name="deny.example.com"))
    await api("POST", MAPS, config_map())
    lines = (await api("GET", "/metrics")).obj.splitlines()
    prefix = "apiserver_admission_webhook_"
    good, denied = 'name="good.example.com",operation="CREATE"', 'name="deny.example.com",operation="CREATE"'
    assert f'{prefix}request_total{{code="200",{good},rejected="false",type="admit"}} 1.0' in lines
    assert f'{prefix}request_total{{code="403",{denied},rejected="true",type="validating"}} 1.0' in lines
    count = f'{prefix}rejection_count{{error_type="no_error",{denied},rejection_code="403",type="validating"}} 1.0'
    assert count in lines
    assert f'{prefix}fail_open_count{{name="open.example.com",type="admit"}} 1.0' in lines
    spent = f'{prefix}admission_duration_seconds_count{{{good},rejected="false",type="admit"}} 1.0'
    assert spent in lines
