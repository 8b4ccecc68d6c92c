"""Who may speak for pods of other nodes: VXLAN has no word of its own for it, so packets of the cluster's number that
come from an address which no node has are dropped before they are opened.

A table of nftables, made before the tunnel and taken away with it; a change of one node is one element. ``render`` and
``elements`` are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sampan.network import programs
from sampan.network.routes.ip import RouteError

_SECONDS: Final = 10.0
_ABSENT: Final = "No such file"
#: Where the number stands, in bits from the beginning of the UDP header: after that and VXLAN's flags (RFC 7348).
_NUMBER_AT: Final = (8 + 4) * 8
_SETS: Final = {4: ("known4", "ipv4_addr", "ip"), 6: ("known6", "ipv6_addr", "ip6")}


def render(table: str, number: int, port: int, nodes: Iterable[str]) -> str:
    """The whole table, in place of what there was."""
    ours = f"udp dport {port} @th,{_NUMBER_AT},24 {number:#x}"
    listed = sorted(nodes)
    lines = [f"table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    for name, kind, _ in _SETS.values():
        lines.append(f"  set {name} {{ type {kind}; }}")
    lines.append("  chain input {")
    lines.append("    type filter hook input priority raw; policy accept;")
    lines += [f"    {ours} {family} saddr != @{name} counter drop" for name, _, family in _SETS.values()]
    return "\n".join([*lines, "  }", "}", *elements(table, (), listed)]) + "\n"


def elements(table: str, gone: Iterable[str], new: Iterable[str]) -> list[str]:
    """Commands that take addresses out and in."""
    lines = []
    for verb, addresses in (("delete", sorted(gone)), ("add", sorted(new))):
        for version, (name, _, _) in _SETS.items():
            some = [each for each in addresses if (":" in each) == (version == 6)]
            if some:
                lines.append(f"{verb} element inet {table} {name} {{ {', '.join(some)} }}")
    return lines


class Guard:
    """``number``: VXLAN's, of the cluster. All raise RouteError."""

    def __init__(self, table: str, number: int, port: int, prefix: Sequence[str] = ()) -> None:
        self._table, self._number, self._port, self._prefix = table, number, port, tuple(prefix)
        #: what the table has, if that is known
        self._known: frozenset[str] | None = None

    async def keep(self, nodes: frozenset[str], *, look: bool) -> None:
        """Of these addresses alone. ``look``: the table may be gone."""
        had, self._known = self._known, None  # until it is known to be as wanted
        if look or had is None:
            await self._run(render(self._table, self._number, self._port, nodes))
        elif lines := elements(self._table, had - nodes, nodes - had):
            await self._run("\n".join(lines) + "\n")
        self._known = nodes

    async def remove(self) -> None:
        """Content when it is not there."""
        self._known = None
        try:
            await self._run(f"delete table inet {self._table}\n")
        except RouteError as error:
            if _ABSENT not in str(error):
                raise

    async def _run(self, text: str) -> None:
        try:
            ended = await programs.run(
                ("nft", "-f", "-"), package="nftables", prefix=self._prefix, text=text, seconds=_SECONDS
            )
        except programs.NotRun as error:
            raise RouteError(str(error)) from error
        if ended.code:
            raise RouteError(f"nft: {ended.said.strip()[:300]}")
