"""Rules of reads, writes and patches that clients lean on and that no other file here names."""

from __future__ import annotations

import gzip
import itertools
from random import Random
from typing import Any

import orjson
import pytest

from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.rest import create

pytestmark = pytest.mark.every_store

NS = "/api/v1/namespaces/default"
CMS, PODS = f"{NS}/configmaps", f"{NS}/pods"
JSON_PATCH, MERGE = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


def cm(name: str = "a", **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **parts}


async def make(api: Any, *names: str, **parts: Any) -> Any:
    answer = None
    for name in names:
        answer = await api("POST", CMS, cm(name, **parts))
        assert answer.status == 201, answer.obj
    return answer


def version(answer: Any) -> int:
    return int(answer.obj["metadata"]["resourceVersion"])


# -- reads -------------------------------------------------------------------------------------------------------


async def test_any_version_ignores_the_limit(api: Any) -> None:
    await make(api, "a", "b", "c")
    await api("GET", CMS)  # the newest: from here on the server cannot know less
    answer = await api("GET", f"{CMS}?limit=1&resourceVersion=0")
    assert (len(answer.obj["items"]), "continue" in answer.obj["metadata"]) == (3, False)


async def test_a_version_with_a_limit_is_exact(api: Any) -> None:
    first = await make(api, "a")
    await make(api, "b")
    answer = await api("GET", f"{CMS}?limit=5&resourceVersion={version(first)}")
    assert ([item["metadata"]["name"] for item in answer.obj["items"]], version(answer)) == (["a"], version(first))


async def test_a_version_alone_is_a_lower_bound(api: Any) -> None:
    first = await make(api, "a")
    await make(api, "b")
    await api("GET", CMS)  # the newest: from here on the server cannot know less
    for query in ("", "&resourceVersionMatch=NotOlderThan"):
        answer = await api("GET", f"{CMS}?resourceVersion={version(first)}{query}")
        assert len(answer.obj["items"]) == 2


async def test_a_bad_token_and_a_bad_label_say_so(api: Any) -> None:
    for query, text in [
        ("continue=garbage", "continue"),
        ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0&resourceVersion=1",
         "specifying resource version is not allowed when using continue"),
        ("labelSelector=a+b+c", "unable to parse requirement"),
        ("fieldSelector=spec.foo%3Dx", "spec.foo"),
        ("fieldSelector=abc", "invalid selector"),
        ("timeout=abc", "invalid timeout specified in the request URL"),
    ]:  # fmt: skip
        answer = await api("GET", f"{CMS}?{query}")
        assert (answer.status, answer.reason) == (400, "BadRequest")
        assert text in answer.message


async def test_deleted_events_carry_the_last_state_and_the_version_of_the_deletion(api: Any) -> None:
    made = await make(api, "a", data={"k": "v"})
    await api("DELETE", f"{CMS}/a")
    watch = api.watch(f"{CMS}?watch=1&resourceVersion={version(made)}")
    event = await anext(watch)
    await watch.aclose()
    assert (event["type"], event["object"]["data"]) == ("DELETED", {"k": "v"})
    assert int(event["object"]["metadata"]["resourceVersion"]) > version(made)


@pytest.mark.parametrize(
    "url", ["/api/v1/watch/namespaces/default", "/api/v1/watch/namespaces", "/api/v1/namespaces?watch=1"]
)
async def test_every_url_of_a_namespace_watch_sees_its_namespace(api: Any, url: str) -> None:
    watch = api.watch(url)
    event = await anext(watch)
    await watch.aclose()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "default")


# -- creates -----------------------------------------------------------------------------------------------------


