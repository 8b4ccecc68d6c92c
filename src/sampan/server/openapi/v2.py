"""The OpenAPI v2 (Swagger) document: all paths and definitions in one. Pure; called by the build.

Parameters are written out where they are used. Upstream refers to shared ones, but kubectl before 1.27 does not follow
references, and takes a server whose ``dryRun`` it does not find for one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sampan.server.discovery.version import GIT_VERSION
from sampan.server.openapi.definitions import INT_OR_STRING, Definitions, Raw, with_references
from sampan.server.openapi.operations import TEXT, Operation, Path
from sampan.server.openapi.parameters import Parameter

INFO = {"title": "Kubernetes", "version": GIT_VERSION}
BEARER_TOKEN = {
    "description": "Bearer Token authentication",
    "in": "header",
    "name": "authorization",
    "type": "apiKey",
}


def render(paths: Sequence[Path], definitions: Definitions) -> Raw:
    names = definitions.closure(used(paths, definitions))
    return {
        "swagger": "2.0",
        "info": INFO,
        "paths": {path.path: path_item(path) for path in sorted(paths, key=lambda path: path.path)},
        "definitions": {name: _definition(name, definitions.get(name)) for name in names},
        "securityDefinitions": {"BearerToken": BEARER_TOKEN},
        "security": [{"BearerToken": []}],
    }


def used(paths: Iterable[Path], definitions: Definitions) -> set[str]:
    """The definitions that operations name."""
    operations = [operation for path in paths for operation in path.operations]
    named = {operation.body for operation in operations}
    named |= {definition for operation in operations for _, _, definition in operation.responses}
    return {name for name in named if name is not None and name != TEXT and name in definitions}


def extensions(operation: Operation) -> Raw:
    """What upstream adds to an operation in both dialects."""
    found: dict[str, Any] = {}
    if operation.action:
        found["x-kubernetes-action"] = operation.action
    if operation.gvk is not None:
        found["x-kubernetes-group-version-kind"] = dict(zip(("group", "version", "kind"), operation.gvk, strict=True))
    return found


def _definition(name: str, raw: Raw) -> Raw:
    schema = with_references(raw, lambda to, beside: {**beside, "$ref": f"#/definitions/{to}"})
    return {**schema, "format": "int-or-string"} if name == INT_OR_STRING else schema


def path_item(path: Path) -> Raw:
    item: Raw = {operation.method: _operation(operation) for operation in path.operations}
    if path.parameters:
        item["parameters"] = [_parameter(parameter) for parameter in path.parameters]
    return item


def _operation(operation: Operation) -> Raw:
    taken = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        body: Raw = {"in": "body", "name": "body", "schema": _schema(operation.body)}
        if operation.body_required:
            body["required"] = True
        taken.insert(0, body)
    responses: Raw = {str(code): _response(text, name) for code, text, name in operation.responses}
    return {
        "consumes": list(operation.consumes),
        "description": operation.description,
        "operationId": operation.operation_id,
        **({"parameters": taken} if taken else {}),
        "produces": list(operation.produces),
        "responses": {**responses, "401": {"description": "Unauthorized"}},
        "schemes": ["https"],
        "tags": [operation.tag],
        **extensions(operation),
    }


def _response(text: str, name: str | None) -> Raw:
    return {"description": text, "schema": _schema(name)} if name is not None else {"description": text}


def _schema(name: str) -> Raw:
    return {"type": "string"} if name == TEXT else {"$ref": f"#/definitions/{name}"}


def _parameter(parameter: Parameter) -> Raw:
    found: Raw = {
        "description": parameter.description,
        "in": parameter.where,
        "name": parameter.name,
        "type": parameter.type,
        "uniqueItems": True,
    }
    return {**found, "required": True} if parameter.where == "path" else found
