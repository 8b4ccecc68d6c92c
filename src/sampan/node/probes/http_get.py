"""httpGet, of probes and of lifecycle hooks: what Go's client would send for them, and how its answer counts.

The request is the pod's to the letter: its headers in its order, repeated ones too, and nothing of our own that it did
not ask for but what identifies us. Certificates are not verified, proxies and cookies not used: a probe asks for
health, not identity.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.node.probes.names import Resolver
from sampan.node.probes.outcome import OUTPUT_LIMIT_BYTES, Outcome, Purpose, Target, resolve_port, url_host
from sampan.records import dataclass

_REDIRECTS = 10
_VERSION = "1.37"
_HEAD_LIMIT_BYTES = 64 << 10
#: characters that stay as they are in a path and in a query; "%" too, where it begins an escape
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + '?[]{}|\\^`"<>'
_OUR_OWN = ("user-agent", "accept", "host")
_NOT_SENT = ("content-length", "transfer-encoding", "trailer", *_OUR_OWN)
_NO_TLS = "tls: first record does not look like a TLS handshake"
_UNASKED = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


@dataclass(frozen=True, slots=True)
class Request:
    """``host`` is the Host header where the pod names one. ``headers`` are complete but for it."""

    url: str
    host: str
    headers: tuple[tuple[str, str], ...]


class _Refused(Exception):
    """A request or an answer with which nothing can be done; the message is Go's."""


def plan_request(action: Obj, target: Target, purpose: Purpose) -> Request:
    """Pure. Raises PortError."""
    scheme = (action.get("scheme") or "HTTP").lower()
    port = resolve_port(target.container, action["port"])
    host = url_host(action.get("host") or target.pod_ip)
    given: dict[str, list[str]] = {}
    for header in action.get("httpHeaders") or ():
        given.setdefault(_canonical(header["name"]), []).append(header.get("value") or "")
    agent = given.get("User-Agent", [f"kube-{purpose}/{_VERSION}"])[0]
    accept = given.get("Accept", ["*/*"])
    headers = [("User-Agent", agent)] if agent else []
    rest = {name: values for name, values in given.items() if name.lower() not in _NOT_SENT}
    if accept[0]:
        rest["Accept"] = accept
    headers += [(name, value) for name in sorted(rest) for value in rest[name]]
    return Request(
        f"{scheme}://{host}:{port}{_path(action.get('path') or '')}",
        given.get("Host", [""])[0],
        (*headers, ("Connection", "close")),
    )


