"""Clients of ServiceAccounts over HTTP: each controller writes as its own account, with a token of its own.

A token is asked for with the first request and again before it ends (TokenRequest; client-go's
``DynamicControllerClientBuilder``); an account that is not there yet is made. It asks as whoever runs the manager.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from sampan.api.errors import AlreadyExists, NotFound, Unauthorized
from sampan.api.resources import SERVICE_ACCOUNTS, Resource
from sampan.api.transport import CacheView, Call, WatchEvent
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection

NAMESPACE: Final = "kube-system"
TOKEN_SECONDS: Final = 3600
#: the part of a token's life after which another is asked for
_RENEW_AFTER: Final = 0.8


class Accounts:
    """Makes one client an account; ``close`` when done."""

    def __init__(self, connection: Connection, asker: Client, user_agent: str) -> None:
        self._bare = replace(
            connection,
            client_certificate_pem=b"",
            client_key_pem=b"",
            token="",
            token_file=None,
            username="",
            password="",
            headers={},
        )
        self._asker = asker
        self._user_agent = user_agent
        self._transports: dict[str, AccountTransport] = {}

    def client_for(self, name: str) -> Client:
        found = self._transports.get(name)
        if found is None:
            http = HttpTransport(self._bare, user_agent=f"{self._user_agent}/{name}")
            found = self._transports[name] = AccountTransport(http, self._asker, name)
        return Client(found)

    async def close(self) -> None:
        for transport in self._transports.values():
            await transport.close()
        self._transports.clear()


class AccountTransport:
    """``sampan.api.transport.Transport`` with the current token of an account."""

    def __init__(self, http: HttpTransport, asker: Client, name: str) -> None:
        self._http, self._asker, self._name = http, asker, name
        #: on the loop's clock
        self._renew_at = 0.0
        self._asking = asyncio.Lock()

    async def call(self, call: Call) -> Any:
        await self._ready()
        try:
            return await self._http.call(call)
        except Unauthorized:
            self._renew_at = 0.0  # the account was made anew, or its keys were: the next request has another token
            raise

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        await self._ready()
        try:
            async with self._http.watch(call) as events:
                yield events
        except Unauthorized:
            self._renew_at = 0.0
            raise

    def cache_view(self, resource: Resource) -> CacheView | None:
        return None

    async def close(self) -> None:
        await self._http.close()

    async def _ready(self) -> None:
        """Raises ApiError: nobody gave a token."""
        now = asyncio.get_running_loop().time
        if now() < self._renew_at:
            return
        async with self._asking:
            if now() < self._renew_at:
                return
            began = now()
            status = (await self._token()).get("status") or {}
            self._http.use_token(str(status.get("token") or ""))
            self._renew_at = began + TOKEN_SECONDS * _RENEW_AFTER

    async def _token(self) -> Obj:
        request = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }

        async def ask() -> Obj:
            return await self._asker.create(SERVICE_ACCOUNTS, request, NAMESPACE, name=self._name, subresource="token")

        try:
            return await ask()
        except NotFound:
            meta = {"name": self._name, "namespace": NAMESPACE}
            try:
                account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta}
                await self._asker.create(SERVICE_ACCOUNTS, account)
            except AlreadyExists:
                pass
            return await ask()
