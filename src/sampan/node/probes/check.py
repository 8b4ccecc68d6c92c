"""One check of a container: exec, httpGet, tcpSocket or grpc. Also runs the same actions for lifecycle hooks.

Returns an outcome, never raises for a failing target; the texts are the kubelet's. Durations on the loop's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin, urlsplit

import aiohttp

from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.pods.render import url_host

Result = Literal["success", "failure", "unknown"]
_BODY_LIMIT = 10 << 10
_REDIRECTS = 10
_USER_AGENT = "kube-probe/1.37"


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    output: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    container_id: str
    container: Obj
    pod_ip: str


class PortError(ValueError):
    """A named port that the container does not have."""


def resolve_port(container: Obj, port: int | str) -> int:
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    if port.isdigit():
        return int(port)
    raise PortError(f"couldn't find port: {port!r} in container {container['name']}")


async def check(action: Obj, target: Target, source: runtime.Runtime, timeout_seconds: float) -> Outcome:
    """``action`` is a Probe or a LifecycleHandler."""
    try:
        if "exec" in action:
            return await _exec(action["exec"], target, source, timeout_seconds)
        if "httpGet" in action:
            return await _http(action["httpGet"], target, timeout_seconds)
        if "tcpSocket" in action:
            return await _tcp(action["tcpSocket"], target, timeout_seconds)
        if "grpc" in action:
            return await _grpc(action["grpc"], target, timeout_seconds)
        if "sleep" in action:
            await asyncio.sleep(float(action["sleep"]["seconds"]))
            return Outcome("success")
    except PortError as error:
        return Outcome("unknown", str(error))
    return Outcome("unknown", "missing probe handler")


async def _exec(action: Obj, target: Target, source: runtime.Runtime, timeout_seconds: float) -> Outcome:
    command = action.get("command") or []
    try:
        result = await source.exec_sync(target.container_id, command, int(timeout_seconds))
    except runtime.RuntimeDeadline:
        return Outcome("failure", f'command timed out: "{" ".join(command)}" timed out after {timeout_seconds:g}s')
    except runtime.RuntimeCallError as error:
        return Outcome("unknown", str(error))
    output = (result.stdout + result.stderr)[:_BODY_LIMIT].decode(errors="replace")
    return Outcome("success" if result.exit_code == 0 else "failure", output)


def _dial_error(address: str, port: int, error: OSError) -> str:
    words = cause(error)
    if words == "no such host":
        return f"dial tcp: lookup {address}: {words}"
    return f"dial tcp {url_host(address)}:{port}: connect: {words}"


def _exchange_error(address: str, port: int, error: Exception) -> str:
    """Of a whole request, once it has begun or before."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        return _dial_error(address, port, error.os_error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return cause(error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return cause(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError | EOFError):
        return "EOF"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return "malformed HTTP response"
    return cause(error)


async def _tcp(action: Obj, target: Target, timeout_seconds: float) -> Outcome:
    host = action.get("host") or target.pod_ip
    port = resolve_port(target.container, action["port"])
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome("failure", f"dial tcp {url_host(host)}:{port}: i/o timeout")
    except OSError as error:
        return Outcome("failure", _dial_error(host, port, error))
    writer.close()
    return Outcome("success")


def _http_headers(action: Obj) -> dict[str, str]:
    headers = {"User-Agent": _USER_AGENT, "Accept": "*/*", "Connection": "close"}
    for header in action.get("httpHeaders") or ():
        for known in [name for name in headers if name.lower() == header["name"].lower()]:
            del headers[known]
        headers[header["name"]] = header.get("value", "")
    return headers


class _TooManyRedirects(Exception):
    """A pod that sends a probe from one place to the next."""


@contextlib.asynccontextmanager
async def _follow(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Redirects are followed on the same host only: a probe asks this pod, and a hint elsewhere counts as success."""
    for _ in range(_REDIRECTS):
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            there = response.headers.get("Location", "")
            if response.status not in (301, 302, 303, 307, 308) or not there:
                yield response
                return
            target = urljoin(url, there)
            if urlsplit(target).hostname != urlsplit(url).hostname:
                yield response
                return
            url = target
    raise _TooManyRedirects(f"stopped after {_REDIRECTS} redirects")


async def _http(action: Obj, target: Target, timeout_seconds: float) -> Outcome:
    scheme = (action.get("scheme") or "HTTP").lower()
    host = action.get("host") or target.pod_ip
    port = resolve_port(target.container, action["port"])
    path = action.get("path") or "/"
    url = f"{scheme}://{url_host(host)}:{port}/{path.lstrip('/')}"
    # Probes do not verify certificates: they ask for health, not identity.
    context = ssl._create_unverified_context() if scheme == "https" else False
    connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=1)
    limit = aiohttp.ClientTimeout(total=timeout_seconds)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=limit, auto_decompress=False) as session,
            _follow(session, url, _http_headers(action)) as response,
        ):
            body = (await response.content.read(_BODY_LIMIT)).decode(errors="replace")
            if 200 <= response.status < 400:
                return Outcome("success", body)
            return Outcome("failure", f"HTTP probe failed with statuscode: {response.status}")
    except TimeoutError:
        text = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome("failure", f'Get "{url}": {text}')
    except _TooManyRedirects as error:
        return Outcome("failure", f'Get "{url}": {error}')
    except (aiohttp.ClientError, OSError) as error:
        return Outcome("failure", f'Get "{url}": {_exchange_error(host, port, error)}')


async def _grpc(action: Obj, target: Target, timeout_seconds: float) -> Outcome:
    from sampan.node.cri import health  # gRPC is heavy: only when a pod asks for it

    return await health.check(target.pod_ip, int(action["port"]), action.get("service") or "", timeout_seconds)
