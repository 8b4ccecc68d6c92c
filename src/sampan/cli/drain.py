"""``sampan drain``: a node's pods move elsewhere, with kubectl's options of today and of before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cluster.errors import WrongUsage
from sampan.cluster.settings import DEFAULT_NAME


def add_to(app: Group) -> None:
    app.command()(drain)


def drain(
    node: Annotated[str, Argument(help="Name of the node.", metavar="NODE")],
    force: Annotated[bool, Option("--force", help="Pods that nobody makes anew go, too.")] = False,
    ignore_daemonsets: Annotated[bool, Option("--ignore-daemonsets", help="Pods of DaemonSets stay.")] = False,
    delete_emptydir_data: Annotated[
        bool, Option("--delete-emptydir-data", help="Pods with an emptyDir go, and what is in it.")
    ] = False,
    delete_local_data: Annotated[
        bool, Option("--delete-local-data", help="The old name of --delete-emptydir-data.")
    ] = False,
    grace_period: Annotated[
        int, Option("--grace-period", help="Seconds for each pod to end; -1: what it asks for.")
    ] = -1,
    timeout: Annotated[str, Option("--timeout", help="When it is given up, as 10m; 0s: never.")] = "0s",
    pod_selector: Annotated[str, Option("--pod-selector", help="Only pods with these labels.")] = "",
    kubeconfig: Annotated[
        Path | None,
        Option("--kubeconfig", help="How to reach the cluster. [the one of --name, else /etc/kubernetes/admin.conf]"),
    ] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Take a node out of service: no new pods come to it, and those on it are evicted, as disruption budgets let them.

    As kubectl drain, for machines without kubectl and for instructions with old names of options. `kubectl uncordon`
    puts the node back into service.
    """
    import asyncio

    from sampan.api import durations
    from sampan.cluster import draining
    from sampan.cluster.initializing import reaching

    try:
        seconds = durations.parse(timeout)
    except ValueError as error:
        raise WrongUsage(f"--timeout: {error}", fix="write it like 10m, or 0s") from None
    options = draining.Options(
        force=force,
        ignore_daemonsets=ignore_daemonsets,
        delete_emptydir_data=delete_emptydir_data or delete_local_data,
        grace_seconds=grace_period if grace_period >= 0 else None,
        timeout_seconds=seconds,
        pod_selector=pod_selector,
    )
    if delete_local_data:
        print("Flag --delete-local-data has been deprecated, use --delete-emptydir-data")

    def say(text: str) -> None:
        print(text, flush=True)

    async def run() -> None:
        async with reaching.connected(reaching.reach(name, kubeconfig)) as client:
            await draining.drain(client, node, options, say)

    asyncio.run(run())
