"""Bodies in Kubernetes' protobuf form become the objects that their JSON form would be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import schema
from sampan.api.protobuf import ProtobufError, decode_object


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: Any) -> bytes:
    """One field: an int as varint, str and bytes by length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, content: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, content)


def decoded(api_version: str, kind: str, content: bytes) -> Any:
    return decode_object(body(api_version, kind, content))[0]


NAMED = field(1, field(1, "x"))


def test_maps_and_kind_come_through() -> None:
    content = NAMED + field(2, field(1, "a") + field(2, "1")) + field(2, field(1, "b") + field(2, ""))
    assert decoded("v1", "ConfigMap", content) == {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1", "b": ""},
    }  # fmt: skip


def test_bytes_become_base64() -> None:
    assert decoded("v1", "Secret", NAMED + field(2, field(1, "k") + field(2, b"\x00\xff")))["data"] == {"k": "AP8="}


def test_zero_replicas_stay_and_other_zeros_go() -> None:
    container = field(1, "c") + field(18, 0)  # tty
    template = field(2, field(2, container) + field(11, 0) + field(12, 0))  # hostNetwork, hostPID
    spec = field(1, 0) + field(3, template) + field(5, 0)  # replicas (a pointer), minReadySeconds (none)
    obj = decoded("apps/v1", "Deployment", NAMED + field(2, spec))
    schema.normalise(schema.load().definition("io.k8s.api.apps.v1.Deployment"), obj)
    assert obj["spec"] == {
        "replicas": 0,
        "selector": None,
        "strategy": {},
        "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
    }


def test_embedded_structs_are_flat_in_json() -> None:
    volume = field(1, "v") + field(2, field(2, b""))  # volumeSource.emptyDir
    assert decoded("v1", "Pod", NAMED + field(2, field(1, volume)))["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {}}]
    }


def test_quantities_times_and_int_or_strings() -> None:
    container = field(1, "c") + field(8, field(1, field(1, "cpu") + field(2, field(1, "100m"))))
    pod = decoded("v1", "Pod", field(1, field(8, field(1, 86400))) + field(2, field(2, container)))
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "100m"}
    assert pod["metadata"]["creationTimestamp"] == "1970-01-02T00:00:00Z"
    strategy = field(2, field(1, field(1, 1) + field(3, "25%")) + field(2, field(2, 0)))
    deployment = decoded("apps/v1", "Deployment", NAMED + field(2, field(4, strategy)))
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": 0}


def test_unknown_numbers_are_named() -> None:
    _, unknown = decode_object(body("v1", "ConfigMap", NAMED + field(99, 1)))
    assert unknown == ["[99]"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (body("v1", "Nothing", NAMED), 'no kind "Nothing" is registered'),
        (body("v1", "ConfigMap", NAMED)[:-1], "unexpected EOF"),
        (body("v1", "ConfigMap", field(2, 5)), "wrong wireType = 0 for field data"),
    ],
)
def test_bad_bodies_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(ProtobufError, match=said):
        decode_object(data)


def test_at_most_a_hundred_unknown_numbers_are_told() -> None:
    content = b"".join(field(number, 1) for number in range(1000, 1300))
    assert len(decode_object(body("v1", "ConfigMap", NAMED + content))[1]) == 100


def test_what_is_no_utf8_is_replaced_byte_by_byte() -> None:
    content = NAMED + field(2, field(1, b"k\xff") + field(2, b"\xe2\x82"))
    assert decoded("v1", "ConfigMap", content)["data"] == {"k\ufffd": "\ufffd\ufffd"}


def test_fields_that_descriptors_name_otherwise_than_json() -> None:
    hook = field(1, "a.b.c")
    assert decoded("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", NAMED + field(2, hook))[
        "webhooks"
    ] == [{"name": "a.b.c"}]
    token = field(2, field(3, field(4, "u")))
    assert decoded("authentication.k8s.io/v1", "TokenRequest", token)["spec"]["boundObjectRef"] == {"uid": "u"}


def test_packed_numbers_are_read_too() -> None:
    context = field(4, b"\x01\x02") + field(4, 3)  # supplementalGroups
    pod = decoded("v1", "Pod", NAMED + field(2, field(14, context)))
    assert pod["spec"]["securityContext"]["supplementalGroups"] == [1, 2, 3]


def test_schemas_of_custom_resources_come_through() -> None:
    default = field(8, field(1, b'{"a":1}'))
    items = field(24, field(1, field(5, "string")))
    extra = field(30, field(1, 1))
    validation = field(4, field(1, field(5, "object") + default + items + extra))
    version = field(1, "v1") + field(2, 1) + field(3, 1) + validation
    crd = decoded(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", NAMED + field(2, field(1, "g") + field(7, version))
    )
    assert crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {
        "type": "object", "default": {"a": 1}, "items": {"type": "string"}, "additionalProperties": True,
    }  # fmt: skip


def test_json_inside_is_held_to_the_limit_of_depth() -> None:
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    with pytest.raises(ProtobufError, match="exceeded max depth"):
        decode_object(body("apps/v1", "ControllerRevision", NAMED + field(2, field(1, deep))))


def test_a_time_that_no_calendar_holds_is_refused_in_words() -> None:
    with pytest.raises(ProtobufError, match="proto: timestamp out of range"):
        decode_object(body("v1", "Pod", field(1, field(8, field(1, 2**62)))))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode_object(body("apps/v1", "Deployment", data))
    except ProtobufError:
        pass
