"""HTTPS for the API server in front, and for nobody else: a client has to show the front proxy's certificate.

Who that is, is said by the ConfigMap ``kube-system/extension-apiserver-authentication``. It has asked already whether
its own client may read the metric, so nobody is asked again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from sampan.api.errors import ApiError, Forbidden, InternalError
from sampan.api.types import Obj
from sampan.metricsadapter.api import MetricsApi
from sampan.metricsadapter.certificate import Certificate
from sampan.records import dataclass

log = logging.getLogger(__name__)

_SHUTDOWN_SECONDS: Final = 2.0
_HEALTH: Final = ("/healthz", "/livez", "/readyz")


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """``ca``: PEM. ``names``: common names that are allowed, none: all."""

    ca: str
    names: tuple[str, ...] = ()


def tls_context(certificate: Certificate, front: FrontProxy) -> ssl.SSLContext:
    """Raises ValueError (ssl.SSLError) for a CA that is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # the library takes keys from files only
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(certificate.certificate + certificate.key)
        context.load_cert_chain(pair)
    context.load_verify_locations(cadata=front.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def common_name(certificate: Any) -> str:
    """Of a certificate as ``SSLObject.getpeercert`` gives it."""
    subject = (certificate or {}).get("subject", ())
    return next((str(value) for part in subject for key, value in part if key == "commonName"), "")


class MetricsServer:
    def __init__(self, api: MetricsApi, tls: ssl.SSLContext, names: Collection[str], address: str, port: int) -> None:
        """``port`` 0: any free one; ``port`` tells once it is served."""
        self._api, self._tls, self._names, self._address, self.port = api, tls, frozenset(names), address, port

    async def run(self, started: asyncio.Event) -> None:
        """Serves until cancelled. Raises OSError when the address is taken."""
        app = web.Application(client_max_size=1 << 16)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._address, self.port, ssl_context=self._tls)
            await site.start()
            self.port = runner.addresses[0][1]
            started.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check(request)
            if request.path in _HEALTH:
                return web.Response(text="ok")
            path = request.raw_path.partition("?")[0]
            return _json(200, await self._api.answer(request.method, path, request.query))
        except ApiError as error:
            return _json(error.code, error.status())
        except Exception:  # the boundary: one request must not harm the others
            log.exception("%s was not answered", request.path)
            return _json(500, InternalError("Internal error occurred: unable to fetch metrics").status())

    def _check(self, request: web.Request) -> None:
        """Raises Forbidden."""
        if not self._names or request.transport is None:
            return
        name = common_name(request.transport.get_extra_info("peercert"))
        if name not in self._names:
            raise Forbidden("only the API server in front may ask")


def _json(status: int, value: Obj) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
