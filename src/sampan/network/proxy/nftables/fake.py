"""nftables in memory, with the real thing's atomicity and errors, for tests and machines without it.

A transaction is applied to a copy that replaces the table when all of it was possible. Rules are kept as text; what
they refer to (chains, sets) is checked, what they do is not.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import field

from sampan.network.proxy.nftables.nft import Names
from sampan.network.proxy.rules.values import (
    Chain,
    Collection,
    Element,
    NftBusy,
    NftError,
    NftExists,
    NftMissing,
    Op,
    Rule,
    Table,
    Verb,
)
from sampan.records import dataclass

_CHAIN_REFERENCE = re.compile(r"\b(?:goto|jump) ([\w/.-]+)")
_COLLECTION_REFERENCE = re.compile(r"@([\w/.-]+)")


@dataclass(slots=True)
class _Contents:
    chains: dict[str, list[str]] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)

    def texts(self) -> list[str]:
        rules = [text for chain in self.chains.values() for text in chain]
        return rules + [value for elements in self.elements.values() for value in elements.values()]

    def check_references(self, text: str) -> None:
        for name in _CHAIN_REFERENCE.findall(text):
            if name not in self.chains:
                raise NftMissing(f"Error: No such file or directory: chain {name}")
        for name in _COLLECTION_REFERENCE.findall(text):
            if name not in self.collections:
                raise NftMissing(f"Error: No such file or directory: set {name}")


class FakeNft:
    """``applied`` keeps the successful transactions; ``fail_next`` are errors that coming ones raise."""

    def __init__(self) -> None:
        self._contents: _Contents | None = None
        self.applied: list[tuple[Op, ...]] = []
        self.fail_next: list[NftError] = []

    async def apply(self, transaction: Sequence[Op]) -> None:
        if not transaction:
            return
        if self.fail_next:
            raise self.fail_next.pop(0)
        self._contents = self._after(transaction)
        self.applied.append(tuple(transaction))

    async def check(self, transaction: Sequence[Op]) -> None:
        self._after(transaction)

    async def exists(self) -> bool:
        return self._contents is not None

    async def names(self) -> Names:
        contents = self._present(self._contents)
        kinds = {(collection.kind, name) for name, collection in contents.collections.items()}
        return frozenset({("chain", name) for name in contents.chains} | kinds)

    async def elements(self, collection: Collection) -> dict[str, str]:
        contents = self._present(self._contents)
        if collection.name not in contents.collections:
            raise NftMissing(f"Error: No such file or directory: {collection.name}")
        return dict(contents.elements[collection.name])

    def close(self) -> None:
        """Nothing is open."""

    def rules(self, chain: str) -> list[str]:
        return self._present(self._contents).chains[chain]

    def lose_table(self) -> None:
        """As when somebody flushes the ruleset."""
        self._contents = None

    @staticmethod
    def _present(contents: _Contents | None) -> _Contents:
        if contents is None:
            raise NftMissing("Error: No such file or directory: table")
        return contents

    def _after(self, transaction: Sequence[Op]) -> _Contents | None:
        contents = copy.deepcopy(self._contents)
        for verb, target in transaction:
            if isinstance(target, Table):
                if verb == "delete":
                    self._present(contents)
                    contents = None
                elif contents is None:
                    contents = _Contents()
                continue
            present = self._present(contents)
            match target:
                case Chain():
                    _chain(present, verb, target)
                case Rule():
                    _rule(present, target)
                case Collection():
                    _collection(present, verb, target)
                case Element():
                    _element(present, verb, target)
        return contents


def _chain(contents: _Contents, verb: Verb, chain: Chain) -> None:
    if verb == "add":
        contents.chains.setdefault(chain.name, [])
        return
    if chain.name not in contents.chains:
        raise NftMissing(f"Error: No such file or directory: chain {chain.name}")
    if verb == "flush":
        contents.chains[chain.name] = []
        return
    del contents.chains[chain.name]
    if any(chain.name in _CHAIN_REFERENCE.findall(text) for text in contents.texts()):
        raise NftBusy(f"Error: Device or resource busy: chain {chain.name}")


def _rule(contents: _Contents, rule: Rule) -> None:
    if rule.chain not in contents.chains:
        raise NftMissing(f"Error: No such file or directory: chain {rule.chain}")
    contents.check_references(rule.text)
    contents.chains[rule.chain].append(rule.text)


def _collection(contents: _Contents, verb: Verb, collection: Collection) -> None:
    name = collection.name
    if verb == "add":
        if contents.collections.setdefault(name, collection) != collection:
            raise NftExists(f"Error: File exists: {name}")
        contents.elements.setdefault(name, {})
        return
    if name not in contents.collections:
        raise NftMissing(f"Error: No such file or directory: {name}")
    if verb == "flush":
        contents.elements[name] = {}
        return
    if any(name in _COLLECTION_REFERENCE.findall(text) for text in contents.texts()):
        raise NftBusy(f"Error: Device or resource busy: {name}")
    del contents.collections[name], contents.elements[name]


def _element(contents: _Contents, verb: Verb, element: Element) -> None:
    name = element.collection.name
    if name not in contents.collections:
        raise NftMissing(f"Error: No such file or directory: {name}")
    elements = contents.elements[name]
    if verb == "delete":
        if element.key not in elements:
            raise NftMissing(f"Error: No such file or directory: element {element.key}")
        del elements[element.key]
        return
    contents.check_references(element.value)
    if elements.setdefault(element.key, element.value) != element.value:
        raise NftExists(f"Error: File exists: element {element.key}")