async def test_a_taken_generated_name_is_tried_again_and_then_given_up(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = itertools.cycle(["gen-aaaaa"])
    monkeypatch.setattr(create.metadata, "generate_name", lambda base, random: next(names))
    body = {"metadata": {"generateName": "gen-"}}
    assert (await api("POST", CMS, body)).status == 201
    answer = await api("POST", CMS, body)
    assert (answer.status, answer.reason) == (409, "AlreadyExists")
    assert (answer.obj["details"]["retryAfterSeconds"], answer.headers["Retry-After"]) == (1, "1")


async def test_a_name_that_is_going_away_says_so(api: Any) -> None:
    await api("POST", CMS, {"metadata": {"name": "a", "finalizers": ["x.y/z"]}})
    await api("DELETE", f"{CMS}/a")
    answer = await api("POST", CMS, cm())
    assert answer.message == 'object is being deleted: configmaps "a" already exists'


async def test_a_terminating_object_takes_no_more_finalizers(api: Any) -> None:
    await api("POST", CMS, {"metadata": {"name": "a", "finalizers": ["x.y/z"]}})
    await api("DELETE", f"{CMS}/a")
    body = {"metadata": {"finalizers": ["x.y/z", "x.y/w"]}}
    answer = await api("PATCH", f"{CMS}/a", body, content_type=MERGE)
    assert (answer.status, answer.causes) == (422, [("FieldValueForbidden", "metadata.finalizers")])


async def test_owners_named_twice_are_dropped_with_a_warning(api: Any) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"}
    answer = await api("POST", CMS, {"metadata": {"name": "a", "ownerReferences": [owner, owner]}})
    assert (answer.status, answer.obj["metadata"]["ownerReferences"]) == (201, [owner])
    assert "duplicate UID(s) observed: u" in answer.warnings[0]


async def test_a_rehearsed_create_has_a_uid_and_no_version(api: Any) -> None:
    answer = await api("POST", f"{CMS}?dryRun=All", cm())
    assert "uid" in answer.obj["metadata"]
    assert "resourceVersion" not in answer.obj["metadata"]


class OnlyUpdates:
    """May update everything and create nothing."""

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return Decision(attributes.verb != "create", "no creating")


async def test_a_put_that_creates_needs_the_right_to_create(api: Any) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    assert (await api("PUT", f"{leases}/l", cm("l"))).status == 201
    assert (await api("PUT", f"{leases}/l", cm("l"))).status == 422  # it is there now: which version is meant?
    priorities = "/api/v1/namespaces/default/limitranges"
    assert (await api("PUT", f"{priorities}/x", cm("x", spec={"limits": []}))).status == 201
    api.server._context.authorizer = OnlyUpdates()
    answer = await api("PUT", f"{priorities}/y", cm("y", spec={"limits": []}))
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert 'cannot create resource "limitranges"' in answer.message
    assert (await api("PUT", f"{priorities}/x", cm("x", spec={"limits": []}))).status == 200


# -- bodies ------------------------------------------------------------------------------------------------------


async def test_a_yaml_bomb_is_refused_at_once(api: Any) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for previous, key in itertools.pairwise("abcdefghi"):
        lines.append(f"{key}: &{key} [{','.join(['*' + previous] * 9)}]")
    answer = await api("POST", CMS, "\n".join(lines).encode(), content_type="application/yaml")
    assert (answer.status, answer.reason) == (400, "BadRequest")


async def test_a_compressed_body_is_not_unpacked(api: Any) -> None:
    answer = await api("POST", CMS, gzip.compress(orjson.dumps(cm())), content_encoding="gzip")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("body", "warnings"),
    [
        (b'{"Kind":"ConfigMap","metadata":{"name":"a"}}', ['unknown field "Kind"']),
        (b'{"metadata":{"name":"a","foo":1}}', ['unknown field "metadata.foo"']),
        (b'{"metadata":{"name":"a"},"data":{},"data":{}}', ['duplicate field "data"']),
    ],
)
async def test_what_means_nothing_is_a_warning(api: Any, body: bytes, warnings: list[str]) -> None:
    answer = await api("POST", CMS, body)
    assert (answer.status, answer.warnings) == (201, warnings)


async def test_unknown_metadata_of_a_built_in_kind_is_refused_when_asked_to_be_strict(api: Any) -> None:
    """Server side field validation, typed unknown metadata."""
    body = b'{"metadata":{"name":"a","foo":1}}'
    refused = await api("POST", f"{CMS}?fieldValidation=Strict", body)
    assert (refused.status, refused.reason) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "metadata.foo"' in refused.obj["message"]
    assert (await api("GET", f"{CMS}/a")).status == 404


async def test_repeated_keys_in_yaml_are_a_warning_too(api: Any) -> None:
    answer = await api(
        "POST", CMS, b"metadata: {name: a}\ndata: {a: b}\ndata: {c: d}\n", content_type="application/yaml"
    )
    assert (answer.status, answer.warnings) == (201, ['duplicate field "data"'])


# -- patches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "patch", "status", "reason"),
    [
        (JSON_PATCH, [{"op": "add", "path": "/data/x", "value": "y"}] * 10001, 413, "RequestEntityTooLarge"),
        (JSON_PATCH, [{"op": "add", "path": "/data/x", "value": 1}], 422, "Invalid"),
        (JSON_PATCH, [{"op": "test", "path": "/metadata/resourceVersion", "value": "0"}], 422, "Invalid"),
        (JSON_PATCH, [{"op": "move", "from": "/data", "path": "/data/a"}], 422, "Invalid"),
        (JSON_PATCH, [{"op": "add"}], 422, "Invalid"),
        (JSON_PATCH, [{"op": "replace", "path": "", "value": []}], 422, "Invalid"),
        (JSON_PATCH, [1], 400, "BadRequest"),
        (JSON_PATCH, [{"op": "remove", "path": "/metadata/name"}], 400, "BadRequest"),
        (MERGE, {"metadata": None}, 400, "BadRequest"),
        (MERGE, {"metadata": {"namespace": "x"}}, 400, "BadRequest"),
        (MERGE, {"kind": "Secret"}, 400, "BadRequest"),
        (MERGE, {"metadata": {"resourceVersion": "x"}}, 400, "BadRequest"),
        (STRATEGIC, {"$retainKeys": "x"}, 400, "BadRequest"),
        (STRATEGIC, {"data": {"$patch": "bogus"}}, 400, "BadRequest"),
        (STRATEGIC, {"metadata": {"$setElementOrder/finalizers": "x"}}, 400, "BadRequest"),
        (STRATEGIC, [], 400, "BadRequest"),
    ],
)
async def test_patches_that_cannot_be_applied(
    api: Any, content_type: str, patch: Any, status: int, reason: str
) -> None:
    await make(api, "a", data={"k": "v"})
    answer = await api("PATCH", f"{CMS}/a", patch, content_type=content_type)
    assert (answer.status, answer.reason) == (status, reason), answer.obj


