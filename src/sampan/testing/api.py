"""The API server alone, in this process and without a socket: for tests of components, and for what-if.

It is the real one, with authorization, admission and validation, over a store in memory. No controller runs: so nobody
makes ServiceAccounts, and pods are admitted without one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.protocol import Store

NODE_GROUP = "system:nodes"
ADMIN_GROUP = "system:masters"


class Api:
    def __init__(self, server: Server) -> None:
        self.server = server
        #: the administrator
        self.client = self.client_for("kubernetes-admin", ADMIN_GROUP)

    def client_for(self, user: str, *groups: str) -> Client:
        return Client(self.server.local_transport(user, groups))

    def client_for_node(self, name: str) -> Client:
        return self.client_for(f"system:node:{name}", NODE_GROUP)

    def client_for_account(self, name: str, namespace: str = "kube-system") -> Client:
        return self.client_for(f"system:serviceaccount:{namespace}:{name}")


@asynccontextmanager
async def api_server(
    *, clock: Clock | None = None, random: Random | None = None, store: Store | None = None
) -> AsyncIterator[Api]:
    """Inside, it answers and has what every cluster starts with."""
    config = ServerConfig(
        listen=False,
        openapi=False,
        disable_admission_plugins=("ServiceAccount",),
        clock=clock or SystemClock(),
        random=random or SystemRandom(),
    )
    async with Server(config, store=store) as server:
        yield Api(server)
