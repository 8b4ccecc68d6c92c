"""MutatingAdmissionPolicy on a whole server."""

from __future__ import annotations

from typing import Any

from .conftest import DEPLOYMENTS, MAPS, Policies, config_map, deployment, rules


def applying(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patching(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def test_a_deployment_is_changed_as_a_policy_says(api: Any, policies: Policies) -> None:
    """MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment"""
    await policies.mutating(
        matchConstraints=rules("deployments", group="apps"),
        mutations=[applying("Object{spec: Object.spec{replicas: object.spec.replicas + 100}}")],
    )
    made = await api("POST", DEPLOYMENTS, deployment(replicas=2))
    assert (made.status, made.obj["spec"]["replicas"]) == (201, 102)
    assert made.obj["spec"]["template"]["spec"]["containers"][0]["image"] == "i"


async def test_annotations_are_added(api: Any, policies: Policies) -> None:
    """MutatingAdmissionPolicy [Privileged:ClusterAdmin] should mutate a Deployment with annotations"""
    annotation = "Object{metadata: Object.metadata{annotations: {'by': 'policy'}}}"
    await policies.mutating(matchConstraints=rules("deployments", group="apps"), mutations=[applying(annotation)])
    made = await api("POST", DEPLOYMENTS, deployment())
    assert made.obj["metadata"]["annotations"] == {"by": "policy"}


async def test_json_patches_apply_to_what_is_there(api: Any, policies: Policies) -> None:
    patch = """
        has(object.data) ?
        [JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey("x~y"), value: string(object.data.size())}] :
        []
    """
    await policies.mutating(mutations=[patching("[JSONPatch{op: 'test', path: '/data/a', value: 'b'}]")])
    await policies.mutating("q", mutations=[patching(patch.replace("x~y", "x.y"))])
    assert (await api("POST", MAPS, config_map())).obj["data"] == {"a": "b", "x.y": "1"}


async def test_lists_are_merged_by_their_keys(api: Any, policies: Policies) -> None:
    sidecar = "Object.spec.template.spec.containers{name: 'side', image: 's'}"
    first = "Object.spec.template.spec.containers{name: 'c', imagePullPolicy: 'Always'}"
    expression = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{"
    expression += f"containers: [{first}, {sidecar}]}}}}}}}}"
    await policies.mutating(matchConstraints=rules("deployments", group="apps"), mutations=[applying(expression)])
    containers = (await api("POST", DEPLOYMENTS, deployment())).obj["spec"]["template"]["spec"]["containers"]
    assert [(each["name"], each["image"], each["imagePullPolicy"]) for each in containers] == [
        ("c", "i", "Always"),
        ("side", "s", "Always"),
    ]


async def test_what_can_only_be_set_as_a_whole_is_not_set(api: Any, policies: Policies) -> None:
    expression = "Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'x': 'y'}}}}"
    await policies.mutating(matchConstraints=rules("deployments", group="apps"), mutations=[applying(expression)])
    refused = await api("POST", DEPLOYMENTS, deployment())
    told = "policy 'p' with binding 'p-b' denied request: error applying patch: invalid ApplyConfiguration: "
    assert refused.message == f"{told}may not mutate atomic arrays, maps or structs: .spec.selector"
    assert (refused.status, refused.reason) == (403, "Invalid")


async def test_types_have_to_be_named_by_where_they_stand(api: Any, policies: Policies) -> None:
    await policies.mutating(mutations=[applying("Object{metadata: Object.spec{labels: {'a': 'b'}}}")])
    told = 'unexpected type name "Object.spec", expected "Object.metadata", which matches field name path'
    assert told in (await api("POST", MAPS, config_map())).message


async def test_a_field_that_the_object_cannot_have_is_told(api: Any, policies: Policies) -> None:
    await policies.mutating(mutations=[applying("Object{extra: 1}")])
    assert ".extra: field not declared in schema" in (await api("POST", MAPS, config_map())).message


async def test_a_later_policy_sees_what_an_earlier_one_has_made(api: Any, policies: Policies) -> None:
    add = "[JSONPatch{op: 'add', path: '/data/%s', value: object.data.map(k, k).join('')}]"
    await policies.mutating("a", mutations=[patching(add % "x")])
    await policies.mutating("b", mutations=[patching(add % "y"), patching(add % "z")])
    assert (await api("POST", MAPS, config_map())).obj["data"] == {"a": "b", "x": "a", "y": "ax", "z": "axy"}


async def test_who_wants_it_is_asked_again_once_something_has_changed(api: Any, policies: Policies) -> None:
    count = "Object{metadata: Object.metadata{annotations: {'seen': string(object.data.size())}}}"
    await policies.mutating("a", reinvocationPolicy="IfNeeded", mutations=[applying(count)])
    await policies.mutating("b", mutations=[patching("[JSONPatch{op: 'add', path: '/data/x', value: 'y'}]")])
    made = await api("POST", MAPS, config_map())
    assert made.obj["metadata"]["annotations"] == {"seen": "2"}


async def test_a_policy_whose_mutation_fails_denies_unless_failures_are_ignored(api: Any, policies: Policies) -> None:
    failing = patching("[JSONPatch{op: 'add', path: '/data/x', value: object.data.missing}]")
    await policies.mutating("a", failurePolicy="Ignore", mutations=[failing])
    assert (await api("POST", MAPS, config_map())).status == 201
    await policies.mutating("b", mutations=[failing])
    assert "resulted in error: no such key: missing" in (await api("POST", MAPS, config_map("d"))).message


async def test_parameters_and_variables_are_seen(api: Any, policies: Policies) -> None:
    await api("POST", MAPS, config_map("params", {"suffix": "!"}))
    await policies.mutating(
        matchConstraints=rules("secrets"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "label", "expression": "object.metadata.name + params.data.suffix"}],
        mutations=[applying("Object{metadata: Object.metadata{annotations: {'l': variables.label}}}")],
        binding={"paramRef": {"name": "params", "parameterNotFoundAction": "Deny"}},
    )
    made = await api("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    assert made.obj["metadata"]["annotations"] == {"l": "s!"}


async def test_what_a_policy_makes_is_validated_like_anything_else(api: Any, policies: Policies) -> None:
    await policies.mutating(mutations=[patching("[JSONPatch{op: 'replace', path: '/data', value: 1}]")])
    assert (await api("POST", MAPS, config_map())).status >= 400
    assert (await api("GET", MAPS)).obj["items"] == []
