"""What a registry may ask for before it takes a push, and what it may say instead."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sampan.node.images import distribution
from sampan.node.images.distribution import Challenge, RegistryError, connected, parse_challenges
from sampan.node.images.hosts import Endpoint
from sampan.node.runtime import RegistryAuth

AUTH = RegistryAuth("me", "s3cret")


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="a b"', [Challenge("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://t/x?a=1,2",service="s" , scope="repository:a:pull,push"',
            [Challenge("bearer", {"realm": "https://t/x?a=1,2", "service": "s", "scope": "repository:a:pull,push"})],
        ),
        (
            'Negotiate x=y, Basic realm="r", Bearer realm=t',
            [
                Challenge("negotiate", {"x": "y"}),
                Challenge("basic", {"realm": "r"}),
                Challenge("bearer", {"realm": "t"}),
            ],
        ),
        ("nonsense", []),
        ('Basic realm="' + "\\" * 100_000, [Challenge("basic", {})]),
    ],
)
def test_ways_to_log_in_are_read(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


@asynccontextmanager
async def answering(answer: Any) -> AsyncIterator[Endpoint]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


async def has(endpoint: Endpoint, auth: RegistryAuth | None = AUTH) -> bool:
    async with connected(endpoint, auth) as registry:
        return await registry.has_blob("team/app", "sha256:0")


async def test_credentials_are_given_once_they_are_asked_for() -> None:
    seen: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=200 if seen[-1] else 401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    async with answering(answer) as endpoint:
        assert await has(endpoint)
    assert seen == ["", "Basic " + base64.b64encode(b"me:s3cret").decode()]


async def test_an_identity_token_is_changed_for_one_of_the_registry() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path == "/token":
            form = await request.post()
            assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", "whoami")
            assert form["scope"] == "repository:team/app:pull,push"
            return web.json_response({"access_token": "good"})
        good = request.headers.get("Authorization") == "Bearer good"
        challenge = f'Bearer realm="http://{request.host}/token",service="s"'
        return web.Response(status=404 if good else 401, headers={"WWW-Authenticate": challenge})

    async with answering(answer) as endpoint:
        assert not await has(endpoint, RegistryAuth(identity_token="whoami"))


@pytest.mark.parametrize(
    ("status", "body", "words", "denied"),
    [
        (403, b'{"errors":[{"code":"DENIED","message":"not yours"}]}', "403 DENIED: not yours", True),
        (500, b"<html>" + b"x" * 5_000_000, "answered with status 500", False),
        (401, b"", "answered with status 401", True),
        (307, b"", "answered with status 307", False),
        (503, b'{"errors":"nonsense"}', "answered with status 503", False),
    ],
)
async def test_a_refusal_is_told_in_the_registrys_words_or_by_its_status(
    status: int, body: bytes, words: str, denied: bool
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        headers = {"Location": "http://elsewhere.invalid/"} if status == 307 else {}
        return web.Response(status=status, body=body, headers=headers)

    async with answering(answer) as endpoint:
        with pytest.raises(RegistryError, match=words) as caught:
            async with connected(endpoint, AUTH) as registry:
                await registry.put_manifest("team/app", "1", b"{}", "application/json")
    assert caught.value.denied == denied
    assert "s3cret" not in str(caught.value)


async def test_nobody_there_is_told_in_words() -> None:
    with pytest.raises(RegistryError, match="connection refused"):
        await has(Endpoint("http://127.0.0.1:1"))


async def test_credentials_of_a_registry_with_tls_go_to_no_token_server_without_it() -> None:
    """The registry cannot be asked here (it has no certificate), so its challenge is given by hand."""
    from sampan.node.images.distribution import Registry

    registry = Registry(None, Endpoint("https://r.example"), AUTH)  # type: ignore[arg-type]  # nothing is sent
    with pytest.raises(RegistryError, match="token server without TLS"):
        await registry._token(Challenge("bearer", {"realm": "http://t.example"}), "team/app")


async def test_an_answer_that_comes_in_pieces_is_read_whole_up_to_a_bound() -> None:
    class Pieces:
        def __init__(self, *pieces: bytes) -> None:
            self.left = list(pieces)

        async def read(self, size: int) -> bytes:
            return self.left.pop(0)[:size] if self.left else b""

    assert await distribution._beginning(Pieces(b'{"tok', b'en": "go', b'od"}')) == b'{"token": "good"}'  # type: ignore[arg-type]
    assert len(await distribution._beginning(Pieces(*[b"x" * 300_000] * 9))) == 1 << 20  # type: ignore[arg-type]


async def test_whoever_takes_the_blobs_for_a_registry_is_shown_no_credentials_and_names_no_token_server() -> None:
    shown: list[str] = []

    async def thief(request: web.BaseRequest) -> web.Response:
        shown.append(request.headers.get("Authorization", ""))
        if request.path == "/token":
            return web.json_response({"token": "mine"})
        challenge = f'Bearer realm="http://{request.host}/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def content() -> AsyncIterator[bytes]:
        yield b"x"

    async with answering(thief) as elsewhere:

        async def answer(request: web.BaseRequest) -> web.Response:
            if not request.headers.get("Authorization"):
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            return web.Response(status=202, headers={"Location": f"{elsewhere.url}/upload"})

        async with answering(answer) as endpoint, connected(endpoint, AUTH) as registry:
            with pytest.raises(RegistryError, match="401"):
                await registry.put_blob("team/app", "sha256:0", 1, content)
    assert shown == [""]


async def test_a_blob_that_the_registry_keeps_elsewhere_is_there() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://elsewhere.invalid/blob?signature=s3cret"})

    async with answering(answer) as endpoint:
        assert await has(endpoint)


async def test_what_a_registry_says_moves_no_cursor() -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"errors": [{"code": "DENIED", "message": "\x1b[2Jnot\nyours"}]}, status=403)

    async with answering(answer) as endpoint, connected(endpoint, AUTH) as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.put_manifest("team/app", "1", b"{}", "application/json")
    assert str(caught.value).isprintable()


async def test_an_answer_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_ANSWER_SECONDS", 0.0)
    over = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=403)
        await response.prepare(request)
        await response.write(b"{")
        await over.wait()
        return response

    async with answering(answer) as endpoint, connected(endpoint, AUTH) as registry:
        with pytest.raises(RegistryError, match="no answer in time"):
            await registry.put_manifest("team/app", "1", b"{}", "application/json")
        over.set()
