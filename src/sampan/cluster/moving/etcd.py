"""Reaching the etcd of an instance for a backup or a move: that of a cluster that runs, somebody else's, or the member
of this machine, started for as long as it takes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sampan.cluster import supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.etcd import member, members
from sampan.cluster.instance import Instance
from sampan.cluster.moving.progress import Progress
from sampan.store.archive.etcdside import EtcdSide
from sampan.store.archive.records import ArchiveError
from sampan.store.etcd.client import Client
from sampan.store.etcd.layout import Layout
from sampan.store.protocol import StoreError

_STRIP = "/registry"
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_END_SECONDS = 20.0


@asynccontextmanager
async def reached(instance: Instance, progress: Progress) -> AsyncIterator[EtcdSide]:
    """Raises ClusterError: it cannot be reached, or was lost."""
    if instance.cluster.manages_etcd and not supervisor.is_running(instance):
        async with _started(instance, progress), _connected(instance) as side:
            yield side
        return
    async with _connected(instance) as side:
        yield side


@asynccontextmanager
async def _connected(instance: Instance) -> AsyncIterator[EtcdSide]:
    settings = replace(members.settings_of(instance), prefix=instance.cluster.etcd_prefix.rstrip("/"), strip=_STRIP)
    client = Client(settings)
    try:
        side = EtcdSide(client, Layout(settings.prefix, settings.strip))
        await side.read_offset()
        yield side
    except ArchiveError:  # which is of what is in it; nothing is the matter with its members
        raise
    except StoreError as error:
        raise ClusterError(
            str(error), fix="look at etcd's members (`sampan logs etcd`); most of them must run"
        ) from error
    finally:
        await client.close()


@asynccontextmanager
async def _started(instance: Instance, progress: Progress) -> AsyncIterator[None]:
    """The member of this machine, as a child of this command: it ends with it."""
    if member.program(instance) is None:
        raise ClusterError("etcd is not installed", fix=f"`apt-get install {member.PACKAGE}`")
    progress.step("Starting the member of etcd")
    instance.logs.mkdir(parents=True, exist_ok=True, mode=0o750)
    with (instance.logs / "etcd.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220  # it starts at once
            member.command(instance), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
    try:
        await _until_well(instance, process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)


async def _until_well(instance: Instance, process: subprocess.Popen[bytes]) -> None:
    settings = replace(members.settings_of(instance), endpoints=(member.own_endpoint(instance),))
    see = f"see {instance.logs / 'etcd.log'}"
    problem = ""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                if process.poll() is not None:
                    raise ClusterError(f"the member of etcd ended with code {process.returncode}", fix=see)
                (found,) = await members.health(settings)
                problem = found.problem
                if not problem:
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError as error:
        raise ClusterError(f"the member of etcd does not become well: {problem}", fix=see) from error
