"""A node with pods and an outside world, as network namespaces of this machine, and sockets inside them.

Sockets are made while the thread is in a namespace and stay there, so servers and clients of all namespaces run in
the test's own event loop: no helper processes. Needs root; everything is removed by ``close``.
"""

import asyncio
import ctypes
import itertools
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import SocketKind

from sampan.network.proxy import NodeReach, ProxyConfig
from sampan.network.proxy.config import FamilyConfig
from sampan.network.proxy.nftables import netlink
from sampan.network.proxy.nftables.netlink import NftNetlink
from sampan.network.proxy.nftables.nft import NftCommand

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

NODE_ADDRESS = "192.0.2.1"
OUTSIDE_ADDRESS = "192.0.2.2"
GATEWAY = "10.244.0.1"
PODS = {"pod1": "10.244.0.2", "pod2": "10.244.0.3", "pod3": "10.244.0.4"}
NODE_ADDRESS6, OUTSIDE_ADDRESS6, GATEWAY6 = "2001:db8::1", "2001:db8::2", "fd00:10:244::1"
PODS6 = {"pod1": "fd00:10:244::2", "pod2": "fd00:10:244::3", "pod3": "fd00:10:244::4"}


def remove_what_killed_runs_left() -> None:
    """Namespaces that are named after a process which is no more."""
    names = [path.name for path in Path("/run/netns").iterdir()] if Path("/run/netns").is_dir() else []
    for name in names:
        match = re.fullmatch(r"splab(\d+)[a-z]+\d?", name)
        if match and not Path(f"/proc/{match[1]}").exists():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


