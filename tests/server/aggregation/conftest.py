"""A sample extension API server behind a Service, and an API server in front of it that speaks HTTP.

The sample is what upstream's sample-apiserver is to its conformance test: it takes nobody's word but that of the front
proxy's certificate, and serves one resource with discovery, watch and OpenAPI. What it does wrong is set by the test.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.server.http.pki import issue

from sampan.api.transport import Call
from sampan.server.aggregation.services import Address, Unresolved
from sampan.server.app import Server
from sampan.server.config import ServerConfig

GROUP, VERSION = "wardle.example.com", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = f"{VERSION}.{GROUP}"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca, api (for the Service), other (for another name), front-proxy-ca, front-proxy-client, stranger."""
    folder = tmp_path_factory.mktemp("aggregation-pki")
    authority, front = issue(folder, "ca"), issue(folder, "front-proxy-ca")
    issue(folder, "api", authority, ["api.wardle.svc"])
    issue(folder, "other", authority, ["other.wardle.svc"])
    issue(folder, "front-proxy-client", front)
    issue(folder, "stranger", front)
    return folder


class Sample:
    """``seen``: each request that came. ``instead``: answers in place of the usual handler, for paths that it takes."""

    def __init__(self, pki: Path) -> None:
        self._pki = pki
        self.port = 0
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.instead: dict[str, Handler] = {}
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._runner: web.AppRunner | None = None

    async def start(self, certificate: str = "api", port: int = 0) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pki / f"{certificate}.crt", self._pki / f"{certificate}.key")
        context.load_verify_locations(self._pki / "front-proxy-ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def asked(self, path: str) -> list[web.Request]:
        return [request for request in self.seen if request.path == path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._runner is None and request.transport is not None:
            request.transport.abort()  # its handshake was under way when the sample stopped
        self.seen.append(request)
        for prefix, handler in self.instead.items():
            if request.path.startswith(prefix):
                return await handler(request)
        return await self.usual(request)

    async def usual(self, request: web.Request) -> web.StreamResponse:
        match request.path.strip("/").split("/"):
            case ["apis"]:
                return self._discovery(request)
            case ["apis", group, version] if (group, version) == (GROUP, VERSION):
                return web.json_response(resource_list())
            case ["openapi", "v2"]:
                return web.json_response(openapi_v2(), headers={"ETag": '"v2"'})
            case ["openapi", "v3"]:
                url = f"/openapi/v3{ROOT}?hash=ABC"
                return web.json_response({"paths": {ROOT[1:]: {"serverRelativeURL": url}}})
            case ["openapi", "v3", *rest] if "/".join(rest) == ROOT[1:]:
                return web.json_response({"openapi": "3.0.0", "paths": {f"{ROOT}/flunders": {}}})
            case ["apis", _, _, "namespaces", namespace, "flunders"]:
                return await self._flunders(request, namespace)
            case ["apis", _, _, "namespaces", _, "flunders", _, "talk"]:
                return await talk(request)
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)

    def _discovery(self, request: web.Request) -> web.Response:
        if "as=APIGroupDiscoveryList" not in request.headers.get("Accept", ""):
            return web.json_response({"kind": "APIGroupList", "groups": []})
        if request.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304)
        return web.json_response(aggregated(), headers={"ETag": '"1"'})

    async def _flunders(self, request: web.Request, namespace: str) -> web.StreamResponse:
        if request.method == "POST":
            self.bodies.append(await request.read())
            return web.json_response({"kind": "Flunder", "metadata": {"name": "f"}}, status=201)
        if request.query.get("watch"):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            while (event := await self.events.get()) is not None:
                await response.write(event)
            return response
        items = [{"metadata": {"name": "f", "namespace": namespace}}]
        return web.json_response({"kind": "FlunderList", "apiVersion": f"{GROUP}/{VERSION}", "items": items})


async def talk(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.headers['X-Remote-User']}: {message.data}")
    return socket


def resource_list() -> Any:
    flunder = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder"}
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{VERSION}",
        "resources": [
            {**flunder, "verbs": verbs, "shortNames": ["fl"]},
            {**flunder, "name": "flunders/status", "singularName": "", "verbs": ["get", "patch", "update"]},
        ],
    }


def aggregated() -> Any:
    kind = {"group": GROUP, "version": VERSION, "kind": "Flunder"}
    resource = {"resource": "flunders", "responseKind": kind, "scope": "Namespaced", "singularResource": "flunder"}
    version = {"version": VERSION, "resources": [{**resource, "verbs": ["get", "list"], "shortNames": ["fl"]}]}
    item = {"metadata": {"name": GROUP}, "versions": [{**version, "freshness": "Current"}]}
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [item]}


