"""The stages of a request, in the order of the reference (docs/architecture.md, section 5).

request info → authentication → impersonation → audit id → max in flight → authorization → handler. ``handle`` is for
transports and always answers; ``handle_in_process`` is for components of this process, skips what proves identity and
protects from strangers, and raises ``ApiError``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from sampan.api import errors
from sampan.api.clock import Random, random_uuid
from sampan.api.errors import ApiError
from sampan.records import dataclass
from sampan.server import requestinfo
from sampan.server.aggregation.aggregator import Aggregator
from sampan.server.deadlines import Deadlines
from sampan.server.errors import PlainNotFound, refusal, to_api_error
from sampan.server.metrics import Labels, request_labels
from sampan.server.readnow import ReadsNow
from sampan.server.render import Renderer
from sampan.server.request import ANONYMOUS, Handler, Request, RequestInfo, Response, UserInfo
from sampan.server.results import Result
from sampan.server.surface import Surfaces
from sampan.store.protocol import StoreError

log = logging.getLogger(__name__)

_READ_VERBS = frozenset({"get", "list", "watch", "head", "options"})
PRIVILEGED_GROUP = "system:masters"
Stage = Callable[[Request], Awaitable[None]]
_JSON = "application/json"
_DISCOVERY = ("/api", "/openapi/")
_NOT_FOUND = "the server could not find the requested resource"


class Observer(Protocol):
    """Is told of every answered request (metrics)."""

    def observe(self, info: RequestInfo, status: int, seconds: float) -> None: ...


@dataclass(slots=True, kw_only=True)
class Limits:
    reads: int = 400
    writes: int = 200
    timeout_seconds: float = 60.0
    write_timeout_seconds: float = 34.0


@dataclass(slots=True, kw_only=True)
class Stages:
    """The parts that ``app`` composes. Stages raise ApiError to end a request."""

    surfaces: Surfaces
    authenticate: Stage
    impersonate: Stage
    authorize: Stage
    resources: Callable[[Request], Awaitable[Result]]
    non_resources: Handler
    renderer: Renderer
    observer: Observer | None = None
    #: what API servers behind this one serve; None: there is no such thing
    aggregator: Aggregator | None = None
    #: another server may have changed what is served: returns once this one serves it too; None: no other writes the
    #: store
    catch_up: Callable[[], Awaitable[None]] | None = None
    #: raises ServiceUnavailable while this server is not to be believed
    check: Callable[[], None] | None = None
    #: response headers that name the flow schema and priority level of a user
    flow_headers: Callable[[UserInfo], Mapping[str, str]] | None = None
    #: the same for an answer in JSON that needs no other header: all its lines, as bytes
    json_head: Callable[[UserInfo], bytes] | None = None


class Pipeline:
    """What transports call: ``answer_now`` for what is at hand, else ``handle``."""

    def __init__(self, stages: Stages, limits: Limits, random: Random, reads: ReadsNow | None = None) -> None:
        self._stages, self._limits, self._random = stages, limits, random
        self._reads = reads
        #: the group versions that others serve, nearly always none: looked at for each request
        self._others = stages.aggregator.remotes.by_version if stages.aggregator is not None else {}
        self._deadlines = Deadlines()
        #: requests being served that count against the limits
        self.reads = 0
        self.writes = 0
        #: connections that are being served (exec, logs, proxies), by their metric labels
        self.connections: Counter[Labels] = Counter()
        #: requests that were refused because there were too many
        self.refused = 0

    def answer_now(self, request: Request) -> Response | None:
        """The answer of an ordinary read, without waiting for anything; None: ``handle`` has to be asked."""
        return self._reads.answer(request) if self._reads is not None else None

    async def handle(self, request: Request) -> Response:
        """Never raises, except when cancelled."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        request.audit_id = request.headers.get("audit-id") or random_uuid(self._random)
        surface = request.surface = self._stages.surfaces.current
        surface.enter()
        try:
            response = await self._serve(request)
        except Exception as error:  # the boundary: whatever went wrong below becomes a Status
            response = await refusal(error, request)
        finally:
            request.surface.leave()
        stages = self._stages
        if stages.json_head is not None and response.content_type == _JSON and not response.headers:
            response.head = stages.json_head(request.user)
        elif stages.flow_headers is not None:
            response.headers.update(stages.flow_headers(request.user))
        if stages.observer is not None:
            stages.observer.observe(request.info, response.status, loop.time() - started)
        return response

    async def handle_in_process(self, request: Request) -> Result:
        """Raises ApiError, and nothing else."""
        surface = request.surface = self._stages.surfaces.current
        surface.enter()
        try:
            request.info = surface.info(request)
            if self._stages.catch_up is not None:
                await self._catch_up(request)
            await self._stages.authorize(request)
            return await self._dispatch(request)
        except ApiError:
            raise
        except Exception as error:  # the same boundary as above
            api_error = to_api_error(error)
            if isinstance(api_error, errors.InternalError):
                log.exception("%s %s failed", request.method, request.raw_path)
            raise api_error from error
        finally:
            request.surface.leave()

    async def _serve(self, request: Request) -> Response:
        stages = self._stages
        parse_error: ApiError | None = None
        try:
            request.info = request.surface.info(request)
        except ApiError as error:
            parse_error = error
        await stages.authenticate(request)
        if parse_error is not None:
            raise parse_error
        if stages.check is not None and request.info.is_resource:
            stages.check()
        if stages.catch_up is not None:
            await self._catch_up(request)
        await stages.impersonate(request)
        if requestinfo.is_long_running(request.info):
            await stages.authorize(request)
            return await self._long(request)
        seconds = self._deadline(request)
        refusal = self._enter(request)
        if refusal is not None:
            return refusal
        info = request.info
        try:
            if info.verb == "get" and info.kind is not None and not info.subresource and not self._others:
                # A look-up in memory, with bounds of its own: not worth a timer.
                await stages.authorize(request)
                return await self._answer(request)
            return await self._deadlines.within(seconds, self._authorized(request))
        finally:
            self._leave(request)

    async def _catch_up(self, request: Request) -> None:
        """Before it is said of a resource that there is none such, and of all resources which there are: perhaps
        another server knows better. Strangers do not make us ask. Raises StoreUnavailable."""
        info, surfaces = request.info, self._stages.surfaces
        if info.is_resource:
            asks = info.kind is None and (info.group, info.version) not in self._others
        else:
            asks = info.path.startswith(_DISCOVERY)
        if not asks or self._stages.catch_up is None or request.user.name == ANONYMOUS.name:
            return
        try:
            await self._stages.catch_up()
        except (StoreError, TimeoutError):
            if info.is_resource:
                raise
            return  # what is known is better than nothing, to whoever looks around
        if surfaces.current is not request.surface:
            request.surface.leave()
            request.surface = surfaces.current
            request.surface.enter()
            request.info = request.surface.info(request)

    async def _long(self, request: Request) -> Response:
        if request.info.verb == "watch":  # is counted where it lives on
            return await self._answer(request)
        labels = request_labels(request.info)
        self.connections[labels] += 1
        request.surface.leave()  # what can go away has no such subresource: it does not wait for them
        try:
            return await self._answer(request)
        finally:
            request.surface.enter()  # whoever entered leaves it
            self.connections[labels] -= 1
            if not self.connections[labels]:
                del self.connections[labels]

    async def _authorized(self, request: Request) -> Response:
        await self._stages.authorize(request)
        return await self._answer(request)

    async def _answer(self, request: Request) -> Response:
        return await self._stages.renderer.render(request, await self._dispatch(request))

    async def _dispatch(self, request: Request) -> Result:
        info, stages = request.info, self._stages
        if self._others and stages.aggregator is not None:
            remote = stages.aggregator.remote_of(info)
            if remote is not None:
                return await stages.aggregator.serve(request, remote)
        if not info.is_resource:
            return await stages.non_resources(request)
        if info.kind is not None:
            return await stages.resources(request)
        if stages.aggregator is not None:
            hosted = stages.aggregator.hosted.get(info.group, info.version)
            if hosted is not None:
                return await hosted.serve(request)
        if (info.group, info.version) in request.surface.versions:
            raise errors.NotFound(_NOT_FOUND)
        raise PlainNotFound(_NOT_FOUND)

    def _deadline(self, request: Request) -> float:
        """Seconds that this request may take. Raises BadRequest."""
        reading = request.info.verb in _READ_VERBS
        limit = self._limits.timeout_seconds if reading else self._limits.write_timeout_seconds
        text = request.query.get("timeout", "") if request.query else ""
        if not text:
            return limit
        seconds = parse_duration(text)
        if seconds is None:
            raise errors.BadRequest("invalid timeout specified in the request URL")
        return min(limit, seconds) if seconds > 0 else limit

    def _enter(self, request: Request) -> Response | None:
        """Counts the request in; a 429 when there are too many. ``system:masters`` always gets in."""
        reading = request.info.verb in _READ_VERBS
        present, limit = (self.reads, self._limits.reads) if reading else (self.writes, self._limits.writes)
        if present >= limit and PRIVILEGED_GROUP not in request.user.groups:
            self.refused += 1
            text = b"Too many requests, please try again later.\n"
            return Response(429, text, "text/plain; charset=utf-8", {"Retry-After": "1"})
        if reading:
            self.reads += 1
        else:
            self.writes += 1
        return None

    def _leave(self, request: Request) -> None:
        if request.info.verb in _READ_VERBS:
            self.reads -= 1
        else:
            self.writes -= 1


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(text: str) -> float | None:
    """Seconds of a Go duration (``1m30s``); None: it is none."""
    total, number, unit = 0.0, "", ""
    if text == "0":
        return 0.0
    for character in text + "0":
        if character.isdigit() or character == ".":
            if unit:
                if unit not in _UNITS or not number:
                    return None
                try:
                    total += float(number) * _UNITS[unit]
                except ValueError:
                    return None
                number, unit = "", ""
            number += character
        else:
            unit += character
    return total if number == "0" else None
