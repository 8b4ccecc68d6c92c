"""The selector that an unconstrained pod is spread by: its Services' and its owner's (``helper.DefaultSelector``)."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import labels, objects
from sampan.api.labels import Requirement, Selector, SelectorError
from sampan.api.types import Obj
from sampan.client.informer import Informer
from sampan.scheduler.podinfo import PodInfo


class DefaultSelectors:
    """``owners``: informers by the kind of owner; ReplicationController's selector is a plain map."""

    def __init__(self, services: Informer, owners: Mapping[str, Informer]) -> None:
        self._services, self._owners = services, owners

    def __call__(self, pod: PodInfo) -> Selector | None:
        """None: nothing selects the pod."""
        requirements: dict[Requirement, None] = {}
        for service in self._services.list(pod.namespace):
            wanted = (service.get("spec") or {}).get("selector")
            if wanted and all(pod.labels.get(key) == value for key, value in wanted.items()):
                requirements.update(dict.fromkeys(labels.from_map(wanted).requirements))
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
        selector = (owner.get("spec") or {}).get("selector")
        if reference.get("kind") == "ReplicationController":
            return labels.from_map(selector).requirements
        try:
            return labels.from_label_selector(selector).requirements
        except SelectorError:
            return ()
