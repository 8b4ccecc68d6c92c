"""``sampan controller-manager``: the controllers of this build over HTTP, for any API server."""

from __future__ import annotations

import logging

from sampan.client.client import Client
from sampan.client.leaderelection import Term, fenced
from sampan.cluster.apart.accounts import Accounts
from sampan.cluster.apart.options import Program
from sampan.cluster.apart.program import Tools, Work, run
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import run_controllers

log = logging.getLogger(__name__)


def work_of(program: Program, config: ControllersConfig, *, own_accounts: bool) -> Work:
    """``own_accounts``: each controller writes as its own ServiceAccount, else all as the program."""

    async def work(tools: Tools, term: Term) -> None:
        accounts = Accounts(program.connection, tools.client, program.component)

        def client_for(name: str) -> Client:
            return fenced(accounts.client_for(name) if own_accounts else tools.client, term)

        try:
            await run_controllers(
                fenced(tools.client, term),
                clock=tools.clock,
                random=tools.random,
                config=config,
                client_for=client_for,
            )
        finally:
            await accounts.close()

    return work


async def serve(program: Program, config: ControllersConfig, *, own_accounts: bool) -> None:
    await run(program, work_of(program, config, own_accounts=own_accounts))
