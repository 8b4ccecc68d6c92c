"""A server whose store holds damaged policy starts, and decides by what it can read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.request import Request
from sampan.store.memory import MemoryStore

RBAC = "/registry/rbac.authorization.k8s.io"
KEYS = (
    f"{RBAC}/clusterroles/broken",
    f"{RBAC}/clusterrolebindings/broken",
    f"{RBAC}/roles/default/broken",
    f"{RBAC}/rolebindings/default/broken",
    "/registry/core/pods/default/broken",
    "/registry/core/serviceaccounts/default/broken",
    "/registry/core/persistentvolumes/broken",
    "/registry/core/limitranges/default/broken",
    "/registry/scheduling.k8s.io/priorityclasses/broken",
    "/registry/storage.k8s.io/storageclasses/broken",
)
VALUES = (b"", b"{", b"\xff\xfe", b"[]", b'{"metadata":{"name":"broken"},"rules":7,"subjects":"x","spec":[]}')


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.logs_errors("its stored value is damaged", "policy goes on without")
async def test_a_server_with_damaged_policy_starts_and_decides(
    value: bytes, certificate_of: Callable[..., bytes]
) -> None:
    store = MemoryStore()
    for key in KEYS:
        await store.commit(key, 0, value)
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    config = ServerConfig(listen=False, clock=clock, random=Random(1), openapi=False)

    async with Server(config, store=store) as server:

        async def ask(user: tuple[str, str], method: str, path: str, body: object = None) -> int:
            text = orjson.dumps(body) if body is not None else b""
            headers = {"content-type": "application/json"}
            certificate = certificate_of(*user)
            request = Request(method, path, {}, headers, text, peer_certificate=certificate)
            return (await server.handler(request)).status

        admin, somebody = ("root", "system:masters"), ("jane", "devs")
        node = ("system:node:a", "system:nodes")
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        assert await ask(admin, "POST", accounts, {"metadata": {"name": "default"}}) == 201
        pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]}}
        assert await ask(admin, "POST", "/api/v1/namespaces/default/pods", pod) == 201
        assert await ask(somebody, "GET", "/api/v1/namespaces/default/pods/p") == 403
        assert await ask(somebody, "GET", "/version") == 200
        assert await ask(node, "GET", "/api/v1/namespaces/default/pods/p") == 200
        assert await ask(node, "GET", "/api/v1/nodes/b") == 403
