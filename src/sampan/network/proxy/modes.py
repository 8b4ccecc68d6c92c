"""Which back end makes plans real: chosen by name, refused where the machine cannot, cleared away for another.

Each is imported when it is chosen. What a mode left on the machine is remembered in a file, so that changing the mode
costs nothing while it stays the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sampan.network.proxy.backend import Backend, BackendError
from sampan.network.proxy.config import ProxyConfig

if TYPE_CHECKING:
    from sampan.network.proxy.reach import NodeReach

MODES = ("nftables", "iptables", "ipvs", "userspace")
DEFAULT_MODE = "nftables"


class Missing(NamedTuple):
    """What a machine lacks for a mode, and what to do about it."""

    what: str
    fix: str


def missing(mode: str, kernel: Path = Path("/proc/net/ip_vs"), modules: Path = Path("/lib/modules")) -> Missing | None:
    """None: the mode can be had here, as far as can be told without trying."""
    if mode == "iptables" and shutil.which("iptables-restore") is None:
        return Missing("--proxy-mode iptables: iptables-restore is not installed", "apt-get install -y iptables")
    if mode == "ipvs":
        if not kernel.exists() and not any(modules.glob("*/kernel/net/netfilter/ipvs/ip_vs.ko*")):
            return Missing(
                "--proxy-mode ipvs: the kernel of this machine has no IPVS (ip_vs)",
                "choose --proxy-mode nftables, or boot a kernel with CONFIG_IP_VS",
            )
        if not kernel.exists():
            return Missing("--proxy-mode ipvs: the kernel's module ip_vs is not loaded", "modprobe ip_vs dummy")
        if shutil.which("ipvsadm") is None:
            return Missing("--proxy-mode ipvs: ipvsadm is not installed", "apt-get install -y ipvsadm")
    return None


def make(mode: str, config: ProxyConfig, *, ipvs_scheduler: str = "rr") -> Backend:
    """Raises BackendError for what the machine does not have."""
    from sampan.network.proxy.reach import NodeReach

    lacking = missing(mode)
    if lacking is not None:
        raise BackendError(f"{lacking.what}: {lacking.fix}")
    reach = NodeReach(config)
    if mode == "iptables":
        from sampan.network.proxy.iptables.backend import IptablesBackend

        return IptablesBackend(config, reach=reach)
    from sampan.network.proxy.nftables.backend import NftBackend

    if mode == "ipvs":
        return _ipvs(config, ipvs_scheduler, reach)
    rules = NftBackend(config, reach=reach)
    if mode == "userspace":
        from sampan.network.proxy.userspace.backend import UserspaceBackend

        return UserspaceBackend(config, rules)
    return rules


def _ipvs(config: ProxyConfig, scheduler: str, reach: NodeReach) -> Backend:
    from sampan.network.proxy.ipvs.backend import IpvsBackend
    from sampan.network.proxy.ipvs.program import IpvsProgram
    from sampan.network.proxy.ipvs.render import IpvsRendering
    from sampan.network.proxy.nftables.netlink import NftNetlink
    from sampan.network.proxy.nftables.nft import NftCommand
    from sampan.network.proxy.rules.backend import RuleBackend

    tables = NftNetlink(config.table, NftCommand(config.table))
    return IpvsBackend(config, scheduler, RuleBackend(config, tables, IpvsRendering(config), reach), IpvsProgram())


async def clear_other(mode: str, instance: str, file: Path) -> None:
    """Takes away what another mode left, and writes down whose turn it is: a missing file says the default's.

    Raises BackendError, and OSError for the file.
    """
    former = file.read_text().strip() if file.exists() else DEFAULT_MODE
    if former != mode:
        # Before anything of the new one: a crash in between leaves something to be removed, and nothing unknown.
        await remove(former, instance)
        file.write_text(f"{mode}\n")


async def remove(mode: str, instance: str, prefix: Sequence[str] = ()) -> None:
    """What a mode left; content when that is nothing. ``prefix`` is put before every command. Raises BackendError."""
    from sampan.network.proxy.rules.values import NftError, NftMissing, Op, Table

    try:
        if mode == "iptables":
            from sampan.network.proxy.iptables import restore

            await restore.remove(instance, prefix)
            return
        if mode == "ipvs":
            from sampan.network.proxy.ipvs import backend, program

            await backend.remove(instance, program.IpvsProgram(prefix))
        from sampan.network.proxy.nftables.nft import NftCommand

        await NftCommand(f"sampan-{instance}", prefix).apply([Op("delete", Table())])
    except NftMissing:
        return
    except NftError as error:
        raise BackendError(f"rules of proxy mode {mode} could not be removed: {error}") from error
