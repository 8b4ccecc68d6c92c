"""The years of a token in a Secret: used, forgotten, marked, deleted."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import NotFound, ServiceUnavailable
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.legacytokens.controller import NAME, LegacyTokenCleaner
from sampan.server.app import Server
from sampan.server.bootstrap import objects
from sampan.server.bootstrap.ensure import ensure
from sampan.server.config import ServerConfig
from sampan.testing.virtual import run

START = datetime(2026, 1, 1, 6, tzinfo=UTC)
NS = "/api/v1/namespaces/ns"
LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"
Ask = Callable[..., Awaitable[Any]]
Later = Callable[[int], Awaitable[None]]


async def with_cleaner(body: Callable[[Ask, Later], Awaitable[None]]) -> None:
    """With a Secret ``token`` of the account ``robot`` that names it; a token is old after 36 days, not a year."""
    clock = FixedClock(START)
    config = ServerConfig(listen=False, openapi=False, bootstrap=False, clock=clock, random=random.Random(1))
    async with Server(config) as server:
        transport = server.local_transport()

        async def ask(method: str, path: str, obj: Any = None) -> Any:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            answer = await transport.call(Call(method, path, body=obj, content_type=kind))
            await asyncio.sleep(3)  # what follows from it has happened
            return answer

        await ensure(
            transport,
            objects.BootstrapConfig(
                service_ip="10.96.0.1", service_cidrs=("10.96.0.0/16",), advertise_address="192.0.2.1", port=6443
            ),
        )
        await ask("POST", "/api/v1/namespaces/kube-system/configmaps", objects.token_tracking(clock.now()))
        informers = InformerFactory(Client(transport), random=random.Random(1))
        context = Context(
            informers,
            lambda name: Client(server.local_transport(f"system:serviceaccount:kube-system:{name}")),
            clock,
            random.Random(1),
            ControllersConfig(legacy_token_clean_up_seconds=36 * 24 * 3600.0),
        )
        cleaner = LegacyTokenCleaner(context)

        async def later(days: int) -> None:
            """So many days later, when the cleaner looks."""
            clock.set(clock.now() + timedelta(days=days))
            await cleaner.look()
            await asyncio.sleep(3)

        following = asyncio.ensure_future(informers.run())
        try:
            annotations = {"kubernetes.io/service-account.name": "robot"}
            secret = {"metadata": {"name": "token", "annotations": annotations}}
            await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
            await ask("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "robot"}, "secrets": [{"name": "token"}]})
            await ask("POST", f"{NS}/secrets", {**secret, "type": "kubernetes.io/service-account-token"})
            await body(ask, later)
        finally:
            following.cancel()
            await asyncio.wait([following])


async def use(ask: Ask) -> bool:
    token = base64.b64decode((await ask("GET", f"{NS}/secrets/token"))["data"]["token"]).decode()
    review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}
    answer = await ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    return bool(answer["status"].get("authenticated"))


async def labels(ask: Ask) -> Any:
    return (await ask("GET", f"{NS}/secrets/token"))["metadata"].get("labels", {})


def test_a_forgotten_token_is_marked_and_then_deleted_and_its_account_forgets_it() -> None:
    async def body(ask: Ask, later: Later) -> None:
        assert await use(ask)
        assert await labels(ask) == {LAST_USED: "2026-01-01"}
        await later(36)
        assert await use(ask)  # it is not marked before the day after
        assert (await labels(ask))[LAST_USED] == "2026-02-06"
        await later(36)
        assert INVALID_SINCE not in await labels(ask)
        await later(1)
        assert (await labels(ask))[INVALID_SINCE] == "2026-03-15"
        assert not await use(ask)
        assert (await labels(ask))[LAST_USED] == "2026-03-15"  # a try counts as well
        await later(36)
        await later(1)
        with pytest.raises(NotFound):
            await labels(ask)
        assert not (await ask("GET", f"{NS}/serviceaccounts/robot")).get("secrets")

    run(with_cleaner(body))


def test_who_takes_the_mark_away_may_use_the_token_again() -> None:
    async def body(ask: Ask, later: Later) -> None:
        await later(37)
        assert not await use(ask)
        await ask("PATCH", f"{NS}/secrets/token", {"metadata": {"labels": {INVALID_SINCE: None}}})
        assert await use(ask)
        await later(1)
        assert INVALID_SINCE not in await labels(ask)

    run(with_cleaner(body))


def test_a_token_that_a_pod_uses_is_not_marked() -> None:
    async def body(ask: Ask, later: Later) -> None:
        volumes = [{"name": "a", "secret": {"secretName": "token"}}]
        spec = {"serviceAccountName": "robot", "volumes": volumes, "containers": [{"name": "c", "image": "i"}]}
        await ask("POST", f"{NS}/pods", {"metadata": {"name": "p"}, "spec": spec})
        await later(80)
        await later(80)
        assert await labels(ask) == {}

    run(with_cleaner(body))


def test_it_looks_once_a_day_and_again_soon_after_a_refusal() -> None:
    class Refusing:
        looks = 0

        async def call(self, call: Call) -> Any:
            if "configmaps/" in call.path:
                self.looks += 1
                raise ServiceUnavailable("no") if self.looks == 1 else NotFound("none")
            return {"items": [], "metadata": {"resourceVersion": "1"}}

        def watch(self, call: Call) -> Any:
            raise ServiceUnavailable("no")

        def cache_view(self, resource: Any) -> None:
            return None

    async def body() -> None:
        transport = Refusing()
        client = Client(transport)  # type: ignore[arg-type]  # all of it that is asked for here
        informers = InformerFactory(client, random=random.Random(1))
        context = Context(informers, lambda name: client, FixedClock(START), random.Random(1), ControllersConfig())
        tasks = [asyncio.ensure_future(each) for each in (informers.run(), LegacyTokenCleaner(context).run())]
        await asyncio.sleep(2.5 * 24 * 3600)
        assert transport.looks == 4
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(body())


def test_the_controller_has_the_name_that_upstreams_role_is_given_to() -> None:
    assert NAME == "legacy-service-account-token-cleaner"
