"""Small blocking requests to the instance's own API server, for starting up and for status.

Standard library only: ``sampan up`` must not spend its time importing an HTTP framework. Everything else uses
``sampan.client``.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from sampan.api.clock import parse_time
from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.cluster.instance import Instance

#: How long a program of this machine may take to accept a connection.
_CONNECT_SECONDS = 1.0
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


class NotAnswering(Exception):
    """The server cannot be reached, or says that it is not ready."""


def is_listening(path: Path) -> bool:
    """Whether somebody takes connections at this socket: its file may be of a program that was killed."""
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(_CONNECT_SECONDS)
        try:
            tried.connect(str(path))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def connection(instance: Instance) -> Iterator[http.client.HTTPSConnection]:
    """A connection as cluster admin, or as the node where there is no control plane. Raises NotAnswering when there is
    nobody."""
    stem = "admin" if instance.node.runs_control_plane else "kubelet-client"
    try:
        context = ssl.create_default_context(cafile=str(instance.pki / "ca.crt"))
        context.load_cert_chain(instance.pki / f"{stem}.crt", instance.pki / f"{stem}.key")
    except (OSError, ssl.SSLError) as error:
        raise NotAnswering(f"credentials in {instance.pki}: {fault(error)}") from error
    opened = http.client.HTTPSConnection(instance.api_host, instance.cluster.api_port, timeout=5, context=context)
    try:
        yield opened
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswering(fault(error)) from error
    finally:
        opened.close()


def get(instance: Instance, path: str) -> Any:
    """The decoded answer (str for text) of a GET. Raises NotAnswering for anything but 200."""
    with connection(instance) as opened:
        opened.request("GET", path, headers={"Accept": "application/json"})
        answer = opened.getresponse()
        body = answer.read()
    if answer.status != 200:
        raise NotAnswering(f"HTTP {answer.status}: {body[:200].decode(errors='replace')}")
    return orjson.loads(body) if answer.headers.get_content_type() == "application/json" else body.decode()


def is_ready(instance: Instance) -> bool:
    """Asks by TLS only once somebody listens: a starting server has better things to do than handshakes."""
    try:
        socket.create_connection((instance.api_host, instance.cluster.api_port), timeout=1).close()
        get(instance, "/readyz")
    except (NotAnswering, OSError):
        return False
    return True


def node_condition(instance: Instance, since: datetime | None = None) -> tuple[bool, str]:
    """Whether this machine's node is Ready, and the Ready condition's message and what the node is short of (or why it
    cannot be read).

    ``since``: what was reported earlier does not count, it is of another process.
    """
    try:
        node = get(instance, f"/api/v1/nodes/{instance.node.name}")
    except NotAnswering as error:
        return False, str(error)
    conditions = node.get("status", {}).get("conditions", ())
    pressures = [each["type"] for each in conditions if each["type"] in _PRESSURES and each["status"] == "True"]
    for condition in conditions:
        if condition["type"] == "Ready" and (since is None or _is_since(condition, since)):
            short = f", but it has {' and '.join(pressures)} (docs/node.md)" if pressures else ""
            return condition["status"] == "True", condition.get("message", "") + short
    return False, "the node has not reported yet"


def simulated_nodes_ready(instance: Instance, since: datetime | None = None) -> int:
    """How many simulated nodes are Ready. ``since``: what was reported earlier does not count."""
    try:
        nodes = get(instance, "/api/v1/nodes?labelSelector=sampan.io/simulated&resourceVersion=0")["items"]
    except NotAnswering:
        return 0
    return sum(_is_ready(node, since) for node in nodes)


def _is_ready(node: Obj, since: datetime | None) -> bool:
    return any(
        item["type"] == "Ready" and item["status"] == "True" and (since is None or _is_since(item, since))
        for item in (node.get("status") or {}).get("conditions") or ()
    )


def _is_since(condition: Obj, since: datetime) -> bool:
    """Times in the API are whole seconds."""
    try:
        return parse_time(str(condition.get("lastHeartbeatTime"))) >= since.replace(microsecond=0)
    except ValueError:
        return False
