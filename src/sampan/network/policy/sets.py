"""The sets that rules ask: which pods of the whole cluster are in them, kept up to date change by change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from sampan.network.policy.members import Members
from sampan.network.policy.model import PodFacts, PodKey
from sampan.network.policy.plan import Element, PeerSet, SetKey
from sampan.records import dataclass

#: Pods that are looked at before who drives the work may turn to others.
_AT_ONCE = 200


@dataclass(slots=True, eq=False)
class _Held:
    """One set. ``claims``: the pods by which an element is there, never none; ``pending``: what differs from what was
    told last; ``users``: how many refer to it."""

    key: SetKey
    claims: dict[Element, dict[PodKey, None]] = field(default_factory=dict)
    pending: dict[Element, bool] = field(default_factory=dict)
    users: int = 0
    told: bool = False

    def elements_of(self, facts: PodFacts) -> tuple[Element, ...]:
        """What a pod adds, if it is among those of the set's peer."""
        if isinstance(self.key, PeerSet):
            return tuple(map(Element, facts.addresses))
        protocol, name = self.key.port
        numbers = [number for port, kind, number in facts.ports if (kind, port) == (protocol, name) and number]
        return tuple(Element(address, number) for address in facts.addresses for number in numbers)

    def add(self, element: Element, pod: PodKey) -> None:
        claims = self.claims.setdefault(element, {})
        if not claims:
            self._flip(element, True)
        claims[pod] = None

    def remove(self, element: Element, pod: PodKey) -> None:
        claims = self.claims.get(element)
        if claims is None or pod not in claims:
            return
        del claims[pod]
        if not claims:
            del self.claims[element]
            self._flip(element, False)

    def _flip(self, element: Element, there: bool) -> None:
        """An element that came and went since the last time, or went and came, is no news."""
        if element in self.pending:
            del self.pending[element]
        else:
            self.pending[element] = there


class Sets:
    """Invariant: ``_of_pod`` and the claims of sets say the same. A set that nobody refers to lives until the next
    ``take``: it may be wanted again."""

    def __init__(self) -> None:
        self._pods: dict[PodKey, PodFacts] = {}
        self._by_namespace: dict[str, dict[PodKey, None]] = {}
        self._members: Members[_Held] = Members()
        self._named: dict[tuple[str, str], _Held] = {}
        self._held: dict[SetKey, _Held] = {}
        self._of_pod: dict[PodKey, dict[_Held, tuple[Element, ...]]] = {}

    def pods_in(self, namespace: str) -> Iterable[PodKey]:
        return self._by_namespace.get(namespace, ())

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Whether its pods are in other sets now; who is told so calls ``set_pod`` for each."""
        return bool(self._members.set_namespace(name, labels))

    def set_pod(self, key: PodKey, facts: PodFacts | None) -> None:
        wanted: dict[_Held, tuple[Element, ...]] = {}
        if facts is not None:
            self._pods[key] = facts
            self._by_namespace.setdefault(key.namespace, {})[key] = None
            for held in self._members.of(key.namespace, facts.labels):
                wanted[held] = held.elements_of(facts)
            for name, protocol, _ in facts.ports if self._named else ():
                named = self._named.get((protocol, name))
                if named is not None:
                    wanted[named] = named.elements_of(facts)
        elif self._pods.pop(key, None) is not None:
            del self._by_namespace[key.namespace][key]
            if not self._by_namespace[key.namespace]:
                del self._by_namespace[key.namespace]
        before = self._of_pod.pop(key, {})
        if wanted:
            self._of_pod[key] = wanted
        for held in {**before, **wanted}:
            old, new = before.get(held, ()), wanted.get(held, ())
            if old != new:
                for element in new:
                    held.add(element, key)
                for element in old:
                    if element not in new:
                        held.remove(element, key)

    def refer(self, key: SetKey) -> Iterator[None]:
        """One more refers to it, as soon as this is begun. It is complete when this is at its end; between the steps
        pods may change."""
        held = self._held.get(key)
        if held is not None:
            held.users += 1
            return
        held = self._held[key] = _Held(key, users=1)
        if isinstance(key, PeerSet):
            self._members.put(held, key.peer)
            where = self._members.namespaces_of(held)
        else:
            self._named[key.port.protocol, key.port.name] = held
            where = None
        pods = list(self._pods) if where is None else [pod for name in sorted(where) for pod in self.pods_in(name)]
        for index, pod in enumerate(pods):
            if index % _AT_ONCE == _AT_ONCE - 1:
                yield
            facts = self._pods.get(pod)
            if facts is None or held in self._of_pod.get(pod, {}):
                continue  # it changed meanwhile
            if isinstance(key, PeerSet) and not self._members.has(held, pod.namespace, facts.labels):
                continue
            elements = held.elements_of(facts)
            if elements:
                self._of_pod.setdefault(pod, {})[held] = elements
                for element in elements:
                    held.add(element, pod)

    def release(self, key: SetKey) -> None:
        self._held[key].users -= 1

    def take(self, *, whole: bool) -> tuple[dict[SetKey, bool], dict[SetKey, dict[Element, bool]]]:
        """Sets that are new (True) or gone (False), and elements likewise."""
        changed: dict[SetKey, bool] = {}
        elements: dict[SetKey, dict[Element, bool]] = {}
        for key, held in list(self._held.items()):
            if not held.users:
                if held.told and not whole:
                    changed[key] = False
                self._forget(held)
                continue
            if whole or not held.told:
                changed[key] = True
                elements[key] = dict.fromkeys(held.claims, True)
            elif held.pending:
                elements[key] = held.pending
            held.pending, held.told = {}, True
        return changed, elements

    def _forget(self, held: _Held) -> None:
        del self._held[held.key]
        for claims in held.claims.values():
            for pod in claims:
                of_pod = self._of_pod.get(pod)
                if of_pod is not None:
                    of_pod.pop(held, None)
                    if not of_pod:
                        del self._of_pod[pod]
        if isinstance(held.key, PeerSet):
            self._members.drop(held)
        else:
            self._named.pop((held.key.port.protocol, held.key.port.name), None)
