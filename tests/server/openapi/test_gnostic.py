"""The protobuf form, read back by field numbers."""

from __future__ import annotations

import orjson
import pytest

from sampan.api import schema
from sampan.api.protobuf import wire
from sampan.api.registry import registry
from sampan.server.openapi import gnostic, v2
from sampan.server.openapi.definitions import Definitions
from sampan.server.openapi.operations import document_paths

DOCUMENT = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "v1.37.0"},
    "paths": {
        "/api/v1/pods/{name}": {
            "patch": {
                "operationId": "patchPod",
                "parameters": [
                    {"in": "body", "name": "body", "required": True, "schema": {"$ref": "#/definitions/Pod"}},
                    {"in": "query", "name": "dryRun", "type": "string", "uniqueItems": True},
                ],
                "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/Pod"}}},
                "x-kubernetes-action": "patch",
            },
            "parameters": [{"in": "path", "name": "name", "required": True, "type": "string"}],
        }
    },
    "definitions": {
        "Pod": {
            "type": "object",
            "description": "x" * 300,
            "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}},
            "required": ["labels"],
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
        }
    },
}


def get(data: bytes, *numbers: int) -> bytes:
    """The first field at a path of field numbers."""
    for number in numbers:
        found = next(value for field, _, value in wire.fields(data) if field == number)
        assert isinstance(found, bytes)
        data = found
    return data


ENCODED = gnostic.encode(DOCUMENT)
OPERATION = get(ENCODED, 8, 2, 2, 8)
DEFINITION = get(ENCODED, 9, 1, 2)


def test_paths_and_definitions_are_lists_of_names_and_values() -> None:
    assert get(ENCODED, 8, 2, 1) == b"/api/v1/pods/{name}"
    assert get(ENCODED, 9, 1, 1) == b"Pod"


def test_parameters_are_where_kubectl_looks_for_dry_run() -> None:
    items = [value for number, _, value in wire.fields(OPERATION) if number == 8]
    body, query = (item for item in items if isinstance(item, bytes))
    assert get(body, 1, 1, 5, 1) == b"#/definitions/Pod"
    assert get(query, 1, 2, 3, 4) == b"dryRun"
    assert get(query, 1, 2, 3, 6) == b"string"


def test_path_parameters_have_fields_of_their_own() -> None:
    path = get(ENCODED, 8, 2, 2, 9, 1, 2, 4)
    assert get(path, 4) == b"name"
    assert get(path, 5) == b"string"


def test_responses_carry_their_schema() -> None:
    assert get(OPERATION, 9, 1, 1) == b"200"
    assert get(OPERATION, 9, 1, 2, 1, 2, 1, 1) == b"#/definitions/Pod"


def test_a_schema_keeps_type_text_properties_and_what_is_required() -> None:
    assert get(DEFINITION, 22, 1) == b"object"
    assert get(DEFINITION, 4) == b"x" * 300
    assert get(DEFINITION, 19) == b"labels"
    assert get(DEFINITION, 25, 1, 1) == b"labels"
    assert get(DEFINITION, 25, 1, 2, 21, 1, 22, 1) == b"string"


def test_extensions_are_yaml() -> None:
    assert get(DEFINITION, 31, 1) == b"x-kubernetes-group-version-kind"
    assert orjson.loads(get(DEFINITION, 31, 2, 2)) == [{"group": "", "version": "v1", "kind": "Pod"}]


def test_a_key_without_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match="oneOf of a schema"):
        gnostic.encode({"definitions": {"A": {"oneOf": []}}})


def test_every_definition_of_the_api_has_its_place() -> None:
    definitions = Definitions(schema.load(), {})
    paths = document_paths(registry(), lambda name: name in definitions)
    document = v2.render(paths["apis/apps/v1"], definitions)
    names = [value for number, _, value in wire.fields(get(gnostic.encode(document), 9)) if number == 1]
    assert len(names) == len(document["definitions"])
