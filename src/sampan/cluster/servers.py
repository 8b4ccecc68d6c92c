"""The API servers that this machine's node asks, and the file that has them when none has been asked yet.

``servers.json`` in the instance's state: ``{"servers": [URL, ...], "follow": true}``. Whoever joins the machine to a
cluster writes the first one; from then on ``follow`` keeps it as the endpoints of the ``kubernetes`` Service are, so
that a node starts though the server by which it joined is gone. ``"follow": false``: what is in it is a balancer's
address, which knows the servers itself.

A machine with a control plane of its own asks that first, and others while it is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import NoReturn

import orjson

from sampan.api.clock import Random
from sampan.api.faults import cause
from sampan.api.reading import part, parts, text
from sampan.api.resources import ENDPOINT_SLICES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.client.servers import MOST, Servers
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.records import dataclass

log = logging.getLogger(__name__)

_OF_KUBERNETES = "kubernetes.io/service-name=kubernetes"
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Known:
    """What the file says. ``follow``: the list goes with the cluster's."""

    urls: tuple[str, ...] = ()
    follow: bool = True


def read(instance: Instance) -> Known:
    """Without a file, and of one that is damaged, nothing is known: the instance's own address is asked then."""
    try:
        with instance.servers_file.open("rb") as file:
            written = file.read(_MOST_BYTES)
        told = orjson.loads(written)
        urls = tuple(url for url in told["servers"] if isinstance(url, str) and url.startswith(("https://", "http://")))
        return Known(urls[:MOST], told.get("follow") is not False)
    except FileNotFoundError:
        return Known()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s is not used: %s", instance.servers_file, cause(error))
        return Known()


def write(instance: Instance, urls: Sequence[str], *, follow: bool = True) -> None:
    """Raises ClusterError."""
    path = instance.servers_file
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_bytes(orjson.dumps({"servers": [*urls], "follow": follow}, option=orjson.OPT_INDENT_2))
        temporary.replace(path)
    except OSError as error:
        raise ClusterError(
            f"cannot write {path}: {cause(error)}", fix=f"make room on the file system of {instance.state}"
        ) from error


def of(instance: Instance) -> Servers:
    """Those that the programs of this machine ask."""
    known = read(instance)
    if instance.node.runs_control_plane:
        return Servers(known.urls, near=instance.own_api_url, place=instance.node.name)
    return Servers(known.urls or [instance.api_url], place=instance.node.name)


async def follow(client: Client, instance: Instance, servers: Servers, random: Random) -> NoReturn:
    """Keeps ``servers`` and the file as the cluster's servers are, until cancelled. ``client`` may watch
    EndpointSlices."""
    known = read(instance)
    own = instance.node.addresses if instance.node.runs_control_plane else ()
    changed = asyncio.Event()
    slices = Informer(client, ENDPOINT_SLICES, label_selector=_OF_KUBERNETES, random=random)
    slices.add_handler(lambda *change: changed.set())
    async with asyncio.TaskGroup() as group:
        group.create_task(slices.run(), name="follow the endpoints of the kubernetes service")
        await slices.synced()
        while True:
            changed.clear()
            found = urls_of(slices.list("default"), without=own)
            if known.follow and found and set(found) != set(known.urls):
                known = Known(found, follow=True)
                await _take(instance, servers, found)
            await changed.wait()


async def _take(instance: Instance, servers: Servers, found: Sequence[str]) -> None:
    if servers.update(found):
        log.info("API servers: %s", ", ".join(servers.urls))
    try:
        await asyncio.to_thread(write, instance, found)
    except ClusterError as error:
        log.warning("the list of API servers is not kept: %s", error)


def urls_of(slices: Iterable[Obj], *, without: Sequence[str] = ()) -> tuple[str, ...]:
    """Where the servers of these EndpointSlices are, each once, as numbers go. Pure."""
    found: dict[str, tuple[int, int, int]] = {}
    for piece in slices:
        port = next((port.get("port") for port in parts(piece, "ports")), None)
        if not isinstance(port, int) or text(part(piece, "metadata"), "name") != "kubernetes":
            continue
        for endpoint in parts(piece, "endpoints"):
            if part(endpoint, "conditions").get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                try:
                    number = ip_address(address)
                except ValueError:
                    continue
                if address not in without:
                    host = f"[{address}]" if number.version == 6 else address
                    found[f"https://{host}:{port}"] = (number.version, int(number), port)
    return tuple(sorted(found, key=found.__getitem__))[:MOST]