def _canonical(name: str) -> str:
    """``x-a`` is ``X-A``: as Go writes names of headers."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def _path(text: str) -> str:
    """Path and query as they go on the wire; what a pod gives in front of a path (a host) is not its to choose."""
    try:
        parts = urlsplit(text)
        path, query = parts.path, f"?{quote(parts.query, _QUERY_SAFE)}" if parts.query else ""
    except ValueError:
        path, query = text, ""
    path = quote(path, _PATH_SAFE)
    return (path if path.startswith("/") or not path else f"/{path}") + query


async def get(action: Obj, target: Target, purpose: Purpose, timeout_seconds: float) -> Outcome:
    request = plan_request(action, target, purpose)
    # One connection a request: nothing stays open in a pod between two probes.
    context = ssl._create_unverified_context()
    connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=1, resolver=Resolver(timeout_seconds))
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_UNASKED,
        max_line_size=_HEAD_LIMIT_BYTES,
        max_field_size=_HEAD_LIMIT_BYTES,
    )
    async with session:
        outcome, fault = await _try(session, request, purpose)
        if purpose == "lifecycle" and isinstance(fault, aiohttp.ClientSSLError) and cause(fault.os_error) == _NO_TLS:
            # Most likely the server speaks plain HTTP: a hook is content with that, without its secrets.
            headers = tuple(each for each in request.headers if each[0] != "Authorization")
            plain = replace(request, url="http:" + request.url.partition(":")[2], headers=headers)
            again, _ = await _try(session, plain, purpose)
            return again if again.result == "success" else outcome
        return outcome


async def _try(
    session: aiohttp.ClientSession, request: Request, purpose: Purpose
) -> tuple[Outcome, BaseException | None]:
    began = False
    first = request
    try:
        _verify(request)
        for _ in range(_REDIRECTS):
            began = False
            async with session.get(
                URL(request.url or "/", encoded=True), headers=_fields(request), allow_redirects=False
            ) as response:
                began = True
                there = _redirected(request, response)
                if there is None or urlsplit(there.url).hostname != urlsplit(first.url).hostname:
                    return await _judge(response, purpose), None
                request = there
        raise _Refused(f"stopped after {_REDIRECTS} redirects")
    except TimeoutError as error:
        when = "or context cancellation while reading body" if began else "exceeded while awaiting headers"
        text, fault = f"context deadline exceeded (Client.Timeout {when})", error
        return Outcome("failure", text if began else f'Get "{request.url}": {text}'), fault
    except _Refused as error:
        return Outcome("failure", f'Get "{request.url}": {error}'), error
    except (aiohttp.ClientError, OSError) as error:
        text = _exchange_error(request.url, error)
        return Outcome("failure", text if began else f'Get "{request.url}": {text}'), error


def _fields(request: Request) -> CIMultiDict[str]:
    host = [("Host", request.host)] if request.host else []
    return CIMultiDict([*host, *request.headers])


def _verify(request: Request) -> None:
    """Raises _Refused: the API lets through values that no request can carry."""
    for name, value in (("Host", request.host), *request.headers):
        if any((ord(sign) < 32 and sign != "\t") or ord(sign) == 127 for sign in value):
            raise _Refused(f'net/http: invalid header field value for "{name}"')


def _redirected(request: Request, response: aiohttp.ClientResponse) -> Request | None:
    """Where the answer sends us; None when it stands for itself. Raises _Refused."""
    there = response.headers.get("Location", "")
    if response.status not in (301, 302, 303, 307, 308) or not there:
        return None
    try:
        url, is_absolute = urljoin(request.url, there), bool(urlsplit(there).scheme)
        scheme, path = urlsplit(url).scheme, urlsplit(url).path
    except ValueError:
        raise _Refused(f'failed to parse Location header "{there}"') from None
    if scheme not in ("http", "https"):
        raise _Refused(f'unsupported protocol scheme "{scheme}"')
    host, _, rest = url.partition("://")[2].partition("/")
    url = f"{scheme}://{host}{_path('/' + rest) if path or rest else ''}"
    return replace(request, url=url, host="" if is_absolute else request.host)


async def _judge(response: aiohttp.ClientResponse, purpose: Purpose) -> Outcome:
    body = await _read(response)
    if purpose == "lifecycle":
        return Outcome("success")
    if not 200 <= response.status < 400:
        return Outcome("failure", f"HTTP probe failed with statuscode: {response.status}")
    if response.status >= 300:
        return Outcome("success", f"Probe terminated redirects, Response body: {body}", warning=True)
    return Outcome("success", body)


async def _read(response: aiohttp.ClientResponse) -> str:
    """At most so much; the rest is the server's to keep."""
    body = b""
    while len(body) < OUTPUT_LIMIT_BYTES:
        piece = await response.content.read(OUTPUT_LIMIT_BYTES - len(body))
        if not piece:
            break
        body += piece
    return body.decode(errors="replace")


def _exchange_error(url: str, error: Exception) -> str:
    """Of a whole request, once it has begun or before."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return cause(error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return cause(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        parts = urlsplit(url)
        return dial_error(parts.hostname or "", parts.port or 0, error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError | EOFError):
        return "EOF"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return "malformed HTTP response"
    return cause(error)


def dial_error(address: str, port: int, error: OSError) -> str:
    words = cause(error)
    if words == "no such host":
        return f"dial tcp: lookup {address}: {words}"
    return f"dial tcp {url_host(address)}:{port}: connect: {words}"
