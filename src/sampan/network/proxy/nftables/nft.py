"""nftables, spoken by one module: transactions as values, their text, and the command that applies them.

A transaction is a sequence of ``Op`` on one table; it happens as a whole or not at all (``nft -f -``). Used by the
service proxy; ``fake.FakeNft`` keeps the same contract in memory. Nothing here knows services. Sources: nft(8) of
nftables 1.0, whose ``add`` of a table, chain or set that exists does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol, TypeAlias

import orjson

from sampan.network import programs
from sampan.network.proxy.rules.values import (
    Chain,
    Collection,
    Element,
    NftBusy,
    NftError,
    NftExists,
    NftMissing,
    NftUnavailable,
    Op,
    Rule,
    Table,
    Tables,
    Verb,
)

#: A transaction of more operations is written by a thread: it takes milliseconds.
_LONG = 500

Names: TypeAlias = frozenset[tuple[str, str]]


class Nft(Tables, Protocol):
    """One table. Implementations pass ``tests/network/test_nft_contract.py``."""

    async def check(self, transaction: Sequence[Op]) -> None:
        """As ``apply`` without the change."""
        ...

    async def names(self) -> Names:
        """("chain" | "set" | "map", name) of everything in the table. Raises NftMissing."""
        ...

    async def elements(self, collection: Collection) -> dict[str, str]:
        """Value by key; values of sets are "". Raises NftMissing."""
        ...


def render_transaction(table: str, transaction: Iterable[Op]) -> str:
    """The text for ``nft -f``. Neighbouring elements of one collection become one command: nft parses that faster."""
    lines: list[str] = []
    for (verb, collection), ops in groupby(transaction, _element_group):
        if collection is None:
            lines.extend(_render_op(table, op) for op in ops)
        else:
            elements = ", ".join(_render_element(op, verb) for op in ops)
            lines.append(f"{verb} element inet {table} {collection.name} {{ {elements} }}")
    return "\n".join(lines) + "\n"


def _element_group(op: Op) -> tuple[Verb, Collection | None]:
    return op.verb, op.object.collection if isinstance(op.object, Element) else None


def _render_element(op: Op, verb: Verb) -> str:
    element = op.object
    assert isinstance(element, Element)
    return f"{element.key} : {element.value}" if element.value and verb == "add" else element.key


def _render_op(table: str, op: Op) -> str:
    verb, target = op
    match target:
        case Table():
            return f"{verb} table inet {table}"
        case Chain(name, hook):
            body = f" {{ {hook} ; policy accept ; }}" if hook and verb == "add" else ""
            return f"{verb} chain inet {table} {name}{body}"
        case Rule(chain, text):
            return f"{verb} rule inet {table} {chain} {text}"
        case Collection(name, kind, kind_type, timeout):
            if verb != "add":
                return f"{verb} {kind} inet {table} {name}"
            flags = f" flags dynamic,timeout ; timeout {timeout}s ;" if timeout else ""
            word = "" if kind_type.startswith("typeof ") else "type "
            return f"add {kind} inet {table} {name} {{ {word}{kind_type} ;{flags} }}"
        case Element():
            raise AssertionError("elements are rendered in groups")


class NftCommand:
    """The real thing. ``prefix`` puts the command into a network namespace (``ip netns exec NAME``)."""

    def __init__(self, table: str, prefix: Sequence[str] = (), timeout_seconds: float = 120) -> None:
        self.table = table
        self._prefix = tuple(prefix)
        self._timeout_seconds = timeout_seconds

    async def apply(self, transaction: Sequence[Op]) -> None:
        if transaction:
            await self._run("-f", "-", text=await self._text(transaction))

    async def check(self, transaction: Sequence[Op]) -> None:
        if transaction:
            await self._run("-c", "-f", "-", text=await self._text(transaction))

    async def _text(self, transaction: Sequence[Op]) -> str:
        if len(transaction) < _LONG:
            return render_transaction(self.table, transaction)
        return await asyncio.to_thread(render_transaction, self.table, transaction)

    async def exists(self) -> bool:
        return f"table inet {self.table}" in (await self._run("list", "tables", "inet")).splitlines()

    async def names(self) -> Names:
        found: set[tuple[str, str]] = set()
        for entry in await self._list("table", "inet", self.table):
            for kind in ("chain", "set", "map"):
                if kind in entry:
                    found.add((kind, entry[kind]["name"]))
        return frozenset(found)

    async def elements(self, collection: Collection) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in await self._list(collection.kind, "inet", self.table, collection.name):
            for element in entry.get(collection.kind, {}).get("elem", []):
                if collection.kind == "map":
                    found[_plain(element[0])] = _plain(element[1])
                else:
                    found[_plain(element)] = ""
        return found

    def close(self) -> None:
        """Each call is a program of its own."""

    async def _list(self, *what: str) -> list[dict[str, Any]]:
        answer: dict[str, list[dict[str, Any]]] = orjson.loads(await self._run("-j", "list", *what))
        return answer["nftables"]

    async def _run(self, *arguments: str, text: str = "") -> str:
        try:
            ended = await programs.run(
                ("nft", *arguments), package="nftables", prefix=self._prefix, text=text, seconds=self._timeout_seconds
            )
        except programs.NotRun as error:
            raise NftUnavailable(str(error)) from error
        if ended.code:
            raise error_of(ended.said)
        return ended.out


def error_of(said: str) -> NftError:
    """The error for what nft wrote; the message keeps the first complaint, not the whole echoed transaction."""
    message = next((line for line in said.splitlines() if "Error:" in line), said.strip())[:400]
    if "No such file or directory" in said:
        return NftMissing(message)
    if "File exists" in said:
        return NftExists(message)
    if "Device or resource busy" in said:
        return NftBusy(message)
    return NftError(message)


def _plain(value: Any) -> str:
    """A key or value of nft's JSON as the text that a transaction uses."""
    if not isinstance(value, dict):
        return str(value)
    if "concat" in value:
        return " . ".join(_plain(part) for part in value["concat"])
    if "elem" in value:
        return _plain(value["elem"]["val"])
    verdict, target = next(iter(value.items()))
    return f"{verdict} {target['target']}" if isinstance(target, dict) else str(verdict)
