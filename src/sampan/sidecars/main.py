"""Runs the sidecar: waits for the driver, learns what it can, and works until it is ended or the driver is another."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Final

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.api.errors import NotFound
from sampan.api.storage.snapshots import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.informer import InformerFactory
from sampan.client.kubeconfig import Connection
from sampan.client.leaderelection import Candidate, ElectionConfig, Term
from sampan.csi.client import DriverClient
from sampan.csi.errors import DriverError
from sampan.keeping import Keeper
from sampan.sidecars.attacher import Attacher
from sampan.sidecars.capacity import CapacityPublisher
from sampan.sidecars.config import (
    ATTACHER,
    MONITOR,
    PROVISIONER,
    RESIZER,
    ROLES,
    SNAPSHOTTER,
    Driver,
    SidecarConfig,
    learn,
)
from sampan.sidecars.modifier import Modifier
from sampan.sidecars.monitor import HealthMonitor, can_tell
from sampan.sidecars.provisioner import Provisioner
from sampan.sidecars.resizer import Resizer
from sampan.sidecars.snapshotter import Snapshotter

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0
#: between two looks for kinds that are not served yet
_KINDS_SECONDS: Final = 5.0


async def run(
    config: SidecarConfig, connection: Connection, csi_address: str, election: ElectionConfig | None = None
) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = Client(HttpTransport(connection, user_agent="sampan-csi"))
    driver_client = DriverClient(csi_address, config.timeout_seconds)
    work = loop.create_task(_work(config, api, driver_client, election), name="sidecar")
    ending = loop.create_task(stop.wait(), name="end")
    try:
        await asyncio.wait((work, ending), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        for task in (work, ending):
            task.cancel()
        await asyncio.gather(work, ending, return_exceptions=True)
        await driver_client.close()
        await api.close()


async def _work(config: SidecarConfig, api: Client, client: DriverClient, election: ElectionConfig | None) -> None:
    driver = await wait_driver(client)
    log.info("driver %s can %s", driver.name, ", ".join(sorted(driver.controller)) or "nothing that is done here")
    clock, random = SystemClock(), SystemRandom()
    if election is None:
        await serve(config, api, driver, clock, random)
        return

    async def lead(term: Term) -> None:
        await serve(config, api, driver, clock, random)

    candidate = Candidate(api, election, clock, random, "sampan-csi")
    await candidate.run(lead)


async def wait_driver(client: DriverClient) -> Driver:
    """Until it answers and is ready."""
    told = ""
    while True:
        try:
            if await client.probe():
                return await learn(client)
            words = "it is not ready"
        except DriverError as error:
            words = str(error)
        if words != told:
            log.info("waiting for the driver: %s", words)
            told = words
        await asyncio.sleep(_RETRY_SECONDS)


async def serve(config: SidecarConfig, api: Client, driver: Driver, clock: Clock, random: Random) -> None:
    """Until cancelled: what of the roles the driver can be asked for."""
    informers = InformerFactory(api, random=random)
    async with Keeper(clock=clock) as keeper:
        keeper.keep("informers", informers.run)
        if PROVISIONER in config.roles and "CREATE_DELETE_VOLUME" in driver.controller:
            keeper.keep("provisioner", lambda: Provisioner(api, informers, driver, config, clock, random).run())
            if config.capacity and driver.topology and "GET_CAPACITY" in driver.controller:
                keeper.keep("capacity", lambda: CapacityPublisher(api, informers, driver, config).run())
        if RESIZER in config.roles and ("EXPAND_VOLUME" in driver.controller or "ONLINE" in driver.services):
            keeper.keep("resizer", lambda: Resizer(api, informers, driver, config, clock).run())
        # Of a driver without MODIFY_VOLUME, too, as upstream: a claim that asks for it is told what the driver answers.
        if RESIZER in config.roles and config.attributes_classes:
            keeper.keep("modifier", lambda: Modifier(api, informers, driver, config, clock).run())
        if SNAPSHOTTER in config.roles and "CREATE_DELETE_SNAPSHOT" in driver.controller:
            keeper.keep("snapshotter", lambda: _snapshots(config, api, informers, driver, clock))
        if MONITOR in config.roles and can_tell(driver):
            keeper.keep("health-monitor", lambda: HealthMonitor(api, informers, driver, config, clock).run())
        # One that attaches nothing needs an answer to its attachments all the same, where somebody asks for it by name.
        asked = ATTACHER in config.roles and config.roles != frozenset(ROLES)
        if asked or (ATTACHER in config.roles and "PUBLISH_UNPUBLISH_VOLUME" in driver.controller):
            keeper.keep("attacher", lambda: Attacher(api, informers, driver, config, clock).run())
        await tasks.forever()


async def _snapshots(
    config: SidecarConfig, api: Client, informers: InformerFactory, driver: Driver, clock: Clock
) -> None:
    """As soon as the kinds are served: they are custom resources."""
    while True:
        try:
            for resource in (VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOT_CLASSES):
                await api.list(resource, limit=1)
            break
        except NotFound:
            await asyncio.sleep(_KINDS_SECONDS)
    await Snapshotter(api, informers, driver, config, clock).run()
