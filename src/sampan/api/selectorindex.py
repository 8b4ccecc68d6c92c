"""Which of many selectors match some labels, found by look-ups instead of by asking each. Pure.

A selector that asks a label for one of some values waits under these pairs, any other under its namespace: a pod's
change costs as much as it has labels, not as the namespace has Services, budgets or workloads.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from sampan.api.labels import DOUBLE_EQUALS, EQUALS, IN, Selector

K = TypeVar("K", bound=Hashable)

#: (namespace or None for all), then nothing, or a label's key and value.
_Bucket = tuple[str | None, str, str] | tuple[str | None]


class SelectorIndex(Generic[K]):
    """Invariant: a key is in ``_entries`` and in exactly its own buckets, no bucket is empty."""

    def __init__(self) -> None:
        self._entries: dict[K, tuple[Selector, tuple[_Bucket, ...]]] = {}
        self._buckets: dict[_Bucket, dict[K, Selector]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def put(self, key: K, namespaces: Iterable[str] | None, selector: Selector) -> None:
        """``namespaces`` None: of all."""
        self.drop(key)
        where: Iterable[str | None] = (None,) if namespaces is None else dict.fromkeys(namespaces)
        buckets: list[_Bucket] = []
        if not selector.nothing:
            label, values = _narrowest(selector)
            for namespace in where:
                buckets.extend([(namespace, label, value) for value in values] if label else [(namespace,)])
        for bucket in buckets:
            self._buckets.setdefault(bucket, {})[key] = selector
        self._entries[key] = selector, tuple(buckets)

    def drop(self, key: K) -> None:
        _, buckets = self._entries.pop(key, (None, ()))
        for bucket in buckets:
            held = self._buckets[bucket]
            del held[key]
            if not held:
                del self._buckets[bucket]

    def selector(self, key: K) -> Selector | None:
        entry = self._entries.get(key)
        return entry[0] if entry is not None else None

    def matching(self, namespace: str, labels: Mapping[str, str]) -> Iterator[K]:
        """Each once; do not change the index meanwhile."""
        if not self._entries:
            return
        find = self._buckets.get
        for where in (namespace, None):
            buckets: list[_Bucket] = [(where,), *[(where, label, value) for label, value in labels.items()]]
            for held in map(find, buckets):
                if held:
                    for key, selector in held.items():
                        if selector.matches(labels):
                            yield key


def _narrowest(selector: Selector) -> tuple[str, tuple[str, ...]]:
    """The label, and its values, by which the selector is found; "": none will do."""
    pairs = [(r.key, tuple(dict.fromkeys(r.values))) for r in selector.requirements if r.operator in _EXACT]
    return min(pairs, key=lambda pair: len(pair[1]), default=("", ()))


_EXACT = frozenset((EQUALS, DOUBLE_EQUALS, IN))
