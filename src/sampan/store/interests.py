"""Who wants to hear of which changes of a watch cache: found by key, directory or one field, never by asking all.

Used by ``cache``. What a change costs grows with those who may want it, not with those who watch something else: five
thousand nodes that each watch their own pods are one look-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from sampan.store.cachewatch import CacheEvent, Only


class Target(Protocol):
    """A watch or a channel."""

    def push(self, event: CacheEvent) -> None: ...


T = TypeVar("T")
Group: TypeAlias = dict[T, dict[Target, None]]


class Interests:
    def __init__(self, prefix: str) -> None:
        self._start = len(prefix)
        self._by_key: Group[str] = {}
        self._by_directory: Group[str] = {}
        #: of a directory: the field's name, then its value
        self._by_field: dict[str, dict[str, Group[str]]] = {}

    def add(self, target: Target, prefix: str, key: str | None, only: Only | None) -> Callable[[], None]:
        """``only``: nothing but entries whose field has that value concerns the target. Returns the remover."""
        if key is not None:
            return _add(self._by_key, key, target)
        if only is None:
            return _add(self._by_directory, prefix, target)
        name, value = only
        fields = self._by_field.setdefault(prefix, {})
        remove = _add(fields.setdefault(name, {}), value, target)

        def remove_all() -> None:
            remove()
            if not fields.get(name, True):
                del fields[name]
            if not fields and self._by_field.get(prefix) is fields:
                del self._by_field[prefix]

        return remove_all

    def targets(self) -> list[Target]:
        groups = [self._by_key, self._by_directory]
        groups += [values for fields in self._by_field.values() for values in fields.values()]
        return [target for group in groups for targets in group.values() for target in targets]

    def of(self, event: CacheEvent) -> list[Target]:
        found: list[Target] = []
        key = event.entry.key
        if self._by_key and key in self._by_key:
            found += self._by_key[key]
        if not self._by_directory and not self._by_field:
            return found
        end = self._start
        while end:  # the resource's own directory, then the ones below it: the namespace's
            directory = key[:end]
            if directory in self._by_directory:
                found += self._by_directory[directory]
            if directory in self._by_field:
                self._find_by_field(self._by_field[directory], event, found)
            end = key.find("/", end) + 1
        return found

    def _find_by_field(self, fields: dict[str, Group[str]], event: CacheEvent, found: list[Target]) -> None:
        for name, values in fields.items():
            value = event.entry.fields.get(name, "")
            found += values.get(value, ())
            if event.previous is not None and event.previous is not event.entry:
                before = event.previous.fields.get(name, "")
                if before != value:
                    found += values.get(before, ())


def _add(group: Group[str], name: str, target: Target) -> Callable[[], None]:
    group.setdefault(name, {})[target] = None

    def remove() -> None:
        targets = group.get(name)
        if targets is not None:
            targets.pop(target, None)
            if not targets:
                del group[name]

    return remove
