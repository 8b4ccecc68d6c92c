"""Why a backend could not be reached, in the words of the reference's dialer: clients and people match on them. Pure.

Nothing of what Python, OpenSSL or the HTTP library would say reaches a client.
"""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from sampan.api.faults import cause, system_words


def dial_fault(error: BaseException, address: str, port: int) -> str:
    """``dial tcp 10.0.0.1:80: connect: connection refused`` and its kin; ``error`` is what connecting raised."""
    authority = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {authority}: i/o timeout"
    if isinstance(error, ssl.SSLError):
        return cause(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None or number < 0:
        return f"dial tcp {authority}: connect: connection failed"
    return f"dial tcp {authority}: connect: {system_words(number)}"


def exchange_fault(error: BaseException, address: str, port: int) -> str:
    """The same for a whole exchange over HTTP: connecting, sending, and the head of the answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        certificate = isinstance(error, aiohttp.ClientConnectorCertificateError)
        return cause(error.certificate_error if certificate else error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return dial_fault(error.os_error, address, port)
    if isinstance(error, aiohttp.ServerTimeoutError):
        return dial_fault(TimeoutError(), address, port)
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return "malformed HTTP response"
    if isinstance(error, aiohttp.ServerDisconnectedError | EOFError):
        return "EOF"
    if isinstance(error, asyncio.LimitOverrunError):
        return "malformed HTTP response"
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, ssl.SSLError):
        return cause(error)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return f"read tcp {address}:{port}: read: {system_words(error.errno)}"
    return "EOF"
