"""Rules of policies in the kernel of a lab's node, and connections through them."""

import socket
from contextlib import asynccontextmanager

import network_lab
from policy_driver import Driver

from sampan.network.policy.memory import MemoryBackend
from sampan.network.policy.nft.backend import NftBackend

POD1, POD2, POD3 = network_lab.PODS.values()
NODE, OUTSIDE = network_lab.NODE_ADDRESS, network_lab.OUTSIDE_ADDRESS
OUTSIDE6 = network_lab.OUTSIDE_ADDRESS6
NAMES = {
    **{address: name for name, address in (*network_lab.PODS.items(), *network_lab.PODS6.items())},
    OUTSIDE: "outside",
    OUTSIDE6: "outside",
}
#: How long an answer may take that is expected, and how long one is waited for that is not.
PATIENCE, SILENCE = 10, 0.15


class Enforced(Driver):
    """As ``Driver``, with rules in the node's namespace beside the memory."""

    def __init__(self, lab):
        super().__init__()
        self.lab = lab
        #: where drops are told to
        self.group = None
        self.nft = NftBackend("sampan-test.policy", lab.command("node"), lambda: self.group)

    async def enforce(self, whole=False):
        delta = self.planner.take(whole=whole)
        if delta:
            if whole:
                self.backend = MemoryBackend()
            self.backend.take(delta)
            await self.nft.apply(delta)


@asynccontextmanager
async def serving(lab):
    """TCP 80 and 8080, UDP 53 and 80 and all of SCTP in every pod and outside, in both families."""
    opened = []
    for name in (*network_lab.PODS, "outside"):
        for address in ("0.0.0.0", "::"):
            opened += [await lab.serve_tcp(name, port, address) for port in (80, 8080)]
            opened += [await lab.serve_udp(name, port, address) for port in (53, 80)]
            opened.append(lab.serve_sctp(name, address))
    try:
        yield
    finally:
        for each in opened:
            each.close()


async def reaches(lab, source, target, protocol, port, expected):
    timeout = PATIENCE if expected else SILENCE
    if protocol == "TCP":
        said = await lab.get(NAMES[source], target, port, timeout)
    elif protocol == "SCTP":
        said = await lab.begin_sctp(NAMES[source], target, port, timeout)
    else:
        client = lab.client(NAMES[source], socket.SOCK_DGRAM, target)
        try:
            said = await lab.ask(client, target, port, timeout)
        finally:
            client.close()
    return said != "silence"
