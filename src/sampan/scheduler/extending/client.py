"""Asks one extender over HTTP. The only module here that speaks it.

Whatever goes wrong (no connection, no answer in time, another status than 200, an answer too long or of no sense) is
one ``ExtenderFailed``, which ends the attempt of the pod that was asked about.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import orjson

from sampan.api.faults import cause
from sampan.api.types import Obj
from sampan.scheduler.extending import messages
from sampan.scheduler.extending.messages import BadAnswer, Filtered, Victims
from sampan.scheduler.extending.settings import ExtenderConfig, TlsConfig, is_unchecked
from sampan.scheduler.podinfo import PodInfo

T = TypeVar("T")

#: an answer may repeat all nodes of the cluster
_MAX_BYTES: Final = 64 * 1024 * 1024
#: half a millisecond's worth
_NODES_A_PIECE: Final = 100


class ExtenderFailed(Exception):
    """It gave no usable answer; in words for the pod's owner."""


class Extender:
    """One extender. ``close`` ends its connections."""

    def __init__(self, config: ExtenderConfig) -> None:
        self.config = config
        self._url = config.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    def is_interested(self, pod: PodInfo) -> bool:
        managed = self.config.managed_resources
        return not managed or any(name in managed for name in _asked(pod.spec))

    async def filter(self, pod: Obj, names: Sequence[str], nodes: Iterable[Obj]) -> Filtered:
        """Raises ExtenderFailed."""
        cached = self.config.node_cache_capable
        answer = await self._ask(self.config.filter_verb, messages.arguments(pod, names, None if cached else nodes))
        return self._read(lambda: messages.read_filtered(answer, names, self.config.url))

    async def prioritize(self, pod: Obj, names: Sequence[str], nodes: Iterable[Obj]) -> dict[str, int]:
        """Raises ExtenderFailed."""
        cached = self.config.node_cache_capable
        answer = await self._ask(self.config.prioritize_verb, messages.arguments(pod, names, None if cached else nodes))
        return self._read(lambda: messages.read_priorities(answer))

    async def preempt(self, pod: Obj, victims: Mapping[str, tuple[Sequence[Obj], int]]) -> dict[str, Victims]:
        """Raises ExtenderFailed."""
        body = messages.preemption_arguments(pod, victims, by_uid=self.config.node_cache_capable)
        answer = await self._ask(self.config.preempt_verb, body)
        return self._read(lambda: messages.read_preemption(answer))

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Raises ExtenderFailed."""
        body = messages.binding(pod.namespace, pod.name, pod.uid, node)
        answer = await self._ask(self.config.bind_verb, body)
        if refused := self._read(lambda: messages.read_bound(answer)):
            raise ExtenderFailed(refused)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except BadAnswer as error:
            raise ExtenderFailed(str(error)) from error

    async def _ask(self, verb: str, body: Obj) -> Any:
        url = f"{self._url}/{verb}"
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                session = self._session or await self._open()
                pieces = [piece async for piece in encoded(body)]
                # The length is told, for not everybody who wrote an extender reads requests in chunks.
                headers = {"Content-Type": "application/json", "Content-Length": str(sum(map(len, pieces)))}
                name = self.config.tls.server_name or None if self.config.tls is not None else None
                content_of = session.post(url, data=_sent(pieces), headers=headers, server_hostname=name)
                async with content_of as response:
                    if response.status != 200:
                        raise ExtenderFailed(f"failed {verb} with extender at URL {url}, code {response.status}")
                    content = await _read_within(response)
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise ExtenderFailed(f"extender at URL {url}: {cause(error)}") from error
        except TimeoutError:
            seconds = f"{self.config.timeout_seconds:g}"
            raise ExtenderFailed(f"extender at URL {url}: no answer within {seconds}s") from None
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ExtenderFailed(f"extender at URL {url}: the answer is no JSON") from error

    async def _open(self) -> aiohttp.ClientSession:
        context: ssl.SSLContext | bool = True
        if self.config.https or self.config.tls is not None:
            context = await asyncio.to_thread(tls_context, self.config)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), trust_env=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        return self._session


async def encoded(body: Obj) -> AsyncIterator[bytes]:
    """The body as JSON. All nodes of a large cluster are tens of megabytes: others on the event loop get their turn
    after each hundred of them."""
    nodes: Obj = body.get("Nodes") or {}
    items: list[Obj] = nodes.get("items", [])
    if len(items) <= _NODES_A_PIECE:
        yield orjson.dumps(body)
        return
    # What comes before the list, and after it: its own empty list is cut in two.
    before, _, after = orjson.dumps({**body, "Nodes": {**nodes, "items": []}}).rpartition(b'"items":[]')
    yield before + b'"items":['
    for start in range(0, len(items), _NODES_A_PIECE):
        piece = orjson.dumps(items[start : start + _NODES_A_PIECE])
        last = start + _NODES_A_PIECE >= len(items)
        yield piece[1:-1] + (b"]" + after if last else b",")
        await asyncio.sleep(0)


async def _sent(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _read_within(response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(1 << 16):
        size += len(piece)
        if size > _MAX_BYTES:
            raise ExtenderFailed(f"the answer is longer than {_MAX_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _asked(spec: Mapping[str, Any]) -> Iterable[str]:
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            resources = container.get("resources") or {}
            yield from resources.get("requests") or ()
            yield from resources.get("limits") or ()


def tls_context(extender: ExtenderConfig) -> ssl.SSLContext:
    """Blocks. Raises OSError, ssl.SSLError, ValueError."""
    config = extender.tls or TlsConfig()
    ca = config.ca_file or config.ca_data
    # A CA that is named is the only one: what a public one signed for that name is not the extender.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if ca else ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.insecure or is_unchecked(extender):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if config.ca_file:
        context.load_verify_locations(config.ca_file)
    elif config.ca_data:
        context.load_verify_locations(cadata=base64.b64decode(config.ca_data).decode())
    if config.cert_file:
        context.load_cert_chain(config.cert_file, config.key_file or None)
    elif config.cert_data:
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
            certificate.write_bytes(base64.b64decode(config.cert_data))
            key.touch(0o600)
            key.write_bytes(base64.b64decode(config.key_data))
            context.load_cert_chain(certificate, key)
    return context
