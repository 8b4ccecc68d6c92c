"""``sampan logs``: what the processes of a cluster wrote."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cluster.settings import DEFAULT_NAME

#: Between two looks at logs that are followed.
LOOK_SECONDS = 0.2


def add_to(app: Group) -> None:
    app.command()(logs)


def logs(
    component: Annotated[
        str, Argument(help="server, node, containerd, supervisor ... Default: all.", show_default=False)
    ] = "",
    name: Name = DEFAULT_NAME,
    follow: Annotated[bool, Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    previous: Annotated[bool, Option("--previous", "-p", help="The log that was put aside as full.")] = False,
    tail: Annotated[int, Option(help="Lines from the end; -1: all.")] = 100,
) -> None:
    """Show the logs of the cluster's own processes. For those of pods: kubectl logs."""
    from sampan.cluster import instance as instances
    from sampan.cluster import logs as files
    from sampan.cluster.errors import ClusterError

    if previous and follow:
        raise ClusterError("--previous does not grow, so it cannot be followed", fix="leave one of the two out")
    instance = instances.load(name)
    chosen = [component] if component else files.components(instance)
    if not chosen:
        raise ClusterError(f"cluster {name!r} has no logs yet", fix=f"`{instance.command('up')}` starts it")
    if previous and not component:
        chosen = [each for each in chosen if (instance.logs / f"{each}.log.1").exists()]
    show = _shower(headings=len(chosen) > 1)
    with ExitStack() as opened:
        followed = {}
        for each in chosen:
            followed[each] = files.Followed(files.path_of(instance, each, previous=previous))
            opened.callback(followed[each].close)
            show(each, followed[each].begin(tail))
        while follow:
            for each, log in followed.items():
                show(each, log.more())
            time.sleep(LOOK_SECONDS)  # noqa: TID251 (a person watches; there is no event loop here)


def _shower(*, headings: bool) -> Callable[[str, Iterable[bytes]], None]:
    """Writes pieces of logs; with several, a heading whenever another one speaks, as ``tail`` does."""
    speaking = ""

    def show(name: str, pieces: Iterable[bytes]) -> None:
        nonlocal speaking
        for piece in pieces:
            if headings and name != speaking:
                sys.stdout.buffer.write(f"{chr(10) if speaking else ''}==> {name} <==\n".encode())
                speaking = name
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    return show
