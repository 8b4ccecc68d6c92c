"""Who is told of a store's changes: by prefix, in order, each apart. Used by every store; runs on the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sampan.store.protocol import Change, Listener, Missed

log = logging.getLogger(__name__)

#: directories (namespaces of resources) whose listeners are remembered
_ROUTES = 4096


class Listeners:
    """Invariant: ``_routes[directory]`` are the listeners of every prefix that is a directory and holds it."""

    __slots__ = ("_listeners", "_missed", "_odd_prefixes", "_routes")

    def __init__(self) -> None:
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._missed: dict[int, Missed] = {}
        #: of ``_listeners``: who hears of changes in a directory, found once; and the prefixes that are no directory
        self._routes: dict[str, tuple[Listener, ...]] = {}
        self._odd_prefixes: tuple[str, ...] = ()

    def add(self, prefix: str, listener: Listener, missed: Missed | None = None) -> Callable[[], None]:
        """Returns the remover."""
        if missed is not None:
            self._missed[id(listener)] = missed
        self._listeners[prefix] = (*self._listeners.get(prefix, ()), listener)
        self._forget_routes(prefix)

        def remove() -> None:
            self._missed.pop(id(listener), None)
            rest = tuple(other for other in self._listeners.get(prefix, ()) if other is not listener)
            if rest:
                self._listeners[prefix] = rest
            else:
                self._listeners.pop(prefix, None)
            self._forget_routes(prefix)

        return remove

    def tell(self, change: Change) -> None:
        for listener in self._of(change.key):
            try:
                listener(change)
            except Exception:  # one listener's fault must not cost the others, or the writer, the change
                log.exception("a listener failed at revision %d of %s", change.revision, change.key)

    def tell_missed(self, revision: int, is_there: Callable[[str], bool]) -> None:
        for missed in tuple(self._missed.values()):
            try:
                missed(revision, is_there)
            except Exception:  # one listener's fault must not keep the others from the news
                log.exception("a listener failed at revision %d", revision)

    def _forget_routes(self, changed: str) -> None:
        self._routes.clear()
        if changed and not changed.endswith("/"):
            self._odd_prefixes = tuple(prefix for prefix in self._listeners if prefix and not prefix.endswith("/"))

    def _of(self, key: str) -> tuple[Listener, ...]:
        """With a listener for each of a hundred resources, looking at every prefix would cost more than the commit."""
        directory = key[: key.rfind("/") + 1]
        found = self._routes.get(directory)
        if found is None:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            prefixes = [prefix for prefix in self._listeners if not prefix or prefix.endswith("/")]
            found = tuple(
                listener for prefix in prefixes if directory.startswith(prefix) for listener in self._listeners[prefix]
            )
            self._routes[directory] = found
        for prefix in self._odd_prefixes:
            if key.startswith(prefix):
                found = (*found, *self._listeners[prefix])
        return found
