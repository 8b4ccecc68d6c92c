"""Transactions for ``iptables-restore``: the text, and the programs that take it.

One module speaks iptables. A table of one family is changed at once. When a later one is refused, what went before
it stays changed: the error says so by being ``NftUnavailable``, and the caller writes everything anew.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence

from sampan.network import programs
from sampan.network.proxy.iptables.names import Names
from sampan.network.proxy.rules.values import Chain, Collection, Element, NftError, NftUnavailable, Op, Rule, Table

BUILTIN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
_TABLES = ("raw", "nat", "filter")
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
#: For the lock of the older iptables, which has one.
_WAIT = ("-w", "10")
#: A transaction of more operations is written by a thread: it takes milliseconds.
_LONG = 500


class Block:
    """What is to be done in one table of one family."""

    def __init__(self) -> None:
        self.declared: dict[str, None] = {}
        self.lines: list[str] = []
        self.ends: list[str] = []

    def add(self, op: Op, chain: str) -> None:
        verb, target = op
        match target:
            case Rule(_, text):
                self.lines.append(f"-A {chain} {text}")
            case Element(_, key, _) if verb == "delete":
                self.lines.append(f"-D {chain} {key}")
            case Element(_, key, _):
                # Before what others have there.
                self.lines.append(f"-I {chain} 1 {key}" if chain in BUILTIN else f"-A {chain} {key}")
            case _ if chain in BUILTIN:
                pass
            case _:
                self.declared[chain] = None  # made, or emptied where it is
                if verb == "delete":
                    self.ends.append(f"-X {chain}")

    def text(self, table: str) -> str:
        declared = [f":{chain} - [0:0]" for chain in self.declared]
        return "\n".join([f"*{table}", *declared, *self.lines, *self.ends, "COMMIT", ""])


def blocks(transaction: Iterable[Op]) -> dict[tuple[int, str], Block]:
    """By family and table. Tables themselves have no place in it. Pure."""
    found: dict[tuple[int, str], Block] = {}
    for op in transaction:
        match op.object:
            case Chain(name) | Collection(name):
                path = name
            case Rule(chain):
                path = chain
            case Element(collection):
                path = collection.name
            case _:
                continue
        version, table, chain = path.split("/")
        found.setdefault((int(version), table), Block()).add(op, chain)
    return found


def clean(block: Block, names: Names, saved: str) -> None:
    """Takes away what ``iptables-save`` shows of the instance's, but for the chains that are wanted again. Pure."""
    ours = re.findall(rf"^:({names.pattern}) ", saved, re.MULTILINE)
    leading = re.findall(rf"^-A (\S+) (.*-j {names.pattern}(?: .*)?)$", saved, re.MULTILINE)
    block.ends += [f"-X {chain}" for chain in ours if chain not in block.declared]
    block.declared |= dict.fromkeys(ours)
    block.lines[:0] = [f"-D {chain} {rule}" for chain, rule in leading if chain in BUILTIN]


def is_whole(transaction: Iterable[Op]) -> bool:
    """Whether what is there does not count, or stands where others have their rules too."""
    return any(
        isinstance(op.object, Table)
        or (op.verb == "flush" and isinstance(op.object, Collection) and op.object.name.split("/")[-1] in BUILTIN)
        for op in transaction
    )


class IptablesTables:
    """``prefix`` puts the programs into a network namespace."""

    def __init__(
        self, instance: str, versions: Sequence[int], prefix: Sequence[str] = (), timeout_seconds: float = 120
    ) -> None:
        self._instance = instance
        self._versions = tuple(versions)
        self._prefix = tuple(prefix)
        self._timeout_seconds = timeout_seconds

    async def apply(self, transaction: Sequence[Op]) -> None:
        long = len(transaction) > _LONG
        wanted = await asyncio.to_thread(blocks, transaction) if long else blocks(transaction)
        if is_whole(transaction):
            for version in self._versions:
                for table in _TABLES:
                    saved = await self._run(f"{_PROGRAMS[version]}-save", "-t", table)
                    block = wanted.setdefault((version, table), Block())
                    await asyncio.to_thread(clean, block, Names(self._instance, version), saved)
        done = False
        # Filters come last: they refer to nothing, and refuse what is not translated yet.
        for version, table in sorted(wanted, key=lambda key: (key[0], _TABLES.index(key[1]))):
            block = wanted[version, table]
            text = await asyncio.to_thread(block.text, table) if long else block.text(table)
            try:
                await self._run(f"{_PROGRAMS[version]}-restore", "--noflush", *_WAIT, text=text)
            except NftError as error:
                raise (NftUnavailable(str(error)) if done else error) from error
            done = True

    async def exists(self) -> bool:
        """Whether the chain that everything begins with is there, in every family."""
        for version in self._versions:
            chain = Names(self._instance, version).short("PRE")
            try:
                await self._run(_PROGRAMS[version], *_WAIT, "-t", "nat", "-S", chain)
                await self._run(_PROGRAMS[version], *_WAIT, "-t", "nat", "-C", "PREROUTING", "-j", chain)
            except NftUnavailable:
                raise
            except NftError:
                return False
        return True

    def close(self) -> None:
        """Each call is a program of its own."""

    async def _run(self, *command: str, text: str = "") -> str:
        try:
            ended = await programs.run(
                command, package="iptables", prefix=self._prefix, text=text, seconds=self._timeout_seconds
            )
        except programs.NotRun as error:
            raise NftUnavailable(str(error)) from error
        if ended.code:
            raise NftError(ended.said.strip()[:400] or f"{command[0]} failed")
        return ended.out


async def remove(instance: str, prefix: Sequence[str] = ()) -> None:
    """All that is left of an instance, in both families; content when nothing is. Raises NftError."""
    await IptablesTables(instance, (4, 6), prefix).apply([Op("delete", Table())])
