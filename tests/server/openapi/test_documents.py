"""What both dialects say about the API, checked on the real kinds and schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from sampan.api import schema
from sampan.api.registry import Registry, registry
from sampan.server.openapi import v2, v3
from sampan.server.openapi.definitions import Definitions
from sampan.server.openapi.descriptions import TypeDescription
from sampan.server.openapi.operations import Path, document_paths

STRATEGY = "io.k8s.api.apps.v1.DeploymentSpec"
DESCRIBED = {STRATEGY: TypeDescription("What is wanted.", {"strategy": "How pods are replaced."})}


@cache
def definitions() -> Definitions:
    return Definitions(schema.load(), DESCRIBED)


@cache
def documents() -> dict[str, tuple[Path, ...]]:
    return document_paths(registry(), lambda name: name in definitions())


@cache
def apps(version: int) -> dict[str, Any]:
    paths = documents()["apis/apps/v1"]
    return v2.render(paths, definitions()) if version == 2 else v3.render(paths, definitions())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def patch(document: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path]["patch"]
    return found


def test_there_is_a_document_for_every_group_and_version() -> None:
    names = set(documents())
    assert {"api", "apis", "version", "api/v1", "apis/apps", "apis/apps/v1", "apis/autoscaling/v2"} <= names
    assert len(names) == 5 + sum(len(versions) + bool(group) for group, versions in registry().groups().items())


def test_operation_ids_are_unique() -> None:
    ids = Counter(o.operation_id for paths in documents().values() for path in paths for o in path.operations)
    assert [name for name, count in ids.items() if count > 1] == []


@pytest.mark.parametrize(
    ("document", "path", "method", "operation_id"),
    [
        ("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}", "get", "readCoreV1NamespacedPod"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods", "delete", "deleteCoreV1CollectionNamespacedPod"),
        ("api/v1", "/api/v1/pods", "get", "listCoreV1PodForAllNamespaces"),
        ("api/v1", "/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec"),
        ("api/v1", "/api/v1/nodes/{name}/proxy/{path}", "get", "connectCoreV1GetNodeProxyWithPath"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog"),
        ("api/v1", "/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post", "createCoreV1NamespacedPodEviction"),
        (
            "apis/rbac.authorization.k8s.io/v1",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
            "patch",
            "patchRbacAuthorizationV1ClusterRole",
        ),
        (
            "apis/apps/v1",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "get",
            "readAppsV1NamespacedDeploymentScale",
        ),
    ],
)
def test_operations_are_named_as_upstream_names_them(document: str, path: str, method: str, operation_id: str) -> None:
    found = next(p for p in documents()[document] if p.path == path)
    assert operation_id in [o.operation_id for o in found.operations if o.method == method]


@pytest.mark.parametrize(("plural", "answer"), [("pods", "v1.Pod"), ("configmaps", "v1.Status")])
def test_delete_answers_what_the_server_answers(plural: str, answer: str) -> None:
    path = next(p for p in documents()["api/v1"] if p.path.endswith(f"/{plural}/{{name}}"))
    operation = next(o for o in path.operations if o.method == "delete")
    assert [str(name).endswith(answer) for _, _, name in operation.responses] == [True, True]


def test_every_path_declares_the_parameters_that_it_names() -> None:
    for paths in documents().values():
        for path in paths:
            declared = {p.name for p in path.parameters if p.where == "path"}
            assert declared == {part[1:-1] for part in path.path.split("/") if part.startswith("{")}, path.path


def test_every_kind_that_is_patched_takes_dry_run_and_field_validation() -> None:
    found = set()
    for paths in documents().values():
        for operation in (o for path in paths for o in path.operations if o.method == "patch"):
            if operation.action == "patch" and {"dryRun", "fieldValidation"} <= {p.name for p in operation.parameters}:
                found.add(operation.gvk)
    assert found >= {(k.group, k.version, k.kind) for k in registry().kinds() if "patch" in k.verbs}


@pytest.mark.parametrize("version", [2, 3])
def test_all_references_lead_somewhere(version: int) -> None:
    document = apps(version)
    prefix, there = (
        ("#/definitions/", document["definitions"])
        if version == 2
        else ("#/components/schemas/", document["components"]["schemas"])
    )
    assert {reference.removeprefix(prefix) for reference in references(document)} <= there.keys()


@pytest.mark.parametrize("version", [2, 3])
def test_definitions_that_nothing_names_are_left_out(version: int) -> None:
    document = apps(version)
    there = document["definitions"] if version == 2 else document["components"]["schemas"]
    assert STRATEGY in there
    assert "io.k8s.api.networking.v1.Ingress" not in there


@pytest.mark.parametrize("version", [2, 3])
def test_operations_say_which_kind_they_are_about(version: int) -> None:
    operation = patch(apps(version), "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale")
    assert operation["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert operation["x-kubernetes-action"] == "patch"


def test_v2_describes_a_reference_beside_it() -> None:
    assert apps(2)["definitions"][STRATEGY]["properties"]["strategy"] == {
        "$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy",
        "description": "How pods are replaced.",
        "x-kubernetes-patch-strategy": "retainKeys",
    }


def test_v3_describes_a_reference_around_it() -> None:
    assert apps(3)["components"]["schemas"][STRATEGY]["properties"]["strategy"] == {
        "allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}],
        "default": {},
        "description": "How pods are replaced.",
        "x-kubernetes-patch-strategy": "retainKeys",
    }


def test_a_number_or_string_may_be_either() -> None:
    name = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
    assert apps(2)["definitions"][name]["format"] == "int-or-string"
    assert apps(3)["components"]["schemas"][name]["oneOf"] == [{"type": "integer"}, {"type": "string"}]


def test_v2_writes_parameters_out_for_old_clients() -> None:
    taken = patch(apps(2), "/apis/apps/v1/namespaces/{namespace}/deployments/{name}")["parameters"]
    assert "dryRun" in [parameter["name"] for parameter in taken]


def test_an_empty_registry_makes_the_documents_of_the_root_only() -> None:
    assert list(document_paths(Registry({}, ()), lambda _: False)) == [
        "api",
        "apis",
        "version",
        ".well-known/openid-configuration",
        "openid/v1/jwks",
    ]


def fields(name: str, *, version: int) -> dict[str, Any]:
    rendered = v2.render if version == 2 else v3.render
    document = rendered(documents()["api/v1"], definitions())
    schemas = document["definitions"] if version == 2 else document["components"]["schemas"]
    found: dict[str, Any] = schemas[f"io.k8s.api.core.v1.{name}"]["properties"]
    return found


@pytest.mark.parametrize("version", [2, 3])
def test_an_enumeration_lists_its_values_and_tells_them(version: int) -> None:
    policy = fields("Container", version=version)["imagePullPolicy"]
    assert policy["enum"] == ["Always", "IfNotPresent", "Never"]
    assert policy["description"] == 'Possible enum values:\n - `"Always"`\n - `"IfNotPresent"`\n - `"Never"`'


@pytest.mark.parametrize("version", [2, 3])
def test_a_list_of_an_enumeration_lists_the_values_of_its_elements(version: int) -> None:
    modes = fields("PersistentVolumeClaimSpec", version=version)["accessModes"]
    assert modes["items"]["enum"] == ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
    assert "description" not in modes


def test_constants_that_are_no_closed_set_are_not_listed() -> None:
    assert "enum" not in fields("ServiceSpec", version=3)["trafficDistribution"]


def test_v3_tells_the_defaults_that_go_types_imply() -> None:
    container = fields("Container", version=3)
    assert container["name"]["default"] == ""
    assert container["resources"]["default"] == {}
    assert container["args"]["items"]["default"] == ""
    assert container["env"]["items"] == {
        "allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.EnvVar"}],
        "default": {},
    }
    without = ("image", "lifecycle", "ports", "tty")
    assert [name for name in without if "default" in container[name]] == []
    assert fields("ContainerPort", version=3)["protocol"]["default"] == "TCP"


def test_types_with_a_form_of_their_own_and_bytes_have_no_default() -> None:
    assert "default" not in fields("ServicePort", version=3)["targetPort"]
    assert "default" not in fields("Secret", version=3)["data"]["additionalProperties"]
    assert "default" not in fields("Event", version=3)["eventTime"]


def test_v2_tells_no_defaults() -> None:
    assert "default" not in fields("Container", version=2)["name"]
    assert "default" not in fields("ContainerPort", version=2)["protocol"]
