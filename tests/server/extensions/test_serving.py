"""What a definition declares is served, as it says."""

from __future__ import annotations

from typing import Any

BOATS = "/apis/example.com/v1/namespaces/default/boats"


async def test_a_custom_resource_is_created_read_changed_listed_watched_and_deleted(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    made = await sea("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"masts": 2}})
    assert (made.status, made.obj["apiVersion"], made.obj["kind"]) == (201, "example.com/v1", "Boat")
    watch = sea.api.watch(f"{BOATS}?watch=1")
    assert (await anext(watch))["type"] == "ADDED"
    patch = [{"op": "replace", "path": "/spec/masts", "value": 3}]
    changed = await sea("PATCH", f"{BOATS}/a", patch, content_type="application/json-patch+json")
    assert (changed.status, changed.obj["spec"]) == (200, {"masts": 3})
    assert (await anext(watch))["object"]["spec"] == {"masts": 3}
    listed = (await sea("GET", BOATS)).obj
    assert (listed["kind"], [item["spec"] for item in listed["items"]]) == ("BoatList", [{"masts": 3}])
    assert (await sea("DELETE", f"{BOATS}/a")).status == 200
    assert (await anext(watch))["type"] == "DELETED"
    await watch.aclose()


async def test_what_is_there_when_the_server_starts_is_served_before_it_answers(
    sea: Any, crd: Any, api_of: Any
) -> None:
    from sampan.server.app import Server

    await sea.define(crd())
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    again = Server(sea.api.server.config, store=sea.api.server.store)
    async with again:
        assert (await api_of(again, sea.api.clock)("GET", f"{BOATS}/a")).status == 200


async def test_names_and_conditions_say_that_it_is_established(sea: Any, crd: Any) -> None:
    """[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition
    creating/deleting custom resource definition objects works [Conformance]"""
    found = await sea.define(crd(shortNames=["bt"], categories=["all"]))
    assert found["status"]["acceptedNames"] == {
        "plural": "boats", "singular": "boat", "shortNames": ["bt"], "kind": "Boat", "listKind": "BoatList",
        "categories": ["all"],
    }  # fmt: skip
    assert found["status"]["storedVersions"] == ["v1"]
    assert sea.reasons(found) == {
        "NamesAccepted": ("True", "NoConflicts", "no conflicts found"),
        "Established": ("True", "InitialNamesAccepted", "the initial names have been accepted"),
    }


async def test_a_name_of_another_definition_is_refused_until_that_one_goes(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    ships = crd("ships", kind="Ship", singular="ship", shortNames=["boat"], listKind="BoatList")
    await sea("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", ships)
    found = await sea.until("ships.example.com", lambda obj: sea.condition(obj, "NamesAccepted") == "False")
    assert sea.reasons(found) == {
        "NamesAccepted": ("False", "ListKindConflict", '"BoatList" is already in use'),
        "Established": ("False", "NotAccepted", "not all names are accepted"),
    }
    assert (await sea("GET", "/apis/example.com/v1/ships")).status == 404
    await sea("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.example.com")
    await sea.until("ships.example.com", lambda obj: sea.condition(obj, "Established") == "True")
    assert (await sea("GET", "/apis/example.com/v1/ships")).status == 200


async def test_a_definition_that_goes_takes_its_objects_along(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    for name in "abc":
        await sea("POST", BOATS, {"metadata": {"name": name}})
    gone = await sea("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.example.com")
    assert gone.status == 200
    assert sea.reasons(gone.obj)["Terminating"] == (
        "True",
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    )
    assert gone.obj["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert "deletionGracePeriodSeconds" not in gone.obj["metadata"]
    assert gone.obj["metadata"]["generation"] == 1
    await sea.until("boats.example.com", lambda obj: obj.get("code") == 404)

    async def unknown() -> bool:
        return (await sea("GET", BOATS)).status == 404

    await sea.eventually(unknown)
    assert not (await sea.api.server.store.range("/registry/example.com/")).entries


async def test_nothing_is_created_while_the_definition_ends_and_finalizers_are_waited_for(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    await sea("POST", BOATS, {"metadata": {"name": "a", "finalizers": ["example.com/wait"]}})
    await sea("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.example.com")

    async def refused() -> bool:
        answer = await sea("POST", f"{BOATS}?dryRun=All", {"metadata": {"name": "b"}})
        return answer.status == 405 and answer.reason == "MethodNotAllowed" and "terminating" in answer.message

    await sea.eventually(refused)

    async def marked() -> bool:
        return "deletionTimestamp" in (await sea("GET", f"{BOATS}/a")).obj["metadata"]

    await sea.eventually(marked)
    found = await sea.read("boats.example.com")
    assert sea.reasons(found)["Terminating"][1] == "InstanceDeletionInProgress"
    let_go = {"metadata": {"finalizers": None}}
    assert (await sea("PATCH", f"{BOATS}/a", let_go, content_type="application/merge-patch+json")).status == 200
    await sea.until("boats.example.com", lambda obj: obj.get("code") == 404)


async def test_a_definition_that_comes_again_is_a_new_one(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    await sea("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.example.com")
    await sea.until("boats.example.com", lambda obj: obj.get("code") == 404)
    await sea.define(crd(kind="Sailboat"))
    listed = await sea("GET", BOATS)
    assert (listed.obj["kind"], listed.obj["items"]) == ("SailboatList", [])


async def test_a_change_of_status_alone_keeps_the_watches(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    watch = sea.api.watch(f"{BOATS}?watch=1")
    await sea("POST", BOATS, {"metadata": {"name": "a"}})
    assert (await anext(watch))["type"] == "ADDED"
    await sea.change("boats.example.com", {"metadata": {"labels": {"a": "b"}}})
    await sea.define(crd("ships"))
    await sea("POST", BOATS, {"metadata": {"name": "b"}})
    assert (await anext(watch))["object"]["metadata"]["name"] == "b"
    await watch.aclose()


async def test_a_definition_that_was_never_established_goes_at_once(sea: Any, crd: Any) -> None:
    await sea.define(crd())
    ships = crd("ships", listKind="BoatList")
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await sea("POST", path, ships)
    await sea.until("ships.example.com", lambda obj: sea.condition(obj, "NamesAccepted") == "False")
    watch = sea.api.watch(f"{path}?watch=1&fieldSelector=metadata.name=ships.example.com")
    await anext(watch)
    await sea("DELETE", f"{path}/ships.example.com")
    states = [event async for event in watch_until_deleted(watch)]
    assert sea.reasons(states[-1]["object"])["Terminating"][:2] in (
        ("False", "NeverEstablished"),
        ("True", "InstanceDeletionPending"),
    )


async def watch_until_deleted(watch: Any) -> Any:
    async for event in watch:
        yield event
        if event["type"] == "DELETED":
            await watch.aclose()
            return
