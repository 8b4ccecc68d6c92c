"""The pod network and the service proxy of a node go on for the range that it has, whatever ends what they follow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sampan.api.resources import SERVICES
from sampan.api.transport import WatchEvent
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.cluster import network_stack, podnetwork
from sampan.cluster.instance import ClusterSettings, Instance
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual


class Answers:
    """What ``node_range`` gives, one answer after the other; then it never answers."""

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = iter(answers)

    async def __call__(self, client: Client, name: str, *, other_than: str = "") -> str:
        answer = next(self._answers, None)
        await asyncio.sleep(1)
        if answer is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


class Ran:
    """The ranges for which a service proxy ran."""

    def __init__(self) -> None:
        self.ranges: list[str] = []
        self.running = 0

    async def __call__(self, informers: InformerFactory, instance: Instance, node_range: str, dns: object) -> None:
        self.ranges.append(node_range)
        self.running += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.running -= 1


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ran]:
    made = Ran()
    monkeypatch.setattr(network_stack, "run_proxy", made)
    monkeypatch.setattr(podnetwork, "write_config", lambda instance, given: None)
    yield made


class Nobody:
    """A transport without a server behind it."""

    def cache_view(self, resource: object) -> None:
        return None


def run(tmp_path: Path, seconds: float) -> BaseException | None:
    """What ended it within the time; None: it goes on."""

    async def body() -> BaseException | None:
        client = Client(Nobody())  # type: ignore[arg-type]
        instance = Instance(ClusterSettings("one"), tmp_path, tmp_path)
        work = asyncio.ensure_future(network_stack.run_pod_network(client, InformerFactory(client), instance))
        await asyncio.wait([work], timeout=seconds)
        if work.done():
            return work.exception()
        work.cancel()
        await asyncio.wait([work])
        return None

    return virtual.run(body())


def test_a_fault_of_what_follows_the_range_begins_the_network_anew_and_waits_for_no_other_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: Ran
) -> None:
    monkeypatch.setattr(podnetwork, "node_range", Answers("10.8.0.0/24", RuntimeError("a bug")))
    ended = run(tmp_path, 60)
    assert isinstance(ended, RuntimeError), "its keeper starts it again"
    assert ran.ranges == ["10.8.0.0/24"]


def test_the_range_that_was_told_is_used_even_if_it_is_another_one_again_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: Ran
) -> None:
    monkeypatch.setattr(podnetwork, "node_range", Answers("10.8.0.0/24", "10.8.7.0/24", "10.8.0.0/24"))
    assert run(tmp_path, 60) is None
    assert ran.ranges == ["10.8.0.0/24", "10.8.7.0/24", "10.8.0.0/24"]


class Refusing:
    """Each watch is one ERROR event, after which it ends."""

    def __init__(self) -> None:
        self.watches = 0

    async def _events(self) -> Any:
        yield WatchEvent("ERROR", {"kind": "Status", "code": 503, "message": "the store is away"})

    def watch(self, call: object) -> Any:
        events = self._events

        class Opened:
            async def __aenter__(self) -> Any:
                return events()

            async def __aexit__(self, *fault: object) -> None: ...

        self.watches += 1
        return Opened()


def test_a_watch_of_the_range_that_is_refused_is_tried_once_a_second() -> None:
    async def body() -> int:
        refusing = Refusing()
        asking = asyncio.ensure_future(podnetwork.node_range(Client(refusing), "mine"))  # type: ignore[arg-type]
        await asyncio.wait([asking], timeout=10)
        asking.cancel()
        await asyncio.wait([asking])
        return refusing.watches

    assert 9 <= virtual.run(body()) <= 11


async def test_who_waits_for_others_to_answer_names_waits_on_when_what_shows_services_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(podnetwork, "RETRY_SECONDS", 0.01)
    async with Server(ServerConfig(listen=False, store="memory", random=Random(1))) as server:
        client = Client(server.local_transport())
        informers = InformerFactory(client)
        dns = network_stack.ClusterDns(informers)
        waiting = asyncio.create_task(dns.becomes(False))
        for _ in range(3):
            running = asyncio.create_task(informers.run())
            await dns.synced()
            await asyncio.sleep(0)
            await tasks.cancel_and_wait(running)
        running = asyncio.create_task(informers.run())
        assert not waiting.done() and dns.is_ours
        spec = {"selector": {"k8s-app": "kube-dns"}, "ports": [{"port": 53}]}
        body = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "kube-dns"}, "spec": spec}
        await client.create(SERVICES, body, "kube-system")
        async with asyncio.timeout(60):
            await waiting
        await tasks.cancel_and_wait(running)
