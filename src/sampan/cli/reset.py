"""``sampan reset``: this machine leaves its cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from sampan.cli.commands import Group, Option
from sampan.cli.options import Name
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.settings import DEFAULT_NAME


def add_to(app: Group) -> None:
    app.command()(reset)


def reset(
    force: Annotated[bool, Option("--force", "-f", help="Do not ask.")] = False,
    kubeconfig: Annotated[
        Path | None, Option(help="Kubeconfig of somebody who may delete this machine's Node.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    skip_phases: Annotated[
        list[str] | None, Option(help="preflight, remove-etcd-member or cleanup-node; separated by commas.")
    ] = None,
    ignore: Annotated[
        list[str] | None, Option("--ignore-preflight-errors", help="Without effect: nothing is checked before.")
    ] = None,
    cleanup_tmp_dir: Annotated[
        bool, Option("--cleanup-tmp-dir", help="Without effect: nothing is left in a temporary directory.")
    ] = False,
    cri_socket: Annotated[str, Option(help="Without effect: the node has a containerd of its own.")] = "",
    cert_dir: Annotated[str, Option(help="Without effect: the cluster knows where its certificates are.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Take this machine out of its cluster, and everything of the cluster off it.

    Processes, containers, mounts, interfaces, rules, cgroups, files and data go; nothing can be brought back but from
    a backup.
    """
    import asyncio

    from sampan.cluster import instance as instances
    from sampan.cluster.joining import leaving
    from sampan.cluster.joining.wanted import listed

    named, skipped = instances.nameless(name), frozenset(listed(skip_phases or ()))
    if unknown := sorted(skipped - {*leaving.PHASES}):
        raise WrongUsage(f"--skip-phases: there is no phase {unknown[0]!r}", fix=f"one of {', '.join(leaving.PHASES)}")
    if dry_run:
        print(
            f"Dry run: cluster {name!r} would be removed from this machine: {named.state}, {named.run} and all of it."
        )
        return
    if not force:
        _ask()
    with steps() as progress:
        left = asyncio.run(leaving.reset(named, progress, kubeconfig=kubeconfig, skipped=skipped))
    print(f"Nothing of cluster {name!r} is left on this machine." if "cleanup-node" not in skipped else "Done.")
    for text in left:
        print(f"Left to do: {text}")


def _ask() -> None:
    """As kubeadm does. Raises ClusterError when the answer is not yes."""
    print(
        "[reset] WARNING: Changes made to this host by 'sampan init' or 'sampan join' will be reverted.\n"
        "[reset] Are you sure you want to proceed? [y/N]: ",
        end="",
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ClusterError("aborted reset operation", fix="answer y, or give --force")
