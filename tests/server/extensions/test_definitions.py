"""CustomResourceDefinitions as objects, and what a change of one does to the objects that are there."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.resources import CUSTOM_RESOURCE_DEFINITIONS

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BOATS = "/apis/example.com/v1/namespaces/default/boats"
MERGE = "application/merge-patch+json"


def with_defaults(**defaults: Any) -> dict[str, Any]:
    fields = {name: {"type": "string"} for name in ("a", "b")}
    for name, value in defaults.items():
        fields[name] = {"type": "string", "default": value}
    return {"openAPIV3Schema": {"type": "object", "properties": fields}}


async def test_a_watch_of_definitions_sees_them_come_change_and_go(sea: Any, crd: Any) -> None:
    """[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch
    on custom resource definition objects [Conformance]"""
    watch = sea.api.watch(f"{CRDS}?watch=1")
    await sea.define(crd())
    await sea.change("boats.example.com", {"metadata": {"labels": {"a": "b"}}})
    await sea("DELETE", f"{CRDS}/boats.example.com")
    seen = []
    async for event in watch:
        seen.append(event["type"])
        if event["type"] == "DELETED":
            break
    await watch.aclose()
    assert (seen[0], seen[-1]) == ("ADDED", "DELETED") and set(seen[1:-1]) == {"MODIFIED"}


async def test_definitions_are_listed_and_deleted_by_their_labels(sea: Any, crd: Any) -> None:
    """[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition
    listing custom resource definition objects works [Conformance]"""
    for number in range(10):
        found = crd(f"boat{number}s")
        found["metadata"]["labels"] = {"fleet": "a" if number < 9 else "b"}
        await sea.define(found)
    listed = (await sea("GET", f"{CRDS}?labelSelector=fleet=a")).obj
    assert len(listed["items"]) == 9
    assert (await sea("DELETE", f"{CRDS}?labelSelector=fleet=a")).status == 200

    async def gone() -> bool:
        return [item["metadata"]["name"] for item in (await sea("GET", CRDS)).obj["items"]] == ["boat9s.example.com"]

    await sea.eventually(gone)
    assert (await sea("GET", "/apis/example.com/v1/boat9s")).status == 200


async def test_the_status_of_a_definition_is_read_updated_and_patched(sea: Any, crd: Any) -> None:
    """[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition
    getting/updating/patching custom resource definition status sub-resource works [Conformance]"""
    await sea.define(crd())
    path = f"{CRDS}/boats.example.com/status"
    found = (await sea("GET", path)).obj
    found["status"]["conditions"].append({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set"})
    updated = await sea("PUT", path, found)
    assert updated.status == 200 and sea.condition(updated.obj, "StatusUpdate") == "True"
    conditions = [*updated.obj["status"]["conditions"], {"type": "StatusPatched", "status": "True"}]
    patched = await sea("PATCH", path, {"status": {"conditions": conditions}}, content_type=MERGE)
    assert patched.status == 200 and sea.condition(patched.obj, "StatusPatched") == "True"
    assert sea.condition(await sea.read("boats.example.com"), "StatusUpdate") == "True"


async def test_defaults_come_with_requests_and_from_storage(sea: Any, crd: Any, crd_version: Any) -> None:
    """[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for
    requests and from storage works [Conformance]"""
    await sea.define(crd("boats", crd_version(schema=with_defaults())))
    assert "a" not in (await sea("POST", BOATS, {"metadata": {"name": "one"}})).obj
    versions = [crd_version(schema=with_defaults(a="A"))]
    await sea.change("boats.example.com", {"spec": {"versions": versions}})

    async def shows(name: str, **wanted: str) -> bool:
        found = (await sea("GET", f"{BOATS}/{name}")).obj
        return {key: found[key] for key in ("a", "b") if key in found} == wanted

    await sea.eventually(lambda: shows("one", a="A"))
    assert (await sea("POST", BOATS, {"metadata": {"name": "two"}})).obj["a"] == "A"
    assert [item.get("a") for item in (await sea("GET", BOATS)).obj["items"]] == ["A", "A"]
    versions = [crd_version(schema=with_defaults(b="B"))]
    await sea.change("boats.example.com", {"spec": {"versions": versions}})
    await sea.eventually(lambda: shows("two", a="A", b="B"))  # what was stored stays, what was shown goes
    assert await shows("one", b="B")


async def test_what_the_schema_no_longer_knows_is_shown_no_longer(sea: Any, crd: Any, crd_version: Any) -> None:
    await sea.define(crd())
    await sea("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"masts": 1, "colour": "red"}})
    spec = {"type": "object", "properties": {"colour": {"type": "string"}}}
    smaller = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    await sea.change("boats.example.com", {"spec": {"versions": [crd_version(schema=smaller)]}})

    async def pruned() -> bool:
        return (await sea("GET", f"{BOATS}/a")).obj["spec"] == {"colour": "red"}

    await sea.eventually(pruned)


async def test_a_change_of_the_schema_ends_open_watches_which_go_on_where_they_were(
    sea: Any, crd: Any, crd_version: Any
) -> None:
    await sea.define(crd("boats", crd_version(schema=with_defaults())))
    watch = sea.api.watch(f"{BOATS}?watch=1")
    await sea("POST", BOATS, {"metadata": {"name": "one"}})
    last = (await anext(watch))["object"]["metadata"]["resourceVersion"]
    versions = [crd_version(schema=with_defaults(a="A"))]
    await sea.change("boats.example.com", {"spec": {"versions": versions}})
    assert [event async for event in watch] == []
    await sea("POST", BOATS, {"metadata": {"name": "two"}})
    again = sea.api.watch(f"{BOATS}?watch=1&resourceVersion={last}")
    assert (await anext(again))["object"]["metadata"]["name"] == "two"
    await again.aclose()


async def test_a_value_is_judged_by_the_schema_of_the_version_that_is_spoken(
    sea: Any, crd: Any, crd_version: Any
) -> None:
    masts = {"type": "object", "required": ["masts"], "properties": {"masts": {"type": "integer", "minimum": 1}}}
    strict = {"openAPIV3Schema": {"type": "object", "properties": {"spec": masts}}}
    await sea.define(crd("boats", crd_version("v1", schema=strict), crd_version("v2", storage=False)))
    refused = await sea("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"masts": 0}})
    assert (refused.status, refused.causes) == (422, [("FieldValueInvalid", "spec.masts")])
    assert refused.message == (
        'Boat.example.com "a" is invalid: spec.masts: Invalid value: 0: '
        "spec.masts in body should be greater than or equal to 1"
    )
    loose = BOATS.replace("/v1/", "/v2/")
    assert (await sea("POST", loose, {"metadata": {"name": "a"}, "spec": {"masts": 0}})).status == 201
    # what was wrong before, and is not touched, hinders nobody
    touched = await sea("PATCH", f"{BOATS}/a", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    assert touched.status == 200


async def test_protected_groups_say_whether_they_are_approved(sea: Any, crd: Any) -> None:
    found = crd("boats", group="sea.k8s.io")
    found["metadata"]["annotations"] = {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/1"}
    made = await sea.define(found)
    assert sea.reasons(made)["KubernetesAPIApprovalPolicyConformant"] == (
        "True",
        "ApprovedAnnotation",
        "approved in https://github.com/kubernetes/kubernetes/pull/1",
    )


async def test_many_definitions_at_once_are_served_together(sea: Any, crd: Any) -> None:
    surfaces = []
    replace = sea.api.server._surfaces.replace

    async def counted(make: Any) -> None:
        surfaces.append(make)
        await replace(make)

    sea.api.server._surfaces.replace = counted
    names = [f"boat{number}s" for number in range(40)]
    made = await asyncio.gather(*(sea("POST", CRDS, crd(name)) for name in names))
    assert {answer.status for answer in made} == {201}

    async def established() -> bool:
        items = (await sea("GET", CRDS)).obj["items"]
        return all(sea.condition(item, "Established") == "True" for item in items)

    await sea.eventually(established)
    assert len(surfaces) < len(names) / 4
    for name in names:
        assert (await sea("GET", f"/apis/example.com/v1/{name}")).status == 200


async def test_who_follows_definitions_is_told_of_them_and_keeps_none_decoded(sea: Any, crd: Any) -> None:
    view = sea.api.server.local_transport().cache_view(CUSTOM_RESOURCE_DEFINITIONS)
    told: list[tuple[str, str, bool]] = []

    def hear(kind: str, obj: Any, previous: Any, revision: int) -> None:
        told.append((kind, obj["metadata"]["name"], previous is not None))

    view.keep()
    view.subscribe(hear)
    await sea.define(crd())
    assert told[0] == ("ADDED", "boats.example.com", False)
    assert told[-1] == ("MODIFIED", "boats.example.com", True)
    assert [obj["metadata"]["name"] for obj in view.objects()] == ["boats.example.com"]
    storage = sea.api.server.surface.by_resource(CUSTOM_RESOURCE_DEFINITIONS).storage
    assert storage.cache.get(storage.key("", "boats.example.com")).kept() is None
