"""The queries of the node API as values. Pure; raises ``BadRequest`` or ``Invalid`` in the kubelet's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from sampan.api import durations
from sampan.api.clock import parse_time
from sampan.api.errors import BadRequest, Invalid
from sampan.node.logs.lines import Stream
from sampan.node.logs.reader import LogOptions
from sampan.records import dataclass

_TRUE = ("1", "true", "True", "TRUE", "t", "T")


@dataclass(frozen=True, slots=True)
class StreamOptions:
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


def _flag(query: Mapping[str, str], *names: str) -> bool:
    return any(query.get(name, "") in _TRUE for name in names)


def parse_stream_options(query: Mapping[str, str]) -> StreamOptions:
    """The kubelet's names (``input``, ``output``, ``error``); those of the API server's URL are understood too."""
    tty = _flag(query, "tty")
    options = StreamOptions(
        stdin=_flag(query, "input", "stdin"),
        stdout=_flag(query, "output", "stdout"),
        # With a terminal there is one output: the error stream would stay empty.
        stderr=_flag(query, "error", "stderr") and not tty,
        tty=tty,
    )
    if not (options.stdin or options.stdout or options.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return options


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest('{"message": "Unable to decode query."}') from None


def parse_log_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    tail, limit, seconds = (_integer(query, name) for name in ("tailLines", "limitBytes", "sinceSeconds"))
    stream = query.get("stream") or "All"
    since_time = query.get("sinceTime", "")
    wrong = (
        (tail is not None and tail < 0)
        or (limit is not None and limit < 1)
        or (seconds is not None and seconds < 1)
        or (seconds is not None and bool(since_time))
        or stream not in ("All", "Stdout", "Stderr")
        or (tail is not None and stream != "All")
    )
    if wrong:
        raise Invalid('{"message": "Invalid request."}')
    since = now - durations.span(seconds) if seconds is not None else None
    if since_time:
        try:
            since = parse_time(since_time)
        except ValueError:
            raise BadRequest('{"message": "Unable to decode query."}') from None
    return LogOptions(
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        tail_lines=tail,
        since=since,
        timestamps=_flag(query, "timestamps"),
        limit_bytes=limit,
        stream=cast(Stream, stream),
    )


def parse_ports(values: list[str]) -> list[int]:
    """``port`` of a port-forward over WebSocket; SPDY names its ports in stream headers."""
    ports = []
    for value in values:
        if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536):
            raise BadRequest(f'invalid port "{value[:64]}"')
        ports.append(int(value))
    return ports
