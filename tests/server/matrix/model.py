"""What lists and watches should answer, told from a history of objects by the simplest means: no cache, no index.

``History`` drives a server through random changes and keeps every state that there was; the functions below say what a
list as of a revision, or a watch from one, has to show.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from sampan.api.resources import CONFIG_MAPS

NAMESPACES = ("default", "other")
NAMES = ("a", "b", "c", "d", "e")
Key = tuple[str, str]
State = dict[Key, Any]
Matches = Callable[[Any], bool]


@dataclass(frozen=True)
class Change:
    revision: int
    before: Any
    after: Any


@dataclass
class History:
    """``states``: the objects after each revision at which one changed."""

    api: Any
    rng: random.Random
    states: dict[int, State] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return max(self.states)

    def at(self, revision: int) -> State:
        return self.states[max(each for each in self.states if each <= revision)]

    async def begin(self) -> None:
        await self.api("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
        listed = (await self.api("GET", "/api/v1/configmaps")).obj
        assert listed["items"] == []
        self.states[int(listed["metadata"]["resourceVersion"])] = {}

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            await self.step()

    async def step(self) -> None:
        """One random change."""
        key = self.rng.choice(NAMESPACES), self.rng.choice(NAMES)
        url = f"/api/v1/namespaces/{key[0]}/configmaps"
        before = self.at(self.newest).get(key)
        labels = self.rng.choice(({}, {"x": "1"}, {"x": "2"}, {"x": "1", "y": "1"}))
        body = {"metadata": {"name": key[1], "labels": labels}, "data": {"n": str(self.rng.random())}}
        if before is None:
            after = (await self.api("POST", url, body)).obj
        elif self.rng.random() < 0.3:
            answer = await self.api("DELETE", f"{url}/{key[1]}")
            assert answer.status == 200
            after = None
        else:
            after = (await self.api("PUT", f"{url}/{key[1]}", body)).obj
        state = dict(self.at(self.newest))
        if after is None:
            revision = self.api.server.store.revision
            del state[key]
        else:
            revision = int(after["metadata"]["resourceVersion"])
            state[key] = after
        self.states[revision] = state
        self.changes.append(Change(revision, before, after))


@dataclass(frozen=True)
class Question:
    """Which objects: ``namespace`` "" are all; ``selector`` is a query, ``matches`` what it means."""

    namespace: str
    selector: str
    matches: Matches

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps" if self.namespace else "/api/v1/configmaps"

    def wants(self, obj: Any) -> bool:
        return self.namespace in ("", obj["metadata"]["namespace"]) and self.matches(obj)


def _label(obj: Any, name: str) -> Any:
    return obj["metadata"].get("labels", {}).get(name)


SELECTORS: tuple[tuple[str, Matches], ...] = (
    ("", lambda obj: True),
    ("labelSelector=x%3D1", lambda obj: _label(obj, "x") == "1"),
    ("labelSelector=x!%3D1,!y", lambda obj: _label(obj, "x") != "1" and _label(obj, "y") is None),
    ("labelSelector=x+in+(1,2)", lambda obj: _label(obj, "x") is not None),
    ("fieldSelector=metadata.name%3Db", lambda obj: obj["metadata"]["name"] == "b"),
    ("fieldSelector=metadata.name!%3Db", lambda obj: obj["metadata"]["name"] != "b"),
    (
        "fieldSelector=metadata.namespace%3Dother&labelSelector=x",
        lambda obj: obj["metadata"]["namespace"] == "other" and _label(obj, "x") is not None,
    ),
)
QUESTIONS = tuple(Question(namespace, *selector) for namespace in ("default", "") for selector in SELECTORS)


def listed(state: State, question: Question) -> list[Any]:
    """The objects in the order of a list."""
    return [obj for _, obj in sorted(state.items()) if question.wants(obj)]


def watched(changes: list[Change], question: Question) -> list[tuple[str, str, str, int]]:
    """(type, namespace, name, resourceVersion) of the events of these changes."""
    found = []
    for change in changes:
        before = change.before is not None and question.wants(change.before)
        after = change.after is not None and question.wants(change.after)
        if before or after:
            event_type = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
            shown = change.after if change.after is not None else change.before
            found.append((event_type, shown["metadata"]["namespace"], shown["metadata"]["name"], change.revision))
    return found


def event_of(event: Any) -> tuple[str, str, str, int]:
    """The same of an event of a watch in JSON."""
    metadata = event["object"]["metadata"]
    return event["type"], metadata["namespace"], metadata["name"], int(metadata["resourceVersion"])


def token_of(revision: int, start: str) -> str:
    said = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()


async def forget(api: Any, revision: int) -> None:
    """Compacts, and empties the cache's own memory of events, so that nobody knows what was before."""
    cache = api.server.surface.by_resource(CONFIG_MAPS).storage.cache
    cache._ring.clear()
    cache._ring_floor = revision
    await api.server.store.compact(revision)
