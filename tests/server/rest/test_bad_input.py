"""The corpus of bad input: code, reason and causes that real clients and upstream's own tests look at."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

CMS = "/api/v1/namespaces/default/configmaps"


def cm(**parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, **parts}


def meta(**parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", **parts}}


HEAD = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"metadata":', 'unexpected end of JSON input ({"metadata":)'),
        (b"", "unexpected end of JSON input (<empty>)"),
        (b"hello", "invalid character 'h' looking for beginning of value (68656c6c6f)"),
        (b"[]", f"json: cannot unmarshal array into Go value of type {HEAD} (5b5d)"),
        (b'"a"', f"json: cannot unmarshal string into Go value of type {HEAD} (226122)"),
        (b"NaN", "invalid character 'N' looking for beginning of value (4e614e)"),
        (
            b'{"apiVersion":"v1","kind":5,"metadata":{}}',
            "json: cannot unmarshal number into Go struct field .kind of type string "
            '({"apiVersion":"v1","kind":5,"m ...)',
        ),
    ],
)
async def test_a_body_that_is_no_object_is_400_and_its_beginning_is_shown(api: Any, body: bytes, fault: str) -> None:
    answer = await api("POST", CMS, body)
    assert (answer.status, answer.reason, "details" in answer.obj) == (400, "BadRequest", False)
    said = (
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
    )
    assert answer.message == said + fault


@pytest.mark.parametrize(
    ("method", "url", "code"),
    [
        ("GET", "/api/v1/namespaces/default/nothings", 404),
        ("POST", f"{CMS}/a", 405),
        ("PUT", CMS, 405),
    ],
)
async def test_where_nothing_is_the_status_has_details_that_say_nothing(
    api: Any, method: str, url: str, code: int
) -> None:
    answer = await api(method, url, cm())
    assert (answer.status, answer.obj["details"]) == (code, {})
    await api("POST", CMS, cm())
    fails = [{"op": "test", "path": "/data", "value": 1}]
    patched = await api("PATCH", f"{CMS}/a", fails, content_type="application/json-patch+json")
    assert (patched.status, patched.obj["details"]) == (422, {})
    missing = (await api("GET", f"{CMS}/none")).obj
    assert missing["details"] == {"name": "none", "kind": "configmaps"}


@pytest.mark.parametrize(
    ("method", "body", "content_type"),
    [
        ("PUT", {"data": {"k": "w"}}, "application/json"),
        ("PATCH", {"metadata": {"name": None}}, "application/merge-patch+json"),
        ("PATCH", [{"op": "remove", "path": "/metadata/name"}], "application/json-patch+json"),
    ],
)
async def test_an_update_that_names_no_object_is_refused_with_the_name_on_the_url(
    api: Any, method: str, body: Any, content_type: str
) -> None:
    await api("POST", CMS, cm())
    answer = await api(method, f"{CMS}/a", body, content_type=content_type)
    said = "the name of the object (a based on URL) was undeterminable: name must be provided"
    assert (answer.status, answer.message) == (400, said)


@pytest.mark.parametrize(
    ("text", "fault"), [("abc", "invalid syntax"), ("1e3", "invalid syntax"), ("9" * 20, "value out of range")]
)
async def test_a_number_of_a_query_that_is_none_is_400(api: Any, text: str, fault: str) -> None:
    answer = await api("GET", f"{CMS}?limit={text}")
    assert (answer.status, answer.message) == (400, f'strconv.ParseInt: parsing "{text}": {fault}')


@pytest.mark.parametrize("body", [b"null", b"{}"])
async def test_an_object_without_name_is_422(api: Any, body: bytes) -> None:
    answer = await api("POST", CMS, body)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.causes == [("FieldValueRequired", "metadata.name")]
    assert "name or generateName is required" in answer.message


async def test_deep_nesting_is_400(api: Any) -> None:
    answer = await api("POST", CMS, b'{"a":' * 20000 + b"1" + b"}" * 20000)
    assert answer.status == 400
    assert "exceeded max depth" in answer.message


async def test_yaml_bodies_are_read_and_their_tags_refused(api: Any) -> None:
    answer = await api("POST", CMS, b"metadata: {name: yaml}\ndata: {k: v}", content_type="application/yaml")
    assert answer.status == 201
    answer = await api("POST", CMS, b"metadata: !!python/object:os.x {}", content_type="application/yaml")
    assert answer.status == 400


async def test_kind_and_version_may_be_missing_but_not_be_others(api: Any) -> None:
    assert (await api("POST", CMS, cm())).status == 201
    wrong = await api("POST", CMS, cm(kind="Secret", apiVersion="v1"))
    assert (wrong.status, wrong.message) == (
        400,
        'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown '
        "conversion",
    )
    unknown = await api("POST", CMS, cm(kind="Foo", apiVersion="v1"))
    assert unknown.status == 400
    assert 'no kind "Foo" is registered' in unknown.message


async def test_namespace_of_body_and_url_must_agree(api: Any) -> None:
    answer = await api("POST", CMS, meta(namespace="other"))
    assert answer.status == 400
    assert "the namespace of the provided object does not match" in answer.message


async def test_a_missing_namespace_is_404(api: Any) -> None:
    answer = await api("POST", "/api/v1/namespaces/nope/configmaps", cm())
    assert (answer.status, answer.reason, answer.obj["details"]["kind"]) == (404, "NotFound", "namespaces")


async def test_a_taken_name_is_409(api: Any) -> None:
    await api("POST", CMS, cm())
    answer = await api("POST", CMS, cm())
    assert (answer.status, answer.reason, answer.obj["details"]["kind"]) == (409, "AlreadyExists", "configmaps")


async def test_resource_version_on_create_is_400(api: Any) -> None:
    assert (await api("POST", CMS, meta(resourceVersion="1"))).status == 400


@pytest.mark.parametrize("name", ["ABC", "a/b", "..", "a" * 254])
async def test_a_bad_name_is_422(api: Any, name: str) -> None:
    answer = await api("POST", CMS, {"metadata": {"name": name}})
    assert (answer.status, answer.causes[0]) == (422, ("FieldValueInvalid", "metadata.name"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("configmaps", cm(data={"a": 1})),
        ("secrets", cm(data={"a": "not base64!"})),
        ("configmaps", meta(creationTimestamp="yesterday")),
        ("pods", meta() | {"spec": {"terminationGracePeriodSeconds": 1.5}}),
    ],
)
async def test_a_wrong_type_is_400(api: Any, path: str, body: Any) -> None:
    answer = await api("POST", f"/api/v1/namespaces/default/{path}", body)
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert "cannot be handled as a" in answer.message


async def test_annotations_have_a_limit(api: Any) -> None:
    answer = await api("POST", CMS, meta(annotations={"a": "x" * 262144}))
    assert (answer.status, answer.causes[0]) == (422, ("FieldValueTooLong", "metadata.annotations"))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ";;;", "application/cbor"])
async def test_an_unknown_content_type_is_415(api: Any, content_type: str) -> None:
    answer = await api("POST", CMS, cm(), content_type=content_type)
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")
    assert "application/json" in answer.message


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/json;as=Table;v=v9;g=meta.k8s.io", "application/vnd.kubernetes.protobuf;as=Table"],
)
async def test_nothing_acceptable_is_406(api: Any, accept: str) -> None:
    answer = await api("GET", CMS, accept=accept)
    assert (answer.status, answer.reason) == (406, "NotAcceptable")


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("dryRun=maybe", ("FieldValueNotSupported", "dryRun")),
        ("fieldManager=" + "x" * 129, ("FieldValueTooLong", "fieldManager")),
        ("fieldManager=a%00", ("FieldValueInvalid", "fieldManager")),
        ("fieldValidation=Maybe", ("FieldValueNotSupported", "fieldValidation")),
    ],
)
async def test_bad_write_options_are_422(api: Any, query: str, cause: tuple[str, str]) -> None:
    answer = await api("POST", f"{CMS}?{query}", cm())
    assert (answer.status, answer.causes) == (422, [cause])
    assert answer.obj["details"]["kind"] == "CreateOptions"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=abc", 400),
        ("timeoutSeconds=abc", 400),
        ("limit=-1", 200),
        ("timeout=abc", 400),
        ("timeout=10s", 200),
        ("resourceVersion=abc", 400),
        ("resourceVersion=-1", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Bogus", 422),
        ("sendInitialEvents=true", 422),
        ("continue=garbage", 400),
        ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi8uLi9zZWNyZXRzLyJ9", 400),
        ("continue=eyJ2IjoidjkiLCJydiI6MSwic3RhcnQiOiJhIn0&limit=1", 400),
        ("labelSelector=a+b+c", 400),
        ("fieldSelector=abc", 400),
        ("fieldSelector=spec.foo%3Da", 400),
        ("labelSelector=a+in+()", 200),
    ],
)
async def test_list_parameters(api: Any, query: str, status: int) -> None:
    assert (await api("GET", f"{CMS}?{query}")).status == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("resourceVersion=1&resourceVersionMatch=NotOlderThan", 422),
        ("sendInitialEvents=true", 422),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", 422),
        ("resourceVersion=abc", 400),
        ("continue=x", 422),
    ],
)
async def test_watch_parameters(api: Any, query: str, status: int) -> None:
    assert (await api("GET", f"{CMS}?watch=1&{query}")).status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/namespaces/default/foos", 404),
        ("GET", "/api/v1/namespaces/default/pods/p/foo", 404),
        ("PUT", CMS, 405),
        ("PATCH", CMS, 405),
        ("POST", CMS + "/a", 405),
        ("FOO", CMS, 405),
        ("HEAD", CMS, 405),
        ("POST", "/api/v1/configmaps", 405),
        ("GET", "/api/v1/watch", 404),
        ("GET", "//api/v1/namespaces", 404),
        ("GET", "/api/v1/../v1/namespaces", 404),
        ("GET", CMS + "/%2e%2e", 400),
        ("GET", CMS + "/a%2fb", 404),
        ("GET", CMS + "/a%00", 400),
        ("GET", CMS + "/", 200),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/pods/p", 404),
    ],
)
async def test_paths_and_methods(api: Any, method: str, path: str, status: int) -> None:
    answer = await api(method, path)
    assert answer.status == status, answer.obj


async def test_an_unknown_group_is_404_in_plain_text(api: Any) -> None:
    answer = await api("GET", "/apis/nope.io/v1/foos")
    assert (answer.status, answer.obj) == (404, "404 page not found\n")


async def test_put_checks(api: Any) -> None:
    stored = (await api("POST", CMS, cm(data={"a": "b"}))).obj
    stale = {**stored, "metadata": {**stored["metadata"], "resourceVersion": "1"}}
    foreign = {"metadata": {"name": "a", "uid": "other"}}
    for body, status in [
        ({"metadata": {"name": "b"}}, 400),
        ({"metadata": {}}, 400),
        (stale, 409),
        (foreign, 409),
        ({"metadata": {"name": "a", "resourceVersion": "abc"}}, 400),
    ]:
        assert (await api("PUT", f"{CMS}/a", body)).status == status
    assert (await api("PUT", f"{CMS}/missing", {"metadata": {"name": "missing"}})).status == 404


async def test_put_without_resource_version_on_a_kind_that_wants_one_is_422(api: Any) -> None:
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    runtime_class = {"metadata": {"name": "s"}, "handler": "h"}
    assert (await api("POST", classes, runtime_class)).status == 201
    answer = await api("PUT", f"{classes}/s", runtime_class)
    assert (answer.status, answer.causes) == (422, [("FieldValueInvalid", "metadata.resourceVersion")])
    assert "must be specified for an update" in answer.message
    assert (await api("PUT", f"{classes}/missing", {**runtime_class, "metadata": {"name": "missing"}})).status == 404


@pytest.mark.parametrize(
    ("content_type", "patch", "status"),
    [
        ("", b"{}", 415),
        ("application/json", b"{}", 415),
        ("application/apply-patch+yaml", b"{}", 422),
        ("application/json-patch+json", b"nope", 400),
        ("application/json-patch+json", b"{}", 400),
        ("application/json-patch+json", b'[{"op":"bad","path":"/data"}]', 422),
        ("application/json-patch+json", b'[{"op":"test","path":"/metadata/name","value":"z"}]', 422),
        ("application/json-patch+json", b'[{"op":"remove","path":"/missing"}]', 422),
        ("application/merge-patch+json", b"{", 400),
        ("application/merge-patch+json", b'"x"', 400),
        ("application/merge-patch+json", b"[]", 400),
        ("application/merge-patch+json", b'{"data":{"a":1}}', 422),
        ("application/merge-patch+json", b'{"metadata":{"name":"z"}}', 400),
        ("application/merge-patch+json", b'{"metadata":{"uid":"z"}}', 422),
        ("application/merge-patch+json", b'{"metadata":{"resourceVersion":"1"}}', 409),
        ("application/strategic-merge-patch+json", b'{"$patch":"bogus"}', 400),
        ("application/merge-patch+json", b'{"data":{"a":"c"}}', 200),
    ],
)
async def test_patches(api: Any, content_type: str, patch: bytes, status: int) -> None:
    await api("POST", CMS, cm(data={"a": "b"}))
    answer = await api("PATCH", f"{CMS}/a", patch, content_type=content_type)
    assert answer.status == status, answer.obj


async def test_a_patch_of_a_missing_object_is_404(api: Any) -> None:
    answer = await api("PATCH", f"{CMS}/a", b"{}", content_type="application/merge-patch+json")
    assert answer.status == 404


async def test_force_without_apply_is_422(api: Any) -> None:
    await api("POST", CMS, cm())
    answer = await api("PATCH", f"{CMS}/a?force=true", b"{}", content_type="application/merge-patch+json")
    assert (answer.status, answer.causes) == (422, [("FieldValueForbidden", "force")])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"garbage", 400),
        ({"kind": "Secret", "apiVersion": "v1"}, 400),
        ({"propagationPolicy": "Maybe"}, 422),
        ({"propagationPolicy": "Background", "orphanDependents": True}, 422),
        ({"preconditions": {"uid": "other"}}, 409),
        ({"preconditions": {"resourceVersion": "1"}}, 409),
        ({"dryRun": ["maybe"]}, 422),
        ({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}, 200),
    ],
)
async def test_delete_options(api: Any, body: Any, status: int) -> None:
    await api("POST", CMS, cm())
    answer = await api("DELETE", f"{CMS}/a", body)
    assert answer.status == status, answer.obj


async def test_initial_namespaces_may_not_be_deleted(api: Any) -> None:
    answer = await api("DELETE", "/api/v1/namespaces/default")
    assert answer.status == 403
    assert "this namespace may not be deleted" in answer.message


async def test_an_immutable_configmap_stays(api: Any) -> None:
    await api("POST", CMS, cm(data={"a": "b"}, immutable=True))
    answer = await api("PUT", f"{CMS}/a", cm(data={"a": "c"}, immutable=True))
    assert (answer.status, answer.causes[0]) == (422, ("FieldValueForbidden", "data"))


async def test_field_validation_warns_by_default_and_refuses_when_strict(api: Any) -> None:
    body = b'{"metadata":{"name":"a"},"dat":{},"data":{"x":"1","x":"2"}}'
    warned = await api("POST", f"{CMS}?dryRun=All", body)
    assert warned.status == 201
    assert warned.warnings == ['unknown field "dat"', 'duplicate field "data.x"']
    strict = await api("POST", f"{CMS}?fieldValidation=Strict", body)
    assert strict.status == 400
    assert 'strict decoding error: unknown field "dat", duplicate field "data.x"' in strict.message
    quiet = await api("POST", f"{CMS}?fieldValidation=Ignore", body)
    assert (quiet.status, quiet.warnings) == (201, [])


async def test_strict_validation_of_a_patch_is_422(api: Any) -> None:
    await api("POST", CMS, cm())
    patch = orjson.dumps({"dat": {}})
    answer = await api("PATCH", f"{CMS}/a?fieldValidation=Strict", patch, content_type="application/merge-patch+json")
    assert (answer.status, answer.causes) == (422, [("FieldValueInvalid", "patch")])
