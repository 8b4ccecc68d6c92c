"""Clients that write and read the same few objects through two servers, at once: every answer was true while the
request ran, every write is of one of them, and none undoes another's."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound

from .history import History, Obj

CONFIGMAPS = "/api/v1/namespaces/ns/configmaps"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/roles"
PREFIX = "/registry/core/configmaps/ns/"
ROLE_PREFIX = "/registry/rbac.authorization.k8s.io/roles/ns/"
NAMES = ("a", "b", "c")
PATCHES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
Check = Callable[[History], None]


class Client:
    """Does one thing after another. Each leaves a check, for when the whole history is known."""

    def __init__(self, cluster: Any, rng: random.Random, ident: str) -> None:
        self.cluster, self.random, self.ident = cluster, rng, ident
        self.checks: list[Check] = []
        #: revisions of changes, and uids of removals, that were acknowledged to this client
        self.claimed: list[object] = []
        self._seen: dict[str, Obj] = {}
        self._count = 0

    async def run(self, steps: int) -> None:
        every = (self.create, self.put, self.patch, self.delete, self.finish, self.get, self.list, self.put_role)
        weights = (4, 3, 8, 3, 2, 3, 1, 3)
        for _ in range(steps):
            step = self.random.choices(every, weights)[0] if self.random.random() < 0.97 else self.delete_collection
            await step()

    async def _ask(self, *args: Any, **query: str) -> tuple[Any, int, int]:
        """The answer or its error, and the revisions that the request was between."""
        first = self.cluster.store.revision
        answer: Any
        try:
            answer = await self.cluster(*args, **query)
        except ApiError as error:
            answer = error
        return answer, first, self.cluster.store.revision

    def _target(self) -> tuple[str, str, str]:
        """A name with its path and key."""
        name = self.random.choice(NAMES)
        return name, f"{CONFIGMAPS}/{name}", PREFIX + name

    def _value(self) -> str:
        self._count += 1
        return f"{self.ident}.{self._count}"

    def _pin(self, name: str) -> str:
        """Of what the client saw last, in half of the cases."""
        seen = self._seen.get(name)
        return seen["metadata"]["resourceVersion"] if seen is not None and self.random.random() < 0.5 else ""

    def _claims(self, check: Callable[[History], int], *, alone: bool = True) -> None:
        """``alone``: no other request wants the same, so the change is this one's."""

        def look(history: History) -> None:
            if (revision := check(history)) and alone:
                self.claimed.append(revision)

        self.checks.append(look)

    async def create(self) -> None:
        name = self.random.choice(NAMES)
        metadata: Obj = {"name": name}
        if generated := self.random.random() < 0.3:
            metadata = {"generateName": "a-"}
        if self.random.random() < 0.5:
            metadata["labels"] = {"x": "y"}
        if self.random.random() < 0.3:
            metadata["finalizers"] = ["example.com/wait"]
        data = {"n": self._value()}
        dry = {"dryRun": "All"} if self.random.random() < 0.1 else {}
        answer, first, last = await self._ask("POST", CONFIGMAPS, {"metadata": metadata, "data": data}, **dry)
        if isinstance(answer, AlreadyExists) and not generated:
            self.checks.append(lambda history: history.check_present(PREFIX + name, first, last))
            return
        key = PREFIX + answer["metadata"]["name"]
        if dry:
            self.checks.append(lambda history: history.check_missing(key, first, last))
            return
        self._seen[answer["metadata"]["name"]] = answer
        self._claims(
            lambda history: history.check_written(
                key, answer, first, last, lambda before, after: before is None and after["data"] == data
            )
        )

    async def put(self) -> None:
        name, path, key = self._target()
        pin, data = self._pin(name), {"n": self._value()}
        body = {"metadata": {"name": name, "resourceVersion": pin}, "data": data}
        answer, first, last = await self._ask("PUT", path, body)
        self._written(
            name, key, pin, answer, first, last, lambda before, after: before is not None and after["data"] == data
        )

    async def patch(self) -> None:
        name, path, key = self._target()
        form, pin = self.random.choice(tuple(PATCHES)), self._pin(name)
        field, value = self.random.choice(("k", "l", self.ident)), self.random.choice(("same", self._value()))
        body: Any = {"metadata": {"resourceVersion": pin} if pin else {}, "data": {field: value}}
        if form == "json":
            body = [{"op": "test", "path": "/metadata/resourceVersion", "value": pin}] if pin else []
            body.append({"op": "add", "path": f"/data/{field}", "value": value})
        dry = {"dryRun": "All"} if self.random.random() < 0.1 else {}
        answer, first, last = await self._ask("PATCH", path, body, content_type=PATCHES[form], **dry)

        def derives(before: Obj | None, after: Obj) -> bool:
            return before is not None and after["data"] == {**before["data"], field: value}

        if dry and not isinstance(answer, ApiError):
            version = int(answer["metadata"]["resourceVersion"])
            self.checks.append(
                lambda history: _check(
                    [s for s in history.during(key, first, last) if s.revision == version and derives(s.obj, answer)],
                    (key, answer, first, last),
                )
            )
            return
        self._written(name, key, pin, answer, first, last, derives, alone=value != "same")

    async def finish(self) -> None:
        """Takes the finalizers away."""
        name, path, key = self._target()
        answer, first, last = await self._ask(
            "PATCH", path, {"metadata": {"finalizers": None}}, content_type=PATCHES["merge"]
        )

        def derives(before: Obj | None, after: Obj) -> bool:
            return before is not None and after["data"] == before["data"] and "finalizers" not in after["metadata"]

        self._written(name, key, "", answer, first, last, derives, alone=False)

    def _written(
        self,
        name: str,
        key: str,
        pin: str,
        answer: Any,
        first: int,
        last: int,
        derives: Callable[[Obj | None, Obj], bool],
        *,
        alone: bool = True,
    ) -> None:
        if isinstance(answer, NotFound):
            self.checks.append(lambda history: history.check_missing(key, first, last))
            return
        if isinstance(answer, Conflict | Invalid):
            assert pin, answer
            self.checks.append(lambda history: history.check_moved(key, pin, first, last))
            return
        assert not isinstance(answer, ApiError), answer
        self._seen[name] = answer

        def pinned(before: Obj | None, after: Obj) -> bool:
            at_pin = not pin or (before is not None and before["metadata"]["resourceVersion"] == pin)
            return at_pin and derives(before, after)

        self._claims(lambda history: history.check_written(key, answer, first, last, pinned), alone=alone)

    async def delete(self) -> None:
        name, path, key = self._target()
        seen, preconditions = self._seen.get(name), {}
        if seen is not None and self.random.random() < 0.5:
            which = self.random.choice(("uid", "resourceVersion"))
            preconditions = {which: seen["metadata"][which]}
        answer, first, last = await self._ask("DELETE", path, {"preconditions": preconditions})
        if isinstance(answer, NotFound):
            self.checks.append(lambda history: history.check_missing(key, first, last))
            return
        if isinstance(answer, Conflict):
            ((which, pin),) = preconditions.items()
            self.checks.append(
                lambda history: _check(
                    [s for s in history.during(key, first, last) if s.obj and s.obj["metadata"][which] != pin],
                    (key, which, pin),
                )
            )
            return
        assert not isinstance(answer, ApiError), answer
        if answer["kind"] == "Status":
            uid = answer["details"]["uid"]
            self.claimed.append(uid)
            self.checks.append(lambda history: _check(_removals(history, key, uid, first, last), (key, uid)))
            return

        def derives(before: Obj | None, after: Obj) -> bool:
            return before is not None and before["data"] == after["data"] and "deletionTimestamp" in after["metadata"]

        self._claims(lambda history: history.check_written(key, answer, first, last, derives), alone=False)

    async def delete_collection(self) -> None:
        answer, first, last = await self._ask("DELETE", CONFIGMAPS, labelSelector="x=y")
        assert not isinstance(answer, ApiError), answer
        listed = int(answer["metadata"]["resourceVersion"])
        assert all(int(item["metadata"]["resourceVersion"]) <= listed <= last for item in answer["items"])

        def look(history: History) -> None:
            for item in history.under(PREFIX, first, _is_labelled):
                states = history.during(PREFIX + item["metadata"]["name"], first, last)
                assert any(
                    state.obj is None
                    or state.obj["metadata"].get("deletionTimestamp")
                    or state.obj["metadata"]["uid"] != item["metadata"]["uid"]
                    or not _is_labelled(state.obj)
                    for state in states
                ), (item, states)

        self.checks.append(look)

    async def get(self) -> None:
        name, path, key = self._target()
        answer, first, last = await self._ask("GET", path)
        if isinstance(answer, NotFound):
            self.checks.append(lambda history: history.check_missing(key, first, last))
        else:
            self._seen[name] = answer
            self.checks.append(lambda history: history.check_seen(key, answer, first, last))

    async def list(self) -> None:
        labelled = self.random.random() < 0.5
        answer, first, last = await self._ask("GET", CONFIGMAPS, labelSelector="x=y" if labelled else "")
        revision = int(answer["metadata"]["resourceVersion"])
        assert first <= revision <= last
        wanted = _is_labelled if labelled else bool
        for item in answer["items"]:
            self._seen[item["metadata"]["name"]] = item
        self.checks.append(
            lambda history: _check(answer["items"] == history.under(PREFIX, revision, wanted), (answer, revision))
        )

    async def put_role(self) -> None:
        """A kind that an update makes where it is missing: without a pin nobody ever hears of the race."""
        name = self.random.choice(NAMES)
        path, key = f"{ROLES}/{name}", ROLE_PREFIX + name
        if self.random.random() < 0.3:
            answer, first, last = await self._ask("DELETE", path)
            if isinstance(answer, NotFound):
                self.checks.append(lambda history: history.check_missing(key, first, last))
            return
        said = {"by": self._value()}
        answer, first, last = await self._ask("PUT", path, {"metadata": {"name": name, "annotations": said}})
        assert not isinstance(answer, ApiError), answer
        self._claims(
            lambda history: history.check_written(
                key, answer, first, last, lambda before, after: after["metadata"]["annotations"] == said
            )
        )


def _is_labelled(obj: Obj) -> bool:
    return (obj["metadata"].get("labels") or {}).get("x") == "y"


def _removals(history: History, key: str, uid: str, first: int, last: int) -> list[int]:
    found = ((revision, *history.changes[revision]) for revision in range(first + 1, last + 1))
    return [
        revision
        for revision, changed, before, after in found
        if changed == key and after is None and before is not None and before["metadata"]["uid"] == uid
    ]


def _check(found: object, shown: object) -> None:
    assert found, shown


@pytest.mark.parametrize("group", range(12))
async def test_every_answer_was_true_while_the_request_ran(
    start: Any, open_store: Any, seeds: Callable[[int], range], group: int
) -> None:
    for at in seeds(20):
        seed = group * 20 + at
        async with open_store(seed) as store, start(store, seed) as cluster:
            clients = [Client(cluster, random.Random(f"{seed} {each}"), f"c{each}") for each in range(4)]
            await asyncio.gather(*(client.run(8) for client in clients))
            history = await History.of(store)
            for check in [check for client in clients for check in client.checks]:
                check(history)
            twice = [what for what, n in Counter(w for c in clients for w in c.claimed).items() if n > 1]
            assert not twice, (seed, twice)
