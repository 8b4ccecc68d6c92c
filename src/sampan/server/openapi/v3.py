"""The OpenAPI v3 documents, one for each group version, each complete in itself. Pure; called by the build."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.server.openapi.definitions import INT_OR_STRING, QUANTITY, Definitions, Raw, with_references
from sampan.server.openapi.operations import TEXT, Operation, Path
from sampan.server.openapi.parameters import Parameter
from sampan.server.openapi.v2 import BEARER_TOKEN, INFO, extensions, used

#: What v2 cannot say: it has no oneOf.
_EITHER: dict[str, Raw] = {
    INT_OR_STRING: {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
}


def render(paths: Sequence[Path], definitions: Definitions) -> Raw:
    names = definitions.closure(used(paths, definitions))
    items = {path.path: path_item(path) for path in sorted(paths, key=lambda path: path.path)}
    return document(items, {name: _definition(name, definitions.get_with_defaults(name)) for name in names})


def document(paths: Raw, schemas: Raw) -> Raw:
    return {
        "openapi": "3.0.0",
        "info": INFO,
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"BearerToken": BEARER_TOKEN}},
    }


def _definition(name: str, raw: Raw) -> Raw:
    if name in _EITHER:
        return {"description": raw.get("description", ""), **_EITHER[name]}
    return with_references(raw, _reference)


def _reference(name: str, beside: Raw) -> Raw:
    """v3 ignores what stands beside a reference, so a described one is wrapped."""
    reference = {"$ref": f"#/components/schemas/{name}"}
    return {"allOf": [reference], **beside} if beside else reference


def path_item(path: Path) -> Raw:
    item: Raw = {operation.method: _operation(operation) for operation in path.operations}
    if path.parameters:
        item["parameters"] = [_parameter(parameter) for parameter in path.parameters]
    return item


def _operation(operation: Operation) -> Raw:
    result: Raw = {
        "description": operation.description,
        "operationId": operation.operation_id,
        "responses": {
            **{str(code): _response(operation, text, name) for code, text, name in operation.responses},
            "401": {"description": "Unauthorized"},
        },
        "tags": [operation.tag],
        **extensions(operation),
    }
    if operation.parameters:
        result["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        content = {media_type: {"schema": _schema(operation.body)} for media_type in operation.consumes}
        result["requestBody"] = {"content": content}
        if operation.body_required:
            result["requestBody"]["required"] = True
    return result


def _response(operation: Operation, text: str, name: str | None) -> Raw:
    if name is None:
        return {"description": text}
    return {"description": text, "content": {media: {"schema": _schema(name)} for media in operation.produces}}


def _schema(name: str) -> Raw:
    return {"type": "string"} if name == TEXT else {"$ref": f"#/components/schemas/{name}"}


def _parameter(parameter: Parameter) -> Raw:
    found: Raw = {
        "description": parameter.description,
        "in": parameter.where,
        "name": parameter.name,
        "schema": {"type": parameter.type, "uniqueItems": True},
    }
    return {**found, "required": True} if parameter.where == "path" else found
