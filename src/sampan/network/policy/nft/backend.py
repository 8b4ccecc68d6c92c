"""Applies plans by the program ``nft``: one transaction a change. Not for concurrent use: one caller at a time.

The table outlives the process, so that a restart leaves nothing open; the first change of a new process replaces it as
a whole, in one transaction. Whoever removes the instance removes it (``sampan.network.cni.teardown``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import orjson

from sampan.network import programs
from sampan.network.policy.backend import BackendError, Dropped, Refused
from sampan.network.policy.model import DIRECTIONS, Direction, Policy, Rule
from sampan.network.policy.nft.render import FAMILIES, Table, dropped_set
from sampan.network.policy.plan import Delta
from sampan.network.policy.planner import alone

_SECONDS = 120.0
#: A change of more elements and chains is written out by a thread: it takes milliseconds.
_LONG = 200


class NftBackend:
    """``log_group`` is asked for the group to tell drops to whenever the whole table is written. ``prefix`` puts the
    program into a network namespace (``ip netns exec NAME``)."""

    def __init__(
        self, table: str, prefix: Sequence[str] = (), log_group: Callable[[], int | None] = lambda: None
    ) -> None:
        self._table = Table(table)
        self._prefix = tuple(prefix)
        self._log_group = log_group

    async def apply(self, delta: Delta) -> None:
        if delta.whole:
            self._table = Table(self._table.name, self._log_group())
        if _length(delta) > _LONG:
            text = await asyncio.to_thread(self._table.render, delta)
        else:
            text = self._table.render(delta)
        await self._run("-f", "-", text=text)

    async def refuses(self, policies: Sequence[Policy]) -> bool:
        text = await asyncio.to_thread(Table(f"{self._table.name}.try").render, alone(policies))
        try:
            await self._run("--check", "-f", "-", text=text)
        except Refused:
            return True
        return False

    async def is_there(self) -> bool:
        listed = await self._run("list", "tables", "inet")
        return f"table inet {self._table.name}" in listed.splitlines()

    async def dropped(self) -> Mapping[tuple[str, Direction], Dropped]:
        found: dict[tuple[str, Direction], Dropped] = {}
        for direction in DIRECTIONS:
            for version, _, _ in FAMILIES:
                name = dropped_set(direction, version)
                listed = await self._run("-j", "list", "set", "inet", self._table.name, name, missing="")
                if listed:
                    for address, dropped in counters(orjson.loads(listed)):
                        found[address, direction] = dropped
        return found

    async def remove(self) -> None:
        await self._run("delete", "table", "inet", self._table.name, missing="")

    async def _run(self, *arguments: str, text: str = "", missing: str | None = None) -> str:
        """``missing``: what to return where there is no such table."""
        try:
            ended = await programs.run(
                ("nft", *arguments), package="nftables", prefix=self._prefix, text=text, seconds=_SECONDS
            )
        except programs.NotRun as error:
            raise BackendError(str(error)) from error
        if ended.code:
            if missing is not None and "No such file or directory" in ended.said:
                return missing
            complaint = next((line for line in ended.said.splitlines() if "Error:" in line), ended.said.strip())[:300]
            raise Refused(f"table {self._table.name}: {complaint}")
        return ended.out


def counters(document: Mapping[str, object]) -> list[tuple[str, Dropped]]:
    """The counters of the elements of a set, as ``nft -j`` lists it. Pure."""
    found: list[tuple[str, Dropped]] = []
    entries = document.get("nftables")
    for entry in entries if isinstance(entries, list) else ():
        for element in entry.get("set", {}).get("elem", ()):
            inner = element.get("elem", {}) if isinstance(element, dict) else {}
            counter = inner.get("counter") or {}
            if inner:
                found.append((inner["val"], Dropped(counter.get("packets", 0), counter.get("bytes", 0))))
    return found


def _length(delta: Delta) -> int:
    listed = [rules for rules in delta.policies.values() if rules is not None]
    listed += [(*chain.admin, *chain.baseline) for chain in delta.chains.values() if chain is not None]
    chains = [*delta.policies, *delta.chains, *delta.pods]
    return len(chains) + sum(map(len, delta.elements.values())) + sum(map(_lines, (r for rs in listed for r in rs)))


def _lines(rule: Rule) -> int:
    return (1 + len(rule.peers)) * (1 + len(rule.names)) + len(rule.blocks) + len(rule.ports)
