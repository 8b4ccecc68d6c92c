"""A client of registries: the part of the distribution specification (v1.1) that a push needs, with its ways to log in.

Used by ``sampan image push`` and tests; what pods need is pulled by the runtime. One event loop. Answers are bounded,
redirections are not followed, and credentials go to the registry and to the token server that it names, nobody else.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
import orjson

from sampan.api.faults import cause
from sampan.node.images.hosts import Endpoint
from sampan.node.runtime import RegistryAuth
from sampan.records import dataclass

_ANSWER_BYTES = 1 << 20
#: for the body of an answer, once its head is there
_ANSWER_SECONDS = 60.0
_SHOWN_CHARACTERS = 300
#: of a blob: a registry that keeps its blobs elsewhere has looked whether it is there before it says where
_ELSEWHERE = (302, 307)
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=300)
_CHALLENGE = re.compile(r'([A-Za-z]+)\s+((?:[A-Za-z_]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]+)(?:\s*,\s*|\s*$))*)')
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')

Body = Callable[[], AsyncIterator[bytes]]


class RegistryError(Exception):
    """What the registry said, or that it cannot be spoken to. Never holds credentials.

    ``denied``: other credentials may help.
    """

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message)
        self.denied = denied


@dataclass(frozen=True, slots=True)
class Challenge:
    """A way to log in that a registry names (RFC 9110, 11.6.1); ``scheme`` in small letters."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    found = []
    for scheme, text in _CHALLENGE.findall(header[:4096]):
        parameters = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in _PARAMETER.findall(text)
        }
        found.append(Challenge(scheme.lower(), parameters))
    return found


