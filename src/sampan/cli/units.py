"""``sampan units``: each program of this machine as a systemd unit of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sampan.cli.commands import Group, Option
from sampan.cli.options import Name
from sampan.cluster.errors import WrongUsage
from sampan.cluster.settings import DEFAULT_NAME


def add_to(app: Group) -> None:
    app.command()(units)


def units(
    install: Annotated[bool, Option("--install", help="Have systemd start them with the machine.")] = False,
    remove: Annotated[bool, Option("--remove", help="Take them away again.")] = False,
    output: Annotated[str, Option("--output", "-o", help="Write the files below this directory instead.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Write a systemd unit for each program of this machine.

    These are etcd, containerd, API server, controllers, scheduler, node agent with the service proxy, DNS.
    They take the place of Sampan's supervisor: `sampan down` first. Without an option, the units are printed.
    """
    from sampan.cluster import instance as instances
    from sampan.cluster import units as written

    if sum((install, remove, bool(output))) > 1:
        raise WrongUsage("--install, --remove and --output exclude each other", fix="give one of them")
    instance = instances.load(name)
    if remove:
        for path in written.remove(instance):
            print(f"removed {path}")
    elif install:
        for path in written.install(instance):
            print(path)
        print(f"From the next start on: `systemctl start {written.target_name(instance)}` after `sampan down`.")
    elif output:
        place = Path(output).absolute()
        for path in written.write(instance, place, place):
            print(path)
    else:
        parts = written.components(instance)
        for unit, text in written.render(instance, parts, written.defaults_file(instance)).items():
            print(f"# {unit}\n{text}")
