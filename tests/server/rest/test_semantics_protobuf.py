"""Bodies in protobuf, as client-go's typed clients and kubectl 1.32 send them: for every kind of body there is."""

from __future__ import annotations

from typing import Any

import pytest

PROTOBUF = "application/vnd.kubernetes.protobuf"
NS = "/api/v1/namespaces/default"


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: Any) -> bytes:
    """One field: an int as varint, str and bytes by length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(api_version: str, kind: str, content: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, content)


def named(name: str) -> bytes:
    """metadata with a name: field 1 of every object."""
    return field(1, field(1, name))


CONFIG_MAP = named("a") + field(2, field(1, "k") + field(2, "v"))


@pytest.fixture
def send(api: Any) -> Any:
    async def ask(method: str, url: str, body: bytes) -> Any:
        return await api(method, url, body, content_type=PROTOBUF, accept=f"{PROTOBUF},application/json")

    return ask


async def make_pod(api: Any, name: str = "p") -> Any:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    return await api("POST", f"{NS}/pods", {"metadata": {"name": name}, "spec": spec})


async def test_an_object_is_created(api: Any, send: Any) -> None:
    answer = await send("POST", f"{NS}/configmaps", message("v1", "ConfigMap", CONFIG_MAP))
    assert (answer.status, answer.obj["data"]) == (201, {"k": "v"})


@pytest.mark.parametrize(
    ("validation", "status", "warnings"),
    [("Strict", 400, 0), ("Warn", 201, 1), ("Ignore", 201, 0), ("", 201, 1)],
)
async def test_unknown_field_numbers_honour_field_validation(
    api: Any, send: Any, validation: str, status: int, warnings: int
) -> None:
    body = message("v1", "ConfigMap", CONFIG_MAP + field(99, "x"))
    answer = await send("POST", f"{NS}/configmaps?fieldValidation={validation}", body)
    assert (answer.status, len(answer.warnings)) == (status, warnings)


@pytest.mark.parametrize("body", [b"nonsense", b"k8s\x00\xff", message("v1", "ConfigMap", b"\x0a\xff")])
async def test_broken_protobuf_is_400(send: Any, body: bytes) -> None:
    answer = await send("POST", f"{NS}/configmaps", body)
    assert (answer.status, answer.reason) == (400, "BadRequest")


@pytest.mark.parametrize("version", ["v1", "apps/v1", "meta.k8s.io/v1", "policy/v1"])
async def test_delete_options_come_under_any_version(api: Any, send: Any, version: str) -> None:
    await api("POST", f"{NS}/configmaps", {"metadata": {"name": "a"}})
    body = message(version, "DeleteOptions", field(4, "Foreground"))
    answer = await send("DELETE", f"{NS}/configmaps/a", body)
    assert (answer.status, answer.obj["metadata"]["finalizers"]) == (200, ["foregroundDeletion"])


async def test_a_grace_period_of_zero_is_a_value(api: Any, send: Any) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    await api("POST", f"{NS}/pods", {"metadata": {"name": "p"}, "spec": spec})
    assert (await send("DELETE", f"{NS}/pods/p", message("v1", "DeleteOptions", field(1, 0)))).status == 200
    assert (await api("GET", f"{NS}/pods/p")).status == 404


async def test_preconditions_are_read(api: Any, send: Any) -> None:
    await api("POST", f"{NS}/configmaps", {"metadata": {"name": "a"}})
    body = message("v1", "DeleteOptions", field(2, field(1, "other")))
    assert (await send("DELETE", f"{NS}/configmaps/a", body)).status == 409


@pytest.mark.parametrize("version", ["policy/v1", "policy/v1beta1"])
async def test_evictions(api: Any, send: Any, version: str) -> None:
    await make_pod(api)
    answer = await send("POST", f"{NS}/pods/p/eviction", message(version, "Eviction", named("p")))
    assert (answer.status, answer.obj["status"]) == (201, "Success")


async def test_bindings(api: Any, send: Any) -> None:
    await make_pod(api)
    target = field(2, field(1, "Node") + field(3, "n1"))
    assert (await send("POST", f"{NS}/pods/p/binding", message("v1", "Binding", named("p") + target))).status == 201
    assert (await api("GET", f"{NS}/pods/p")).obj["spec"]["nodeName"] == "n1"


async def test_scales(api: Any, send: Any) -> None:
    pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": pods}
    url = "/apis/apps/v1/namespaces/default/replicasets"
    assert (await api("POST", url, {"metadata": {"name": "r"}, "spec": spec})).status == 201
    answer = await send("PUT", f"{url}/r/scale", message("autoscaling/v1", "Scale", named("r") + field(2, field(1, 0))))
    assert (answer.status, answer.obj["spec"]) == (200, {})


async def test_token_requests(api: Any, send: Any) -> None:
    await api("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "s"}})
    body = message("authentication.k8s.io/v1", "TokenRequest", field(2, field(4, 3600)))
    answer = await send("POST", f"{NS}/serviceaccounts/s/token", body)
    assert (answer.status, answer.obj["spec"]["expirationSeconds"]) == (201, 3600)


async def test_reviews(send: Any) -> None:
    url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    attributes = field(1, field(2, "get") + field(5, "pods"))
    body = message("authorization.k8s.io/v1", "SelfSubjectAccessReview", field(2, attributes))
    answer = await send("POST", url, body)
    assert (answer.status, answer.obj["status"]["allowed"]) == (201, True)
    url = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await send("POST", url, message("authentication.k8s.io/v1", "SelfSubjectReview", b""))
    assert (answer.status, answer.obj["status"]["userInfo"]["username"]) == (201, "system:anonymous")
