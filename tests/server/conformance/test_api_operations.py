"""Requirements of upstream's conformance suite on verbs, lists, watches and events, each test named after its own."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from sampan.server.rest.list import make_token

CORE = "/api/v1"
NS = f"{CORE}/namespaces/default"
MERGE = "application/merge-patch+json"
STRICT = "fieldValidation=Strict"


async def ok(api: Any, method: str, url: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    answer = await api(method, url, body, **headers)
    assert answer.status == status, answer.obj
    return answer.obj


def names(listed: Any) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


class Watch:
    """Events of a watch, one at a time."""

    def __init__(self, api: Any, url: str) -> None:
        self._events = api.watch(url)

    async def next(self) -> tuple[str, Any]:
        event = await asyncio.wait_for(anext(self._events), 20)
        return event["type"], event["object"]

    async def until(self, event_type: str, holds: Any = lambda obj: True) -> Any:
        while True:
            seen, obj = await self.next()
            if seen == event_type and holds(obj):
                return obj

    async def close(self) -> None:
        await self._events.aclose()


async def watching(api: Any, collection: str, selector: str) -> Watch:
    """A watch of what happens from now on."""
    listed = await ok(api, "GET", collection)
    version = listed["metadata"]["resourceVersion"]
    return Watch(api, f"{collection}?watch=1&labelSelector={selector}&resourceVersion={version}")


async def all_operations(api: Any, collection: str, obj: Any, status: Any, *, protection: str = "") -> None:
    """Every verb of a resource and of its status, as upstream's API operations tests go through them. ``protection``:
    the finalizer that it is made with; what its controller does, which does not run here, is done here."""
    labelled = f"{collection}?labelSelector=e2e%3Dx"
    obj["metadata"]["labels"] = {"e2e": "x"}
    base = obj["metadata"]["name"]
    made = []
    for number in range(3):
        obj["metadata"]["name"] = f"{base}-{number}"
        made.append(await ok(api, "POST", collection, obj, 201))
    one = f"{collection}/{base}-0"
    assert (await ok(api, "GET", one))["metadata"]["uid"] == made[0]["metadata"]["uid"]
    listed = await ok(api, "GET", labelled)
    assert len(listed["items"]) == 3
    watch = Watch(api, f"{labelled}&watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
    await ok(api, "PATCH", one, {"metadata": {"annotations": {"patched": "true"}}}, content_type=MERGE)
    await watch.until("MODIFIED", lambda o: o["metadata"]["annotations"].get("patched") == "true")
    found = await ok(api, "GET", one)
    found["metadata"]["annotations"]["updated"] = "true"
    await ok(api, "PUT", one, found)
    await watch.until("MODIFIED", lambda o: o["metadata"]["annotations"].get("updated") == "true")
    if status is not None:
        patched = await ok(api, "PATCH", f"{one}/status", {"status": status}, content_type=MERGE)
        assert [each["type"] for each in patched["status"]["conditions"]] == [status["conditions"][0]["type"]]
        shown = await ok(api, "GET", f"{one}/status")
        assert shown["metadata"]["uid"] == made[0]["metadata"]["uid"]
        await ok(api, "PUT", f"{one}/status", shown)
    for each in made if protection else ():
        assert each["metadata"]["finalizers"] == [protection]
        gone = {"metadata": {"finalizers": None}}
        await ok(api, "PATCH", f"{collection}/{each['metadata']['name']}", gone, content_type=MERGE)
    await ok(api, "DELETE", one)
    await watch.until("DELETED", lambda o: o["metadata"]["name"] == f"{base}-0")
    assert (await api("GET", one)).status == 404
    await ok(api, "DELETE", labelled)
    assert (await ok(api, "GET", labelled))["items"] == []
    await watch.close()


async def resources(api: Any, group: str, version: str = "v1") -> set[str]:
    """Asserts that the group version is discovered; the names of its resources."""
    groups = await ok(api, "GET", "/apis")
    assert group in {each["name"] for each in groups["groups"]}
    one = await ok(api, "GET", f"/apis/{group}")
    assert f"{group}/{version}" in {each["groupVersion"] for each in one["versions"]}
    return {each["name"] for each in (await ok(api, "GET", f"/apis/{group}/{version}"))["resources"]}


def condition(condition_type: str) -> Any:
    at = "2026-11-21T12:00:00Z"
    return {
        "conditions": [
            {"type": condition_type, "status": "True", "reason": "E2E", "message": "Set", "lastTransitionTime": at}
        ]
    }


async def test_flow_schemas(api: Any) -> None:
    """[sig-api-machinery] API priority and fairness should support FlowSchema API operations [Conformance]"""
    group = "flowcontrol.apiserver.k8s.io"
    assert {"flowschemas", "flowschemas/status"} <= await resources(api, group)
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rules = [{"subjects": [{"kind": "User", "user": {"name": "e2e"}}], "resourceRules": [rule]}]
    spec = {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"}, "rules": rules}
    await all_operations(
        api, f"/apis/{group}/v1/flowschemas", {"metadata": {"name": "e2e"}, "spec": spec}, condition("E2E")
    )


async def test_priority_levels(api: Any) -> None:
    """[sig-api-machinery] API priority and fairness should support PriorityLevelConfiguration API operations
    [Conformance]"""
    group = "flowcontrol.apiserver.k8s.io"
    assert {"prioritylevelconfigurations", "prioritylevelconfigurations/status"} <= await resources(api, group)
    spec = {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}
    collection = f"/apis/{group}/v1/prioritylevelconfigurations"
    await all_operations(api, collection, {"metadata": {"name": "e2e"}, "spec": spec}, condition("E2E"))


async def test_certificate_signing_requests(api: Any) -> None:
    """[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations [Conformance]"""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    group = "certificates.k8s.io"
    expected = {f"certificatesigningrequests{each}" for each in ("", "/approval", "/status")}
    assert expected <= await resources(api, group)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e")])
    request = x509.CertificateSigningRequestBuilder(subject).sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    )
    import base64

    pem = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": pem, "signerName": "example.com/e2e", "usages": ["client auth"], "expirationSeconds": 3600}
    collection = f"/apis/{group}/v1/certificatesigningrequests"
    made = await ok(api, "POST", collection, {"metadata": {"name": "approved"}, "spec": spec}, 201)
    made["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "E2E", "message": "Set"}]}
    approved = await ok(api, "PUT", f"{collection}/approved/approval", made)
    assert approved["status"]["conditions"][0]["type"] == "Approved"
    assert (await ok(api, "GET", f"{collection}/approved/approval"))["spec"] == approved["spec"]
    await ok(
        api, "PATCH", f"{collection}/approved/approval", {"metadata": {"annotations": {"a": "b"}}}, content_type=MERGE
    )
    await all_operations(api, collection, {"metadata": {"name": "e2e"}, "spec": spec}, condition("E2E"))


async def test_api_events(api: Any) -> None:
    """[sig-instrumentation] Events API should ensure that an event can be fetched, patched, deleted, and listed
    [Conformance]

    [sig-instrumentation] Events API should delete a collection of events [Conformance]"""
    collection = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {
        "metadata": {"name": "e2e", "labels": {"e2e": "x"}},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "first", "reason": "Test", "type": "Normal", "action": "Do",
        "reportingController": "e2e", "reportingInstance": "e2e", "eventTime": "2026-11-21T12:00:00.000000Z",
    }  # fmt: skip
    made = await ok(api, "POST", collection, event, 201)
    everywhere = await ok(api, "GET", "/apis/events.k8s.io/v1/events?labelSelector=e2e%3Dx")
    assert names(everywhere) == ["e2e"]
    # Only its series may change in this version.
    series = {"count": 2, "lastObservedTime": "2026-11-21T12:00:00.500000Z"}
    patched = await ok(api, "PATCH", f"{collection}/e2e", {"series": series}, content_type=MERGE)
    assert patched["series"] == series
    patched["series"] = {"count": 100, "lastObservedTime": "2026-11-21T12:00:01.000000Z"}
    updated = await ok(api, "PUT", f"{collection}/e2e", patched)
    assert (updated["series"]["count"], updated["metadata"]["uid"]) == (100, made["metadata"]["uid"])
    await ok(api, "DELETE", f"{collection}/e2e")
    assert (await ok(api, "GET", collection))["items"] == []
    for number in range(3):
        await ok(api, "POST", collection, {**event, "metadata": {"name": f"e{number}", "labels": {"e2e": "x"}}}, 201)
    await ok(api, "DELETE", f"{collection}?labelSelector=e2e%3Dx")
    assert (await ok(api, "GET", collection))["items"] == []


async def test_core_events(api: Any) -> None:
    """[sig-instrumentation] Events should manage the lifecycle of an event [Conformance]

    [sig-instrumentation] Events should delete a collection of events [Conformance]"""
    collection = f"{NS}/events"
    event = {
        "metadata": {"name": "e2e", "labels": {"e2e": "x"}}, "reason": "Test", "type": "Normal", "message": "first",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "source": {"component": "e2e"}, "count": 1,
    }  # fmt: skip
    await ok(api, "POST", collection, event, 201)
    assert names(await ok(api, "GET", f"{CORE}/events?labelSelector=e2e%3Dx")) == ["e2e"]
    patch = {"message": "second"}
    patched = await ok(api, "PATCH", f"{collection}/e2e", patch, content_type="application/strategic-merge-patch+json")
    assert patched["message"] == "second"
    patched["series"] = {"count": 100, "lastObservedTime": "2026-11-21T12:00:01.000000Z"}
    assert (await ok(api, "PUT", f"{collection}/e2e", patched))["series"]["count"] == 100
    await ok(api, "DELETE", f"{collection}/e2e")
    assert names(await ok(api, "GET", f"{CORE}/events?labelSelector=e2e%3Dx")) == []
    for number in range(3):
        await ok(api, "POST", collection, {**event, "metadata": {"name": f"e{number}", "labels": {"e2e": "x"}}}, 201)
    assert len((await ok(api, "GET", f"{collection}?labelSelector=e2e%3Dx"))["items"]) == 3
    await ok(api, "DELETE", f"{collection}?labelSelector=e2e%3Dx")
    assert (await ok(api, "GET", f"{collection}?labelSelector=e2e%3Dx"))["items"] == []


async def test_the_version_of_the_server(api: Any) -> None:
    """[sig-api-machinery] server version should find the server version [Conformance]"""
    version = await ok(api, "GET", "/version")
    assert version["major"].isdigit()
    assert version["minor"].isdigit()
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")


async def make_templates(api: Any, count: int) -> list[str]:
    made = []
    for number in range(count):
        template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
        made.append(f"template-{number:04}")
        await ok(api, "POST", f"{NS}/podtemplates", {"metadata": {"name": made[-1]}, "template": template}, 201)
    return made


async def test_lists_in_chunks(api: Any) -> None:
    """[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls
    [Conformance]"""
    made = await make_templates(api, 40)
    token, found, version, left = "", [], "", len(made)
    while left:
        page = await ok(api, "GET", f"{NS}/podtemplates?limit=17&continue={token}")
        metadata = page["metadata"]
        assert len(page["items"]) <= 17
        assert metadata["resourceVersion"] == (version := version or metadata["resourceVersion"])
        left -= len(page["items"])
        assert metadata.get("remainingItemCount", 0) == left
        found += names(page)
        token = metadata.get("continue", "")
        assert bool(token) == bool(left)
    assert found == made
    assert names(await ok(api, "GET", f"{NS}/podtemplates")) == made


async def test_a_list_that_was_compacted_away_continues_inconsistently(api: Any) -> None:
    """[sig-api-machinery] Servers with support for API chunking should support continue listing from the last key if
    the original version has been compacted away, though the list is inconsistent [Slow] [Conformance]"""
    made = await make_templates(api, 20)
    first = await ok(api, "GET", f"{NS}/podtemplates?limit=6")
    await ok(api, "POST", f"{NS}/configmaps", {"metadata": {"name": "another"}}, 201)
    await api.server.store.compact(api.server.store.revision)
    expired = await ok(api, "GET", f"{NS}/podtemplates?limit=6&continue={first['metadata']['continue']}", status=410)
    token = expired["metadata"]["continue"]
    assert token == make_token(-1, made[5] + "\0")
    second = await ok(api, "GET", f"{NS}/podtemplates?limit=6&continue={token}")
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert (len(second["items"]), second["metadata"]["remainingItemCount"]) == (6, 8)
    rest = await ok(api, "GET", f"{NS}/podtemplates?continue={second['metadata']['continue']}")
    assert names(first) + names(second) + names(rest) == made


async def config_map(api: Any, name: str, label: str, **data: str) -> Any:
    """Made, or changed if it is there."""
    body = {"metadata": {"name": name, "labels": {"watch-this": label}}, "data": data}
    answer = await api("PUT", f"{NS}/configmaps/{name}", body)
    return answer.obj if answer.status == 200 else await ok(api, "POST", f"{NS}/configmaps", body, 201)


async def test_watchers_of_labels(api: Any) -> None:
    """[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps
    [Conformance]"""
    selectors = {"A": "watch-this%3DA", "B": "watch-this%3DB", "AB": "watch-this+in+(A,B)"}
    watches = {label: await watching(api, f"{NS}/configmaps", text) for label, text in selectors.items()}
    for label in "AB":
        await config_map(api, label.lower(), label)
        await config_map(api, label.lower(), label, mutation="1")
        await ok(api, "DELETE", f"{NS}/configmaps/{label.lower()}")
    steps = ("ADDED", "MODIFIED", "DELETED")
    expected = {label: [(step, label.lower()) for step in steps] for label in "AB"}
    expected["AB"] = expected["A"] + expected["B"]
    for label, watch in watches.items():
        for step in expected[label]:
            event_type, obj = await watch.next()
            assert (event_type, obj["metadata"]["name"]) == step
        await watch.close()


async def test_a_watch_goes_on_where_another_ended(api: Any) -> None:
    """[sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by the
    previous watch [Conformance]"""
    url = f"{NS}/configmaps?watch=1&labelSelector=watch-this%3DR"
    first = Watch(api, url)
    made = await config_map(api, "r", "R")
    event_type, seen = await first.next()
    assert (event_type, seen) == ("ADDED", made)
    await first.close()
    changed = await config_map(api, "r", "R", mutation="2")
    await ok(api, "DELETE", f"{NS}/configmaps/r")
    second = Watch(api, f"{url}&resourceVersion={seen['metadata']['resourceVersion']}")
    assert await second.next() == ("MODIFIED", changed)
    assert (await second.next())[0] == "DELETED"
    await second.close()


async def test_what_leaves_the_selector_is_deleted_until_it_comes_back(api: Any) -> None:
    """[sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the
    selector [Conformance]"""
    watch = await watching(api, f"{NS}/configmaps", "watch-this%3DS")
    await config_map(api, "s", "S")
    assert (await watch.next())[0] == "ADDED"
    left = await config_map(api, "s", "other", mutation="1")
    event_type, seen = await watch.next()
    assert (event_type, seen["metadata"]["resourceVersion"]) == ("DELETED", left["metadata"]["resourceVersion"])
    assert seen["metadata"]["labels"] == {"watch-this": "S"}
    await config_map(api, "s", "other", mutation="2")
    back = await config_map(api, "s", "S", mutation="2")
    assert await watch.next() == ("ADDED", back)
    await ok(api, "DELETE", f"{NS}/configmaps/s")
    assert (await watch.next())[0] == "DELETED"
    await watch.close()


async def test_namespaces_are_changed(api: Any) -> None:
    """[sig-api-machinery] Namespaces [Serial] should patch a Namespace [Conformance]

    [sig-api-machinery] Namespaces [Serial] should apply an update to a Namespace [Conformance]

    [sig-api-machinery] Namespaces [Serial] should apply changes to a namespace status [Conformance]

    [sig-api-machinery] Namespaces [Serial] should apply a finalizer to a Namespace [Conformance]"""
    url = f"{CORE}/namespaces/e2e"
    await ok(api, "POST", f"{CORE}/namespaces", {"metadata": {"name": "e2e"}}, 201)
    patched = await ok(api, "PATCH", url, {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    assert patched["metadata"]["labels"]["a"] == "b"
    patched["metadata"]["labels"]["c"] = "d"
    assert (await ok(api, "PUT", url, patched))["metadata"]["labels"]["c"] == "d"
    found = await ok(api, "GET", f"{url}/status")
    assert found["status"]["phase"] == "Active"
    changed = await ok(api, "PATCH", f"{url}/status", {"status": condition("StatusPatch")}, content_type=MERGE)
    assert changed["status"]["conditions"][0]["type"] == "StatusPatch"
    changed["status"]["conditions"].append({**changed["status"]["conditions"][0], "type": "StatusUpdate"})
    updated = await ok(api, "PUT", f"{url}/status", changed)
    assert [each["type"] for each in updated["status"]["conditions"]] == ["StatusPatch", "StatusUpdate"]
    updated["spec"]["finalizers"].append("e2e.example.com/fake")
    finalized = await ok(api, "PUT", f"{url}/finalize", updated)
    assert "e2e.example.com/fake" in finalized["spec"]["finalizers"]
    finalized["spec"]["finalizers"].remove("e2e.example.com/fake")
    assert (await ok(api, "PUT", f"{url}/finalize", finalized))["spec"]["finalizers"] == ["kubernetes"]


async def test_quotas_are_changed(api: Any) -> None:
    """[sig-api-machinery] ResourceQuota should be able to update and delete ResourceQuota. [Conformance]

    [sig-api-machinery] ResourceQuota should manage the lifecycle of a ResourceQuota [Conformance]

    [sig-api-machinery] ResourceQuota should apply changes to a resourcequota status [Conformance]"""
    collection = f"{NS}/resourcequotas"
    quota = {"metadata": {"name": "q", "labels": {"e2e": "x"}}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}}
    await ok(api, "POST", collection, quota, 201)
    assert names(await ok(api, "GET", f"{CORE}/resourcequotas?labelSelector=e2e%3Dx")) == ["q"]
    watch = await watching(api, collection, "e2e%3Dx")
    quota["spec"]["hard"] = {"cpu": "2", "memory": "1Gi"}
    updated = await ok(api, "PUT", f"{collection}/q", quota)
    assert updated["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}
    status = {"status": {"hard": {"cpu": "2", "memory": "1Gi"}}}
    patched = await ok(api, "PATCH", f"{collection}/q/status", status, content_type=MERGE)
    assert patched["status"]["hard"] == patched["spec"]["hard"]
    await watch.until("MODIFIED", lambda obj: obj["status"].get("hard") == {"cpu": "2", "memory": "1Gi"})
    await ok(api, "PATCH", f"{collection}/q", {"spec": {"hard": {"cpu": "5"}}}, content_type=MERGE)
    found = await ok(api, "GET", f"{collection}/q/status")
    assert (found["spec"]["hard"]["cpu"], found["status"]["hard"]["cpu"]) == ("5", "2")
    found["status"]["hard"] = {"cpu": "5", "memory": "1Gi"}
    assert (await ok(api, "PUT", f"{collection}/q/status", found))["spec"] == found["spec"]
    await ok(api, "DELETE", f"{collection}?labelSelector=e2e%3Dx")
    assert (await api("GET", f"{collection}/q")).status == 404
    await watch.until("DELETED")
    await watch.close()


async def test_service_accounts_are_changed(api: Any) -> None:
    """[sig-auth] ServiceAccounts should run through the lifecycle of a ServiceAccount [Conformance]

    [sig-auth] ServiceAccounts should update a ServiceAccount [Conformance]"""
    collection = f"{NS}/serviceaccounts"
    watch = await watching(api, collection, "e2e%3Dx")
    account = await ok(api, "POST", collection, {"metadata": {"name": "s", "labels": {"e2e": "x"}}}, 201)
    assert await watch.next() == ("ADDED", account)
    patch = {"automountServiceAccountToken": False}
    assert (await ok(api, "PATCH", f"{collection}/s", patch, content_type=MERGE))[
        "automountServiceAccountToken"
    ] is False
    (listed,) = (await ok(api, "GET", f"{CORE}/serviceaccounts?labelSelector=e2e%3Dx"))["items"]
    assert listed["automountServiceAccountToken"] is False
    listed["automountServiceAccountToken"] = True
    updated = await ok(api, "PUT", f"{collection}/s", listed)
    assert updated["automountServiceAccountToken"] is True
    await ok(api, "DELETE", f"{collection}?labelSelector=e2e%3Dx")
    await watch.until("DELETED")
    await watch.close()


async def test_a_token_is_reviewed(api: Any) -> None:
    """[sig-auth] ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview
    [Conformance]"""
    await ok(api, "POST", f"{NS}/serviceaccounts", {"metadata": {"name": "s"}}, 201)
    request = {"spec": {"expirationSeconds": 3600}}
    issued = await ok(api, "POST", f"{NS}/serviceaccounts/s/token", request, 201)
    token = issued["status"]["token"]
    assert token
    review = {"spec": {"token": token}}
    told = await ok(api, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, 201)
    assert (told["status"]["authenticated"], "error" in told["status"]) == (True, False)
    assert told["status"]["user"]["username"] == "system:serviceaccount:default:s"


async def test_what_a_review_says_is_what_happens(guarded_api: Any) -> None:
    """[sig-auth] SubjectReview should support SubjectReview API operations [Conformance]"""
    api, group, rbac = guarded_api, "authorization.k8s.io", "rbac.authorization.k8s.io"
    user = "system:serviceaccount:default:e2e"
    await ok(api, "POST", f"{NS}/serviceaccounts", {"metadata": {"name": "e2e"}}, 201)
    attributes = {"namespace": "default", "verb": "list", "resource": "configmaps", "version": "v1"}
    review = {"spec": {"resourceAttributes": attributes, "user": user}}

    async def told(collection: str) -> bool:
        body = {**review, "metadata": {"namespace": "default"}} if "/namespaces/" in collection else review
        allowed: bool = (await ok(api, "POST", f"/apis/{group}/v1/{collection}", body, 201))["status"]["allowed"]
        return allowed

    async def agreed() -> bool:
        as_user = await api("GET", f"{NS}/configmaps", impersonate_user=user)
        answers = {await told("subjectaccessreviews"), await told("namespaces/default/localsubjectaccessreviews")}
        assert answers == {as_user.status == 200}
        return answers == {True}

    assert not await agreed()
    subject = {"kind": "ServiceAccount", "name": "e2e", "namespace": "default"}
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": "all"}
    binding = {"metadata": {"name": "e2e"}, "roleRef": role, "subjects": [subject]}
    await ok(api, "POST", f"/apis/{rbac}/v1/namespaces/default/rolebindings", binding, 201)
    assert await agreed()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"metadata":{"name":"a"},"unknown":1}', 'unknown field "unknown"'),
        ('{"metadata":{"name":"a"},"data":{"k":"1"},"data":{"k":"2"}}', 'duplicate field "data"'),
        ('{"metadata":{"name":"a","unknownMeta":"x"}}', 'unknown field "metadata.unknownMeta"'),
    ],
)
async def test_unknown_and_duplicate_fields(api: Any, body: str, said: str) -> None:
    """[sig-api-machinery] FieldValidation should detect unknown and duplicate fields of a typed object [Conformance]

    [sig-api-machinery] FieldValidation should detect unknown metadata fields of a typed object [Conformance]"""
    answer = await api("POST", f"{NS}/configmaps?{STRICT}", body.encode())
    assert answer.status == 400
    assert said in answer.message
    assert orjson.loads(body)["metadata"]["name"] not in names(await ok(api, "GET", f"{NS}/configmaps"))
    assert (await api("POST", f"{NS}/configmaps", body.encode())).warnings == [said]


async def test_closing_a_watch_leaves_nothing_behind(api: Any) -> None:
    async with aclosing(api.watch(f"{NS}/configmaps?watch=1")) as events:
        await config_map(api, "a", "A")
        await anext(events)
        assert len(api.server.watching) == 1
    assert len(api.server.watching) == 0


async def test_a_review_of_ones_own_rules_answers_without_the_question(api: Any) -> None:
    review = {"metadata": {"labels": {"a": "b"}}, "spec": {"namespace": "default"}}
    told = await ok(api, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review, 201)
    assert (told["metadata"], told["spec"], told["status"]["incomplete"]) == ({}, {}, False)
