"""Why a backend could not be reached, in the words of the reference's dialer: clients and people match on them. Pure.

Nothing of what Python, OpenSSL or the HTTP library would say reaches a client.
"""

from __future__ import annotations

import asyncio
import os
import ssl

import aiohttp

_TLS_WORDS = {
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "CERTIFICATE_VERIFY_FAILED": "tls: failed to verify certificate",
    "UNEXPECTED_EOF_WHILE_READING": "EOF",
}


def dial_fault(error: BaseException, address: str, port: int) -> str:
    """``dial tcp 10.0.0.1:80: connect: connection refused`` and its kin; ``error`` is what connecting raised."""
    authority = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {authority}: i/o timeout"
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None or number < 0:
        return f"dial tcp {authority}: connect: connection failed"
    return f"dial tcp {authority}: connect: {_words(number)}"


def exchange_fault(error: BaseException, address: str, port: int) -> str:
    """The same for a whole exchange over HTTP: connecting, sending, and the head of the answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        cause = (
            error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error.os_error
        )
        return _tls_fault(cause)
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
        return _tls_fault(error)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return f"read tcp {address}:{port}: read: {_words(error.errno)}"
    return "EOF"


def _tls_fault(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_message:
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    return _TLS_WORDS.get(reason or "", "tls: handshake failure")


def _words(number: int) -> str:
    """``connection refused``: the system's words with a small first letter, as Go has them."""
    text = os.strerror(number)
    return text[:1].lower() + text[1:]
