"""Asks webhooks. ``WebhookClient.post`` is all that callers need::

    target = target_of(webhook["clientConfig"])              # BadTarget
    body = await client.post(target, body, timeout_seconds=10)  # CallError

What speaks HTTP (``exchange``) is imported with the first call: a server without webhooks has no use for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sampan.server.aggregation.services import Resolver
from sampan.server.threads import aside
from sampan.server.webhooks.credentials import Credentials
from sampan.server.webhooks.errors import CallError
from sampan.server.webhooks.targets import WebhookTarget

if TYPE_CHECKING:
    from sampan.server.webhooks.exchange import Exchange

#: of an answer, unless the caller allows more: twice the largest object, as base64 in JSON
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024


class WebhookClient:
    """``credentials``: who this server is to webhooks that ask; they may be set until the first call."""

    def __init__(self, resolver: Resolver, credentials: Credentials | None = None) -> None:
        self.credentials = credentials or Credentials()
        self._resolver = resolver
        self._exchange: Exchange | None = None

    async def post(
        self, target: WebhookTarget, body: bytes, *, timeout_seconds: float, limit_bytes: int = MAX_ANSWER_BYTES
    ) -> bytes:
        """The body of the answer, which was a 2xx. Raises CallError."""
        if self._exchange is None:
            made = await aside(self._import_and_make)
            self._exchange = self._exchange or made  # several may have come at once
        return await self._exchange.post(target, body, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes)

    async def close(self) -> None:
        if self._exchange is not None:
            await self._exchange.close()
            self._exchange = None

    def _import_and_make(self) -> Exchange:
        from sampan.server.webhooks.exchange import Exchange

        return Exchange(self._resolver, self.credentials)


__all__ = ["MAX_ANSWER_BYTES", "CallError", "WebhookClient"]
