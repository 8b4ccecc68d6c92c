"""Host names of listeners and routes: what both take, and which of two is more exact. A star takes any depth. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that ``narrow`` takes is one that ``wide`` takes. "" takes all."""
    if not wide or wide == narrow:
        return True
    if not wide.startswith("*."):
        return False
    rest = narrow.removeprefix("*")
    suffix = wide[1:]
    if narrow.startswith("*."):
        return rest.endswith(suffix)
    return narrow.endswith(suffix) and len(narrow) > len(suffix)


def intersection(one: str, other: str) -> str | None:
    """The name that takes what both take; None: they share none."""
    if covers(one, other):
        return other
    if covers(other, one):
        return one
    return None


def shared(listener: str, route: Iterable[str]) -> tuple[str, ...]:
    """The names by which a route is reached through a listener, each once; (): none. A route without names has all."""
    wanted = tuple(route) or ("",)
    found = dict.fromkeys(name for each in wanted if (name := intersection(listener, each.lower())) is not None)
    return tuple(found)


class Names:
    """A set of host names, which knows whether a name shares something with one of them, however many there are."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        #: "*.example.com" for each name below it
        self._above: set[str] = set()

    def add(self, name: str) -> None:
        if name not in self._names:
            self._names.add(name)
            self._above.update(_above(name))

    def meets(self, name: str) -> bool:
        if not self._names:
            return False
        return not name or name in self._names or name in self._above or not self._names.isdisjoint(_above(name))


def _above(name: str) -> Iterable[str]:
    """What takes all that ``name`` takes, and more."""
    yield ""
    labels = name.removeprefix("*.").split(".")
    for first in range(0 if name.startswith("*.") else 1, len(labels)):
        above = "*." + ".".join(labels[first:])
        if above != name:
            yield above
