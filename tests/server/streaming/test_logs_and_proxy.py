"""pods/log and the proxies: paths, refusals, redirects, headers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from sampan.api.errors import BadRequest, Invalid, NotFound, ServiceUnavailable
from sampan.api.resources import ENDPOINT_SLICES, PODS, SERVICES
from sampan.server.request import Request, Response
from sampan.server.streaming.handlers import StreamingHandlers
from sampan.server.streaming.locate import check_address

MakeRequest = Callable[..., Request]


def answering(status: str, body: bytes, *headers: str) -> Any:
    async def behaviour(line: str, request: Mapping[str, str], reader: Any, writer: Any) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    return behaviour


async def body_of(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    stream: AsyncIterator[bytes] = body
    return b"".join([chunk async for chunk in stream])


async def test_a_log_is_streamed_from_the_node(
    handlers: StreamingHandlers, node: Any, make_request: MakeRequest
) -> None:
    node.behaviour = answering("200 OK", b"line\n")
    response = await handlers.handle(make_request("log", "container=a&tailLines=5&follow=true&unknown=1"))
    assert (await body_of(response), response.content_type) == (b"line\n", "text/plain")
    assert node.requests[0][0] == "GET /containerLogs/ns/p/a?follow=true&tailLines=5 HTTP/1.1"


async def test_an_unscheduled_pod_has_an_empty_log(
    handlers: StreamingHandlers, reader: Any, make_request: MakeRequest
) -> None:
    reader.put(PODS, {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "a"}]}})
    assert (await handlers.handle(make_request("log"))).body == b""


async def test_the_nodes_refusal_becomes_a_status(
    handlers: StreamingHandlers, node: Any, make_request: MakeRequest
) -> None:
    node.behaviour = answering("400 Bad Request", b'container "a" in pod "p" is waiting to start: ContainerCreating')
    with pytest.raises(BadRequest, match="is waiting to start"):
        await handlers.handle(make_request("log", "container=a"))


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("container=a&tailLines=-1", Invalid),
        ("container=a&limitBytes=0", Invalid),
        ("container=a&sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z", Invalid),
        ("container=a&tailLines=x", BadRequest),
        ("container=zzz", BadRequest),
    ],
)
async def test_bad_log_options_are_refused(
    handlers: StreamingHandlers, make_request: MakeRequest, query: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await handlers.handle(make_request("log", query))


async def test_a_pod_proxy_keeps_path_and_query_and_drops_credentials(
    handlers: StreamingHandlers, node: Any, make_request: MakeRequest
) -> None:
    node.behaviour = answering("302 Found", b"", "Location: /login?next=1", "Set-Cookie: a=b")
    name = f"p:{node.port}"
    path = f"/api/v1/namespaces/ns/pods/{name}/proxy/a%2Fb/c"
    headers = {
        "authorization": "Bearer t",
        "accept": "x/y",
        "x-remote-user": "root",
        "connection": "x-hop",
        "x-hop": "1",
    }
    response = await handlers.handle(make_request("proxy", "q=1&q=2", headers, name=name, path=path))
    line, sent = node.requests[0]
    assert line == "GET /a%2Fb/c?q=1&q=2 HTTP/1.1"
    assert not {"authorization", "x-remote-user", "x-hop"} & set(sent)
    assert (sent["accept"], sent["x-forwarded-for"]) == ("x/y", "192.0.2.7")
    assert response.status == 302
    assert response.headers["Location"] == f"/api/v1/namespaces/ns/pods/{name}/proxy/login?next=1"
    await body_of(response)


async def test_a_proxy_without_path_redirects_to_the_trailing_slash(
    handlers: StreamingHandlers, make_request: MakeRequest
) -> None:
    response = await handlers.handle(make_request("proxy", "a=b"))
    assert (response.status, response.headers["Location"]) == (301, "/api/v1/namespaces/ns/pods/p/proxy/?a=b")


async def test_a_service_proxy_needs_a_ready_endpoint(
    handlers: StreamingHandlers, reader: Any, node: Any, make_request: MakeRequest
) -> None:
    reader.put(
        SERVICES, {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"ports": [{"name": "web", "port": 80}]}}
    )
    request = make_request("proxy", resource="services", name="s", path="/api/v1/namespaces/ns/services/s/proxy/")
    with pytest.raises(ServiceUnavailable, match='no endpoints available for service "s"'):
        await handlers.handle(request)
    endpoint = {"addresses": ["127.0.0.1"], "conditions": {"ready": True}}
    labels = {"kubernetes.io/service-name": "s"}
    reader.put(
        ENDPOINT_SLICES,
        {
            "metadata": {"name": "s-1", "namespace": "ns", "labels": labels},
            "endpoints": [endpoint],
            "ports": [{"name": "web", "port": node.port}],
        },
    )
    node.behaviour = answering("200 OK", b"hi", "Content-Type: text/html")
    response = await handlers.handle(request)
    assert (await body_of(response), response.content_type) == (b"hi", "text/html")


async def test_a_dead_backend_is_unavailable(
    handlers: StreamingHandlers, reader: Any, make_request: MakeRequest
) -> None:
    path = "/api/v1/namespaces/ns/pods/p:1/proxy/"
    with pytest.raises(ServiceUnavailable, match="error trying to reach service"):
        await handlers.handle(make_request("proxy", name="p:1", path=path))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "x"]
)
def test_addresses_that_point_back_or_aside_are_refused(address: str) -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        check_address(address)


async def test_an_unknown_node_is_not_found(handlers: StreamingHandlers, make_request: MakeRequest) -> None:
    request = make_request("proxy", resource="nodes", name="zz", path="/api/v1/nodes/zz/proxy/pods")
    with pytest.raises(NotFound):
        await handlers.handle(request)
