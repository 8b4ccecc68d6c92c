"""Every bound of the HTTP transport, in one place: bytes, numbers and seconds.

Where upstream has a bound the value is upstream's, and its name is beside it. A time that is ``inf`` is none.
"""

from __future__ import annotations

import resource
from dataclasses import field

from sampan.records import dataclass

#: upstream's MaxRequestBodyBytes
MAX_BODY_BYTES = 3 * 1024 * 1024
#: descriptors that the process keeps for its store, its logs and its own clients
_RESERVED_DESCRIPTORS = 256


#: as many as are of use
_MAX_DESCRIPTORS = 131_072


def raise_descriptor_limit() -> None:
    """Lets this process open as many descriptors as it may give itself. To be called before ``Limits`` are made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _descriptors_for_clients() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (_MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) - _RESERVED_DESCRIPTORS


def _connections_of_this_process() -> int:
    return max(64, min(65_536, _descriptors_for_clients() * 3 // 4))


def _handshakes_of_this_process() -> int:
    return max(16, min(4096, _descriptors_for_clients() // 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    # -- the head of a request
    #: request line and headers together (MaxHeaderBytes)
    head_bytes: int = 1024 * 1024
    #: one header
    header_bytes: int = 64 * 1024
    headers: int = 256
    #: a head beyond this many bytes draws on a budget that all connections share
    small_head_bytes: int = 4 * 1024
    all_large_heads_bytes: int = 32 * 1024 * 1024
    #: from its first byte to its last (ReadHeaderTimeout)
    head_seconds: float = 32.0
    #: between requests (IdleTimeout)
    idle_seconds: float = 90.0
    handshake_seconds: float = 10.0

    # -- bodies
    body_bytes: int = MAX_BODY_BYTES
    #: a body that stands still this long is given up
    body_idle_seconds: float = 32.0
    #: what is kept of a body that nobody reads yet, before its sender is paused
    body_ahead_bytes: int = 64 * 1024
    #: chunks that are decoded before others get their turn
    chunks_at_once: int = 2000
    #: the rest of a body that nobody wants is read away up to this much, to keep the connection (net/http: 256 KiB)
    unwanted_body_bytes: int = 256 * 1024
    #: after an answer that ends the connection: how long, and how much, its peer may still send and is not cut off,
    #: so that it gets to read the answer
    linger_seconds: float = 2.0
    linger_bytes: int = 4 * 1024 * 1024

    # -- pipelining
    #: what is kept of the requests behind the present one, before their sender is paused
    pipelined_bytes: int = 64 * 1024
    #: requests that are answered in one go before others get their turn
    answers_at_once: int = 16

    # -- answers
    #: written in one call at most: longer ones go in pieces, as the peer reads them. TLS keeps buffers of this size
    #: for the life of a connection (measured: 240 KiB each after one large answer; with 256 KiB, 520)
    piece_bytes: int = 64 * 1024
    #: a pushed stream whose peer has left this much unread is cut off
    unread_bytes: int = 4 * 1024 * 1024
    #: the same for all streams together: the one that has left most is cut off first
    all_unread_bytes: int = 256 * 1024 * 1024
    #: a peer that reads nothing of what waits for it is cut off
    unread_seconds: float = 60.0
    #: streams that are written to before others get their turn
    flushes_at_once: int = 200
    #: an upgraded connection holds at most this much unread data before its peer is paused
    upgraded_ahead_bytes: int = 256 * 1024

    # -- the whole
    connections: int = field(default_factory=_connections_of_this_process)
    #: TLS connections that are not established yet, beyond those
    handshakes: int = field(default_factory=_handshakes_of_this_process)
    backlog: int = 1024
    #: how often the times above are looked at
    tick_seconds: float = 1.0


__all__ = ["MAX_BODY_BYTES", "Limits", "raise_descriptor_limit"]
