"""What a program of its own is, whatever it does while it leads: a client, an election, health, metrics, an end.

It ends with SIGTERM and SIGINT, and gives its lease back; and by itself when it leads no longer, as upstream's do: who
supervises it starts another one, which stands by.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from sampan.api.clock import Clock, Random, SystemClock, SystemRandom
from sampan.api.faults import cause
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.leaderelection import Candidate, LeadershipLost, Term
from sampan.cluster.apart import following, serving
from sampan.cluster.apart.options import Program
from sampan.cluster.apart.serving import Answer
from sampan.cluster.errors import ClusterError
from sampan.controllers.queuenames import QUEUE_NAMES
from sampan.metrics import Registry, use
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: for how long past its lease a process may believe that it leads before its health says so (upstream's 20 s)
OVERDUE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What the work of a leader is done with. ``client`` acts as the program itself, and is not fenced."""

    client: Client
    clock: Clock
    random: Random


Work = Callable[[Tools, Term], Awaitable[None]]


class Lost(ClusterError):
    """Another leads: the process ends."""


async def run(
    program: Program,
    work: Work,
    *,
    clock: Clock | None = None,
    random: Random | None = None,
    documents: Mapping[str, Answer] | None = None,
) -> None:
    """Until SIGTERM or SIGINT. ``documents``: what it answers besides health and metrics.

    Raises Lost, ClusterError, and what ``work`` raises."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry = Registry(QUEUE_NAMES)
    with use(registry):
        async with AsyncExitStack() as stack:
            transport = HttpTransport(program.connection, user_agent=program.component)
            client = Client(transport)
            stack.push_async_callback(client.close)
            if program.kubeconfig is not None and program.connection.client_certificate_pem:
                renewing = tasks.detach(following.follow(program.kubeconfig, transport), "follow the kubeconfig")
                stack.push_async_callback(tasks.cancel_and_wait, renewing)
            tools = Tools(client, clock or SystemClock(), random or SystemRandom())
            candidate = _candidate(program, tools)
            served = serving.Serving(serving.Health(_checks(candidate)), registry, client, documents)
            await _serve(stack, program, served)
            acting = asyncio.ensure_future(_act(program, candidate, tools, work))
            stopping = asyncio.ensure_future(stop.wait())
            try:
                await asyncio.wait([acting, stopping], return_when=asyncio.FIRST_COMPLETED)
                if acting.done():
                    acting.result()
            finally:
                await tasks.cancel_and_wait(acting, stopping)


def _candidate(program: Program, tools: Tools) -> Candidate | None:
    if program.election is None:
        return None
    return Candidate(tools.client, program.election, tools.clock, tools.random, program.component)


async def _act(program: Program, candidate: Candidate | None, tools: Tools, work: Work) -> None:
    if candidate is None:
        await work(tools, Term("", asyncio.get_running_loop().time, math.inf))
        return
    try:
        await candidate.run(lambda term: work(tools, term))
    except LeadershipLost as lost:
        raise Lost(f"leaderelection lost: {lost}", fix="start it again: it stands by then") from lost


def _checks(candidate: Candidate | None) -> dict[str, serving.Check]:
    return {} if candidate is None else {"leaderElection": lambda: overdue(candidate)}


async def _serve(stack: AsyncExitStack, program: Program, served: serving.Serving) -> None:
    """Raises ClusterError when it cannot listen."""
    if not program.secure_port:
        return
    try:
        tls = await asyncio.to_thread(
            serving.tls_context, program.tls_certificate, program.tls_key, program.client_ca, program.component
        )
        port = await stack.enter_async_context(served.listening(program.bind_address, program.secure_port, tls))
    except OSError as error:  # ssl.SSLError is one
        raise ClusterError(
            f"cannot serve health and metrics at {program.bind_address}:{program.secure_port}: {cause(error)}",
            fix="give another port with --secure-port (0 serves none), or other certificates",
        ) from error
    log.info("%s serves health and metrics at port %d", program.component, port)


def overdue(candidate: Candidate) -> str | None:
    """Why the election is not well; None: it is."""
    elector = candidate.elector
    if elector.overdue_seconds() <= OVERDUE_SECONDS:
        return None
    return f"failed election to renew leadership on lease {elector.config.name}"
