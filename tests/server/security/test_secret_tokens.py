"""Secrets of type service-account-token: filled with a token that is good as long as they are there."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import NotFound
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.request import Request

NS = "/api/v1/namespaces/ns"
Ask = Callable[..., Awaitable[Any]]


def secret(name: str, account: str) -> dict[str, Any]:
    annotations = {"kubernetes.io/service-account.name": account}
    return {"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"}


@pytest.fixture
def run(virtual: Any, tmp_path: Path) -> Callable[[Callable[[Ask], Awaitable[None]]], None]:
    (tmp_path / "ca.crt").write_text("PEM")

    async def with_server(body: Callable[[Ask], Awaitable[None]]) -> None:
        config = ServerConfig(
            listen=False,
            openapi=False,
            bootstrap=False,
            client_ca=tmp_path / "ca.crt",
            clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)),
            random=random.Random(1),
        )
        async with Server(config) as server:
            transport = server.local_transport()

            async def ask(method: str, path: str, obj: Any = None) -> Any:
                answer = await transport.call(Call(method, path, body=obj))
                await asyncio.sleep(3)  # what follows from it has happened
                return answer

            ask.handler = server.handler  # type: ignore[attr-defined]

            await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
            await ask("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "robot"}})
            await body(ask)

    return lambda body: virtual(with_server(body))


def values(obj: Any) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in obj["data"].items()}


async def review(ask: Ask, token: str) -> Any:
    body = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token}}
    return (await ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body))["status"]


def test_a_secret_gets_the_token_of_its_account_and_the_ca(run: Any) -> None:
    async def body(ask: Ask) -> None:
        await ask("POST", f"{NS}/secrets", secret("legacy", "robot"))
        found, account = await ask("GET", f"{NS}/secrets/legacy"), await ask("GET", f"{NS}/serviceaccounts/robot")
        assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
        held = values(found)
        assert sorted(held) == ["ca.crt", "namespace", "token"]
        assert (held["ca.crt"], held["namespace"]) == ("PEM", "ns")
        assert (await review(ask, held["token"]))["user"]["username"] == "system:serviceaccount:ns:robot"

    run(body)


def test_the_token_ends_with_its_secret(run: Any) -> None:
    async def body(ask: Ask) -> None:
        await ask("POST", f"{NS}/secrets", secret("legacy", "robot"))
        token = values(await ask("GET", f"{NS}/secrets/legacy"))["token"]
        await ask("DELETE", f"{NS}/secrets/legacy")
        assert not (await review(ask, token)).get("authenticated")

    run(body)


def test_what_somebody_takes_out_comes_back_and_a_token_that_is_there_stays(run: Any) -> None:
    async def body(ask: Ask) -> None:
        await ask("POST", f"{NS}/secrets", secret("legacy", "robot"))
        found = await ask("GET", f"{NS}/secrets/legacy")
        await ask("PUT", f"{NS}/secrets/legacy", {**found, "data": {"token": found["data"]["token"]}})
        assert (await ask("GET", f"{NS}/secrets/legacy"))["data"] == found["data"]

    run(body)


def test_a_secret_without_its_account_is_deleted(run: Any) -> None:
    async def body(ask: Ask) -> None:
        await ask("POST", f"{NS}/secrets", secret("ghost", "nobody"))
        with pytest.raises(NotFound):
            await ask("GET", f"{NS}/secrets/ghost")

    run(body)


def test_a_secret_goes_with_its_account_even_when_that_is_made_anew(run: Any) -> None:
    async def body(ask: Ask) -> None:
        for name in ("one", "two"):
            await ask("POST", f"{NS}/secrets", secret(name, "robot"))
        await ask("DELETE", f"{NS}/serviceaccounts/robot")
        await ask("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "robot"}})
        for name in ("one", "two"):
            with pytest.raises(NotFound):
                await ask("GET", f"{NS}/secrets/{name}")

    run(body)


def test_other_secrets_are_left_alone(run: Any) -> None:
    async def body(ask: Ask) -> None:
        await ask("POST", f"{NS}/secrets", {**secret("plain", "nobody"), "type": "Opaque"})
        assert "data" not in await ask("GET", f"{NS}/secrets/plain")

    run(body)


def test_an_account_does_not_name_a_secret_that_is_gone(run: Any) -> None:
    async def body(ask: Ask) -> None:
        await ask(
            "POST", f"{NS}/serviceaccounts", {"metadata": {"name": "a"}, "secrets": [{"name": "x"}, {"name": "y"}]}
        )
        await ask("POST", f"{NS}/secrets", secret("x", "a"))
        await ask("DELETE", f"{NS}/secrets/x")
        assert (await ask("GET", f"{NS}/serviceaccounts/a"))["secrets"] == [{"name": "y"}]

    run(body)


def test_a_client_with_the_token_of_its_accounts_secret_is_warned_and_the_day_is_written(run: Any) -> None:
    async def body(ask: Any) -> None:
        await ask("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "a"}, "secrets": [{"name": "x"}]})
        await ask("POST", f"{NS}/secrets", secret("x", "a"))
        token = values(await ask("GET", f"{NS}/secrets/x"))["token"]
        for _ in range(2):
            request = Request("GET", "/api", {}, {"authorization": f"Bearer {token}"})
            await ask.handler(request)
            (told,) = request.warnings
            assert told.startswith("Use tokens from the TokenRequest API or manually created secret-based tokens")
        await asyncio.sleep(3)
        labels = (await ask("GET", f"{NS}/secrets/x"))["metadata"]["labels"]
        assert labels == {"kubernetes.io/legacy-token-last-used": "2026-01-01"}

    run(body)
