"""``sampan server`` and ``sampan node``: the programs of a cluster, in the foreground.

``sampan up`` runs the same two under its supervisor; by hand they are for looking at one of them alone.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sampan.cluster import instance as instances

Name = Annotated[str, typer.Option("--name", "-n", help="Which cluster of this machine.")]


def add_to(app: typer.Typer) -> None:
    app.command()(server)
    app.command()(node)


def server(name: Name = instances.DEFAULT_NAME) -> None:
    """Run the control plane of an existing cluster in the foreground: store, API server, controllers, scheduler."""
    from sampan.cluster import control_plane

    control_plane.run(instances.load(name))


def node(name: Name = instances.DEFAULT_NAME) -> None:
    """Run the node of an existing cluster in the foreground: node agent, service proxy, DNS."""
    from sampan.cluster import node_process

    node_process.run(instances.load(name))
