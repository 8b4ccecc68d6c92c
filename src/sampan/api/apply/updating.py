"""What a create, an update or a patch does to the managed fields: who wrote a field owns it, others lose it.

Source: structured-merge-diff ``merge/update.go``, apimachinery ``managedfields/internal`` (``capmanagers.go``,
``stripmeta.go``, ``skipnonapplied.go``, ``managedfieldsupdater.go``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api.apply import sets
from sampan.api.apply.comparing import Comparison
from sampan.api.apply.elements import SELF
from sampan.api.apply.managers import Identity, Managed, Owned, with_fields
from sampan.api.apply.sets import NONE, Fields

#: entries of updates that an object keeps; the oldest beyond are merged
MOST_UPDATERS: Final = 10
ANCIENT: Final = "ancient-changes"

#: Of an object's metadata, what nobody owns.
_UNOWNED: Final = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
    "resourceVersion",
)  # fmt: skip
UNOWNED: Final[Fields] = {
    "f:apiVersion": NONE,
    "f:kind": NONE,
    "f:metadata": {SELF: NONE, **{f"f:{name}": NONE for name in _UNOWNED}},
}

#: what changed, by the version in which it is seen; a version that is served no longer has None
Comparisons = Mapping[str, Comparison | None]


def track(managed: Managed, comparisons: Comparisons, who: Identity, now: str) -> Managed:
    """The managed fields after an update by ``who``, which wrote ``who.api_version``; ``managed`` itself when nothing
    changed. Not for objects whose fields nobody tracks."""
    comparison = comparisons[who.api_version]
    if comparison is None or comparison.same:
        return managed
    after = yielded(managed, comparisons, who) if managed else {}
    before = managed.get(who)
    taken = sets.difference(comparison.changed, UNOWNED)
    kept = sets.difference(before.fields, comparison.removed) if before is not None else NONE
    fields = sets.union(kept, taken)
    if before is not None and fields is before.fields:
        if taken:
            after[who] = Owned(fields, who.api_version, now, before.entry)
    elif fields:
        after[who] = Owned(fields, who.api_version, now if taken or before is None else before.time)
    else:
        after.pop(who, None)
    return capped(after)


def yielded(managed: Managed, comparisons: Comparisons, who: Identity) -> Managed:
    """What everybody but ``who`` still owns when he has changed this: what he changed, or removed, they do not."""
    if len(managed) == 1 and who in managed:
        return dict(managed)
    after: Managed = {}
    changed = {version: found and found.changed for version, found in comparisons.items()}
    for key, owned in managed.items():
        if key != who:
            comparison, written = comparisons.get(owned.api_version), changed.get(owned.api_version)
            if comparison is None or written is None:
                continue
            rest = sets.difference(sets.difference(owned.fields, written), comparison.removed)
            if not rest:
                continue
            if rest is not owned.fields:
                owned = with_fields(owned, rest)
        after[key] = owned
    return after


def capped(managed: Managed) -> Managed:
    """Not more than ten entries of updates: the oldest of a version become one."""
    if len(managed) <= MOST_UPDATERS:
        return managed
    updaters = [key for key in managed if key.operation == "Update"]
    excess = len(updaters) - MOST_UPDATERS
    if excess <= 0:
        return managed
    after = dict(managed)
    first: dict[str, Identity] = {}
    for key in sorted(updaters, key=lambda key: (managed[key].time, _text(key))):
        if excess <= 0:
            break
        version = key.api_version
        if version not in first:
            first[version] = key
            continue
        bucket = Identity(ANCIENT, "Update", "", version)
        if bucket not in after:
            after[bucket] = with_fields(after.pop(first[version]), managed[first[version]].fields)
        merged = sets.union(after[key].fields, after[bucket].fields)
        if key != bucket:
            time = after.pop(key).time
            after[bucket] = Owned(merged, version, time)
            excess -= 1
    return after


def _text(key: Identity) -> str:
    """Upstream sorts by the JSON of the identity."""
    return f"{key.manager}\0{key.operation}\0{key.api_version}\0{key.subresource}"
