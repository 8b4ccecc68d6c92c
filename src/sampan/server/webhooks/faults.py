"""Why a webhook could not be called, in the words of Go's HTTP client: clients and people match on them. Pure."""

from __future__ import annotations

import aiohttp

from sampan.server.streaming.faults import exchange_fault


def call_fault(error: BaseException, host: str, port: int) -> str:
    """What stands behind ``Post "https://...": ``; ``host`` and ``port`` are what was dialled."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF"
    return exchange_fault(error, host, port)
