"""Tunnels by WireGuard: what nodes send each other's pods is encrypted, and comes from nobody else.

Each node has a key pair of its own, which it makes and keeps; the public half, and the port it is reached at, are told
on its Node. A range of pods is taken from the one node alone that has it. The kernel's WireGuard is used, and where it
has none the program ``wireguard-go``, if that is installed; the ``wg`` program configures both.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import orjson

from sampan.network.routes import overlay
from sampan.network.routes.ip import Ip, RouteError
from sampan.network.routes.overlay import WIREGUARD_OVERHEAD
from sampan.network.routes.plan import Link, Route, RoutePlan, Tunnel
from sampan.records import dataclass

FIRST_PORT: Final = 51820
_PORTS_TRIED: Final = 100
_UNKNOWN: Final = ("Unknown device type", "Operation not supported")
_IN_USER_SPACE: Final = "wireguard-go"
_KINDS: Final = ("wireguard", "tun")
#: of one run of ``wg``: arguments of a process have a limit
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Key:
    """Of this node. ``private`` goes nowhere but to the kernel."""

    private: str
    public: str
    port: int

    @property
    def annotation(self) -> str:
        return orjson.dumps({"publicKey": self.public, "port": self.port}).decode()


@dataclass(frozen=True, slots=True)
class PeerOf:
    """Another node, as ``wg`` is told of it."""

    key: str
    endpoint: str
    ranges: tuple[str, ...]


def peers(tunnels: Iterable[Tunnel]) -> dict[str, PeerOf]:
    """By key. Pure."""
    found: dict[str, PeerOf] = {}
    for each in sorted(tunnels):
        host = f"[{each.endpoint}]" if ":" in each.endpoint else each.endpoint
        had = found.get(each.key)
        # The plan gives a key to one node. Were there two, the second's ranges would go to the first.
        if had is None or had.endpoint == f"{host}:{each.port}":
            ranges = (*had.ranges, each.destination) if had else (each.destination,)
            found[each.key] = PeerOf(each.key, f"{host}:{each.port}", ranges)
    return found


def render(key: Key, wanted: Iterable[PeerOf]) -> str:
    """The whole configuration (wg(8)). Pure."""
    lines = ["[Interface]", f"PrivateKey = {key.private}", f"ListenPort = {key.port}"]
    for each in wanted:
        lines += [
            "[Peer]", f"PublicKey = {each.key}", f"Endpoint = {each.endpoint}",
            f"AllowedIPs = {', '.join(each.ranges)}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def changes(had: dict[str, PeerOf], wanted: dict[str, PeerOf]) -> list[tuple[str, ...]]:
    """Words of ``wg set`` for each peer that differs. Pure."""
    gone = [("peer", key, "remove") for key in sorted(had.keys() - wanted.keys())]
    return gone + [
        ("peer", key, "endpoint", peer.endpoint, "allowed-ips", ",".join(peer.ranges))
        for key, peer in sorted(wanted.items())
        if had.get(key) != peer
    ]


def keep_key(file: Path, is_free: Callable[[int], bool]) -> Key:
    """The one of the file, or a new one that is written there. Raises OSError."""
    # Late: few clusters have it.
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        kept = orjson.loads(file.read_bytes())
        private, port = X25519PrivateKey.from_private_bytes(base64.b64decode(kept["privateKey"])), int(kept["port"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        private = X25519PrivateKey.generate()
        port = next((each for each in range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED) if is_free(each)), FIRST_PORT)
        written = {"privateKey": _text(private.private_bytes_raw()), "port": port}
        temporary = file.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(orjson.dumps(written))
        temporary.rename(file)
    return Key(_text(private.private_bytes_raw()), _text(private.public_key().public_bytes_raw()), port)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


class Wireguard:
    """``usual_mtu``: where no interface has this node's address."""

    def __init__(self, device: str, key: Key, usual_mtu: Callable[[], int], prefix: Sequence[str] = ()) -> None:
        self._name, self.key, self._usual_mtu = device, key, usual_mtu
        self._ip = Ip(prefix)
        #: what the device was told, if that is known
        self._laid: dict[str, PeerOf] | None = None

    def routes(self, tunnels: Iterable[Tunnel]) -> frozenset[Route]:
        listed = tuple(tunnels)
        reached = {text for peer in peers(listed).values() for text in peer.ranges}
        return frozenset(Route(each.destination, "", self._name) for each in listed if each.destination in reached)

    async def lay(self, plan: RoutePlan, links: Sequence[Link], *, look: bool) -> None:
        had, self._laid = self._laid, None  # until it is known to be as wanted
        wanted = peers(plan.tunnels)
        if look or had is None:
            await self._ensure_device(plan, links)
            said = render(self.key, wanted.values())
            await self._ip.run("wg", "syncconf", self._name, "/dev/stdin", said=said, package="wireguard-tools")
        else:
            words = changes(had, wanted)
            for at in range(0, len(words), _AT_ONCE):
                some = [word for each in words[at : at + _AT_ONCE] for word in each]
                await self._ip.run("wg", "set", self._name, *some, package="wireguard-tools")
        self._laid = wanted

    async def remove(self) -> None:
        self._laid = None
        if await self._ip.device(self._name) is not None:
            await self._ip.remove_device(self._name)

    async def _ensure_device(self, plan: RoutePlan, links: Sequence[Link]) -> None:
        mtu = overlay.device_mtu(plan, links, WIREGUARD_OVERHEAD, self._usual_mtu())
        there = await self._ip.device(self._name)
        if there is not None and there.kind not in _KINDS:
            await self._ip.remove_device(self._name)
            there = None
        if there is None:
            await self._make()
        addresses = overlay.own_addresses(plan)
        had = there.addresses if there else frozenset()
        lines = [f"addr del {each} dev {self._name}" for each in sorted(had - addresses)]
        lines += [f"addr add {each} dev {self._name}" for each in sorted(addresses - had)]
        if there is None or there.mtu != mtu or not there.up:
            lines = [f"link set {self._name} mtu {mtu} addrgenmode none up", *lines]
        await self._ip.batch(lines)

    async def _make(self) -> None:
        try:
            await self._ip.run("ip", "link", "add", self._name, "type", "wireguard")
        except RouteError as error:
            if not any(text in str(error) for text in _UNKNOWN):
                raise
            if shutil.which(_IN_USER_SPACE) is None:
                raise RouteError(
                    "the kernel of this machine has no WireGuard, and wireguard-go is not installed "
                    "(apt-get install -y wireguard-go)"
                ) from error
            await self._ip.run(_IN_USER_SPACE, self._name, package=_IN_USER_SPACE)
            # Its second process sets the MTU to the program's own as it begins, and answers questions after that.
            await self._ip.run("wg", "show", self._name, "listen-port", package="wireguard-tools")
