"""The pod network of one instance: the standard bridge and host-local plugins, configured and taken away again.

Called by ``sampan.cluster`` before containerd starts and when an instance is purged. Masquerading, host ports and
everything else that needs rules is the service proxy's; the plugins only make interfaces and hand out addresses, which
keeps a sandbox quick. Sources: CNI specification 0.4, the plugins' own documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import orjson

from sampan.api.types import Obj
from sampan.records import dataclass

#: Kernel switches that pods need: path below /proc/sys, and value.
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}


#: Beside them, where pods have IPv6.
SYSCTLS_IPV6 = {"net/ipv6/conf/all/forwarding": "1"}
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_PROC_SYS = Path("/proc/sys")


class NetworkError(Exception):
    """The pod network could not be set up or taken away; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class CniConfig:
    """``pod_cidr`` is this node's own range, or one of each family with a comma between; ``data_dir`` is where
    host-local keeps who has which address."""

    instance: str
    bridge: str
    pod_cidr: str
    conf_dir: Path
    data_dir: Path
    mtu: int = 1500
    #: Where libcni keeps the results of the plugins, of all networks of the machine.
    results_dir: Path = Path("/var/lib/cni/results")

    @property
    def ranges(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(each) for each in self.pod_cidr.split(","))

    @property
    def gateways(self) -> tuple[str, ...]:
        """The bridge's addresses: the first of each range."""
        return tuple(str(network[1]) for network in self.ranges)


def policy_table(instance: str) -> str:
    """Where network policies are enforced. No instance's name has a dot, so no other's table is called so."""
    return f"sampan-{instance}.policy"


def tunnel_table(instance: str) -> str:
    """What keeps strangers from the tunnels between nodes."""
    return f"sampan-{instance}.tunnels"


def render(config: CniConfig) -> Obj:
    """The network configuration list that containerd reads. It reads a pod's bandwidth annotations too, refuses the
    sandbox where they make no sense, and tells the second plugin; for other pods that one does nothing."""
    return {
        "cniVersion": "0.4.0",
        "name": f"sampan-{config.instance}",
        "plugins": [
            {
                "type": "bridge",
                "bridge": config.bridge,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "mtu": config.mtu,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(config.data_dir),
                    "ranges": [[{"subnet": str(network)}] for network in config.ranges],
                    "routes": [{"dst": _EVERYWHERE[network.version]} for network in config.ranges],
                },
            },
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ],
    }


def setup(config: CniConfig) -> None:
    """Writes the configuration and sets the kernel's switches. Idempotent. Raises NetworkError."""
    write(config)
    switch_on(config)


def write(config: CniConfig) -> None:
    config.conf_dir.mkdir(parents=True, exist_ok=True)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    target = config.conf_dir / "10-sampan.conflist"
    temporary = target.with_suffix(".tmp")
    temporary.write_bytes(orjson.dumps(render(config), option=orjson.OPT_INDENT_2))
    temporary.rename(target)


def switch_on(config: CniConfig) -> None:
    """Sets the kernel's switches alone: the configuration is somebody else's. Raises NetworkError."""
    switches = dict(SYSCTLS)
    if any(network.version == 6 for network in config.ranges):
        switches |= _routers_that_stay() | SYSCTLS_IPV6
    for name, value in switches.items():
        switch = _PROC_SYS / name
        try:
            if switch.exists() and switch.read_text().strip() != value:
                switch.write_text(value)
        except OSError as error:
            raise NetworkError(f"cannot set {name} to {value}: {error.strerror}; pods could not be routed") from error


def _routers_that_stay(conf: Path = _PROC_SYS / "net/ipv6/conf") -> dict[str, str]:
    """A machine that forwards listens to routers no more, and would lose the default route that one told it of, unless
    its interfaces say that they listen all the same (ip-sysctl, accept_ra)."""
    found = {}
    for switch in conf.glob("*/accept_ra") if conf.is_dir() else ():
        with contextlib.suppress(OSError):  # interfaces come and go
            if switch.read_text().strip() == "1":
                found[str(switch.relative_to(_PROC_SYS))] = "2"
    return found


