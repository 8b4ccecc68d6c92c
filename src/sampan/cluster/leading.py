"""Controllers and scheduler of the server's own process lead like any others: by the leases that upstream's take.

So whoever runs a manager or a scheduler beside this one stands by, or makes this one stand by.

**Alone with its store** nothing is lost by it: a lease under this process's own name is its own at once, after a crash
too, for one process at a time has the store; it is written every 20 s; and no slow store ends a term, since another can
have the lease only by a commit that is seen here (``ElectionConfig.sole``).

**Where several servers share a store** the leases are real, with upstream's 15, 10 and 2 s: the process that leads
loses its term when it cannot renew, and another machine's leads within 20 s of its end. The name is the instance's
there too, so that one that was killed and started again goes on at once; a lock of the machine sees to it that only
one process acts under it.

The lease is written as the server itself, so no webhook stands between.
"""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager, nullcontext

from sampan.api.clock import Clock, Random
from sampan.client.client import Client
from sampan.client.leaderelection import Candidate, ElectionConfig, LeadershipLost
from sampan.client.leaderelection.elector import Lead
from sampan.cluster import locks
from sampan.cluster.instance import Instance

log = logging.getLogger(__name__)

#: Who stands by need not hurry: while this process is away, so is the server that a lease is taken at.
LEASE_SECONDS, DEADLINE_SECONDS, RETRY_SECONDS = 60.0, 40.0, 20.0


async def lead_here(
    client: Client, component: str, instance: Instance, clock: Clock, random: Random, lead: Lead, *, shared: bool
) -> None:
    """Runs ``lead`` whenever the lease is this process's, until cancelled. ``client``: the server itself; ``shared``:
    others may write its store. Raises OSError: the machine's lock cannot be had."""
    async with _name(instance, component, shared=shared):
        config = election(instance, component, shared=shared)
        while True:
            try:
                await Candidate(client, config, clock, random, component).run(lead)
            except LeadershipLost as lost:
                log.warning("%s of this process stands by: %s", component, lost)
            else:
                return


def election(instance: Instance, component: str, *, shared: bool) -> ElectionConfig:
    identity = f"{instance.node.name}_{instance.name}"
    if shared:
        return ElectionConfig("kube-system", component, identity)
    return ElectionConfig("kube-system", component, identity, LEASE_SECONDS, DEADLINE_SECONDS, RETRY_SECONDS, sole=True)


def _name(instance: Instance, component: str, *, shared: bool) -> AbstractAsyncContextManager[None]:
    """The right to the instance's name: a store of its own can have but one process already."""
    return locks.acting(instance, component) if shared else nullcontext()
