"""The wanted contents of the table, and the transaction from one state to another. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from sampan.network.proxy.rules.values import Chain, Collection, Element, Op, Rule, Table
from sampan.records import dataclass


@dataclass(slots=True)
class Contents:
    """Chains with their rules, and collections with their elements (value by key, "" in sets).

    Elements of dynamic collections belong to the kernel and are never listed here.
    """

    chains: dict[Chain, tuple[str, ...]] = field(default_factory=dict)
    collections: dict[Collection, dict[str, str]] = field(default_factory=dict)

    def merge(self, other: Contents) -> None:
        """Takes over what is new; of two claims to one key the first stays, as with two Services of one external IP."""
        for chain, rules in other.chains.items():
            self.chains.setdefault(chain, rules)
        for collection, elements in other.collections.items():
            mine = self.collections.setdefault(collection, {})
            for key, value in elements.items():
                mine.setdefault(key, value)

    def put(self, collection: Collection, key: str, value: str = "") -> None:
        self.collections.setdefault(collection, {}).setdefault(key, value)


def plan_full(wanted: Contents) -> list[Op]:
    """Replaces whatever is there. ``add`` first, since a table that is missing cannot be deleted."""
    return [Op("add", Table()), Op("delete", Table()), Op("add", Table()), *plan_change(Contents(), wanted)]


def plan_refresh(wanted: Contents) -> list[Op]:
    """Writes all rules and elements of a table that exists again, and leaves to dynamic sets what packets added."""
    emptied: list[Op] = [Op("flush", chain) for chain in wanted.chains]
    emptied += [Op("flush", collection) for collection in wanted.collections if not collection.dynamic]
    return [*emptied, *_fill(wanted)]


def plan_change(present: Contents, wanted: Contents) -> list[Op]:
    """From one state to the other. The order keeps every reference valid: declare, fill, then take away."""
    ops: list[Op] = []
    ops += [Op("add", collection) for collection in wanted.collections if collection not in present.collections]
    ops += [Op("add", chain) for chain in wanted.chains if chain not in present.chains]
    stale: list[Op] = []
    fresh: list[Op] = []
    for collection in [*wanted.collections, *(gone for gone in present.collections if gone not in wanted.collections)]:
        before, after = present.collections.get(collection, {}), wanted.collections.get(collection, {})
        if before != after:
            stale += _elements_missing("delete", collection, before, after)
            fresh += _elements_missing("add", collection, after, before)
    ops += stale
    for chain, rules in wanted.chains.items():
        before_rules = present.chains.get(chain, ())
        if before_rules != rules:
            if before_rules:
                ops.append(Op("flush", chain))
            ops += [Op("add", Rule(chain.name, rule)) for rule in rules]
    ops += fresh
    gone_chains = [chain for chain in present.chains if chain not in wanted.chains]
    # All are emptied before the first is deleted: they may refer to each other.
    ops += [Op("flush", chain) for chain in gone_chains]
    ops += [Op("delete", chain) for chain in gone_chains]
    ops += [Op("delete", collection) for collection in present.collections if collection not in wanted.collections]
    return ops


def _elements_missing(
    verb: str, collection: Collection, some: Mapping[str, str], others: Mapping[str, str]
) -> Iterator[Op]:
    for key, value in some.items():
        if others.get(key) != value:
            element = Element(collection, key, value)
            yield Op("add", element) if verb == "add" else Op("delete", element)


def _fill(wanted: Contents) -> Iterator[Op]:
    for chain, rules in wanted.chains.items():
        for rule in rules:
            yield Op("add", Rule(chain.name, rule))
    for collection, elements in wanted.collections.items():
        for key, value in elements.items():
            yield Op("add", Element(collection, key, value))
