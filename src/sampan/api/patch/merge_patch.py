"""RFC 7386 JSON merge patch: objects merge, null deletes, everything else replaces. Called by ``apply_patch``;
pure.
"""

from __future__ import annotations

from typing import Any

from sampan.api import objects
from sampan.api.types import Obj


def apply(current: Obj, patch: Obj) -> Obj:
    """A new object; shares nothing with its arguments but managed fields."""
    result = objects.copy_of(current)
    _merge(result, patch)
    return result


def _merge(target: Obj, patch: Obj) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            below = target.get(key)
            if not isinstance(below, dict):
                below = target[key] = {}  # nulls inside a new object are dropped as well (RFC 7386, section 2)
            _merge(below, value)
        else:
            target[key] = objects.deep_copy(value)


def diff(original: Any, modified: Any) -> Obj:
    """The patch that makes ``modified`` of ``original``, which must hold no nulls (the RFC cannot express them)."""
    patch: Obj = {key: None for key in original if key not in modified}
    for key, value in modified.items():
        before = original.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            below = diff(before, value)
            if below:
                patch[key] = below
        elif key not in original or not objects.same(before, value):
            patch[key] = objects.deep_copy(value)
    return patch
