"""Evictions against a budget: however they race, no more pods go than the budget allows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import ApiError, NotFound, TooManyRequests

from .history import History, Obj

PODS = "/api/v1/namespaces/ns/pods"
BUDGETS = "/apis/policy/v1/namespaces/ns/poddisruptionbudgets"
PREFIX = "/registry/core/pods/ns/"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
NOT_READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}


def available(pod: Obj | None) -> bool:
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return False
    status = pod.get("status") or {}
    ready = [condition["status"] for condition in status.get("conditions") or [] if condition["type"] == "Ready"]
    return status.get("phase") == "Running" and ready == ["True"]


async def clear(cluster: Any) -> None:
    await cluster("DELETE", PODS, {"gracePeriodSeconds": 0})
    await cluster("DELETE", BUDGETS)


async def make_pods(cluster: Any, count: int, status: Obj) -> None:
    for n in range(count):
        metadata = {"name": f"p{n}", "labels": {"app": "x"}}
        await cluster("POST", PODS, {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}})
        await cluster.merge(f"{PODS}/p{n}/status", {"status": status})


async def make_budget(cluster: Any, allowed: int, healthy: int, **spec: str) -> None:
    selector = {"matchLabels": {"app": "x"}}
    body = {"metadata": {"name": "b"}, "spec": {"minAvailable": healthy - allowed, "selector": selector, **spec}}
    await cluster("POST", BUDGETS, body)
    status = {
        "observedGeneration": 1,
        "disruptionsAllowed": allowed,
        "desiredHealthy": healthy - allowed,
        "currentHealthy": healthy,
        "expectedPods": healthy,
    }
    await cluster.merge(f"{BUDGETS}/b/status", {"status": status})


async def evict(cluster: Any, name: str) -> object:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    try:
        return await cluster("POST", f"{PODS}/{name}/eviction", body)
    except (TooManyRequests, NotFound) as error:
        return error


@pytest.mark.parametrize("group", range(4))
async def test_no_more_pods_are_evicted_than_the_budget_allows(
    start: Any, open_store: Any, seeds: Callable[[int], range], group: int
) -> None:
    async with open_store(group) as store, start(store, group) as cluster:
        for seed in (group * 60 + at for at in seeds(60)):
            cluster.reseed(seed)
            rng = random.Random(seed)
            allowed = rng.randrange(3)
            await clear(cluster)
            await make_pods(cluster, 4, READY)
            await make_budget(cluster, allowed, 4)
            names = [f"p{rng.randrange(4)}" for _ in range(7)]
            answers = await asyncio.gather(*(evict(cluster, name) for name in names))
            left = [pod for pod in (await cluster("GET", PODS))["items"] if available(pod)]
            assert len(left) >= 4 - allowed, seed
            gone = {name for name, answer in zip(names, answers, strict=True) if not isinstance(answer, ApiError)}
            assert len(left) == 4 - len(gone), seed
            budget = await cluster("GET", f"{BUDGETS}/b")
            assert 0 <= budget["status"]["disruptionsAllowed"] <= allowed - len(gone), seed
            assert gone <= set(budget["status"].get("disruptedPods", {})), seed


@pytest.mark.parametrize(
    ("before", "policy"),
    [({"phase": "Pending"}, {}), (NOT_READY, {"unhealthyPodEvictionPolicy": "AlwaysAllow"})],
    ids=["pending", "unready"],
)
async def test_a_pod_that_becomes_available_while_it_is_evicted_counts(
    start: Any, open_store: Any, seeds: Callable[[int], range], before: Obj, policy: dict[str, str]
) -> None:
    """It may go while it does not count. Once it does, the budget is asked."""
    async with open_store(0) as store, start(store, 0) as cluster:
        cleared: set[int] = set()
        for seed in seeds(60):
            cluster.reseed(seed)
            began = store.revision
            await clear(cluster)
            cleared.update(range(began + 1, store.revision + 1))
            await make_pods(cluster, 2, before)
            await make_budget(cluster, 0, 2, **policy)

            async def become_ready(name: str, cluster: Any) -> None:
                try:
                    await cluster.merge(f"{PODS}/{name}/status", {"status": READY})
                except NotFound:
                    pass

            names = ("p0", "p1")
            await asyncio.gather(
                *(become_ready(name, cluster) for name in names), *(evict(cluster, name) for name in names)
            )
        history = await History.of(store)
        for revision, (key, was, now) in history.changes.items():
            if key.startswith(PREFIX) and available(was) and revision not in cleared:
                assert available(now), (revision, was, now)


async def test_a_budget_that_was_acknowledged_is_asked_by_whoever_comes_next(start: Any, open_store: Any) -> None:
    async with open_store(0) as store, start(store, 0) as cluster:
        for seed in range(5):
            cluster.reseed(seed)
            await clear(cluster)
            await make_pods(cluster, 1, READY)
            await make_budget(cluster, 0, 1)
            assert isinstance(await evict(cluster, "p0"), TooManyRequests)


async def test_a_budget_that_goes_meanwhile_is_no_reason_to_say_that_the_pod_is_missing(
    start: Any, open_store: Any, seeds: Callable[[int], range]
) -> None:
    async with open_store(0) as store, start(store, 0) as cluster:
        for seed in seeds(20):
            cluster.reseed(seed)
            await clear(cluster)
            await make_pods(cluster, 1, READY)
            await make_budget(cluster, 1, 1)
            answer, _ = await asyncio.gather(evict(cluster, "p0"), cluster("DELETE", f"{BUDGETS}/b"))
            assert not isinstance(answer, ApiError), (seed, answer)
