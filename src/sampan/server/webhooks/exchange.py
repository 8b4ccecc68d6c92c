"""One POST of JSON over TLS, with a bounded answer in bounded time: what ``client`` does, imported when it is needed.

Connections are kept and used again. Redirects are not followed, nothing of an answer that was not asked for goes into
messages or logs but the message of a ``Status``. Cancelling the caller ends the call. Event loop only.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sampan.api.errors import ApiError
from sampan.api.faults import cause
from sampan.server.aggregation.services import Address, Resolver, Unresolved
from sampan.server.threads import aside
from sampan.server.webhooks import answers
from sampan.server.webhooks.credentials import Credentials, Identity
from sampan.server.webhooks.errors import CallError
from sampan.server.webhooks.faults import call_fault
from sampan.server.webhooks.targets import BadTarget, ServiceTarget, WebhookTarget
from sampan.server.webhooks.trust import Trust

#: at a time to one webhook; further calls wait within their time
_CONNECTIONS: Final = 100
_IDLE_SECONDS: Final = 60.0
_HEAD_BYTES: Final = 16 * 1024
_HEADERS: Final = {
    "Accept": "application/json, */*",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "kube-apiserver-admission",
}


class Exchange:
    """``credentials``: who this server is to webhooks that ask."""

    def __init__(self, resolver: Resolver, credentials: Credentials) -> None:
        self.credentials = credentials
        self._trust = Trust()
        self._session: aiohttp.ClientSession | None = None
        #: where each Service's name was found last: what messages say was dialled
        self._services = _Services(resolver)

    async def post(self, target: WebhookTarget, body: bytes, *, timeout_seconds: float, limit_bytes: int) -> bytes:
        """The body of the answer, which was a 2xx. Raises CallError."""
        url = f"{target.url}{'&' if '?' in target.url else '?'}timeout={math.ceil(timeout_seconds)}s"
        shown = f'Post "{url}": '
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._exchange(target, url, body, limit_bytes)
        except TimeoutError as error:
            raise CallError(f"{shown}context deadline exceeded", 504, timed_out=True) from error
        except Unresolved as error:
            raise CallError(f"{shown}{error}") from error
        except BadTarget as error:
            raise CallError(f"could not get REST client: {error}", 400) from error
        except ApiError as error:  # an answer, and not a good one
            raise CallError(error.message, error.code) from error
        except answers.TooLong as error:
            raise CallError(f"{shown}{error}") from error
        except (aiohttp.ClientError, OSError, ValueError, asyncio.LimitOverrunError) as error:
            raise CallError(f"{shown}{call_fault(error, *self._dialled(target))}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, target: WebhookTarget, url: str, body: bytes, limit_bytes: int) -> bytes:
        """Raises all that ``post`` makes CallErrors of."""
        identity = self.credentials.of(target.host, target.port)
        context = await self._trust.towards(target.ca_bundle, identity)
        headers = _HEADERS if identity is None else await aside(_with_authorization, identity)
        if target.service is not None:
            self._services.expect(target.service)
        while True:
            attempt = SimpleNamespace(reused=False)
            try:
                return await self._once(URL(url, encoded=True), headers, body, context, limit_bytes, attempt)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # Closed by the other side while it lay idle. Each of those is tried once at most: it is gone then.
                if not attempt.reused:
                    raise

    async def _once(
        self,
        url: URL,
        headers: Mapping[str, str],
        body: bytes,
        context: ssl.SSLContext,
        limit_bytes: int,
        attempt: SimpleNamespace,
    ) -> bytes:
        async with self._open().post(
            url, data=body, headers=headers, ssl=context, allow_redirects=False, trace_request_ctx=attempt
        ) as response:
            return await answers.read(response, limit_bytes)

    def _dialled(self, target: WebhookTarget) -> tuple[str, int]:
        if target.service is None:
            return target.host, target.port
        found = self._services.last(target.service)
        return found.host, found.port

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,  # one webhook must not wait for another's connections; requests in flight are bounded
                    limit_per_host=_CONNECTIONS,
                    keepalive_timeout=_IDLE_SECONDS,
                    use_dns_cache=False,
                    resolver=self._services,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_HEAD_BYTES,
                max_field_size=_HEAD_BYTES,
                trace_configs=[trace],
                json_serialize=lambda value: orjson.dumps(value).decode(),
            )
        return self._session


def _with_authorization(identity: Identity) -> Mapping[str, str]:
    """Raises BadTarget."""
    try:
        authorization = identity.authorization()
    except OSError as error:
        raise BadTarget(f"unable to read the token for webhooks: {cause(error)}") from error
    return {**_HEADERS, "Authorization": authorization} if authorization else _HEADERS


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    context.trace_request_ctx.reused = True


class _Services(AbstractResolver):
    """Names of Services by the resolver of this server, every other name by the machine's.

    A Service's name means the Service however the machine's own resolver would read it.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._system: AbstractResolver | None = None
        #: of each host and port, what Service it is; as many as there are webhooks
        self._expected: dict[tuple[str, int], ServiceTarget] = {}
        self._found: dict[ServiceTarget, Address] = {}

    def expect(self, service: ServiceTarget) -> None:
        if len(self._expected) > 10_000:
            self._expected.clear()
            self._found.clear()
        self._expected[service.host, service.port] = service

    def last(self, service: ServiceTarget) -> Address:
        return self._found.get(service) or Address(service.host, service.port)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises Unresolved, OSError."""
        service = self._expected.get((host, port))
        if service is None:
            return await self._of_system(host, port, family)
        found = self._found[service] = self._resolver.resolve(service.namespace, service.name, service.port)
        try:
            kind = socket.AF_INET6 if ":" in found.host else socket.AF_INET
            socket.inet_pton(kind, found.host)
        except OSError:
            return await self._of_system(found.host, found.port, family)  # an ExternalName
        numbers = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [ResolveResult(hostname=host, host=found.host, port=found.port, family=kind, proto=0, flags=numbers)]

    async def _of_system(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        if self._system is None:
            self._system = aiohttp.ThreadedResolver()
        return await self._system.resolve(host, port, family)

    async def close(self) -> None:
        if self._system is not None:
            await self._system.close()
