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
        (body("v1", "ConfigMap", field(2, 5)), "not a map"),
        (body("v1", "ConfigMap", field(1, field(1, b"\xff"))), "utf-8"),
    ],
)
def test_bad_bodies_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(ProtobufError, match=said):
        decode_object(data)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode_object(body("apps/v1", "Deployment", data))
    except ProtobufError:
        pass
