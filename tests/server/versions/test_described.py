"""OpenAPI describes former versions too, so that kubectl explains, validates and rehearses in them."""

from __future__ import annotations

import json
from typing import Any

from sampan.api import schema
from sampan.api.registry import registry
from sampan.server.openapi import descriptions, v3
from sampan.server.openapi.definitions import Definitions
from sampan.server.openapi.operations import group_version_paths


def document(group: str, version: str) -> dict[str, Any]:
    compiled = schema.load()
    folder = descriptions.models_folder()
    assert folder is not None
    definitions = Definitions(compiled, descriptions.read(folder, compiled.names()))
    kinds = registry().kinds(group, version)
    rendered: dict[str, Any] = v3.render(
        group_version_paths(group, version, kinds, definitions.__contains__), definitions
    )
    return rendered


def test_a_document_of_a_former_version_is_whole() -> None:
    found = document("extensions", "v1beta1")
    schemas = found["components"]["schemas"]
    named = {part.partition('"')[0] for part in json.dumps(found).split("#/components/schemas/")[1:]}
    assert named <= schemas.keys()
    ingress = schemas["io.k8s.api.extensions.v1beta1.IngressBackend"]
    assert ingress["properties"].keys() == {"resource", "serviceName", "servicePort"}
    kind = {"group": "extensions", "kind": "Ingress", "version": "v1beta1"}
    assert schemas["io.k8s.api.extensions.v1beta1.Ingress"]["x-kubernetes-group-version-kind"] == [kind]


def test_what_is_said_of_a_type_of_today_is_said_of_its_former_self() -> None:
    schemas = document("batch", "v1beta1")["components"]["schemas"]
    spec = schemas["io.k8s.api.batch.v1beta1.CronJobSpec"]
    assert spec["description"]
    assert spec["properties"]["schedule"]["description"]


def test_a_rehearsal_can_be_asked_for_in_a_former_version() -> None:
    paths = document("extensions", "v1beta1")["paths"]
    patch = paths["/apis/extensions/v1beta1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert {"dryRun", "fieldValidation"} <= {parameter["name"] for parameter in patch["parameters"]}
