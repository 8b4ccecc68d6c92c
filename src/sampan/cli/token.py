"""``sampan token``: the tokens with which machines join."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.client.client import Client
    from sampan.cluster.initializing.reaching import Reached

T = TypeVar("T")

KubeConfigFile = Annotated[
    Path | None,
    Option("--kubeconfig", help="How to reach the cluster. [the one of --name, else /etc/kubernetes/admin.conf]"),
]

app = Group("Tokens with which machines join a cluster.")


@app.command()
def create(
    token: Annotated[str, Argument(help="The token, as abcdef.0123456789abcdef; without one, a random one.")] = "",
    print_join_command: Annotated[
        bool, Option("--print-join-command", help="Print the command with which a machine joins.")
    ] = False,
    ttl: Annotated[str, Option(help="How long it is good, as 30m; 0: for ever.")] = "24h",
    usages: Annotated[str, Option(help="What it is for.")] = "signing,authentication",
    groups: Annotated[str, Option(help="Groups of who shows it.")] = "system:bootstrappers:kubeadm:default-node-token",
    description: Annotated[str, Option(help="For people.")] = "",
    certificate_key: Annotated[
        str, Option(help="With --print-join-command: of uploaded certificates, for another control plane.")
    ] = "",
    config: Annotated[Path | None, Option(help="Accepted, as kubeadm has it: nothing of it is needed.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the token, and do not make it.")] = False,
    kubeconfig: KubeConfigFile = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Make a token with which machines join, and print it."""
    from sampan.api import durations
    from sampan.api.clock import SystemClock, SystemRandom
    from sampan.cli.init import program
    from sampan.cluster.initializing import certificates, reaching, texts, tokens

    if certificate_key:
        certificates.parse_key(certificate_key)
        if not print_join_command:
            raise ClusterError(
                "--certificate-key is of --print-join-command", fix="add --print-join-command, or leave it out"
            )
    try:
        seconds = durations.parse(ttl)
    except ValueError as error:
        raise ClusterError(f"--ttl: {error}", fix="write it like 24h, 30m or 0") from None
    made = tokens.make(
        token or tokens.generate(SystemRandom()),
        SystemClock().now(),
        ttl_seconds=seconds,
        usages=_words(usages),
        groups=_words(groups),
        description=description,
    )

    async def work(client: Client, reached: Reached) -> str:
        if not dry_run:
            await tokens.create(client, made)
            if reached.instance is not None:  # one that ``up`` made becomes a cluster that machines can join
                await reaching.open_to_others(client, reached.instance)
        if not print_join_command:
            return made.text
        endpoint, ca_pem = await reaching.whereabouts(client, reached)
        ca_hash = certificates.public_key_hash(ca_pem)
        return texts.join_command(program(), endpoint, made.text, ca_hash, certificate_key)

    print(_run(work, kubeconfig, name))


@app.command("list")
def list_tokens(kubeconfig: KubeConfigFile = None, name: Name = DEFAULT_NAME) -> None:
    """List the tokens."""
    from sampan.api.clock import SystemClock
    from sampan.cluster.initializing import texts, tokens

    async def work(client: Client, reached: Reached) -> tuple[list[Any], list[str]]:
        return await tokens.listed(client)

    found, faults = _run(work, kubeconfig, name)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(texts.table(found, SystemClock().now()))


@app.command()
def delete(
    token: Annotated[list[str], Argument(help="Tokens, or their ids: what stands before the dot.")],
    kubeconfig: KubeConfigFile = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Delete tokens: nobody joins with them any more."""
    from sampan.cluster.initializing import tokens

    identities = [tokens.identity_of(text) for text in token]

    async def work(client: Client, reached: Reached) -> None:
        for identity in identities:
            await tokens.delete(client, identity)
            print(f'bootstrap token "{identity}" deleted')

    _run(work, kubeconfig, name)


@app.command()
def generate() -> None:
    """Print a random token, without making it."""
    from sampan.api.clock import SystemRandom
    from sampan.cluster.initializing import tokens

    print(tokens.generate(SystemRandom()))


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _run(work: Callable[[Client, Reached], Coroutine[None, None, T]], kubeconfig: Path | None, name: str) -> T:
    import asyncio

    from sampan.cluster.initializing import reaching

    async def run() -> T:
        reached = reaching.reach(name, kubeconfig)
        async with reaching.connected(reached) as client:
            return await work(client, reached)

    return asyncio.run(run())
