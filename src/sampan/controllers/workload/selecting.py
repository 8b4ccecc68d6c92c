"""Who selects whom, found by labels: Services, budgets and sets that select a pod, and the pods that one selects.

A pod's event costs as much as the pod has labels and as many objects as select it; a sync costs the pods selected.
Neither grows with the namespace. Selectors are parsed once a change of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sampan.api.labels import DOUBLE_EQUALS, EQUALS, IN, Selector, SelectorError
from sampan.api.pods.status import node_name
from sampan.api.reading import part, text_map
from sampan.api.selectorindex import SelectorIndex
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import ObjectKey, key_of

LABEL_INDEX = "namespace/label=value"
NODE_INDEX = "node-of-pod"
_EXACT = frozenset((EQUALS, DOUBLE_EQUALS, IN))


class Selectors:
    """The selecting objects of an informer. ``selector_of``: None for one that selects nothing by itself; a selector
    that does not parse selects nothing."""

    def __init__(self, informer: Informer, selector_of: Callable[[Obj], Selector | None]) -> None:
        self._selector_of = selector_of
        self._index: SelectorIndex[ObjectKey] = SelectorIndex()
        informer.add_handler(self._changed)

    def matching(self, obj: Obj) -> list[ObjectKey]:
        """Those that select this object of their namespace."""
        meta = obj["metadata"]
        return list(self._index.matching(meta.get("namespace", ""), text_map(meta, "labels")))

    def _changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        key = key_of(obj)
        if kind == "DELETED":
            self._index.drop(key)
            return
        if kind == "MODIFIED" and previous is not None and _same_spec(obj, previous):
            return
        try:
            selector = self._selector_of(obj)
        except SelectorError:
            selector = None
        if selector is None:
            self._index.drop(key)
        else:
            self._index.put(key, (key.namespace,), selector)


def _same_spec(obj: Obj, previous: Obj) -> bool:
    now, before = part(obj, "spec"), part(previous, "spec")
    return all(now.get(field) == before.get(field) for field in ("selector", "type", "template"))


def index_by_label(informer: Informer) -> None:
    """For ``selected``."""
    informer.add_index(LABEL_INDEX, _labels, holds=True)


def selected(informer: Informer, namespace: str, selector: Selector) -> Sequence[Obj]:
    """The objects of a namespace that a selector selects."""
    found = _narrowest(informer, namespace, selector)
    return [obj for obj in found if selector.matches(text_map(part(obj, "metadata"), "labels"))]


def index_by_node(pods: Informer) -> None:
    """For ``pods_of_node``."""
    pods.add_index(NODE_INDEX, _node, holds=True)


def pods_of_node(pods: Informer, node: str) -> Sequence[Obj]:
    return pods.by_index(NODE_INDEX, node)


def _labels(obj: Obj) -> Iterable[str]:
    meta = part(obj, "metadata")
    return [_pair(meta.get("namespace", ""), key, value) for key, value in text_map(meta, "labels").items()]


def _pair(namespace: str, key: str, value: str) -> str:
    return f"{namespace}/{key}={value}"


def _narrowest(informer: Informer, namespace: str, selector: Selector) -> Iterable[Obj]:
    """By the label that the fewest objects have; all of the namespace when the selector asks for none."""
    if selector.nothing:
        return ()
    asked = [
        [_pair(namespace, requirement.key, value) for value in dict.fromkeys(requirement.values)]
        for requirement in selector.requirements
        if requirement.operator in _EXACT
    ]
    if not asked:
        return informer.list(namespace)
    pairs = min(asked, key=lambda listed: sum(informer.count(LABEL_INDEX, pair) for pair in listed))
    return [obj for pair in pairs for obj in informer.by_index(LABEL_INDEX, pair)]


def _node(pod: Obj) -> Iterable[str]:
    name = node_name(pod)
    return (name,) if name else ()
