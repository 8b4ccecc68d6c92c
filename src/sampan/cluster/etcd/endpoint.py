"""etcd's interface over the store of a cluster that runs: ``sampan up --etcd-endpoint ADDRESS:PORT``.

A component of the server process, where the SQLite store is open: what comes in by it is a commit like any other, and
the API server's caches and watches hear of it. It is off unless asked for, imported then, and bounded: calls at once,
what one answer holds, one snapshot at a time. One that fails is started again alone. Whoever comes has to show a
certificate of the CA under ``pki/etcd``, which signs for nothing else of such a cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.store.endpoint.serving import Credentials, Endpoint
from sampan.store.protocol import Store
from sampan.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

#: between two looks whether certificates were made anew
FOLLOW_SECONDS: Final = 30.0
#: of a pair one file may be written, and the other not yet
_SETTLE_SECONDS: Final = 1.0
#: one turn of the loop copies an answer: at this size it takes some ten milliseconds
_LARGEST_ANSWER: Final = 64 * 1024 * 1024
_MOST_CALLS: Final = 200


async def serve(
    instance: Instance,
    store: Store,
    *,
    ready: Callable[[int], None] = lambda port: None,
    follow_seconds: float = FOLLOW_SECONDS,
) -> None:
    """Until cancelled. Leases live as long. ``ready`` is told the port, anew with each certificate.

    Raises ClusterError: it cannot listen; OSError: certificates cannot be read."""
    if not isinstance(store, SqliteStore):
        raise ClusterError("--etcd-endpoint serves a SQLite store alone", fix='`sampan up --etcd-endpoint ""`')
    address = instance.node.etcd_endpoint
    endpoint = Endpoint(
        store,
        identity=store.identity,
        directory=instance.store,
        largest_answer=_LARGEST_ANSWER,
        most_calls=_MOST_CALLS,
    )
    try:
        while True:
            before = await asyncio.to_thread(_stamp, instance)
            credentials = await asyncio.to_thread(_credentials, instance)
            try:
                async with endpoint.listening(address, credentials) as port:
                    log.info("the store is served as etcd would at https://%s", address)
                    ready(port)
                    while await asyncio.to_thread(_stamp, instance) == before:  # noqa: ASYNC110  # files tell nobody
                        await asyncio.sleep(follow_seconds)
            except ValueError as error:
                raise ClusterError(
                    f"etcd endpoint: {error}", fix=f"`{instance.command('up')} --etcd-endpoint 127.0.0.1:PORT`"
                ) from error
            await asyncio.sleep(min(follow_seconds, _SETTLE_SECONDS))
            log.info("the etcd endpoint shows its new certificate")
    finally:
        endpoint.close()


def files(instance: Instance) -> tuple[Path, Path, Path]:
    """CA, certificate and key of the endpoint."""
    folder = instance.pki / "etcd"
    return folder / "ca.crt", folder / "server.crt", folder / "server.key"


def _credentials(instance: Instance) -> Credentials:
    return Credentials(*(path.read_bytes() for path in files(instance)))


def _stamp(instance: Instance) -> list[int]:
    return [path.stat().st_mtime_ns for path in files(instance)]
