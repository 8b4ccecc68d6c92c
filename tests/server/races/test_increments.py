"""Read, add, write: what upstream's clients do all day. Nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import AlreadyExists, ApiError, Conflict, Invalid

from .history import Obj
from .test_writes import CONFIGMAPS, PATCHES, PREFIX

PATH = f"{CONFIGMAPS}/counter"
WAYS = ("PUT", *PATCHES)


async def add_one(cluster: Any, rng: random.Random) -> bool:
    """By a write that is pinned to what was read, in one of the four ways; False: somebody else was quicker."""
    seen = await cluster("GET", PATH)
    way, version, more = rng.choice(WAYS), seen["metadata"]["resourceVersion"], str(int(seen["data"]["n"]) + 1)
    return await write(cluster, way, seen, version, more)


async def write(cluster: Any, way: str, seen: Obj, version: str, value: str) -> bool:
    body: Any = {"metadata": {"resourceVersion": version}, "data": {"n": value}}
    if way == "json":
        body = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/data/n", "value": value},
        ]
    try:
        if way == "PUT":
            await cluster("PUT", PATH, {**seen, "data": {**seen["data"], "n": value}})
        else:
            await cluster("PATCH", PATH, body, content_type=PATCHES[way])
    except (Conflict, Invalid):
        return False
    return True


@pytest.mark.parametrize("group", range(4))
async def test_no_acknowledged_increment_is_lost(
    start: Any, open_store: Any, seeds: Callable[[int], range], group: int
) -> None:
    async with open_store(group) as store, start(store, group) as cluster:
        for seed in (group * 50 + at for at in seeds(50)):
            cluster.reseed(seed)
            await cluster("POST", CONFIGMAPS, {"metadata": {"name": "counter"}, "data": {"n": "0"}})
            last: dict[str, str] = {}

            async def client(ident: str, rng: random.Random, cluster: Any, last: dict[str, str]) -> int:
                added = 0
                for step in range(3):
                    added += await add_one(cluster, rng)
                    last[ident] = str(step)
                    await cluster.merge(PATH, {"data": {ident: last[ident]}})  # of its own, not pinned: never refused
                return added

            added = await asyncio.gather(
                *(client(f"c{n}", random.Random(f"{seed} {n}"), cluster, last) for n in range(4))
            )
            found = await cluster("GET", PATH)
            assert found["data"] == {"n": str(sum(added)), **last}, seed
            await cluster("DELETE", PATH)


async def test_of_all_who_pin_the_same_version_exactly_one_wins(
    start: Any, open_store: Any, seeds: Callable[[int], range]
) -> None:
    async with open_store(0) as store, start(store, 0) as cluster:
        seen = await cluster("POST", CONFIGMAPS, {"metadata": {"name": "counter"}, "data": {"n": "0"}})
        for seed in seeds(60):
            cluster.reseed(seed)
            rng = random.Random(seed)
            writers = [(rng.choice(WAYS), f"{seed}.{n}") for n in range(6)]
            version = seen["metadata"]["resourceVersion"]
            won = await asyncio.gather(*(write(cluster, way, seen, version, value) for way, value in writers))
            assert sum(won) == 1, seed
            seen = await cluster("GET", PATH)
            assert seen["data"]["n"] == writers[won.index(True)][1]


async def test_of_all_who_create_a_name_exactly_one_does(
    start: Any, open_store: Any, seeds: Callable[[int], range]
) -> None:
    async with open_store(0) as store, start(store, 0) as cluster:
        for seed in seeds(60):
            cluster.reseed(seed)
            made = await asyncio.gather(
                *(
                    cluster("POST", CONFIGMAPS, {"metadata": {"name": f"x{seed}"}, "data": {"by": str(n)}})
                    for n in range(5)
                ),
                return_exceptions=True,
            )
            (one,) = [answer for answer in made if not isinstance(answer, BaseException)]
            assert sum(isinstance(answer, AlreadyExists) for answer in made) == 4
            assert (await cluster("GET", f"{CONFIGMAPS}/x{seed}"))["data"] == one["data"]


class FewNames(random.Random):
    """Generated names end in one of a few letters, so that they meet."""

    def choice(self, seq: Any) -> Any:
        return seq[0] if self.random() < 0.9 else seq[1]


async def test_generated_names_that_meet_are_generated_again(start: Any, open_store: Any) -> None:
    async with open_store(0) as store, start(store, 0, servers=1, rng=FewNames(1)) as cluster:
        made = await asyncio.gather(
            *(cluster("POST", CONFIGMAPS, {"metadata": {"generateName": "g-"}}) for _ in range(12)),
            return_exceptions=True,
        )
        names = [obj["metadata"]["name"] for obj in made if not isinstance(obj, BaseException)]
        assert len(names) == len(set(names)) > 4
        assert all(isinstance(error, AlreadyExists) for error in made if isinstance(error, BaseException))
        stored = (await store.range(PREFIX)).entries
        assert {entry.key.removeprefix(PREFIX) for entry in stored} == set(names)


async def test_what_is_made_of_an_object_goes_by_the_name_that_it_got_in_the_end(start: Any, open_store: Any) -> None:
    """A Job labels its pods with its name and uid."""
    container = {"name": "c", "image": "i"}
    spec = {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}
    body = {"metadata": {"generateName": "g-"}, "spec": spec}
    jobs = "/apis/batch/v1/namespaces/ns/jobs"
    async with open_store(0) as store, start(store, 0, servers=1, rng=FewNames(1)) as cluster:
        made = await asyncio.gather(*(cluster("POST", jobs, body) for _ in range(8)), return_exceptions=True)
        found = [job for job in made if not isinstance(job, ApiError)]
        assert len(found) > 3
        for job in found:
            labels, meta = job["spec"]["template"]["metadata"]["labels"], job["metadata"]
            assert labels["batch.kubernetes.io/job-name"] == meta["name"]
            assert labels["batch.kubernetes.io/controller-uid"] == meta["uid"]
            assert job["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": meta["uid"]}
