"""Connections into a pod: sockets that belong to its network namespace.

A socket stays in the namespace in which it was made, wherever it is used; so only a thread of its own enters the
namespace, makes the socket and ends. The connection itself is made on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

import orjson

from sampan.api.faults import cause
from sampan.node import runtime

_CONNECT_SECONDS = 30.0
_CLONE_NEWNET = 0x40000000
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1", "tcp4"), (socket.AF_INET6, "::1", "tcp6"))


def path_of(info: Mapping[str, str]) -> str:
    """The namespace file of a sandbox, from the verbose answer of CRI; "" for a pod on the machine's own network.

    Raises RuntimeCallError when the answer does not tell: the machine's network is nobody's by default.
    """
    try:
        found: Any = orjson.loads(info.get("info", ""))
        namespaces = {each["type"]: each.get("path", "") for each in found["runtimeSpec"]["linux"]["namespaces"]}
        pid = found.get("pid")
    except (ValueError, TypeError, KeyError, AttributeError):
        namespaces, pid = {}, None
    if namespaces and "network" not in namespaces:
        return ""
    path = namespaces.get("network") or (f"/proc/{pid}/ns/net" if namespaces and pid else "")
    if not path:
        raise runtime.RuntimeCallError("failed to execute portforward: the sandbox's network namespace is not known")
    return str(path)


async def connect_local(sandbox_id: str, namespace: str, port: int) -> socket.socket:
    """IPv4 first, then IPv6, as containerd does. Raises RuntimeCallError in containerd's words."""
    faults = []
    for family, address, name in _LOOPBACKS:
        try:
            return await _connect(namespace, family, address, port)
        except (OSError, TimeoutError) as error:
            shown = f"[{address}]" if ":" in address else address
            faults.append(f"dial {name} {shown}:{port}: {_words(error)}")
    raise runtime.RuntimeCallError(
        f'failed to execute portforward in network namespace "{namespace}": failed to connect to localhost:{port} '
        f'inside namespace "{sandbox_id}", IPv4: {faults[0]} IPv6 {faults[1]} '
    )


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"connect: {cause(error)}"
    return "i/o timeout"


async def _connect(namespace: str, family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    made = await _make_socket(namespace, family)
    try:
        made.setblocking(False)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await loop.sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


async def _make_socket(namespace: str, family: socket.AddressFamily) -> socket.socket:
    """Raises OSError."""
    if not namespace:
        return socket.socket(family, socket.SOCK_STREAM)
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[socket.socket] = loop.create_future()

    def settle(value: socket.socket | OSError) -> None:
        if outcome.done():  # whoever asked has gone
            if isinstance(value, socket.socket):
                value.close()
        elif isinstance(value, socket.socket):
            outcome.set_result(value)
        else:
            outcome.set_exception(value)

    def enter_and_make() -> None:
        value: socket.socket | OSError
        try:
            _enter(namespace)
            value = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            value = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, value)

    threading.Thread(target=enter_and_make, name="pod socket", daemon=True).start()
    return await outcome


def _enter(namespace: str) -> None:
    """Moves the calling thread, which must end soon: it is never moved back. Raises OSError."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
