"""``kubeadm``, as instructions have it: the same commands under that name, ``sampan kubeadm`` or the program itself.

What kubeadm says with every command (``-v``, ``--rootfs``) is taken here, so that commands work as they stand.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import sampan
from sampan.cli import certs, config, init, join, reset, token, upgrade
from sampan.cli.commands import Group, Option
from sampan.cli.options import Name, printer
from sampan.cluster.errors import WrongUsage
from sampan.cluster.settings import DEFAULT_NAME, LONGEST_CERTIFICATE_SECONDS


class Kubeadm(Group):
    """Words that stand with every command are taken out before the command sees them."""

    def run(self, program: str, words: list[str]) -> None:
        super().run(program, without_common(words))


def without_common(words: list[str]) -> list[str]:
    """Raises WrongUsage. ``-v``: sets the level of what the programs log; there is one more from 5 on."""
    left, rest = [], iter(words)
    for word in rest:
        name, _, value = word.partition("=")
        if name in ("-v", "--v"):
            level = value or next(rest, "")
        elif word.startswith("-v") and word[2:].isdigit():
            level = word[2:]
        elif name == "--rootfs":
            raise WrongUsage("--rootfs is not supported", fix="run it inside of that root: chroot DIRECTORY kubeadm")
        else:
            left.append(word)
            continue
        if not level.isdigit():
            raise WrongUsage(f"-v {level!r} is no level", fix="write it like -v=5")
        if int(level) >= 5:
            os.environ.setdefault("SAMPAN_TRACEBACK", "1")
    return left


app = Kubeadm("Commands of kubeadm: a cluster of several machines.", epilog="See docs/kubeadm.md for what differs.")
init.add_to(app)
join.add_to(app)
reset.add_to(app)
app.add("token", token.app)
app.add("certs", certs.app)
app.add("config", config.app)
app.add("upgrade", upgrade.app)
kubeconfigs = Group("Kubeconfigs of further users.")
app.add("kubeconfig", kubeconfigs)


@kubeconfigs.command()
def user(
    client_name: Annotated[str, Option(help="Name of the user, as RBAC has it.")],
    org: Annotated[list[str] | None, Option(help="Group of the user; again for another one.")] = None,
    token: Annotated[str, Option(help="A token that the user has; else a certificate is made.")] = "",
    validity_period: Annotated[str, Option(help="How long the certificate is good.")] = "8760h",
    cert_dir: Annotated[str, Option(help="Without effect: the cluster knows where its certificates are.")] = "",
    config: Annotated[str, Option(help="Without effect: the cluster knows its configuration.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Print a kubeconfig for one more user. Rights are RBAC's to give."""
    from sampan.api import durations
    from sampan.api.clock import SystemClock
    from sampan.cli.certs import control_plane
    from sampan.cluster.initializing import renewing

    try:
        seconds = durations.parse(validity_period)
    except ValueError as error:
        raise WrongUsage(f"--validity-period: {error}", fix="write it like 24h") from None
    if not 60 <= seconds <= LONGEST_CERTIFICATE_SECONDS:
        raise WrongUsage("--validity-period is a minute at least and 100 years at most", fix="write it like 24h")
    instance = control_plane(name)
    print(renewing.user_kubeconfig(instance, client_name, org or (), token, seconds, SystemClock()), end="")


@app.command()
def version(
    output: Annotated[str, Option("--output", "-o", help="short, json or yaml.", show_default=False)] = "",
) -> None:
    """Print the version."""
    release = f"v{sampan.KUBERNETES_VERSION}"
    major, minor, _ = sampan.KUBERNETES_VERSION.split(".")
    known = {
        "major": major,
        "minor": minor,
        "gitVersion": release,
        "gitTreeState": "clean",
        "goVersion": "",
        "compiler": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "platform": f"linux/{_ARCHITECTURES.get(os.uname().machine, os.uname().machine)}",
    }
    if output == "short":
        print(release)
        return
    show = printer(output)
    if show is not None:
        show({"clientVersion": known})
    else:
        told = ", ".join(f'{key[0].upper()}{key[1:]}:"{value}"' for key, value in known.items())
        print(f"kubeadm version: &version.Info{{{told}}}")


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
