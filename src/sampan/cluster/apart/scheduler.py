"""``sampan scheduler``: the scheduler over HTTP, for any API server."""

from __future__ import annotations

from sampan.client.leaderelection import Term, fenced
from sampan.cluster.apart.options import Program
from sampan.cluster.apart.program import Tools, run
from sampan.scheduler.records import PATH, Attempts
from sampan.scheduler.scheduler import run_scheduler


async def serve(program: Program) -> None:
    attempts = Attempts()

    async def work(tools: Tools, term: Term) -> None:
        await run_scheduler(fenced(tools.client, term), clock=tools.clock, random=tools.random, attempts=attempts)

    await run(program, work, documents={PATH: attempts.answer})
