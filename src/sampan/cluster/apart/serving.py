"""Health and metrics of a program, over HTTPS: ``/healthz``, ``/livez``, ``/readyz`` for anybody; ``/metrics``, and
what else a program answers, for whom the API server allows it (delegated authentication and authorization, as
upstream's components).

A path a check, as upstream: ``/healthz/leaderElection``. A certificate that nobody gave is made for the process's life.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from sampan.api.errors import ApiError, Forbidden, Unauthorized
from sampan.api.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.metrics import Registry
from sampan.node.api.auth import MASTERS, User, certificate_user
from sampan.node.api.tls import peer_subject

log = logging.getLogger(__name__)

#: answers a path from its query; may raise ApiError
Answer = Callable[[Mapping[str, str]], Obj]
#: None: well; else why not
Check = Callable[[], str | None]
PROBES: Final = ("healthz", "livez", "readyz")
_CONTENT: Final = "text/plain; version=0.0.4; charset=utf-8"
_SHUTDOWN_SECONDS: Final = 2.0
#: scrapes at a time: whoever they come from, the API server is asked for each, by the client that holds the lease
MOST_SCRAPES: Final = 8


class Health:
    """Answers of the probes. Pure."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = {"ping": lambda: None, **checks}

    def answer(self, probe: str, single: str = "", *, verbose: bool = False) -> tuple[int, str]:
        if single:
            check = self._checks.get(single)
            if check is None:
                return 404, "404 page not found\n"
            fault = check()
            return (200, "ok") if fault is None else (500, f"internal server error: {fault}\n")
        faults = {name: check() for name, check in self._checks.items()}
        lines = [
            f"[+]{name} ok" if fault is None else f"[-]{name} failed: reason withheld" for name, fault in faults.items()
        ]
        if any(fault is not None for fault in faults.values()):
            return 500, "\n".join([*lines, f"{probe} check failed", ""])
        return 200, "\n".join([*lines, f"{probe} check passed", ""]) if verbose else "ok"


class Serving:
    """``client`` asks the API server who somebody is and what he may."""

    def __init__(
        self, health: Health, registry: Registry, client: Client, documents: Mapping[str, Answer] | None = None
    ) -> None:
        """``documents``: what else this program answers, by path, to whom RBAC allows it."""
        self._health, self._registry, self._client = health, registry, client
        self._documents = documents or {}
        self._scrapes = 0

    @asynccontextmanager
    async def listening(self, address: str, port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
        """The port. Raises OSError when it is taken."""
        app = web.Application()
        for probe in PROBES:
            app.router.add_get(f"/{probe}", self._probe)
            app.router.add_get(f"/{probe}/{{check}}", self._probe)
        app.router.add_get("/metrics", self._metrics)
        for path in self._documents:
            app.router.add_get(path, self._metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            assert runner.server is not None
            listener = await asyncio.get_running_loop().create_server(runner.server, address, port, ssl=tls)
            try:
                found: int = listener.sockets[0].getsockname()[1]
                yield found
            finally:
                listener.close()
        finally:
            await runner.cleanup()

    async def _probe(self, request: web.Request) -> web.Response:
        probe = request.path.split("/")[1]
        status, text = self._health.answer(
            probe, request.match_info.get("check", ""), verbose="verbose" in request.query
        )
        return web.Response(status=status, text=text)

    async def _metrics(self, request: web.Request) -> web.Response:
        if self._scrapes >= MOST_SCRAPES:
            return web.Response(status=429, text="too many scrapes at a time\n", headers={"Retry-After": "1"})
        self._scrapes += 1
        try:
            return await self._scraped(request)
        finally:
            self._scrapes -= 1

    async def _scraped(self, request: web.Request) -> web.Response:
        try:
            await self._admit(request)
        except ApiError as error:
            return web.Response(status=error.code if error.code in (401, 403) else 500, text=f"{error.message}\n")
        answer = self._documents.get(request.path)
        if answer is not None:
            return _document(answer, request.query)
        from sampan.metrics.text import text  # late: its library brings an HTTP server

        build = self._registry.copy()
        shown = await asyncio.to_thread(lambda: text(build()))
        return web.Response(body=shown, headers={"Content-Type": _CONTENT})

    async def _admit(self, request: web.Request) -> None:
        """Raises ApiError: Unauthorized, Forbidden, or that nobody can be asked."""
        transport = request.transport
        subject = peer_subject(transport.get_extra_info("ssl_object")) if transport is not None else None
        user = certificate_user(subject) if subject is not None else await self._token_user(request)
        if MASTERS in user.groups:
            return
        spec: Obj = {
            "user": user.name,
            "groups": list(user.groups),
            "uid": user.uid,
            "nonResourceAttributes": {"path": request.path, "verb": "get"},
        }
        review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
        status = (await self._client.create(SUBJECT_ACCESS_REVIEWS, review)).get("status") or {}
        if not status.get("allowed"):
            raise Forbidden(f'forbidden: User "{user.name}" cannot get path "{request.path}"')

    async def _token_user(self, request: web.Request) -> User:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Unauthorized")
        spec = {"token": token.strip()}
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        status = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        if not status.get("authenticated"):
            raise Unauthorized("Unauthorized")
        found = status.get("user") or {}
        return User(found.get("username", ""), tuple(found.get("groups") or ()), found.get("uid", ""))


def _document(answer: Answer, query: Mapping[str, str]) -> web.Response:
    try:
        body = answer(query)
    except ApiError as error:
        return web.Response(status=error.code, text=f"{error.message}\n")
    return web.Response(body=orjson.dumps(body), headers={"Content-Type": "application/json"})


def tls_context(certificate: Path | None, key: Path | None, client_ca: Path | None, name: str) -> ssl.SSLContext:
    """Blocks. Raises OSError, ssl.SSLError."""
    from sampan.cluster.apart.selfsigned import load_into

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None and key is not None:
        context.load_cert_chain(certificate, key)
    else:
        load_into(context, name)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
