"""Certificates of a cluster that runs for long: made anew in time, and taken up by who uses them while it runs.

A component of the server process, where the CA is. This process reads its own files again (``reload``); the node's
follows its files by itself (``nodecertificates``), DNS and etcd read them with each connection, and programs with a
kubeconfig follow that (``apart``). Nothing is started again and no connection is cut: who is connected goes on with
what the connection began with.

A mark beside the certificates says that one is under way. It goes when everything was written, so that what a crash or
a full disk cut short is done again at the next look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from sampan.api.clock import Clock
from sampan.api.faults import fault
from sampan.cluster import kubeconfigs, kubernetesdir, pki
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

#: Between two looks; certificates with short lives are looked at more often: so many times while a renewal is due.
LONGEST_CHECK_SECONDS, SHORTEST_CHECK_SECONDS, _LOOKS = 12 * 3600.0, 1.0, 8
#: Between two looks whether somebody else wrote the files (``sampan certs renew``).
FOLLOW_SECONDS = 5.0

log = logging.getLogger(__name__)

#: the name, size and time of each file
_Stamp = tuple[tuple[str, int, int], ...]


def check_seconds(instance: Instance) -> float:
    """Pure."""
    due = instance.cluster.certificate_seconds * pki.RENEW_PART
    return min(LONGEST_CHECK_SECONDS, max(SHORTEST_CHECK_SECONDS, due / _LOOKS))


async def keep_current(instance: Instance, clock: Clock, reload: Callable[[], None]) -> None:
    """Until cancelled. ``reload``: this process takes the files as they are; raises OSError, ValueError."""
    loop = asyncio.get_running_loop()
    every = check_seconds(instance)
    pause, due, known = min(FOLLOW_SECONDS, every), loop.time() + every, await asyncio.to_thread(_stamp, instance)
    while True:
        await asyncio.sleep(pause)
        if loop.time() >= due:
            due = loop.time() + every
            try:
                if await asyncio.to_thread(renew, instance, clock):
                    log.info("certificates were about to run out and are made anew")
            except (ClusterError, OSError) as error:
                said = error.message if isinstance(error, ClusterError) else fault(error)
                log.warning("certificates are not renewed: %s", said)
        now = await asyncio.to_thread(_stamp, instance)
        if now == known:
            continue
        try:
            reload()
        except (OSError, ValueError) as error:  # one of a pair is written, the other is not yet
            log.warning("certificates are not taken up: %s", fault(error))
        else:
            known = now


def renew(instance: Instance, clock: Clock) -> bool:
    """Makes anew what runs out, and writes it wherever it was copied to. False: all is current. Raises ClusterError,
    OSError."""
    mark = _mark(instance)
    half_done = mark.exists()
    mark.touch(mode=0o600)
    before = _leaves(instance)
    pki.ensure(instance, clock)
    changed = _leaves(instance) != before or half_done
    if changed:
        spread(instance)
    mark.unlink()
    return changed


def spread(instance: Instance) -> None:
    """Certificates into the kubeconfigs that carry them. Raises OSError."""
    kubeconfigs.write_all(instance)
    for problem in kubeconfigs.refresh(instance):
        log.warning("%s", problem)


def _mark(instance: Instance) -> Path:
    return instance.pki / "renewing"


def _leaves(instance: Instance) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in instance.pki.rglob("*.crt") if path.exists()}


def _stamp(instance: Instance) -> _Stamp:
    """Of what this process serves and shows."""
    found = []
    for name in (*kubernetesdir.FILES, "simulated.crt", "simulated.key"):
        try:
            stat = (instance.pki / name).stat()
        except OSError:
            continue
        found.append((name, stat.st_ino, stat.st_mtime_ns))
    return tuple(found)
