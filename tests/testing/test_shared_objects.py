"""What caches, followers and writers share is nobody's to change: every object that a cache was ever told of is in the
end what it was, and what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, NODES, PODS, SERVICES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.server.storage import ResourceStorage
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(120)


class Witness:
    """Writes down every object that a cache is told of, as it is at that moment."""

    def __init__(self, storages: list[ResourceStorage]) -> None:
        self.seen: list[tuple[str, Obj, bytes]] = []
        self.storages = storages
        for storage in storages:
            storage.cache.subscribe(self._noting(storage))

    def _noting(self, storage: ResourceStorage) -> Callable[..., None]:
        def note(change: str, obj: Obj, previous: Obj | None, revision: int) -> None:
            for each in (obj, previous):
                if each is not None:
                    self.seen.append((f"{change} {storage.kind.kind}", each, orjson.dumps(each)))

        return note

    def changed(self) -> list[str]:
        """What somebody changed since, and what is not as it is stored."""
        found = [f"{what} {before!r}" for what, obj, before in self.seen if orjson.dumps(obj) != before]
        for storage in self.storages:
            for entry in storage.cache._entries.values():
                kept = entry.kept()
                if kept is not None and kept != storage.decode(entry.value, entry.revision):
                    found.append(f"kept {entry.key}")
        return found


def template(*commands: str) -> Obj:
    containers = [
        {"name": f"c{at}", "image": f"any:{command}", "env": [{"name": "A", "value": "b"}]}
        for at, command in enumerate(commands)
    ]
    return {"metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}}, "spec": {"containers": containers}}


def named(name: str, **rest: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": "default", "labels": {"l": "m"}}, **rest}


async def every_verb(client: Client) -> None:
    """Of a plain object, with bodies that are given away and bodies that are not."""
    for shared in (False, True):
        made = await client.create(CONFIG_MAPS, named("c", data={"k": "v"}), shared=shared)
        await client.update(CONFIG_MAPS, {**made, "data": {"k": "w"}})
        for patch, kind in (
            ({"data": {"l": "x"}}, "merge"),
            ({"metadata": {"labels": {"l": None}}}, "strategic"),
            ([{"op": "copy", "from": "/data", "path": "/metadata/annotations"}], "json"),
        ):
            await client.patch(CONFIG_MAPS, "c", patch, "default", patch_type=kind, shared=shared)  # type: ignore[arg-type]
        await client.delete(CONFIG_MAPS, "c", "default")


async def workloads(client: Client) -> None:
    """Pods that come, get ready, are replaced and go; Events, statuses and bindings with them."""
    selector = {"matchLabels": {"app": "web"}}
    await client.create(SERVICES, named("web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]}))
    await client.create(
        DEPLOYMENTS, named("web", spec={"replicas": 2, "selector": selector, "template": template("a")})
    )
    job = template("b")
    job["metadata"] = {}
    job["spec"]["restartPolicy"] = "Never"
    await client.create(JOBS, named("work", spec={"completions": 2, "template": job}))
    await asyncio.sleep(15)
    await client.patch(DEPLOYMENTS, "web", {"spec": {"template": template("c", "d")}}, "default")
    await asyncio.sleep(15)
    pod = (await client.list(PODS, "default", label_selector="app=web"))["items"][0]["metadata"]["name"]
    condition = {"type": "example.com/Mine", "status": "True"}
    patch = {"status": {"conditions": [condition]}}
    await client.patch(PODS, pod, patch, "default", patch_type="strategic", subresource="status")
    await client.patch(NODES, "node-0", {"spec": {"unschedulable": True}})
    await client.delete(PODS, pod, "default")
    await asyncio.sleep(15)
    await client.patch(NODES, "node-0", {"spec": {"unschedulable": None}})
    await client.delete(DEPLOYMENTS, "web", "default")
    await client.delete(JOBS, "work", "default")
    await asyncio.sleep(15)


def test_nothing_that_a_cache_was_told_of_is_changed_by_anybody(tmp_path: Path) -> None:
    async def live() -> Witness:
        timeline = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with Cluster(tmp_path, nodes=1, clock=timeline, seed=1, listen=False) as cluster:
            witness = Witness(list(cluster.server.surface.storages()))
            await every_verb(cluster.client)
            await workloads(cluster.client)
            assert not witness.changed()
        return witness

    witness = virtual.run(live())
    assert {"ADDED Pod", "MODIFIED Pod", "DELETED Pod", "ADDED Event", "MODIFIED Deployment", "MODIFIED ConfigMap"} <= {
        what for what, *_ in witness.seen
    }
    assert len(witness.seen) > 100
