"""Who asks for which part of the table, and what of it two ask for at once. Pure.

Chains and dynamic sets have one owner, by their names. An element may be claimed by several: two Services with one
external IP, or with one endpoint. The owner that comes first in order has it; when that one goes, the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from sampan.network.proxy.rules.table import Contents, plan_change
from sampan.network.proxy.rules.values import Collection, Op

#: (rank, namespace, name): the fixed part, then Services, then host ports.
Owner: TypeAlias = tuple[int, str, str]


class Claims:
    """Invariant: an element is in the table while somebody claims it, with the value of the first of these."""

    def __init__(self) -> None:
        self._contents: dict[Owner, Contents] = {}
        self._elements: dict[Collection, dict[str, dict[Owner, str]]] = {}
        self._holders: dict[Collection, dict[Owner, None]] = {}

    def of(self, owner: Owner) -> Contents | None:
        return self._contents.get(owner)

    def contents(self) -> dict[Owner, Contents]:
        """A copy; the values are never changed."""
        return dict(self._contents)

    def change(self, wanted: Mapping[Owner, Contents | None]) -> list[Op]:
        """Gives these owners what they want instead of what they have, and returns the transaction for it.

        Costs as much as what they have and want, whatever there is of others.
        """
        both = [self._contents.get(owner) for owner in wanted] + list(wanted.values())
        touched: dict[Collection, dict[str, None]] = {}
        for contents in both:
            if contents is not None:
                for collection, elements in contents.collections.items():
                    touched.setdefault(collection, {}).update(dict.fromkeys(elements))
        before = self._part(touched, wanted)
        for owner, contents in wanted.items():
            self._replace(owner, contents)
        return plan_change(before, self._part(touched, wanted))

    def _part(self, touched: Mapping[Collection, Iterable[str]], owners: Iterable[Owner]) -> Contents:
        """Of the table what is touched."""
        part = Contents()
        for owner in owners:
            contents = self._contents.get(owner)
            if contents is not None:
                part.chains.update(contents.chains)
        for collection, keys in touched.items():
            if collection not in self._holders:
                continue
            held = self._elements.get(collection, {})
            part.collections[collection] = {key: _first(held[key]) for key in keys if key in held}
        return part

    def _replace(self, owner: Owner, contents: Contents | None) -> None:
        old = self._contents.pop(owner, None)
        if old is not None:
            for collection, elements in old.collections.items():
                for key in elements:
                    _drop(self._elements[collection], key, owner)
                _drop(self._holders, collection, owner)
                if collection not in self._holders:
                    self._elements.pop(collection, None)
        if contents is None:
            return
        self._contents[owner] = contents
        for collection, elements in contents.collections.items():
            self._holders.setdefault(collection, {})[owner] = None
            held = self._elements.setdefault(collection, {})
            for key, value in elements.items():
                held.setdefault(key, {})[owner] = value


def assemble(contents: Mapping[Owner, Contents]) -> Contents:
    """The whole table, as ``Claims`` has it."""
    whole = Contents()
    for owner in sorted(contents):
        whole.merge(contents[owner])
    return whole


def _first(claims: Mapping[Owner, str]) -> str:
    values = iter(claims.items())
    owner, value = next(values)
    for other, other_value in values:
        if other < owner:
            owner, value = other, other_value
        elif not value and not other_value:
            return value  # a set: all say the same
    return value


def _drop(held: dict, key: object, owner: Owner) -> None:  # type: ignore[type-arg]  # of any two kinds
    claims = held.get(key)
    if claims is not None:
        claims.pop(owner, None)
        if not claims:
            del held[key]
