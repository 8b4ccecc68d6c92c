"""Deletes that race: time only gets shorter, and what was asked for by its state is deleted in that state."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import ApiError, Conflict, NotFound

from .history import History
from .test_bindings import attempt
from .test_writes import CONFIGMAPS

PODS = "/api/v1/namespaces/ns/pods"
PREFIX = "/registry/core/pods/ns/"


async def test_the_time_that_is_left_to_a_pod_only_gets_shorter(
    start: Any, open_store: Any, seeds: Callable[[int], range]
) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    async with open_store(0) as store, start(store, 0) as cluster:
        for seed in seeds(60):
            cluster.reseed(seed)
            rng, began = random.Random(seed), store.revision
            await cluster("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
            periods = [rng.choice((0, 5, 20, 30, 60)) for _ in range(5)]
            deletes = [cluster("DELETE", f"{PODS}/p", {"gracePeriodSeconds": period}) for period in periods]
            labels = cluster.merge(f"{PODS}/p", {"metadata": {"labels": {"x": "y"}}})
            answers = await asyncio.gather(*(attempt(call) for call in (*deletes, labels)))
            assert all(isinstance(a, NotFound) for a in answers if isinstance(a, ApiError)), (seed, answers)
            history = await History.of(store, began)
            states = [obj for key, _, obj in history.changes.values() if key == PREFIX + "p"]
            left = [
                obj["metadata"]["deletionGracePeriodSeconds"]
                for obj in states
                if obj is not None and "deletionTimestamp" in obj["metadata"]
            ]
            assert left == sorted(left, reverse=True), (seed, left)
            assert (states[-1] is None) == (0 in periods), (seed, periods, states)
            if states[-1] is not None:
                assert left[-1] == min(periods)
                await cluster("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})


async def test_of_all_who_delete_an_object_one_did(start: Any, open_store: Any, seeds: Callable[[int], range]) -> None:
    async with open_store(0) as store, start(store, 0) as cluster:
        for seed in seeds(60):
            cluster.reseed(seed)
            await cluster("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
            answers = await asyncio.gather(*(attempt(cluster("DELETE", f"{CONFIGMAPS}/a")) for _ in range(5)))
            assert [isinstance(answer, NotFound) for answer in answers].count(False) == 1, (seed, answers)


@pytest.mark.parametrize("precondition", ["uid", "resourceVersion"])
async def test_a_collection_is_deleted_as_far_as_its_preconditions_hold(
    start: Any, open_store: Any, precondition: str
) -> None:
    async with open_store(0) as store, start(store, 0) as cluster:
        made = await cluster("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
        with pytest.raises(Conflict):
            await cluster("DELETE", CONFIGMAPS, {"preconditions": {precondition: "9999"}})
        value = made["metadata"][precondition]
        await cluster("DELETE", CONFIGMAPS, {"preconditions": {precondition: value}})
        assert (await cluster("GET", CONFIGMAPS))["items"] == []
