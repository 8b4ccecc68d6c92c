"""The selector that an unconstrained pod is spread by: its Services' and its owner's (``helper.DefaultSelector``)."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import labels, objects
from sampan.api.labels import Requirement, Selector, SelectorError
from sampan.api.reading import part, text_map
from sampan.api.selectorindex import SelectorIndex
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import ObjectKey, key_of
from sampan.scheduler.podinfo import PodInfo


class DefaultSelectors:
    """``owners``: informers by the kind of owner; ReplicationController's selector is a plain map. Services are told
    by ``service_changed``: a decision looks at those that select the pod, not at all of the namespace."""

    def __init__(self, owners: Mapping[str, Informer]) -> None:
        self._owners = owners
        self._services: SelectorIndex[ObjectKey] = SelectorIndex()

    def service_changed(self, kind: ChangeType, service: Obj, previous: Obj | None) -> None:
        key, wanted = key_of(service), text_map(part(service, "spec"), "selector")
        if kind == "DELETED" or not wanted:
            self._services.drop(key)
        else:
            self._services.put(key, (key.namespace,), labels.from_map(wanted))

    def __call__(self, pod: PodInfo) -> Selector | None:
        """None: nothing selects the pod."""
        requirements: dict[Requirement, None] = {}
        for key in sorted(self._services.matching(pod.namespace, pod.labels)):
            selector = self._services.selector(key)
            if selector is not None:
                requirements.update(dict.fromkeys(selector.requirements))
        requirements.update(dict.fromkeys(self._owner(pod)))
        return Selector(tuple(requirements)) if requirements else None

    def _owner(self, pod: PodInfo) -> tuple[Requirement, ...]:
        reference = objects.controller_of(pod.obj)
        if reference is None:
            return ()
        informer = self._owners.get(reference.get("kind", ""))
        owner: Obj | None = informer.get(pod.namespace, reference.get("name", "")) if informer is not None else None
        if owner is None:
            return ()
        spec = part(owner, "spec")
        if reference.get("kind") == "ReplicationController":
            return labels.from_map(text_map(spec, "selector")).requirements
        try:
            return labels.from_label_selector(part(spec, "selector") or None).requirements
        except SelectorError:
            return ()
