"""Order of merged lists in a strategic merge patch. Called by ``strategic``; pure.

A merged list holds elements that the patch names and elements that only the server has. The first come in the patch's
order, the others in the server's, and the two runs are woven together: a server-only element goes before a patch
element if it stood before it in the server's list. ``merge_key`` empty: a list of scalars, which are their own
identity.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import orjson

from sampan.api import go_text
from sampan.api.errors import BadRequest
from sampan.api.types import Obj


def merge_value(element: Obj, merge_key: str) -> Any:
    if not isinstance(element, dict) or element.get(merge_key) is None:
        raise BadRequest(f"map: {go_text.show(element)} does not contain declared merge key: {merge_key}")
    return element[merge_key]


def identity(value: Any) -> Hashable:
    """A merge key's value made hashable, with ``1`` and ``True`` told apart."""
    if isinstance(value, Hashable):
        return (type(value) is bool, value)
    return (False, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def _identities(items: list[Any], merge_key: str) -> list[Hashable]:
    return [identity(merge_value(item, merge_key) if merge_key else item) for item in items]


def check(patch: list[Any], order: list[Any], merge_key: str) -> None:
    """Raises BadRequest when an element of the patch is not in ``$setElementOrder``, or in another order there."""
    if not patch or not order:
        return
    kept = [item for item in patch if not (merge_key and isinstance(item, dict) and "$patch" in item)]
    remaining = iter(_identities(order, merge_key))
    if not all(wanted in remaining for wanted in _identities(kept, merge_key)):
        raise BadRequest(
            f"The order in patch list:\n{go_text.show(patch)}\n doesn't match $setElementOrder list:\n"
            f"{go_text.show(order)}\n",
        )


def arrange(merged: list[Any], order: list[Any], server: list[Any], merge_key: str) -> list[Any]:
    """``merged`` in the order that ``order`` (the patch's) and ``server`` (the original list) give it."""
    in_patch = ranks(order, merge_key)
    on_server = ranks(server, merge_key)
    named = list(zip(_identities(merged, merge_key), merged, strict=True))
    left = [pair for pair in named if pair[0] not in in_patch]
    left.sort(key=lambda pair: on_server.get(pair[0], len(server)))
    right = [pair for pair in named if pair[0] in in_patch]
    right.sort(key=lambda pair: in_patch[pair[0]])
    result: list[Any] = []
    at = 0
    for key, item in right:
        rank = on_server.get(key)
        while at < len(left) and rank is not None and on_server.get(left[at][0], rank) < rank:
            result.append(left[at][1])
            at += 1
        result.append(item)
    return result + [item for _, item in left[at:]]


def ranks(items: list[Any], merge_key: str) -> dict[Hashable, int]:
    """Each element's first position by identity."""
    found: dict[Hashable, int] = {}
    for index, key in enumerate(_identities(items, merge_key)):
        found.setdefault(key, index)
    return found
