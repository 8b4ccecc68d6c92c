"""The sets that rules ask: which pods of the whole cluster are in them, kept up to date change by change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.network.policy.members import Members
from sampan.network.policy.model import PodFacts, PodKey
from sampan.network.policy.plan import Element, NamedPorts, PeerSet, SetKey


class Sets:
    """Invariants: ``_claims[set][element]`` are the pods by which it is there, never none; ``_pending`` is what differs
    from what was told last. A set that nobody refers to lives until the next ``take``: it may be wanted again."""

    def __init__(self) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        self._by_namespace: dict[str, dict[PodKey, PodFacts]] = {}
        self._members: Members[PeerSet] = Members()
        self._named: dict[tuple[str, str], NamedPorts] = {}
        self._references: dict[SetKey, int] = {}
        self._claims: dict[SetKey, dict[Element, dict[PodKey, None]]] = {}
        self._of_pod: dict[PodKey, dict[SetKey, tuple[Element, ...]]] = {}
        self._pending: dict[SetKey, dict[Element, bool]] = {}
        self._told: set[SetKey] = set()
        self._fresh: set[SetKey] = set()
        self._unused: set[SetKey] = set()

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        return self._labels.get(namespace, {})

    def pods_in(self, namespace: str) -> list[PodKey]:
        return list(self._by_namespace.get(namespace, ()))

    def namespaces_with_pods(self) -> list[str]:
        return list(self._by_namespace)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Whether its pods are in other sets now; who knows them calls ``set_pod`` for each."""
        if labels is None:
            self._labels.pop(name, None)
        else:
            self._labels[name] = labels
        return bool(self._members.set_namespace(name, labels))

    def set_pod(self, key: PodKey, facts: PodFacts | None) -> None:
        wanted: dict[SetKey, tuple[Element, ...]] = {}
        if facts is not None:
            self._by_namespace.setdefault(key.namespace, {})[key] = facts
            for peer in self._members.of(key.namespace, facts.labels):
                wanted[peer] = tuple(map(Element, facts.addresses))
            if self._named:
                wanted.update(self._ports(facts))
        elif key in (held := self._by_namespace.get(key.namespace, {})):
            del held[key]
            if not held:
                del self._by_namespace[key.namespace]
        before = self._of_pod.pop(key, {})
        if wanted:
            self._of_pod[key] = wanted
        for each in (*before, *wanted):
            old, new = before.get(each, ()), wanted.get(each, ())
            if old != new:
                for element in new:
                    self._add(each, element, key)
                for element in old:
                    if element not in new:
                        self._remove(each, element, key)

    def refer(self, key: SetKey, pods: Mapping[PodKey, PodFacts]) -> None:
        count = self._references.get(key, 0)
        self._references[key] = count + 1
        if count:
            return
        if key in self._unused:
            self._unused.discard(key)
            return
        self._claims[key] = {}
        if key not in self._told:
            self._fresh.add(key)
        if isinstance(key, PeerSet):
            self._members.put(key, key.peer)
        else:
            self._named[key.port.protocol, key.port.name] = key
        for pod, facts in self._concerned(key, pods):
            elements = self._elements(key, facts)
            if elements:
                self._of_pod.setdefault(pod, {})[key] = elements
                for element in elements:
                    self._add(key, element, pod)

    def release(self, key: SetKey) -> None:
        self._references[key] -= 1
        if not self._references[key]:
            del self._references[key]
            self._unused.add(key)

    def take(self, *, whole: bool) -> tuple[dict[SetKey, bool], dict[SetKey, dict[Element, bool]]]:
        """Sets that are new (True) or gone (False), and elements likewise."""
        gone = {key: False for key in sorted(self._unused, key=str) if key in self._told}
        for key in self._unused:
            self._forget(key)
        self._unused = set()
        if whole:
            fresh = dict.fromkeys(sorted(self._claims, key=str), True)
            elements = {key: dict.fromkeys(self._claims[key], True) for key in fresh}
            self._told = set(fresh)
            self._pending, self._fresh = {}, set()
            return fresh, elements
        changed = {**gone, **dict.fromkeys(sorted(self._fresh, key=str), True)}
        self._told |= self._fresh
        elements = {key: change for key, change in self._pending.items() if change}
        self._pending, self._fresh = {}, set()
        return changed, elements

    def _ports(self, facts: PodFacts) -> dict[SetKey, tuple[Element, ...]]:
        found: dict[SetKey, tuple[Element, ...]] = {}
        for name, protocol, _ in facts.ports:
            key = self._named.get((protocol, name))
            if key is not None:
                found[key] = self._elements(key, facts)
        return found

    def _concerned(self, key: SetKey, pods: Mapping[PodKey, PodFacts]) -> Iterable[tuple[PodKey, PodFacts]]:
        """All pods that may be in a set that comes into use."""
        where = self._members.namespaces_of(key) if isinstance(key, PeerSet) else None
        if where is None:
            return list(pods.items())
        return [each for namespace in sorted(where) for each in self._by_namespace.get(namespace, {}).items()]

    @staticmethod
    def _elements(key: SetKey, facts: PodFacts) -> tuple[Element, ...]:
        """What a pod adds to the set, if it is among those of its peer."""
        if isinstance(key, PeerSet):
            return tuple(map(Element, facts.addresses)) if key.peer.pods.matches(facts.labels) else ()
        protocol, name = key.port
        numbers = [number for port, kind, number in facts.ports if (kind, port) == (protocol, name) and number]
        return tuple(Element(address, number) for address in facts.addresses for number in numbers)

    def _add(self, key: SetKey, element: Element, pod: PodKey) -> None:
        claims = self._claims[key].setdefault(element, {})
        if not claims:
            self._flip(key, element, True)
        claims[pod] = None

    def _remove(self, key: SetKey, element: Element, pod: PodKey) -> None:
        claims = self._claims[key].get(element)
        if claims is None or pod not in claims:
            return
        del claims[pod]
        if not claims:
            del self._claims[key][element]
            self._flip(key, element, False)

    def _flip(self, key: SetKey, element: Element, there: bool) -> None:
        """An element that came and went since the last time, or went and came, is no news."""
        pending = self._pending.setdefault(key, {})
        if element in pending:
            del pending[element]
        else:
            pending[element] = there

    def _forget(self, key: SetKey) -> None:
        for element in self._claims.pop(key, {}).values():
            for pod in element:
                held = self._of_pod.get(pod)
                if held is not None:
                    held.pop(key, None)
                    if not held:
                        del self._of_pod[pod]
        self._pending.pop(key, None)
        self._told.discard(key)
        self._fresh.discard(key)
        if isinstance(key, PeerSet):
            self._members.drop(key)
        else:
            self._named.pop((key.port.protocol, key.port.name), None)