async def test_copies_in_a_json_patch_are_bounded(api: Any) -> None:
    await make(api, "a", data={"k": "x" * 100_000})
    operations = [{"op": "copy", "from": "/data", "path": "/data/x"}] + [
        {"op": "copy", "from": "/data/k", "path": f"/data/c{number}"} for number in range(100)
    ]
    answer = await api("PATCH", f"{CMS}/a", operations, content_type=JSON_PATCH)
    assert answer.status == 422


async def test_the_right_version_in_a_json_patch_test_passes(api: Any) -> None:
    made = await make(api, "a")
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": str(version(made))},
        {"op": "add", "path": "/data", "value": {"a": "b"}},
    ]
    assert (await api("PATCH", f"{CMS}/a", operations, content_type=JSON_PATCH)).obj["data"] == {"a": "b"}


async def test_strategic_directives(api: Any) -> None:
    await api("POST", PODS, {"metadata": {"name": "p", "finalizers": ["a.b/1", "a.b/2"]},
                             "spec": {"containers": [{"name": "c", "image": "i"}]}})  # fmt: skip
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/1"]}}
    answer = await api("PATCH", f"{PODS}/p", patch, content_type=STRATEGIC)
    assert answer.obj["metadata"]["finalizers"] == ["a.b/2"]
    patch = {"spec": {"tolerations": [{"key": "x", "operator": "Exists"}], "containers": [{"name": "c", "image": "j"}]}}
    answer = await api("PATCH", f"{PODS}/p", patch, content_type=STRATEGIC)
    assert (answer.status, answer.obj["spec"]["containers"][0]["image"]) == (200, "j"), answer.obj


# -- deletes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("orphanDependents=false", 200),
        ("gracePeriodSeconds=abc", 400),
        ("propagationPolicy=Maybe", 422),
        ("dryRun=x", 422),
    ],
)
async def test_delete_options_in_the_query(api: Any, query: str, status: int) -> None:
    await make(api, "a")
    assert (await api("DELETE", f"{CMS}/a?{query}")).status == status


async def test_a_rehearsed_delete_leaves_the_object(api: Any) -> None:
    await make(api, "a")
    assert (await api("DELETE", f"{CMS}/a?dryRun=All")).status == 200
    assert (await api("GET", f"{CMS}/a")).status == 200


async def test_the_first_deletion_mark_counts_as_a_generation(api: Any) -> None:
    pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    url = "/apis/apps/v1/namespaces/default/deployments"
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": pods}
    await api("POST", url, {"metadata": {"name": "d", "finalizers": ["x.y/z"]}, "spec": spec})
    assert (await api("DELETE", f"{url}/d")).obj["metadata"]["generation"] == 2
    assert (await api("DELETE", f"{url}/d")).obj["metadata"]["generation"] == 2


# -- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (TABLE, "Table"),
        (f"{TABLE},application/json", "Table"),
        (PARTIAL, "PartialObjectMetadata"),
        ("application/vnd.kubernetes.protobuf, */*", "ConfigMap"),
        ("application/json;q=0.1, text/html", "ConfigMap"),
        ("*/*;q=0.5", "ConfigMap"),
    ],
)
async def test_the_first_acceptable_form_wins(api: Any, accept: str, kind: str) -> None:
    await make(api, "a")
    answer = await api("GET", f"{CMS}/a", accept=accept)
    assert (answer.status, answer.obj["kind"]) == (200, kind)


async def test_table_rows_carry_what_was_asked_for(api: Any) -> None:
    await make(api, "a", data={"k": "v"})
    for include, expected in [("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "ConfigMap")]:
        rows = (await api("GET", f"{CMS}?includeObject={include}", accept=TABLE)).obj["rows"]
        assert (rows[0].get("object") or {}).get("kind") == expected
    assert (await api("GET", f"{CMS}?includeObject=Bogus", accept=TABLE)).status == 400


@pytest.mark.parametrize(
    ("method", "url", "status", "details"),
    [
        ("GET", f"{CMS}/nope", 404, {"name": "nope", "kind": "configmaps"}),
        ("DELETE", f"{CMS}/nope", 404, {"name": "nope", "kind": "configmaps"}),
        ("GET", "/apis/apps/v1/namespaces/default/deployments/nope", 404,
         {"name": "nope", "group": "apps", "kind": "deployments"}),
    ],
)  # fmt: skip
async def test_details_name_the_resource(api: Any, method: str, url: str, status: int, details: Any) -> None:
    answer = await api(method, url)
    assert (answer.status, answer.obj["details"]) == (status, details)


def test_generated_names_use_safe_characters_only() -> None:
    name = create.metadata.generate_name("x" * 80, Random(3))
    assert (len(name), set(name[58:]) <= set("bcdfghjklmnpqrstvwxz2456789")) == (63, True)
