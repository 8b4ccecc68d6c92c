"""WATCH: checks what is asked; ``server.watching`` carries it out."""

from __future__ import annotations

from sampan.server.options import parse_list_options
from sampan.server.request import Request
from sampan.server.rest.context import RestContext
from sampan.server.rest.get import settle
from sampan.server.results import WatchResult
from sampan.server.selection import Selection

#: a watch without a time of its own lasts this long, up to twice as long (upstream's ``--min-request-timeout``)
MIN_TIMEOUT_SECONDS = 1800


async def watch(ctx: RestContext, request: Request) -> WatchResult:
    target = ctx.target(request)
    options = parse_list_options(request.query, target.kind, watch=True)
    seconds = options.timeout_seconds or MIN_TIMEOUT_SECONDS + ctx.random.randrange(MIN_TIMEOUT_SECONDS)
    return WatchResult(target.view, options, Selection(target, options), seconds, settle)
