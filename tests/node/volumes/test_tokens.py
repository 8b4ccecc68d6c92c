"""ServiceAccount tokens: bound to the pod, kept until 80 % of their life, and kept longer when the API is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.clock import FixedClock, format_time
from sampan.api.errors import ServiceUnavailable
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.node.volumes.tokens import ClientTokens

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POD = {"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": {"serviceAccountName": "sa"}}


class TokenIssuer:
    def __init__(self, clock: FixedClock) -> None:
        self.clock = clock
        self.calls: list[Call] = []
        self.away = False

    async def call(self, call: Call) -> Any:
        if self.away:
            raise ServiceUnavailable("away")
        self.calls.append(call)
        expires = self.clock.now() + timedelta(seconds=call.body["spec"]["expirationSeconds"])
        return {"status": {"token": f"t{len(self.calls)}", "expirationTimestamp": format_time(expires)}}


async def ask(tokens: ClientTokens) -> str:
    return (await tokens.token(POD, ("aud",), 1000)).value


async def test_token_is_bound_kept_and_renewed() -> None:
    clock = FixedClock(NOW)
    issuer = TokenIssuer(clock)
    tokens = ClientTokens(Client(issuer), clock)  # type: ignore[arg-type] # calls only
    assert [await ask(tokens), await ask(tokens)] == ["t1", "t1"]
    assert issuer.calls[0].path == "/api/v1/namespaces/ns/serviceaccounts/sa/token"
    assert issuer.calls[0].body["spec"] == {
        "expirationSeconds": 1000,
        "audiences": ["aud"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1"},
    }
    clock.set(NOW + timedelta(seconds=800))
    assert await ask(tokens) == "t2"
    tokens.forget_pod("u1")
    assert await ask(tokens) == "t3"


async def test_old_token_serves_until_it_expires() -> None:
    clock = FixedClock(NOW)
    issuer = TokenIssuer(clock)
    tokens = ClientTokens(Client(issuer), clock)  # type: ignore[arg-type] # calls only
    await ask(tokens)
    issuer.away = True
    clock.set(NOW + timedelta(seconds=900))
    assert await ask(tokens) == "t1"
    clock.set(NOW + timedelta(seconds=1000))
    with pytest.raises(ServiceUnavailable):
        await ask(tokens)
