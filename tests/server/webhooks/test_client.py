"""The client of webhooks against a real HTTPS server: where it goes, whom it believes, what it says when it cannot."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from sampan.server.webhooks.client import CallError, WebhookClient
from sampan.server.webhooks.targets import BadTarget, target_of

from .conftest import Hook, OneService, Pki


@pytest.fixture
async def client(service: OneService) -> AsyncIterator[WebhookClient]:
    made = WebhookClient(service)
    yield made
    await made.close()


async def ask(client: WebhookClient, config: dict[str, Any], body: bytes = b"{}", **options: Any) -> bytes:
    return await client.post(target_of(config), body, **{"timeout_seconds": 10, **options})


async def refused(client: WebhookClient, config: dict[str, Any], **options: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await ask(client, config, **options)
    return caught.value


def echo(body: Any) -> Any:
    return {"heard": body}


async def test_a_webhook_is_asked_by_its_url_with_the_time_it_has(client: WebhookClient, hook: Hook) -> None:
    hook.reply = echo
    assert await ask(client, hook.by_url("/mutate"), b'{"a":1}', timeout_seconds=2.5) == b'{"heard":{"a":1}}'
    path, headers, body = hook.asked[0]
    assert (path, body) == ("/mutate?timeout=3s", {"a": 1})
    assert headers["Content-Type"] == "application/json" and headers["User-Agent"] == "kube-apiserver-admission"


async def test_a_service_is_reached_where_the_resolver_says_under_the_name_of_the_service(
    client: WebhookClient, hook: Hook
) -> None:
    hook.reply = echo
    assert await ask(client, hook.by_service("/check")) == b'{"heard":{}}'
    path, headers, _ = hook.asked[0]
    assert path == "/check?timeout=10s" and headers["Host"].startswith("hook.default.svc")


async def test_a_connection_is_used_again(client: WebhookClient, hook: Hook) -> None:
    hook.reply = echo
    for _ in range(5):
        await ask(client, hook.by_url())
    assert len(hook.asked) == 5 and len(hook.peers) == 1


async def test_a_connection_that_was_closed_while_it_lay_idle_fails_nobody(client: WebhookClient, pki: Pki) -> None:
    """The other side closes it in the moment it is used again: what Go does then, too, is to open another."""
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"{}")
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0, ssl=pki.server("127.0.0.1"))
    async with server:
        config = {"url": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", "caBundle": pki.bundle}
        assert [await ask(client, config) for _ in range(2)] == [b"true", b"true"]
        await client.close()
    assert connections == 2


async def test_who_does_not_answer_in_time_is_given_up(client: WebhookClient, hook: Hook) -> None:
    hook.reply = hook.silence
    error = await refused(client, hook.by_url("/slow"), timeout_seconds=0.01)
    assert str(error) == f'Post "https://127.0.0.1:{hook.port}/slow?timeout=1s": context deadline exceeded'
    assert error.timed_out and error.code == 504


async def test_nobody_listens(client: WebhookClient, service: OneService, unused_port: int) -> None:
    service.port = unused_port
    config = {"service": {"namespace": "default", "name": "hook", "path": "/x"}}
    assert str(await refused(client, config)) == (
        f'Post "https://hook.default.svc:443/x?timeout=10s": dial tcp 127.0.0.1:{unused_port}: '
        "connect: connection refused"
    )


async def test_a_service_that_is_not_there(client: WebhookClient) -> None:
    config = {"service": {"namespace": "default", "name": "other"}}
    assert str(await refused(client, config)) == (
        'Post "https://other.default.svc:443/?timeout=10s": service "other" not found'
    )


async def test_a_name_that_nobody_knows(client: WebhookClient) -> None:
    error = await refused(client, {"url": "https://nobody.invalid/x"})
    assert str(error) == ('Post "https://nobody.invalid/x?timeout=10s": dial tcp: lookup nobody.invalid: no such host')


@pytest.mark.parametrize("case", ["no bundle", "another ca", "another name", "expired"])
async def test_a_certificate_that_proves_nothing_ends_the_call(
    client: WebhookClient, pki: Pki, serve: Any, other_bundle: bytes, case: str
) -> None:
    unknown, words = "certificate signed by unknown authority", "tls: failed to verify certificate: x509: "
    context = {
        "another name": pki.server("elsewhere.default.svc"),
        "expired": pki.server("127.0.0.1", hours=(-3, -2)),
    }.get(case)
    hook = await serve(context=context)
    config = hook.by_url()
    if case == "no bundle":
        del config["caBundle"]
    if case == "another ca":
        config["caBundle"] = base64.b64encode(other_bundle).decode()
    expected = {
        "another name": "certificate is not valid for the requested address",
        "expired": "certificate has expired or is not yet valid",
    }.get(case, unknown)
    assert str(await refused(client, config)).endswith(f": {words}{expected}")
    assert hook.asked == []


async def test_a_bundle_that_is_no_certificate(client: WebhookClient, hook: Hook) -> None:
    config = hook.by_url() | {"caBundle": base64.b64encode(b"-----BEGIN").decode()}
    text = "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block"
    assert str(await refused(client, config)) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "the server could not find the requested resource"),
        (500, 'an error on the server ("unknown") has prevented the request from succeeding'),
        (502, 'an error on the server ("unknown") has prevented the request from succeeding'),
        (503, "the server is currently unable to handle the request"),
        (418, "the server responded with the status code 418 but did not return more information"),
    ],
)
async def test_an_error_is_told_without_what_its_body_says(
    client: WebhookClient, hook: Hook, status: int, text: str
) -> None:
    hook.reply = lambda body: web.Response(status=status, text="the secret of somebody else")
    error = await refused(client, hook.by_url())
    assert str(error) == text


async def test_the_message_of_a_status_is_told(client: WebhookClient, hook: Hook) -> None:
    status = {"kind": "Status", "apiVersion": "v1", "message": "out of order", "code": 500}
    hook.reply = lambda body: web.json_response(status, status=500)
    assert str(await refused(client, hook.by_url())) == "out of order"


async def test_no_redirect_is_followed(client: WebhookClient, hook: Hook) -> None:
    hook.reply = lambda body: web.Response(status=302, headers={"Location": f"https://127.0.0.1:{hook.port}/other"})
    error = await refused(client, hook.by_url("/first"))
    assert str(error) == "the server responded with the status code 302 but did not return more information"
    assert [path for path, _, _ in hook.asked] == ["/first?timeout=10s"]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_huge_answer_is_not_read_to_its_end(client: WebhookClient, hook: Hook, declared: bool) -> None:
    async def flood(body: Any) -> web.StreamResponse:
        return web.Response(body=b"x" * 200_000) if declared else web.Response(body=endless())

    hook.reply = flood
    error = await refused(client, hook.by_url(), limit_bytes=100_000)
    assert str(error).endswith(": the response is larger than 100000 bytes")


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 10_000


async def test_who_hangs_up_instead_of_answering(client: WebhookClient, pki: Pki) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=pki.server("127.0.0.1"))
    async with server:
        config = {"url": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", "caBundle": pki.bundle}
        assert str(await refused(client, config)).endswith(": EOF")


async def test_who_speaks_no_tls(client: WebhookClient, pki: Pki) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        config = {"url": f"https://127.0.0.1:{port}/", "caBundle": pki.bundle}
        error = await refused(client, config)
    assert str(error).endswith("first record does not look like a TLS handshake")


async def test_many_at_a_time_to_one_webhook_all_come_through(client: WebhookClient, hook: Hook) -> None:
    hook.reply = echo
    asked = [ask(client, hook.by_url(), str(number).encode()) for number in range(30)]
    assert await asyncio.gather(*asked) == [b'{"heard":%d}' % number for number in range(30)]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "webhook configuration must have either service or URL"),
        ({"url": "http://example.com/"}, "Unparsable URL: http://example.com/"),
        ({"url": "https://[::1/"}, "Unparsable URL: https://[::1/"),
        (
            {"url": "https://x/", "caBundle": "!"},
            "unable to load root certificates: unable to parse bytes as PEM block",
        ),
    ],
)
def test_a_target_that_cannot_be_called(config: dict[str, Any], text: str) -> None:
    with pytest.raises(BadTarget) as caught:
        target_of(config)
    assert str(caught.value) == text
