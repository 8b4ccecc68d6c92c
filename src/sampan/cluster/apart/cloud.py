"""``sampan cloud-controller-manager``: the cloud's controllers over HTTP, for any API server."""

from __future__ import annotations

from pathlib import Path

from sampan.client.client import Client
from sampan.client.leaderelection import Term, fenced
from sampan.cloud.context import Settings
from sampan.cloud.local import LocalProvider, WrongCloud
from sampan.cloud.manager import run_cloud_controllers
from sampan.cloud.provider import CloudError, Provider
from sampan.cloud.remote import RemoteProvider
from sampan.cluster.apart.accounts import Accounts
from sampan.cluster.apart.options import Program
from sampan.cluster.apart.program import Tools, Work, run
from sampan.cluster.errors import ClusterError
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Chosen:
    """``kind``: local or external; ``config``: the file of the one, the URL of the other."""

    kind: str
    config: str
    token_file: Path | None = None


async def open_provider(chosen: Chosen) -> Provider:
    """Raises ClusterError."""
    try:
        if chosen.kind == "local":
            return LocalProvider(Path(chosen.config))
        token = chosen.token_file.read_text().strip() if chosen.token_file else ""
        return await RemoteProvider.open(chosen.config, token=token)
    except (WrongCloud, CloudError, OSError) as error:
        raise ClusterError(f"the cloud cannot be used: {error}", fix="see docs/cloud.md") from error


def work_of(
    program: Program, chosen: Chosen, settings: Settings, disabled: frozenset[str], *, own_accounts: bool
) -> Work:
    async def work(tools: Tools, term: Term) -> None:
        accounts = Accounts(program.connection, tools.client, program.component)

        def client_for(name: str) -> Client:
            return fenced(accounts.client_for(name) if own_accounts else tools.client, term)

        provider = await open_provider(chosen)
        try:
            await run_cloud_controllers(
                fenced(tools.client, term),
                provider,
                settings,
                clock=tools.clock,
                random=tools.random,
                client_for=client_for,
                disabled=disabled,
            )
        finally:
            await accounts.close()
            await provider.close()

    return work


async def serve(
    program: Program, chosen: Chosen, settings: Settings, disabled: frozenset[str], *, own_accounts: bool
) -> None:
    await run(program, work_of(program, chosen, settings, disabled, own_accounts=own_accounts))
