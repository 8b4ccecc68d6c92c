"""Objects in Kubernetes' protobuf form, as Go's ``Marshal`` writes them, and as Google's library reads them."""

from __future__ import annotations

import importlib.util
import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from sampan.api import protobuf, schema
from sampan.api.protobuf import encode
from sampan.api.protobuf.encode import ListForm, NotEncodable, encode_content
from sampan.api.protobuf.numbers import message_of
from sampan.api.registry import registry
from sampan.api.schema import ObjectNode


def _helper(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
google = _helper(HERE / "google_reader.py")
objects_of = _helper(HERE.parent / "schema/objects_of.py")


@cache
def kinds() -> dict[str, list[tuple[str, str, ObjectNode]]]:
    """By group, the kinds whose numbers are known: (apiVersion, kind, node)."""
    found: dict[str, list[tuple[str, str, ObjectNode]]] = {}
    for (group, version, kind), name in schema.load().kinds():
        node = schema.load().definition(name)
        api_version = f"{group}/{version}".removeprefix("/")
        known = protobuf.encodable(api_version, kind)
        if known and isinstance(node, ObjectNode) and "metadata" in node.fields and not kind.endswith("List"):
            found.setdefault(group, []).append((api_version, kind, node))
    for each in registry().kinds():
        if each.former and isinstance(each.node, ObjectNode) and protobuf.encodable(each.api_version, each.kind):
            found.setdefault(f"former {each.group}", []).append((each.api_version, each.kind, each.node))
    return found


def name_of(api_version: str, kind: str) -> str:
    found = message_of(api_version, kind)
    assert found is not None
    return found


def stored(node: ObjectNode, value: Any) -> bytes:
    decoded = schema.decode(node, value)
    assert (decoded.error, decoded.unknown) == (None, []), node.name
    return orjson.dumps(decoded.value, option=orjson.OPT_SORT_KEYS)


def made(node: ObjectNode, api_version: str, kind: str, rng: random.Random) -> Any:
    value = schema.normalise(node, objects_of.made(node, rng, _may_be))
    return value | {"apiVersion": api_version, "kind": kind}


def _may_be(node: ObjectNode, name: str) -> bool:
    # Its values are one of several types: a test of its own.
    return name != "dependencies" and bool(objects_of.has_number(node, name))


def without_empty_keys(value: Any) -> Any:
    """Google's library puts an empty key of a map last, Go first."""
    if isinstance(value, dict):
        return {key: without_empty_keys(item) for key, item in value.items() if key}
    return [without_empty_keys(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("group", sorted(kinds()))
def test_what_is_written_reads_as_it_was(group: str) -> None:
    for api_version, kind, node in kinds()[group]:
        rng = random.Random(f"{kind} {api_version}")
        for _ in range(3):
            value = made(node, api_version, kind, rng)
            body = protobuf.encode_object(value)
            obj, unknown = protobuf.decode_object(body)
            assert unknown == []
            assert stored(node, obj) == stored(node, value), (api_version, kind)
            assert protobuf.encode_object(obj) == body, (api_version, kind)


@pytest.mark.parametrize("group", sorted(kinds()))
def test_googles_library_reads_the_same_and_would_write_the_same_bytes(group: str) -> None:
    for api_version, kind, node in kinds()[group]:
        rng = random.Random(f"google {kind} {api_version}")
        value = without_empty_keys(made(node, api_version, kind, rng))
        body = protobuf.encode_object(value)
        assert stored(node, google.read_body(body, name_of)) == stored(node, value), (api_version, kind)
        content = encode_content(api_version, kind, value)
        again = google.message_class(name_of(api_version, kind)).FromString(content)
        assert again.SerializeToString(deterministic=True) == content, (api_version, kind)


def test_every_former_kind_has_a_protobuf_form_but_two() -> None:
    """Nobody knows the numbers of PodCertificateRequest's first version, nor of all types of the migration's."""
    former = [(each.api_version, each.kind) for each in registry().kinds() if each.former]
    lacking = [each for each in former if not protobuf.encodable(*each)]
    assert len(former) > 80
    assert lacking == [
        ("certificates.k8s.io/v1alpha1", "PodCertificateRequest"),
        ("storagemigration.k8s.io/v1alpha1", "StorageVersionMigration"),
    ]


def test_a_deployment_of_old_has_its_own_numbers() -> None:
    old = {"metadata": {}, "spec": {"rollbackTo": {"revision": 3}, "progressDeadlineSeconds": 7}}
    content = encode_content("extensions/v1beta1", "Deployment", old)
    spec = google.message_class("io.k8s.api.extensions.v1beta1.Deployment").FromString(content).f2
    assert (spec.f8.f1, spec.f9) == (3, 7)


def test_a_config_map_byte_by_byte() -> None:
    metadata = {"name": "a", "namespace": "default", "uid": "u", "creationTimestamp": "1970-01-02T00:00:00Z"}
    data = {"b": "2", "a": "1"}
    body = protobuf.encode_object({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data})
    said = b'\x0a\x01a\x12\x00\x1a\x07default"\x00*\x01u2\x008\x00B\x06\x08\x80\xa3\x05\x10\x00'
    content = b"\x0a%c%s" % (len(said), said) + b"\x12\x06\x0a\x01a\x12\x011" + b"\x12\x06\x0a\x01b\x12\x012"
    names = b"\x0a\x02v1\x12\x09ConfigMap"
    assert body == b'k8s\x00\x0a%c%s\x12%c%s\x1a\x00"\x00' % (len(names), names, len(content), content)


def test_what_is_no_pointer_is_written_though_it_is_empty_and_a_nil_pointer_is_not() -> None:
    spec = google.message_class("io.k8s.api.apps.v1.Deployment").FromString(
        encode_content("apps/v1", "Deployment", {"metadata": {"name": "x"}, "spec": {}})
    )
    deployment = {field.json_name: value for field, value in spec.f2.ListFields()}
    assert sorted(deployment) == ["minReadySeconds", "paused", "strategy", "template"]
    assert spec.HasField("f3")  # status


def test_a_time_is_whole_seconds_and_a_micro_time_is_not() -> None:
    spec = {"acquireTime": "2026-01-02T03:04:05.678901Z"}
    metadata = {"name": "l", "creationTimestamp": None, "deletionTimestamp": "2026-01-02T03:04:05Z"}
    lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": spec}
    found = google.read_body(protobuf.encode_object(lease), name_of)
    assert found["spec"]["acquireTime"] == "2026-01-02T03:04:05.678901Z"
    assert found["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
    assert "creationTimestamp" not in found["metadata"]


def test_a_list_in_pieces_is_the_list_at_once() -> None:
    items = [{"metadata": {"name": f"n{number}"}, "data": {"k": "v" * number}} for number in range(300)]
    metadata = {"resourceVersion": "7", "continue": "c", "remainingItemCount": 3}
    at_once = protobuf.encode_object(
        {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items}
    )
    form = ListForm.of("v1", "ConfigMapList", "ConfigMap")
    assert b"".join(form.body(metadata, [form.items(items[:1]), form.items(items[1:])])) == at_once


def test_the_metadata_of_a_list_changed_places_between_the_versions() -> None:
    items = [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "n"}}]
    value = {"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "7"}, "items": items}
    new = protobuf.encode_object({**value, "apiVersion": "meta.k8s.io/v1"})
    old = protobuf.encode_object({**value, "apiVersion": "meta.k8s.io/v1beta1"})
    unknown = google.message_class("Unknown")
    content = unknown.FromString(new[4:]).f2, unknown.FromString(old[4:]).f2
    assert [each[:1] for each in content] == [b"\x0a", b"\x0a"]
    assert b"\x12\x017" in content[0][:9]
    assert content[1].endswith(b"\x12\x07\x0a\x00\x12\x017\x1a\x00")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"kind": "Thing", "apiVersion": "example.com/v1"}, 'kind "Thing" of "example.com/v1" has no protobuf form'),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": []}, "a Pod is not as its schema says"),
        ({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": 1}}, "a ConfigMap is not as its schema says"),
    ],
)
def test_what_has_no_protobuf_form_is_refused(value: Any, said: str) -> None:
    with pytest.raises(NotEncodable, match=said):
        protobuf.encode_object(value)


def test_schemas_of_custom_resources_keep_their_alternatives() -> None:
    props = {
        "type": "object",
        "default": None,
        "enum": [None, 1, {"a": []}],
        "items": [{"type": "string"}, {"maximum": 1.5}],
        "additionalProperties": False,
        "dependencies": {"a": ["b"], "c": {"type": "object"}},
        "not": {"additionalProperties": {"type": "string"}, "items": {"type": "integer"}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": props}}
    obj = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "spec": {"group": "g", "names": {"plural": "p", "kind": "P"}, "scope": "Cluster", "versions": [version]},
    }
    body = protobuf.encode_object(obj)
    del props["default"]
    for found in (google.read_body(body, name_of), protobuf.decode_object(body)[0]):
        seen = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert {key: seen[key] for key in ("enum", "additionalProperties")} == {
            "enum": [None, 1, {"a": []}], "additionalProperties": False,
        }  # fmt: skip
        assert [each.get("type") for each in seen["items"]] == ["string", ""]
        assert seen["dependencies"]["a"] == ["b"]
        assert seen["not"]["additionalProperties"]["type"] == "string"
        assert seen["not"]["items"]["type"] == "integer"


def test_two_threads_that_are_first_both_write_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "type": "x", "data": {"k": "dg=="}}
    in_time = protobuf.encode_object(obj)
    encode.writer.cache_clear()
    content_of, others = encode._content, []

    def content_while_another_comes(field: Any) -> Any:
        if not others:
            others.append(b"")
            with ThreadPoolExecutor(1) as pool:
                others[0] = pool.submit(protobuf.encode_object, obj).result(20)
        return content_of(field)

    monkeypatch.setattr(encode, "_content", content_while_another_comes)
    assert protobuf.encode_object(obj) == in_time
    assert others == [in_time]
