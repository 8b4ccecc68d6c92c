"""What Gateways have of the machine's ports, the older first: they share a port, and not what cannot be shared. Pure.

A port speaks TLS or it does not, and asks all its clients for certificates of the same authorities: else one Gateway's
clients would be let in by what another one believes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import field

from sampan.edge.gateway.observed import Key
from sampan.records import dataclass

#: port → (address, what is claimed) → by whom first
_Claimed = dict[int, dict[tuple[str, Hashable], Key]]


@dataclass(slots=True)
class Claims:
    _protocols: _Claimed = field(default_factory=dict)
    _authorities: _Claimed = field(default_factory=dict)

    def protocol(self, port: int, bind: Sequence[str], key: Key, *, secure: bool) -> Key | None:
        """None: it is had; else who has it by the other protocol. ``bind``: addresses, "" all."""
        return _claim(self._protocols, port, bind, secure, key)

    def authority(self, port: int, bind: Sequence[str], key: Key, authority: str) -> Key | None:
        """``authority``: who signs clients' certificates; "": none is asked for."""
        return _claim(self._authorities, port, bind, authority, key)


def _claim(claimed: _Claimed, port: int, bind: Sequence[str], wanted: Hashable, key: Key) -> Key | None:
    there = claimed.setdefault(port, {})
    other = next((owner for owner in _others(there, bind, wanted) if owner != key), None)
    if other is None:
        for address in bind:
            there.setdefault((address, wanted), key)
    return other


def _others(there: dict[tuple[str, Hashable], Key], bind: Sequence[str], wanted: Hashable) -> Iterable[Key]:
    """Few: what is had is had by one protocol and authority an address."""
    for (address, what), owner in there.items():
        if what != wanted and (not address or "" in bind or address in bind):
            yield owner
