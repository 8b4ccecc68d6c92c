"""The life of an object in the API, from creation to deletion: what every kind's requirement asks for."""

from __future__ import annotations

import json
import secrets
from contextlib import closing
from itertools import islice

import pytest
from requirement_room import Obj, Refused, Room

#: cluster-scoped objects keep apart by it
MARK = f"req-{secrets.token_hex(3)}"
VERBS = frozenset(("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"))
STATUS_VERBS = frozenset(("get", "patch", "update"))


def lives(room: Room, collection: str, obj: Obj, mine: str = MARK, other: str = f"{MARK}-other") -> None:
    """Created, read, listed, watched, patched, updated, deleted, and deleted as a collection: each seen by the others.

    Two objects, so that what is selected is not what there is."""
    api, name = room.api, mine
    api("POST", collection, named(obj, other, "other"))
    made = api("POST", collection, named(obj, name, "mine"))
    path = f"{collection}/{name}"
    assert made["metadata"]["uid"] and api("GET", path)["metadata"]["uid"] == made["metadata"]["uid"]
    one, both = {"labelSelector": f"of=mine,mark={MARK}"}, {"labelSelector": f"mark={MARK}"}
    assert names(api("GET", collection, **one)) == [name]
    assert sorted(names(api("GET", collection, **both))) == sorted([name, other])

    patched = api.patch(path, {"metadata": {"annotations": {"patched": "yes"}}})
    assert patched["metadata"]["annotations"]["patched"] == "yes"
    read = api("GET", path)
    read["metadata"]["annotations"]["updated"] = "yes"
    updated = api("PUT", path, read)
    assert updated["metadata"]["annotations"] == {"patched": "yes", "updated": "yes"}
    with pytest.raises(Refused) as refused:
        api("PUT", path, made)
    assert refused.value.code == 409

    api("DELETE", path)
    with pytest.raises(Refused) as refused:
        api("GET", path)
    assert refused.value.code == 404
    assert names(api("GET", collection, **both)) == [other]
    api("DELETE", collection, **both)
    assert names(api("GET", collection, **both)) == []

    revision = made["metadata"]["resourceVersion"]
    told = watched(room, collection, revision, number=4)
    assert told == [("MODIFIED", "yes", ""), ("MODIFIED", "yes", "yes"), ("DELETED", "yes", "yes"), ("DELETED", "", "")]


def named(obj: Obj, name: str, of: str) -> Obj:
    return {**obj, "metadata": {"name": name, "labels": {"mark": MARK, "of": of}}}


def names(found: Obj) -> list[str]:
    return [each["metadata"]["name"] for each in found["items"]]


def watched(room: Room, collection: str, revision: str, number: int) -> list[tuple[str, str, str]]:
    """What happened since: the kinds of news, and what stood in two annotations."""
    lines = room.api.lines(collection, watch="1", resourceVersion=revision, labelSelector=f"mark={MARK}")
    with closing(lines):
        events = [json.loads(line) for line in islice(lines, number)]
    return [
        (event["type"], annotations.get("patched", ""), annotations.get("updated", ""))
        for event in events
        for annotations in [event["object"]["metadata"].get("annotations", {})]
    ]


def served(room: Room, group: str, *resources: str) -> bool:
    """As discovery tells it."""
    groups = {each["name"] for each in room.api("GET", "/apis")["groups"]}
    versions = {each["groupVersion"] for each in room.api("GET", f"/apis/{group}")["versions"]}
    found = {each["name"]: set(each["verbs"]) for each in room.api("GET", f"/apis/{group}/v1")["resources"]}
    wanted = {name: STATUS_VERBS if name.endswith("/status") else VERBS for name in resources}
    return (
        group in groups
        and f"{group}/v1" in versions
        and all(found.get(name, set()) >= verbs for name, verbs in wanted.items())
    )
