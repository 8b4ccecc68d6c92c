"""The write hook of Services: exactly what a write took is settled when the write is."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.api.errors import Invalid
from sampan.server.allocators.hook import ServiceHook
from sampan.server.allocators.service import ServiceAllocator


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"type": "ClusterIP", **spec}}


@pytest.fixture
def hook() -> ServiceHook:
    return ServiceHook(ServiceAllocator("10.96.0.0/24", (30000, 30100), random.Random(1)))


async def test_a_lost_create_does_not_free_the_winners_address(hook: ServiceHook) -> None:
    winner, loser = service("s", clusterIP="10.96.0.9"), service("s", clusterIP="10.96.0.9")
    await hook.committed(winner, None, await hook.before_create(winner, dry_run=False))
    await hook.rollback(loser, None, await hook.before_create(loser, dry_run=False))
    with pytest.raises(Invalid):
        await hook.before_create(service("other", clusterIP="10.96.0.9"), dry_run=False)


async def test_a_delete_frees_everything(hook: ServiceHook) -> None:
    made = service("s", type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 1, "nodePort": 30001}])
    await hook.committed(made, None, await hook.before_create(made, dry_run=False))
    await hook.committed(None, made, None)
    again = service("t", type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 1, "nodePort": 30001}])
    await hook.before_create(again, dry_run=False)


async def test_an_update_that_ends_the_service_frees_what_it_took(hook: ServiceHook) -> None:
    old = service("s")
    await hook.committed(old, None, await hook.before_create(old, dry_run=False))
    new = service("s", type="NodePort", ports=[{"port": 1, "nodePort": 30001}])
    await hook.committed(None, old, await hook.before_update(new, old, dry_run=False))
    await hook.before_create(service("t", type="NodePort", ports=[{"port": 1, "nodePort": 30001}]), dry_run=False)
