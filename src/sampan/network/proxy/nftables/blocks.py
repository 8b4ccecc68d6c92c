"""Numbers for the endpoints of balancing chains. No I/O; one owner.

A chain draws a number below the count of its endpoints and adds the beginning of its block; the map of endpoints says
what the number means. So no chain needs a map of its own: the kernel looks through all maps for the name of a new one.
"""

from __future__ import annotations

from sampan.network.proxy.plan import ServiceKey

_LEAST = 4
#: Numbers are 32 bits wide.
_END = 1 << 32


class BlocksExhausted(Exception):
    """A billion blocks were given away. Nobody handles it: the proxy ends, and is kept by being made anew."""


class Blocks:
    """Invariant: blocks never overlap, and no number is given to two chains, even one after the other: a plan that the
    kernel did not take may still stand behind the first. A chain keeps its block while its endpoints have room in it.
    """

    def __init__(self) -> None:
        self._next = 0
        self._of: dict[ServiceKey, dict[str, tuple[int, int]]] = {}

    def begin(self, key: ServiceKey, chain: str, count: int) -> int:
        """The first number of a block with room for ``count``. Raises BlocksExhausted."""
        chains = self._of.setdefault(key, {})
        first, size = chains.get(chain, (0, 0))
        if size < count:
            size = max(_LEAST, 1 << (count - 1).bit_length())
            first = self._next
            if first + size > _END:
                raise BlocksExhausted
            self._next += size
            chains[chain] = first, size
        return first

    def forget(self, key: ServiceKey) -> None:
        self._of.pop(key, None)
