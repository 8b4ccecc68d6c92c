"""Status, scale, generation, tables, selectable fields and versions of custom resources."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

BOATS = "/apis/example.com/v1/namespaces/default/boats"
MERGE = "application/merge-patch+json"
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


async def test_status_is_written_by_itself_and_touches_nothing_else(sea: Any, crd: Any, crd_version: Any) -> None:
    await sea.define(crd("boats", crd_version(subresources={"status": {}})))
    body = {"metadata": {"name": "a"}, "spec": {"masts": 2}, "status": {"replicas": 9}}
    made = (await sea("POST", BOATS, body)).obj
    assert "status" not in made and made["metadata"]["generation"] == 1
    told = {
        **made,
        "metadata": {**made["metadata"], "labels": {"x": "y"}},
        "spec": {"masts": 5},
        "status": {"replicas": 3},
    }
    answer = await sea("PUT", f"{BOATS}/a/status", told)
    assert answer.status == 200
    assert (answer.obj["status"], answer.obj["spec"]) == ({"replicas": 3}, {"masts": 2})
    assert "labels" not in answer.obj["metadata"] and answer.obj["metadata"]["generation"] == 1
    patch = {"status": {"replicas": 0}, "spec": {"masts": 4}}
    changed = (await sea("PATCH", f"{BOATS}/a", patch, content_type=MERGE)).obj
    assert (changed["status"], changed["spec"], changed["metadata"]["generation"]) == ({"replicas": 3}, {"masts": 4}, 2)


async def test_without_the_subresource_status_is_a_field_like_others(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    made = (await sea("POST", BOATS, {"metadata": {"name": "a"}, "status": {"replicas": 9}})).obj
    assert made["status"] == {"replicas": 9}
    changed = (await sea("PATCH", f"{BOATS}/a", {"status": {"replicas": 1}}, content_type=MERGE)).obj
    assert changed["metadata"]["generation"] == 2
    changed = (await sea("PATCH", f"{BOATS}/a", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)).obj
    assert changed["metadata"]["generation"] == 2
    assert (await sea("GET", f"{BOATS}/a/status")).status == 404


async def test_a_custom_resource_is_scaled_where_its_definition_says(sea: Any, crd: Any, crd_version: Any) -> None:
    await sea.define(crd("boats", crd_version(subresources={"status": {}, "scale": SCALE})))
    await sea("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"replicas": 2}})
    await sea("PATCH", f"{BOATS}/a/status", {"status": {"replicas": 1, "selector": "app=a"}}, content_type=MERGE)
    scale = (await sea("GET", f"{BOATS}/a/scale")).obj
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=a"})
    scale["spec"]["replicas"] = 5
    assert (await sea("PUT", f"{BOATS}/a/scale", scale)).obj["spec"] == {"replicas": 5}
    assert (await sea("GET", f"{BOATS}/a")).obj["spec"]["replicas"] == 5
    patched = await sea("PATCH", f"{BOATS}/a/scale", {"spec": {"replicas": 7}}, content_type=MERGE)
    assert patched.obj["spec"] == {"replicas": 7}


async def test_an_object_without_replicas_has_no_scale(sea: Any, crd: Any, crd_version: Any) -> None:
    await sea.define(crd("boats", crd_version(subresources={"status": {}, "scale": SCALE})))
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    answer = await sea("GET", f"{BOATS}/a/scale")
    assert (answer.status, answer.message) == (500, 'the spec replicas field ".spec.replicas" does not exist')


async def test_an_update_must_say_of_which_revision_it_is(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    answer = await sea("PUT", f"{BOATS}/a", {"metadata": {"name": "a"}, "spec": {"masts": 1}})
    assert answer.status == 422
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in answer.message


async def table(sea: Any, url: str) -> Any:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    return (await sea("GET", url, accept=accept)).obj


async def test_a_table_has_the_columns_of_the_definition(sea: Any, crd: Any, crd_version: Any) -> None:
    columns = [
        {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "description": "What it looks like"},
        {"name": "Masts", "type": "integer", "jsonPath": ".spec.masts", "priority": 1},
        {"name": "Missing", "type": "string", "jsonPath": ".spec.nothing"},
        {"name": "Born", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    await sea.define(crd("boats", crd_version(additionalPrinterColumns=columns)))
    await sea("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"colour": "red", "masts": 3}})
    sea.api.clock.set(sea.api.clock.now() + timedelta(minutes=5))
    found = await table(sea, BOATS)
    head = [(one["name"], one["type"], one["priority"]) for one in found["columnDefinitions"]]
    assert head == [
        ("Name", "string", 0), ("Colour", "string", 0), ("Masts", "integer", 1), ("Missing", "string", 0),
        ("Born", "date", 0),
    ]  # fmt: skip
    assert found["columnDefinitions"][1]["description"] == "What it looks like"
    text = "Custom resource definition column (in JSONPath format): .spec.masts"
    assert found["columnDefinitions"][2]["description"] == text
    assert found["rows"][0]["cells"] == ["a", "red", 3, None, "5m"]


async def test_without_columns_a_table_tells_the_age(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    found = await table(sea, f"{BOATS}/a")
    assert [one["name"] for one in found["columnDefinitions"]] == ["Name", "Age"]
    assert found["rows"][0]["cells"] == ["a", "0s"]


async def test_fields_are_selected_where_the_definition_says(sea: Any, crd: Any, crd_version: Any) -> None:
    fields = [{"jsonPath": ".spec.colour"}, {"jsonPath": ".spec.masts"}]
    await sea.define(crd("boats", crd_version(selectableFields=fields)))
    for name, colour, masts in (("a", "red", 1), ("b", "blue", 1), ("c", "red", 2)):
        await sea("POST", BOATS, {"metadata": {"name": name}, "spec": {"colour": colour, "masts": masts}})
    listed = (await sea("GET", f"{BOATS}?fieldSelector=spec.colour=red,spec.masts=1")).obj
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
    refused = await sea("GET", f"{BOATS}?fieldSelector=spec.replicas=1")
    assert refused.status == 400 and "field label not supported: spec.replicas" in refused.message
    watch = sea.api.watch(f"{BOATS}?watch=1&fieldSelector=spec.colour=blue")
    assert (await anext(watch))["object"]["metadata"]["name"] == "b"
    await sea("PATCH", f"{BOATS}/b", {"spec": {"colour": "red"}}, content_type=MERGE)
    assert (await anext(watch))["type"] == "DELETED"
    await watch.aclose()


async def test_versions_without_conversion_show_what_their_schema_knows(sea: Any, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] works for multiple CRDs of same group
    but different versions [Conformance]"""
    spec = {"type": "object", "properties": {"colour": {"type": "string"}}}
    smaller = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    await sea.define(crd("boats", crd_version("v1"), crd_version("v2", storage=False, schema=smaller)))
    await sea("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"colour": "red", "masts": 3}})
    newer = BOATS.replace("/v1/", "/v2/")
    read = (await sea("GET", f"{newer}/a")).obj
    assert (read["apiVersion"], read["spec"]) == ("example.com/v2", {"colour": "red"})
    listed = (await sea("GET", newer)).obj
    assert (listed["apiVersion"], listed["items"][0]["spec"]) == ("example.com/v2", {"colour": "red"})
    made = await sea("POST", newer, {"metadata": {"name": "b"}, "spec": {"colour": "blue", "masts": 3}})
    assert (made.status, made.obj["spec"]) == (201, {"colour": "blue"})
    assert (await sea("GET", f"{BOATS}/b")).obj["apiVersion"] == "example.com/v1"


async def test_a_deprecated_version_warns_and_names_a_better_one(sea: Any, crd: Any, crd_version: Any) -> None:
    versions = [
        crd_version("v1beta1", storage=False, deprecated=True),
        crd_version("v1"),
        crd_version("v1alpha1", storage=False, deprecated=True, deprecationWarning="sail no more"),
    ]
    await sea.define(crd("boats", *versions))
    asked = await sea("GET", BOATS.replace("/v1/", "/v1beta1/"))
    assert asked.warnings == ["example.com/v1beta1 Boat is deprecated; use example.com/v1 Boat"]
    assert (await sea("GET", BOATS.replace("/v1/", "/v1alpha1/"))).warnings == ["sail no more"]
    assert (await sea("GET", BOATS)).warnings == []


async def test_a_version_that_is_not_served_is_not_found_and_its_objects_stay(
    sea: Any, crd: Any, crd_version: Any
) -> None:
    await sea.define(crd("boats", crd_version("v1"), crd_version("v2", storage=False)))
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    versions = [crd_version("v1", served=False), crd_version("v2", storage=False)]
    await sea.change("boats.example.com", {"spec": {"versions": versions}})

    async def unserved() -> bool:
        return (await sea("GET", BOATS)).status == 404

    await sea.eventually(unserved)
    newer = BOATS.replace("/v1/", "/v2/")
    assert (await sea("GET", f"{newer}/a")).obj["apiVersion"] == "example.com/v2"
    await sea("POST", newer, {"metadata": {"name": "b"}})
    value = (await sea.api.server.store.get("/registry/example.com/boats/default/b")).value
    assert b'"apiVersion":"example.com/v1"' in value


async def test_a_cluster_scoped_resource_has_no_namespace(sea: Any, crd: Any) -> None:
    found = crd()
    found["spec"]["scope"] = "Cluster"
    await sea.define(found)
    assert (await sea("POST", "/apis/example.com/v1/boats", {"metadata": {"name": "a"}})).status == 201
    assert (await sea("GET", "/apis/example.com/v1/boats/a")).status == 200
    assert (await sea("GET", BOATS)).status == 404


async def test_names_are_given_by_prefix_and_owners_are_kept(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "1"}
    made = await sea("POST", BOATS, {"metadata": {"generateName": "a-", "ownerReferences": [owner]}})
    assert made.status == 201 and made.obj["metadata"]["name"].startswith("a-")
    assert made.obj["metadata"]["ownerReferences"] == [owner]
