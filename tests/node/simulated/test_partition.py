"""A line that can be cut: nothing passes, and what happened meanwhile is told afterwards, once an object."""

from __future__ import annotations

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import CONFIG_MAPS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.client.tasks import cancel_and_wait, detach
from sampan.node.partition import Line
from sampan.testing.api import api_server


def config(name: str, **data: str) -> Obj:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


async def test_news_of_the_time_of_the_cut_come_when_it_is_mended() -> None:
    async with api_server() as api:
        line, told = Line(), list[tuple[str, str, str]]()
        informer = Informer(Client(line.transport(api.client.transport)), CONFIG_MAPS)
        running = detach(informer.run(), "informer")
        await informer.synced()
        for name in ("kept", "gone", "anew"):
            await api.client.create(CONFIG_MAPS, config(name, a="0"))

        def handler(kind: str, obj: Obj, previous: Obj | None) -> None:
            if "a" in (obj.get("data") or {}):
                told.append((kind, obj["metadata"]["name"], obj["data"]["a"]))

        informer.add_handler(handler)
        told.clear()
        line.cut()
        for turn in "123":
            await api.client.patch(CONFIG_MAPS, "kept", {"data": {"a": turn}}, "default")
        for name in ("gone", "anew"):
            await api.client.delete(CONFIG_MAPS, name, "default")
        await api.client.create(CONFIG_MAPS, config("anew", a="9"))
        await api.client.create(CONFIG_MAPS, config("short", a="9"))
        await api.client.delete(CONFIG_MAPS, "short", "default")
        assert told == []
        line.mend()
        assert told == [
            ("MODIFIED", "kept", "3"),
            ("DELETED", "gone", "0"),
            ("DELETED", "anew", "0"),
            ("ADDED", "anew", "9"),
        ]
        await cancel_and_wait(running)


async def test_requests_fail_and_watches_end_as_without_a_route() -> None:
    async with api_server() as api:
        line = Line()
        client = Client(line.transport(api.client.transport))
        with pytest.raises(ServiceUnavailable, match="no route to host"):
            async with client.watch(CONFIG_MAPS, "default") as events:
                await api.client.create(CONFIG_MAPS, config("a"))
                assert (await anext(events)).object["metadata"]["name"] == "a"
                line.cut()
                await anext(events)
        with pytest.raises(ServiceUnavailable, match="no route to host"):
            await client.get(CONFIG_MAPS, "a", "default")
        line.mend()
        assert await client.get(CONFIG_MAPS, "a", "default")