def openapi_v2() -> Any:
    reference = {"$ref": "#/definitions/com.example.wardle.v1alpha1.Flunder"}
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    return {
        "swagger": "2.0",
        "info": {"title": "wardle", "version": "v0"},
        "paths": {
            f"{ROOT}/namespaces/{{namespace}}/flunders": {"get": {"responses": {"200": {"schema": reference}}}},
            "/version": {"get": {}},
        },
        "definitions": {
            "com.example.wardle.v1alpha1.Flunder": {
                "type": "object",
                "properties": {"metadata": {"$ref": f"#/definitions/{meta}"}},
                "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": "Flunder"}],
            },
            meta: {"type": "object", "description": "as the sample has it"},
        },
    }


@dataclass
class Places:
    """Where the Services are: ports of loopback, by (namespace, name)."""

    ports: dict[tuple[str, str], int]

    def resolve(self, namespace: str, name: str, port: int) -> Address:
        found = self.ports.get((namespace, name))
        if found is None:
            raise Unresolved(f'service "{name}" not found')
        return Address("127.0.0.1", found)


@dataclass
class Front:
    """An API server that listens on loopback, asked by whoever is in the impersonation headers."""

    server: Server
    http: aiohttp.ClientSession
    places: Places

    def request(self, method: str, path: str, **more: Any) -> Any:
        return self.http.request(method, f"{self.server.url}{path}", **more)

    async def json(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.request(method, path, **more) as response:
            return response.status, await response.json(content_type=None)

    async def text(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        async with self.request(method, path, allow_redirects=False, **more) as response:
            return response.status, await response.text()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        return await self.server.local_transport().call(Call(method, path, body=body))

    async def register(self, **spec: Any) -> None:
        """The APIService of the sample. Without ``caBundle`` or ``insecureSkipTLSVerify``: the machine's CAs."""
        await self.call("POST", APISERVICES, api_service(**spec))

    async def condition(self, name: str = NAME) -> dict[str, str]:
        conditions = (await self.call("GET", f"{APISERVICES}/{name}")).get("status", {}).get("conditions") or [{}]
        found: dict[str, str] = conditions[0]
        return found

    async def until_said(self, reason: str, name: str = NAME) -> dict[str, str]:
        return await until(lambda: self.condition(name), lambda condition: condition.get("reason") == reason)


async def until(look: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(30):
        while not holds(found := await look()):  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.005)
    return found


def api_service(name: str = NAME, **spec: Any) -> Any:
    version, _, group = name.partition(".")
    service = {"namespace": "wardle", "name": "api"}
    base = {"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 200}
    return {"metadata": {"name": name}, "spec": {**base, "service": service, **spec}}


def service() -> Any:
    return {"metadata": {"name": "api"}, "spec": {"ports": [{"port": 443, "targetPort": 4443}]}}


def endpoint_slice(*, ready: bool = True, port_name: str = "") -> Any:
    return {
        "metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready}}],
        "ports": [{"name": port_name, "port": 4443, "protocol": "TCP"}],
    }


SERVICES = "/api/v1/namespaces/wardle/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/wardle/endpointslices"


@pytest.fixture
async def sample(pki: Path) -> AsyncIterator[Sample]:
    made = Sample(pki)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def config_of(pki: Path) -> Callable[..., ServerConfig]:
    def make(**more: Any) -> ServerConfig:
        usual = {
            "bind_address": "127.0.0.1",
            "port": 0,
            "bootstrap": False,
            "openapi": False,
            "authorization_modes": ("AlwaysAllow",),
            "disable_admission_plugins": ("ServiceAccount",),
            "proxy_client_cert": pki / "front-proxy-client.crt",
            "proxy_client_key": pki / "front-proxy-client.key",
        }
        return ServerConfig(**{**usual, **more})

    return make


@pytest.fixture
async def front(config_of: Callable[..., ServerConfig], sample: Sample) -> AsyncIterator[Front]:
    """With the sample's Service and an endpoint of it; nothing is registered yet."""
    async with started(config_of(), sample) as made:
        yield made


@asynccontextmanager
async def started(config: ServerConfig, sample: Sample, *, present: bool = False, **more: Any) -> AsyncIterator[Front]:
    """``present``: the objects are in the store already."""
    places = Places({("wardle", "api"): sample.port})
    async with Server(config, services=places, **more) as server, aiohttp.ClientSession() as http:
        front = Front(server, http, places)
        if not present:
            await front.call("POST", "/api/v1/namespaces", {"metadata": {"name": "wardle"}})
            await front.call("POST", SERVICES, service())
            await front.call("POST", SLICES, endpoint_slice())
        yield front


@pytest.fixture
def bundle(pki: Path) -> str:
    """The CA of the sample's certificate, as an APIService names it."""
    return base64.b64encode((pki / "ca.crt").read_bytes()).decode()