@asynccontextmanager
async def connected(endpoint: Endpoint, auth: RegistryAuth | None = None) -> AsyncIterator[Registry]:
    """Raises RegistryError for certificates that cannot be read."""
    try:
        secure = await asyncio.to_thread(_tls, endpoint) if endpoint.url.startswith("https://") else True
    except OSError as error:
        raise RegistryError(f"certificates of {endpoint.url}: {cause(error)}") from error
    connector = aiohttp.TCPConnector(ssl=secure)
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, auto_decompress=False) as session:
        yield Registry(session, endpoint, auth)


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for file in endpoint.ca:
        context.load_verify_locations(file)
    for certificate, key in endpoint.client:
        context.load_cert_chain(certificate, key or None)
    if endpoint.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Registry:
    """One registry, as one user. Every method raises RegistryError."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint, auth: RegistryAuth | None) -> None:
        self._session = session
        self._endpoint = endpoint
        self._auth = auth
        self._authorization: dict[str, str] = {}

    async def has_blob(self, repository: str, digest: str) -> bool:
        url = f"{self._endpoint.api}/{repository}/blobs/{digest}"
        status, _, _ = await self._ask("HEAD", url, repository, expect=(200, *_ELSEWHERE, 404))
        return status != 404

    async def put_blob(self, repository: str, digest: str, size_bytes: int, body: Body) -> None:
        """``body`` may be asked for again, when a token ran out meanwhile."""
        url = f"{self._endpoint.api}/{repository}/blobs/uploads/"
        _, headers, _ = await self._ask("POST", url, repository, expect=(202,), headers={"Content-Length": "0"})
        place = urljoin(url, headers.get("Location", ""))
        separator = "&" if urlsplit(place).query else "?"
        await self._ask(
            "PUT", f"{place}{separator}{urlencode({'digest': digest})}", repository, expect=(201, 204), body=body,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)},
        )  # fmt: skip

    async def put_manifest(self, repository: str, reference: str, content: bytes, media_type: str) -> None:
        """``reference``: a tag or a digest."""

        async def body() -> AsyncIterator[bytes]:
            yield content

        url = f"{self._endpoint.api}/{repository}/manifests/{reference}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
        await self._ask("PUT", url, repository, expect=(201, 202), body=body, headers=headers)

    async def _ask(
        self, method: str, url: str, repository: str, *, expect: tuple[int, ...], body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:  # fmt: skip
        own = _same_host(url, self._endpoint.url)
        for attempt in range(2):
            mine = self._authorization.get(repository, "") if own else ""
            given = {**(headers or {}), **({"Authorization": mine} if mine else {})}
            status, answered, content = await self._send(method, url, given, body)
            if status == 401 and attempt == 0 and own:  # whoever else takes the blobs names no token server
                self._authorization[repository] = await self._log_in(answered, repository, content)
                continue
            if status not in expect:
                words = _words(status, content)
                raise RegistryError(f"{method} {_shown(url)}: {words}", denied=status in (401, 403))
            return status, answered, content
        raise AssertionError("both attempts return or raise")

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        data = body() if body is not None else None
        try:
            async with self._session.request(method, url, headers=headers, data=data, allow_redirects=False) as answer:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    content = await _beginning(answer.content)
                return answer.status, answer.headers, content
        except TimeoutError:
            raise RegistryError(f"{method} {_shown(url)}: no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            told = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
            raise RegistryError(f"{method} {_shown(url)}: {cause(told) or 'the connection broke'}") from error

    async def _log_in(self, headers: Mapping[str, str], repository: str, content: bytes) -> str:
        """The Authorization header for a repository, as the registry asks for it."""
        auth = self._auth
        for challenge in parse_challenges(headers.get("WWW-Authenticate", "")):
            if challenge.scheme == "bearer":
                return f"Bearer {await self._token(challenge, repository)}"
            if challenge.scheme == "basic" and auth is not None and auth.username:
                return _basic(auth)
        raise RegistryError(_words(401, content), denied=True)

    async def _token(self, challenge: Challenge, repository: str) -> str:
        """A token of the server that the registry names (distribution's token specification; with an identity token
        its OAuth2 form)."""
        realm = challenge.parameters.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise RegistryError("the registry names no token server", denied=True)
        auth, headers, data = self._auth, {}, None
        if auth is not None and self._endpoint.url.startswith("https://") and not realm.startswith("https://"):
            raise RegistryError("the registry asks to send the credentials to a token server without TLS", denied=True)
        asked = {"scope": f"repository:{repository}:pull,push"}
        if service := challenge.parameters.get("service"):
            asked["service"] = service
        if auth is not None and auth.identity_token:
            asked |= {"grant_type": "refresh_token", "refresh_token": auth.identity_token, "client_id": "sampan"}
            data, method, url = urlencode(asked).encode(), "POST", realm
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            method, url = "GET", f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(asked)}"
            if auth is not None and auth.username:
                headers["Authorization"] = _basic(auth)

        async def body() -> AsyncIterator[bytes]:
            yield data or b""

        status, _, content = await self._send(method, url, headers, body if data else None)
        if status != 200:
            raise RegistryError(f"token server {_shown(realm)}: {_words(status, content)}", denied=status in (401, 403))
        try:
            answer = orjson.loads(content)
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(f"token server {_shown(realm)} gave no token", denied=True)
        return token


async def _beginning(stream: aiohttp.StreamReader) -> bytes:
    """All of it up to a bound: one read gives what has come so far, which may be half an answer."""
    found = bytearray()
    while len(found) < _ANSWER_BYTES and (piece := await stream.read(_ANSWER_BYTES - len(found))):
        found += piece
    return bytes(found)


def _basic(auth: RegistryAuth) -> str:
    return "Basic " + base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()


def _same_host(url: str, other: str) -> bool:
    one, two = urlsplit(url), urlsplit(other)
    return (one.scheme, one.netloc) == (two.scheme, two.netloc)


def _shown(url: str) -> str:
    """Without the query, which may hold a signature."""
    return url.partition("?")[0]


def _words(status: int, content: bytes) -> str:
    """What a registry says is wrong (distribution specification, error codes), or the status alone."""
    try:
        errors: Any = orjson.loads(content)["errors"]
        told = "; ".join(f"{each['code']}: {each['message']}" for each in errors)
    except (ValueError, KeyError, TypeError):
        told = ""
    told = "".join(sign if sign.isprintable() else " " for sign in told[:_SHOWN_CHARACTERS])  # for a terminal
    return f"{status} {told}" if told else f"answered with status {status}"
