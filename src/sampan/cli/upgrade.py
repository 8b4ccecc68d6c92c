"""``sampan upgrade``: a cluster goes over to the version that is installed, machine by machine."""

from __future__ import annotations

from typing import Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name, with_control_plane
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

app = Group("Go over to the version of Sampan that is installed on this machine.")
Timeout = Annotated[float, Option(min=1, help="Seconds until the start is given up. [120]", show_default=False)]
_OF_A_WORKER = "; a worker is brought over by `sampan upgrade node`"


@app.command()
def plan(name: Name = DEFAULT_NAME) -> None:
    """Show what runs, what an upgrade brings, what would break, and what has to be mended first.

    On a control plane. Exit code 1: something has to be mended first.
    """
    import asyncio
    import sys

    from sampan.cluster.upgrading import running
    from sampan.cluster.upgrading.plan import render

    with steps() as progress:
        made = asyncio.run(running.planned(with_control_plane(name, _OF_A_WORKER), progress))
    print(render(made))
    if made.against:
        sys.exit(1)


@app.command()
def apply(
    version: Annotated[str, Argument(help="Refused when it is not the version that is installed.")] = "",
    force: Annotated[bool, Option("--force", "-f", help="Though the plan has something against it.")] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Without effect: nothing is asked.")] = False,
    name: Name = DEFAULT_NAME,
    timeout: Timeout = 120.0,
) -> None:
    """Upgrade this control plane: its programs start again as they are installed, stored objects are rewritten.

    They are written in the form of today. Containers, their runtime and etcd go on.
    """
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster.upgrading import running

    if version and version.lstrip("v") != running.TARGET.lstrip("v"):
        raise ClusterError(
            f"{version} is not the version that is installed here ({running.TARGET})",
            fix="install that one first (pip install sampan==...), or leave the version out",
        )
    with steps() as progress:
        instance = with_control_plane(name, _OF_A_WORKER)
        done = asyncio.run(running.apply(instance, SystemClock(), progress, timeout_seconds=timeout, force=force))
    print(f"{done.rewritten} of {done.looked_at} stored objects were written in today's form.")
    for text in done.left:
        print(f"Left as it is: {text}")
    print(f'[upgrade/successful] SUCCESS! Your cluster was upgraded to "{running.TARGET}". Enjoy!')


@app.command()
def node(name: Name = DEFAULT_NAME, timeout: Timeout = 120.0) -> None:
    """Upgrade this machine alone: its programs start again as they are installed now; containers go on."""
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster import instance as instances
    from sampan.cluster.upgrading import running

    with steps() as progress:
        asyncio.run(running.node(instances.load(name), SystemClock(), progress, timeout_seconds=timeout))
    print("[upgrade] The programs of this machine are those that are installed now.")
