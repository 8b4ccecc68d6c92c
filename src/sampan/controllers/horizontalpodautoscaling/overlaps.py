"""Which autoscalers select the same pods: two that do would pull in two directions, so neither does anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from sampan.api.labels import Selector
from sampan.api.reading import part, text_map
from sampan.api.types import Obj
from sampan.client.keys import ObjectKey

#: comparisons between two turns of the loop
_AT_A_TIME: Final = 2000


class Selectors:
    """The selector of each autoscaler's target, as it was last seen."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Selector]] = {}

    def put(self, key: ObjectKey, selector: Selector) -> None:
        self._known.setdefault(key.namespace, {})[key.name] = selector

    def drop(self, key: ObjectKey) -> None:
        known = self._known.get(key.namespace, {})
        known.pop(key.name, None)
        if not known:
            self._known.pop(key.namespace, None)

    async def selecting(self, namespace: str, pods: Iterable[Obj]) -> list[ObjectKey]:
        """The autoscalers that select any of these pods of the namespace."""
        known = dict(self._known.get(namespace, {}))
        if len(known) < 2:  # one alone disturbs nobody
            return [ObjectKey(namespace, name) for name in known]
        distinct: dict[frozenset[tuple[str, str]], Mapping[str, str]] = {}
        for pod in pods:
            labels = text_map(part(pod, "metadata"), "labels")
            distinct[frozenset(labels.items())] = labels
        found, compared = [], 0
        for name, selector in known.items():
            for labels in distinct.values():
                compared += 1
                if compared % _AT_A_TIME == 0:
                    await asyncio.sleep(0)
                if selector.matches(labels):
                    found.append(ObjectKey(namespace, name))
                    break
        return sorted(found)
