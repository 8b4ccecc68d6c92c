"""Conformance cases of protocols, weights and time through the real program, from objects to bytes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from edge_lab import ADDRESS, Lab, connected, lab
from tests.edge.gateway import pem
from tests.edge.gateway.world import (
    CLASS,
    INFRA,
    Obj,
    World,
    admitted,
    gateway,
    http,
    listener,
    observed,
    path,
    rule,
    service,
    tls,
    to,
)
from tests.edge.gateway.world import (
    grpc as grpc_route,
)

from sampan.edge.model import Backend, Endpoint, Listener, Plane, Retries, Weighted

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")

#: each kind of listener at a port of its own
WEB, TLS, RPC = 19501, 19502, 19503
ENDS = {"certificateRefs": [{"name": "good"}]}

OBJECTS: tuple[Obj, ...] = (
    gateway("web", listener(port=WEB)),
    http(
        "timed",
        rule(to("silent"), matches=[path("/request")], timeouts={"request": "100ms"}),
        rule(to("silent"), matches=[path("/backend")], timeouts={"request": "10s", "backendRequest": "100ms"}),
        rule(to("v1", weight=70), to("v2", weight=30), to("v3", weight=0), matches=[path("/weighted")]),
        rule(to("v1", weight=1), to("nowhere", weight=1), matches=[path("/half")]),
        rule(to("empty"), matches=[path("/empty")]),
        rule(to("believed"), matches=[path("/believed")]),
        rule(to("doubted"), matches=[path("/doubted")]),
        parent="web",
    ),
    gateway(
        "secure",
        listener("https", TLS, "HTTPS", hostname="https.example.com", tls=ENDS),
        listener("other", TLS, "HTTPS", hostname="*.example.org", tls={"certificateRefs": [{"name": "other"}]}),
        listener("through", TLS, "TLS", hostname="through.example.com", tls={"mode": "Passthrough"}),
    ),
    http("secured", rule(to("v1")), parent="secure", section="https"),
    http("otherwise", rule(to("v2")), parent="secure", section="other"),
    tls("through", rule(to("speaks-tls")), parent="secure", section="through", hostnames=["through.example.com"]),
    gateway("rpc", listener(port=RPC)),
    grpc_route(
        "calls",
        rule(to("rpc"), matches=[{"method": {"service": "test.Echo", "method": "Say"}}]),
        rule(to("nowhere"), matches=[{"method": {"service": "test.None"}}]),
        parent="rpc",
        hostnames=["rpc.example"],
    ),
    http("h2c", rule(to("spoken-h2c")), parent="rpc", hostnames=["h2c.example"]),
)
POLICIES = tuple(
    admitted(
        "BackendTLSPolicy",
        name,
        {
            "targetRefs": [{"group": "", "kind": "Service", "name": name}],
            "validation": {
                "hostname": "through.example.com",
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": name}],
            },
        },
    )
    for name in ("believed", "doubted")
)
SERVICES = (
    *(service(f"infra-backend-v{number}") for number in (1, 2, 3)),
    *(service(name) for name in ("silent", "speaks-tls", "rpc", "believed", "doubted")),
    service("spoken-h2c", app_protocol="kubernetes.io/h2c"),
)


async def test_conformance_of_protocols_weights_and_time() -> None:
    """HTTPRouteTimeout{Request,BackendRequest}, HTTPRouteWeight, HTTPRouteHTTPSListener, HTTPRouteBackendProtocolH2C,
    BackendTLSPolicyNormative, TLSRouteSimpleSameNamespace, GRPCExactMethodMatching."""
    secrets = [pem.secret("good", INFRA, *pem.pair()), pem.secret("other", INFRA, *pem.pair("other"))]
    none = service("empty")
    none[1]["endpoints"] = []
    authorities = {"believed": pem.pair("through.example.com")[0], "doubted": pem.pair("another")[0]}
    config_maps = [pem.config_map(name, INFRA, **{"ca.crt": chain}) for name, chain in authorities.items()]
    services = (*SERVICES, none)
    seen = World(observed(CLASS, *OBJECTS, *POLICIES, services=services, secrets=secrets, config_maps=config_maps))
    async with lab(default_certificate="".join(pem.pair())) as here, _servers() as special:
        placed = [await _placed(each, here, special) for each in seen.plan.plane.listeners]
        assert await here.plane.apply(Plane(tuple(placed))) == []
        await _timeouts_and_weights()
        await _names_of_tls()
        await _calls()


async def _timeouts_and_weights() -> None:
    async with connected(WEB) as connection:
        assert (await connection.ask("a", "/request")).status == 504
    async with connected(WEB) as connection:
        assert (await connection.ask("a", "/backend")).status == 504
    async with connected(WEB) as connection:
        assert (await connection.ask("a", "/empty")).status == 503
    async with connected(WEB) as connection:
        assert (await connection.ask("a", "/believed")).body == b"by TLS"
    async with connected(WEB) as connection:
        assert (await connection.ask("a", "/doubted")).status >= 502
    shares: Counter[str] = Counter()
    halves: Counter[int] = Counter()
    async with connected(WEB) as connection:
        for _ in range(300):
            shares[(await connection.ask("a", "/weighted")).got["backend"]] += 1
    for _ in range(60):
        async with connected(WEB) as connection:
            halves[(await connection.ask("a", "/half")).status] += 1
    assert shares.keys() == {"infra-backend-v1", "infra-backend-v2"}
    assert 150 < shares["infra-backend-v1"] < 270  # of 210 by the weights
    assert halves.keys() == {200, 500}


async def _names_of_tls() -> None:
    for name, backend in (("https.example.com", "infra-backend-v1"), ("a.example.org", "infra-backend-v2")):
        async with connected(TLS, name) as connection:
            assert (await connection.ask(name, "/")).got["backend"] == backend
    async with connected(TLS, "through.example.com") as connection:
        assert (await connection.ask("through.example.com", "/")).body == b"by TLS"


async def _calls() -> None:
    async def call(host: str, method: str) -> Any:
        options = [("grpc.default_authority", host)]
        async with grpc.aio.insecure_channel(f"{ADDRESS}:{RPC}", options) as channel:
            return await channel.unary_unary(method)(b"hello", timeout=10)

    async def refused(host: str, method: str) -> Any:
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await call(host, method)
        return told.value.code()

    assert await call("rpc.example", "/test.Echo/Say") == b"hello back"
    assert await call("h2c.example", "/test.Echo/Say") == b"hello back"
    assert await refused("rpc.example", "/test.Echo/Other") is grpc.StatusCode.UNIMPLEMENTED
    assert await refused("rpc.example", "/test.None/Any") is grpc.StatusCode.UNAVAILABLE


# Servers


@contextlib.asynccontextmanager
async def _servers() -> AsyncIterator[dict[str, Endpoint]]:
    """One that never answers, one of TLS, one of gRPC."""
    quiet: set[asyncio.StreamWriter] = set()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        quiet.add(writer)

    async def by_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nby TLS")
        await writer.drain()
        quiet.add(writer)

    async def say(request: bytes, context: Any) -> bytes:
        return request + b" back"

    handler = grpc.method_handlers_generic_handler("test.Echo", {"Say": grpc.unary_unary_rpc_method_handler(say)})
    rpc = grpc.aio.server()
    rpc.add_generic_rpc_handlers((handler,))
    rpc_port = rpc.add_insecure_port("127.0.0.1:0")
    await rpc.start()
    async with (
        await asyncio.start_server(silent, "127.0.0.1", 0) as first,
        await asyncio.start_server(by_tls, "127.0.0.1", 0, ssl=_context()) as second,
    ):
        ports = [each.sockets[0].getsockname()[1] for each in (first, second)]
        yield {
            "silent": Endpoint("127.0.0.1", ports[0]),
            **dict.fromkeys(("speaks-tls", "believed", "doubted"), Endpoint("127.0.0.1", ports[1])),
            "rpc": Endpoint("127.0.0.1", rpc_port),
            "spoken-h2c": Endpoint("127.0.0.1", rpc_port),
        }
        for writer in quiet:
            writer.close()
    await rpc.stop(None)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("crt", "key")]
        for file, text in zip(files, pem.pair("through.example.com"), strict=True):
            file.write_text(text)
        context.load_cert_chain(*files)
    return context


async def _placed(found: Listener, here: Lab, special: dict[str, Endpoint]) -> Listener:
    async def moved(share: Weighted) -> Weighted:
        return dataclasses.replace(share, backend=await _backend(share.backend, here, special))

    hosts = []
    for host in found.hosts:
        routes = []
        for route in host.routes:
            backends = tuple([await moved(each) for each in route.backends])
            # Tried once: other tries are seconds apart.
            routes.append(dataclasses.replace(route, backends=backends, retries=Retries(0)))
        hosts.append(dataclasses.replace(host, routes=tuple(routes)))
    through = [
        dataclasses.replace(route, backends=tuple([await moved(each) for each in route.backends]))
        for route in found.tls_routes
    ]
    return dataclasses.replace(found, address=ADDRESS, hosts=tuple(hosts), tls_routes=tuple(through))


async def _backend(backend: Backend | None, here: Lab, special: dict[str, Endpoint]) -> Backend | None:
    if backend is None:
        return None
    endpoints = [special.get(each.address) or await here.backend(each.address) for each in backend.endpoints]
    return dataclasses.replace(backend, endpoints=tuple(endpoints))
