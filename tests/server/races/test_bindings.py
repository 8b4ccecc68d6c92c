"""Schedulers that bind the same pod: it gets one node, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import ApiError, Conflict, NotFound

from .history import History

PODS = "/api/v1/namespaces/ns/pods"
PREFIX = "/registry/core/pods/ns/"


async def attempt(call: Any) -> Any:
    try:
        return await call
    except ApiError as error:
        return error


def binding(cluster: Any, node: str, **metadata: str) -> Any:
    body = {"metadata": {"name": "p", **metadata}, "target": {"kind": "Node", "name": node}}
    return cluster("POST", f"{PODS}/p/binding", body)


@pytest.mark.parametrize("group", range(3))
async def test_a_pod_is_bound_once_while_others_write_and_delete_it(
    start: Any, open_store: Any, seeds: Callable[[int], range], group: int
) -> None:
    async with open_store(group) as store, start(store, group) as cluster:
        for seed in (group * 70 + at for at in seeds(70)):
            cluster.reseed(seed)
            rng = random.Random(seed)
            spec = {"containers": [{"name": "c", "image": "i"}]}
            made = await cluster("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
            pins = ({}, {"uid": made["metadata"]["uid"]}, {"resourceVersion": made["metadata"]["resourceVersion"]})
            began = store.revision
            calls = [binding(cluster, f"n{n}", **rng.choice(pins)) for n in range(4)]
            labels = cluster.merge(f"{PODS}/p", {"metadata": {"labels": {"x": "y"}}})
            deleted = rng.random() < 0.3
            others = [labels, *([cluster("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})] if deleted else [])]
            *bound, relabelled = (await asyncio.gather(*(attempt(call) for call in (*calls, *others))))[:5]
            nodes = [f"n{n}" for n, answer in enumerate(bound) if not isinstance(answer, ApiError)]
            assert len(nodes) <= 1, (seed, bound)
            for answer in bound:
                allowed = (Conflict, NotFound) if deleted else Conflict
                assert not isinstance(answer, ApiError) or isinstance(answer, allowed), (seed, answer)
            history = await History.of(store, began)
            states = history.during(PREFIX + "p", began, store.revision)
            shown = [state.obj["spec"]["nodeName"] for state in states if state.obj and "nodeName" in state.obj["spec"]]
            assert set(shown) == set(nodes), (seed, shown, nodes)
            if not deleted:
                assert not isinstance(relabelled, ApiError)
                last = states[-1].obj
                assert last is not None and last["metadata"]["labels"] == {"x": "y"}
                await cluster("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
