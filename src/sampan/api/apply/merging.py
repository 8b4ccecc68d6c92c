"""An applied configuration laid over the live object, along its shape.

Source: structured-merge-diff ``typed/merge.go``. Results share what is below with their arguments; the caller owns
both.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from sampan.api.apply.shapes import Keyed, Leaf, Shape, Values


def merge(shape: Shape, live: Any, config: Any) -> Any:
    """The value with what ``config`` says; both are there. A null in ``config`` counts as an empty object or list
    where there is something, and stays null where there is nothing."""
    if isinstance(shape, Leaf):
        return config
    if isinstance(shape, Keyed | Values):
        if isinstance(live, list) and live and (config is None or isinstance(config, list)):
            return _items(shape, live, config or [])
        return config
    if isinstance(live, dict) and live and (config is None or isinstance(config, dict)):
        return _fields(shape, live, config or {})
    return config


def _fields(shape: Shape, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    result = dict(live)
    for name, value in config.items():
        if name in live:
            found = shape.field(name)
            result[name] = value if found is None else merge(found[1], live[name], value)
        else:
            result[name] = value
    return result


def _items(shape: Keyed | Values, live: list[Any], config: list[Any]) -> list[Any]:
    """The order of both is kept as far as they agree: items that only one has stand where they stood among those that
    both have, and those that both have stand as in ``config``."""
    inner = shape.items
    ours = [(shape.element(item), item) for item in config]
    theirs = [(shape.element(item), item) for item in live]
    wanted = dict(ours)
    present: dict[str | None, Any] = {}
    for element, item in theirs:
        # of what the live object has twice, none is merged with the configuration's
        present[element] = None if element in present else item
    shared = deque(element for element, _ in ours if element in present)
    result: list[Any] = []
    merged: set[str | None] = set()

    def take(element: str | None, item: Any) -> None:
        before = present.get(element)
        result.append(item if before is None else merge(inner, before, item))
        merged.add(element)

    left = right = 0
    while left < len(theirs) or right < len(ours):
        if left < len(theirs):
            element, item = theirs[left]
            if right < len(ours):
                if element == ours[right][0]:
                    take(element, wanted[element])
                    left, right = left + 1, right + 1
                    if shared:
                        shared.popleft()
                    continue
                if element in wanted and shared and shared[0] != element:
                    left += 1  # shared, and its turn comes later
                    continue
            if element not in wanted:
                result.append(item)
                left += 1
                continue
            if element in merged:
                left += 1
        if right < len(ours):
            element, item = ours[right]
            take(element, item)
            right += 1
            if shared and shared[0] == element:
                shared.popleft()
    return result
