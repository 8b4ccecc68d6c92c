"""The pod network of one instance: the standard bridge and host-local plugins, configured and taken away again.

Called by ``sampan.cluster`` before containerd starts and when an instance is purged. Masquerading, host ports and
everything else that needs rules is the service proxy's; the plugins only make interfaces and hand out addresses, which
keeps a sandbox quick. Sources: CNI specification 0.4, the plugins' own documents.
"""

from __future__ import annotations

import asyncio
import ipaddress
import shutil
from dataclasses import dataclass
from pathlib import Path

import orjson

from sampan.api.types import Obj

#: Kernel switches that pods need: path below /proc/sys, and value.
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
}


class NetworkError(Exception):
    """The pod network could not be set up or taken away; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class CniConfig:
    """``pod_cidr`` is this node's own range; ``data_dir`` is where host-local keeps who has which address."""

    instance: str
    bridge: str
    pod_cidr: str
    conf_dir: Path
    data_dir: Path
    mtu: int = 1500

    @property
    def gateway(self) -> str:
        """The bridge's address: the first of the range."""
        return str(ipaddress.IPv4Network(self.pod_cidr)[1])


def render(config: CniConfig) -> Obj:
    """The network configuration list that containerd reads."""
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
                    "ranges": [[{"subnet": config.pod_cidr}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def setup(config: CniConfig) -> None:
    """Writes the configuration and sets the kernel's switches. Idempotent. Raises NetworkError."""
    config.conf_dir.mkdir(parents=True, exist_ok=True)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    target = config.conf_dir / "10-sampan.conflist"
    temporary = target.with_suffix(".tmp")
    temporary.write_bytes(orjson.dumps(render(config), option=orjson.OPT_INDENT_2))
    temporary.rename(target)
    for name, value in SYSCTLS.items():
        switch = Path("/proc/sys") / name
        try:
            if switch.exists() and switch.read_text().strip() != value:
                switch.write_text(value)
        except OSError as error:
            raise NetworkError(f"cannot set {name} to {value}: {error.strerror}; pods could not be routed") from error


async def teardown(config: CniConfig) -> None:
    """Removes the bridge, the instance's nftables table and the reservations; content when they are not there."""
    if (Path("/sys/class/net") / config.bridge).exists():
        await _run("ip", "link", "delete", config.bridge)
    await _run("nft", "delete", "table", "inet", f"sampan-{config.instance}", ignore="No such file")
    shutil.rmtree(config.data_dir, ignore_errors=True)


async def _run(*command: str, ignore: str = "") -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    text = said.decode(errors="replace").strip()
    if process.returncode and not (ignore and ignore in text):
        raise NetworkError(f"{' '.join(command)}: {text}")
