"""Which of many peers a pod is among, found by its labels and its namespace's. Pure.

A pod's change costs as much as it has labels and peers that it is among; a namespace's, as much as peers that begin or
cease to select it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from sampan.api.selectorindex import SelectorIndex
from sampan.network.policy.model import Peer

K = TypeVar("K", bound=Hashable)


class Members(Generic[K]):
    """Invariant: ``_pods`` holds a peer that goes by labels of namespaces once for each namespace in ``_among`` that
    has it, any other peer once."""

    def __init__(self) -> None:
        self._peers: dict[K, Peer] = {}
        #: (peer, "" or one of its namespaces)
        self._pods: SelectorIndex[tuple[K, str]] = SelectorIndex()
        self._by_labels: SelectorIndex[K] = SelectorIndex()
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._among: dict[str, set[K]] = {}
        self._where: dict[K, set[str]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._peers

    def put(self, key: K, peer: Peer) -> None:
        if self._peers.get(key) == peer:
            return
        self.drop(key)
        self._peers[key] = peer
        if peer.namespace:
            self._pods.put((key, ""), (peer.namespace,), peer.pods)
        elif peer.namespaces.everything:
            self._pods.put((key, ""), None, peer.pods)
        else:
            self._by_labels.put(key, None, peer.namespaces)
            for name, labels in self._namespaces.items():
                if peer.namespaces.matches(labels):
                    self._enter(key, name)

    def drop(self, key: K) -> None:
        if self._peers.pop(key, None) is None:
            return
        self._pods.drop((key, ""))
        self._by_labels.drop(key)
        for name in list(self._where.get(key, ())):
            self._leave(key, name)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> set[K]:
        """None: it is gone. Returns the peers that its pods are newly among, or no longer."""
        if labels is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = labels
        after = set(self._by_labels.matching("", labels)) if labels is not None else set()
        before = set(self._among.get(name, ()))
        for key in before - after:
            self._leave(key, name)
        for key in after - before:
            self._enter(key, name)
        return before ^ after

    def of(self, namespace: str, labels: Mapping[str, str]) -> set[K]:
        return {key for key, _ in self._pods.matching(namespace, labels)}

    def has(self, key: K, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod is among one peer."""
        peer = self._peers[key]
        return peer.matches(namespace, self._namespaces.get(namespace, {}), labels)

    def namespaces_of(self, key: K) -> set[str] | None:
        """Where its pods may be; None: anywhere."""
        peer = self._peers[key]
        if peer.namespace:
            return {peer.namespace}
        return None if peer.namespaces.everything else set(self._where.get(key, ()))

    def _enter(self, key: K, name: str) -> None:
        self._pods.put((key, name), (name,), self._peers[key].pods)
        self._among.setdefault(name, set()).add(key)
        self._where.setdefault(key, set()).add(name)

    def _leave(self, key: K, name: str) -> None:
        self._pods.drop((key, name))
        self._among[name].discard(key)
        if not self._among[name]:
            del self._among[name]
        self._where[key].discard(name)
        if not self._where[key]:
            del self._where[key]