async def teardown(config: CniConfig, prefix: Sequence[str] = ()) -> None:
    """Removes what pods, proxy and policies left: sandbox networks, the bridge, nftables tables, reservations, plugin
    results.

    Content when they are not there. Pods that still run lose their network. ``prefix`` is put before every command
    (``ip netns exec NAME``). Raises NetworkError.
    """
    interfaces = await _bridge_interfaces(config, prefix)
    if interfaces is not None:
        for name in await _namespaces_behind(interfaces, prefix):
            await _run(*prefix, "ip", "netns", "delete", name, ignore="No such file")
        for interface in interfaces:
            await _run(*prefix, "ip", "link", "delete", interface["ifname"], ignore="Cannot find device")
        await _run(*prefix, "ip", "link", "delete", config.bridge, ignore="Cannot find device")
    for table in (f"sampan-{config.instance}", policy_table(config.instance), tunnel_table(config.instance)):
        await _run(*prefix, "nft", "delete", "table", "inet", table, ignore="No such file")
    shutil.rmtree(config.data_dir, ignore_errors=True)
    results = _results(config)
    await _remove_shapers({_shaper(config, result) for result in results}, prefix)
    for result in results:
        result.unlink(missing_ok=True)


async def _bridge_interfaces(config: CniConfig, prefix: Sequence[str]) -> list[Obj] | None:
    """The interfaces that pods have on the bridge; None when there is no bridge."""
    absent = "does not exist"
    if await _run(*prefix, "ip", "link", "show", config.bridge, ignore=absent) == "":
        return None
    listed = await _run(*prefix, "ip", "-j", "link", "show", "master", config.bridge, ignore=absent)
    interfaces: list[Obj] = orjson.loads(listed or "[]")
    return interfaces


async def _namespaces_behind(interfaces: list[Obj], prefix: Sequence[str]) -> list[str]:
    """Names of the network namespaces that hold the other ends: sandboxes that the runtime did not live to remove."""
    ids = {interface["link_netnsid"] for interface in interfaces if "link_netnsid" in interface}
    listed: list[Obj] = orjson.loads(await _run(*prefix, "ip", "-j", "netns", "list") or "[]")
    return [namespace["name"] for namespace in listed if namespace.get("id") in ids]


def _results(config: CniConfig) -> list[Path]:
    """What libcni remembers of this network: ``<network>-<sandbox>-<interface>``."""
    # The sandbox is spelled out: the network "sampan-a" must not take those of "sampan-a-b".
    ours = re.compile(rf"sampan-{re.escape(config.instance)}-[0-9a-f]{{64}}-[^-]+")
    if not config.results_dir.is_dir():
        return []
    return [path for path in config.results_dir.iterdir() if ours.fullmatch(path.name)]


async def _remove_shapers(names: set[str], prefix: Sequence[str]) -> None:
    if names:
        listed: list[Obj] = orjson.loads(await _run(*prefix, "ip", "-j", "link", "show", "type", "ifb") or "[]")
        for name in sorted(names & {str(interface.get("ifname")) for interface in listed}):
            await _run(*prefix, "ip", "link", "delete", name, ignore="Cannot find device")


def _shaper(config: CniConfig, result: Path) -> str:
    """The interface by which the bandwidth plugin slows what that pod sends, where it was to: the plugin removes it
    with the pod, unless the runtime did not live to ask for that."""
    network = f"sampan-{config.instance}"
    sandbox = result.name.removeprefix(f"{network}-").partition("-")[0]
    return f"bwp{hashlib.sha512(f'{network}{sandbox}'.encode()).hexdigest()[:12]}"


async def _run(*command: str, ignore: str = "") -> str:
    """What the command wrote; "" when it failed as ``ignore`` says it may."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
    )
    out, said = await process.communicate()
    text = said.decode(errors="replace").strip()
    if process.returncode:
        if ignore and ignore in text:
            return ""
        raise NetworkError(f"{' '.join(command)}: {text}")
    return out.decode()