class Lab:
    """``node`` has bridge br0 with the pods and eth0 to ``outside``; all have addresses of both families."""

    def __init__(self, purpose: str = "") -> None:
        self.prefix = f"splab{os.getpid()}{purpose}"
        self.names = ["node", "outside", *PODS]
        self._sctp_ports = itertools.cycle(range(20_000, 60_000))

    def namespace(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def open(self) -> None:
        remove_what_killed_runs_left()
        lines = ["link add br0 type bridge", f"addr add {GATEWAY}/24 dev br0", "link set br0 up", "link set lo up"]
        lines.append(f"addr add {GATEWAY6}/64 dev br0 nodad")
        for name in self.names:
            _ip(f"netns add {self.namespace(name)}")
        node = self.namespace("node")
        lines.append(f"link add eth0 type veth peer name eth0 netns {self.namespace('outside')}")
        lines += [
            f"addr add {NODE_ADDRESS}/24 dev eth0",
            f"addr add {NODE_ADDRESS6}/64 dev eth0 nodad",
            "link set eth0 up",
            f"route add default via {OUTSIDE_ADDRESS}",
            f"route add default via {OUTSIDE_ADDRESS6}",
        ]
        for pod in PODS:
            lines.append(f"link add {pod} type veth peer name eth0 netns {self.namespace(pod)}")
            lines += [
                f"link set {pod} master br0",
                f"link set {pod} type bridge_slave hairpin on",
                f"link set {pod} up",
            ]
        _ip("-batch -", node, "\n".join(lines))
        outside = f"addr add {OUTSIDE_ADDRESS}/24 dev eth0\nlink set eth0 up\nroute add default via {NODE_ADDRESS}"
        outside += f"\naddr add {OUTSIDE_ADDRESS6}/64 dev eth0 nodad\nroute add default via {NODE_ADDRESS6}"
        _ip("-batch -", self.namespace("outside"), outside)
        for pod, address in PODS.items():
            up = f"link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {GATEWAY}"
            up += f"\naddr add {PODS6[pod]}/64 dev eth0 nodad\nroute add default via {GATEWAY6}"
            _ip("-batch -", self.namespace(pod), up)
        with self.inside("node"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
            for tables in ("iptables", "ip6tables"):
                bridge = Path(f"/proc/sys/net/bridge/bridge-nf-call-{tables}")
                if bridge.exists():
                    bridge.write_text("1")

    def close(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], check=False, capture_output=True)

    def command(self, name: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace(name))

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """The thread's network is that namespace's; no await within."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.namespace(name)}", os.O_RDONLY)
        try:
            _setns(there)
            try:
                yield
            finally:
                _setns(here)
        finally:
            os.close(here)
            os.close(there)

    def nft(self, table: str, name: str = "node") -> NftNetlink:
        """nftables of that namespace, as a node's proxy speaks to its own."""

        def connect() -> socket.socket:
            with self.inside(name):
                return netlink.connect()

        return NftNetlink(table, NftCommand(table, self.command(name)), connect)

    def client(self, name: str, kind: SocketKind = SocketKind.SOCK_STREAM, to: str = "") -> socket.socket:
        with self.inside(name):
            made = socket.socket(_family(to), kind)
        made.setblocking(False)
        return made

    def bound(self, name: str, address: str, port: int, kind: SocketKind) -> socket.socket:
        with self.inside(name):
            made = socket.socket(_family(address), kind)
            if ":" in address:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
        made.setblocking(False)
        return made

    async def serve_tcp(self, name: str, port: int, address: str = "0.0.0.0") -> asyncio.Server:
        """Answers every connection with ``NAME CLIENT-ADDRESS``."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name} {writer.get_extra_info('peername')[0]}".encode())
            writer.close()

        return await asyncio.start_server(answer, sock=self.bound(name, address, port, socket.SOCK_STREAM))

    async def serve_udp(self, name: str, port: int, address: str = "0.0.0.0") -> asyncio.DatagramTransport:
        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                self.transport.sendto(f"{name} {addr[0]}".encode(), addr)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            Echo, sock=self.bound(name, address, port, socket.SOCK_DGRAM)
        )
        return transport

    def serve_sctp(self, name: str, address: str) -> "SctpServer":
        """Answers on every port, as long as it is not closed."""
        return SctpServer(self._raw_sctp(name, address), name)

    def _raw_sctp(self, name: str, address: str) -> socket.socket:
        with self.inside(name):
            made = socket.socket(_family(address), socket.SOCK_RAW, socket.IPPROTO_SCTP)
        made.setblocking(False)
        return made

    async def begin_sctp(self, name: str, address: str, port: int, timeout: float = 15) -> str:
        """Whether the first packet of an association is answered: "answered" or "silence"."""
        client = self._raw_sctp(name, address)
        loop, mine = asyncio.get_running_loop(), next(self._sctp_ports)
        try:
            client.connect((address, 0))  # so that nobody else's packets are heard
            client.send(_sctp(mine, port, _INIT, tag=0))
            async with asyncio.timeout(timeout):
                while True:
                    source, target, kind, _ = _read_sctp(client, await loop.sock_recv(client, 2000))
                    if (source, target, kind) == (port, mine, _INIT_ACK):
                        return "answered"
        except TimeoutError:
            return "silence"
        finally:
            client.close()

    def ip(self, name: str, arguments: str) -> None:
        _ip(arguments, self.namespace(name))

    async def get(self, name: str, address: str, port: int, timeout: float = 15, source: str = "") -> str:
        """What a TCP server says to a client in ``name``; "refused" or "silence" otherwise."""
        client = self.client(name, to=address)
        if source:
            client.bind((source, 0))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_connect(client, (address, port))
                return (await loop.sock_recv(client, 200)).decode()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silence"
        finally:
            client.close()

    async def ask(self, client: socket.socket, address: str, port: int, timeout: float = 15) -> str:
        """What a UDP server says."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_sendto(client, b"?", (address, port))
                data, _ = await loop.sock_recvfrom(client, 200)
                return data.decode()
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "silence"


#: Chunks of SCTP (RFC 9260, 3.3.2 and 3.3.3).
_INIT, _INIT_ACK = 1, 2


class SctpServer:
    """Answers whoever begins an association. The packets are our own: a kernel without SCTP sockets routes, translates
    and filters the protocol all the same."""

    def __init__(self, opened: socket.socket, name: str) -> None:
        self._socket, self.name = opened, name
        #: (address, port) of those who began one
        self.heard: list[tuple[str, int]] = []
        asyncio.get_running_loop().add_reader(opened, self._answer)

    def _answer(self) -> None:
        packet, (client, *_) = self._socket.recvfrom(2000)
        source, target, kind, tag = _read_sctp(self._socket, packet)
        if kind == _INIT:
            self.heard.append((client, target))
            self._socket.sendto(_sctp(target, source, _INIT_ACK, tag), (client, 0))

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


def _sctp(source: int, target: int, kind: int, tag: int) -> bytes:
    """A packet of one chunk; ``tag`` is what the other side asked for. The kernel's conntrack looks at all of it."""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, 0x5A5A0000 | source, 65_536, 1, 1, 1)
    head = struct.pack("!HHI", source, target, tag)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def _read_sctp(opened: socket.socket, packet: bytes) -> tuple[int, int, int, int]:
    """Ports, kind of the first chunk, and the tag that its sender asks for. A kernel that has SCTP itself sends shorter
    packets (ABORT)."""
    start = (packet[0] & 15) * 4 if opened.family == socket.AF_INET else 0  # IPv4 hands its own header over
    source, target, _, _, kind, _, _, tag = struct.unpack_from("!HHIIBBHI", packet.ljust(start + 20, b"\0"), start)
    return source, target, kind, tag


def _crc32c(data: bytes) -> int:
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


class LabReach(NodeReach):
    """Looks at the switches and routes of the node's namespace."""

    def __init__(self, lab: Lab, config: ProxyConfig) -> None:
        super().__init__(config, lab.command("node"))
        self.lab = lab

    def _open_loopback(self) -> bool:
        with self.lab.inside("node"):
            return super()._open_loopback()

    def _missing_routes(self) -> list[FamilyConfig]:
        with self.lab.inside("node"):
            return super()._missing_routes()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(arguments: str, namespace: str = "", text: str = "") -> None:
    where = ["-n", namespace] if namespace else []
    subprocess.run(["ip", *where, *arguments.split()], input=text, text=True, check=True, capture_output=True)
