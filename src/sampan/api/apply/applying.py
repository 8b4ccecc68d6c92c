"""What a server-side apply does: the merged object, and the managed fields after it.

An apply may have to see the object in other versions (of earlier applies, of other managers), and to convert it may
mean to ask somebody; so this is a generator of steps (``Conversion``) that its caller answers: pure, and the same for
conversions that are at hand and those that are not. Source: structured-merge-diff ``merge/update.go``, apimachinery
``managedfields/internal/structuredmerge.go``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from sampan.api.apply import sets
from sampan.api.apply.comparing import Comparison, compare
from sampan.api.apply.extraction import set_of, with_named
from sampan.api.apply.managers import Identity, Managed, Owned, owned_by_apply
from sampan.api.apply.merging import merge
from sampan.api.apply.removing import remove
from sampan.api.apply.sets import NONE, Fields
from sampan.api.apply.shapes import Shape
from sampan.api.apply.updating import UNOWNED, capped, yielded
from sampan.api.types import Obj
from sampan.records import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as one version of its kind has it."""

    api_version: str
    shape: Shape
    obj: Obj


@dataclass(frozen=True, slots=True)
class Conversion:
    """Asks for an object in another version; the answer is None when that version is served no longer."""

    seen: Seen
    api_version: str


Steps = Generator[Conversion, Seen | None, T]


class Conflicts(Exception):
    """What the apply would take from others: the members each owns, by manager."""

    def __init__(self, found: dict[Identity, Fields]) -> None:
        super().__init__("conflicts")
        self.found = found


def in_version(seen: Seen, api_version: str) -> Steps[Seen | None]:
    if seen.api_version == api_version:
        return seen
    return (yield Conversion(seen, api_version))


def comparisons(old: Seen, new: Seen, versions: Iterable[str], reset: Fields) -> Steps[dict[str, Comparison | None]]:
    """What changed, as each of these versions sees it; ``reset``: what the strategy does not let change."""
    found: dict[str, Comparison | None] = {
        old.api_version: compare(old.shape, old.obj, new.obj).without(reset),
    }
    for version in versions:
        if version not in found:
            before = yield from in_version(old, version)
            after = (yield from in_version(new, version)) if before is not None else None
            if before is None or after is None:
                found[version] = None
            else:
                found[version] = compare(before.shape, before.obj, after.obj).without(reset)
    return found


@dataclass(frozen=True, slots=True)
class Applied:
    """``obj`` None: the live object has it all already."""

    obj: Obj | None
    managed: Managed


def apply(
    live: Seen, config: Obj, managed: Managed, who: Identity, now: str, reset: Fields, *, force: bool
) -> Steps[Applied]:
    """Raises Conflicts. ``config`` was checked; it, and what ``live`` holds, become part of the result."""
    version, shape = live.api_version, live.shape
    last = managed.get(who)
    fields = sets.without(set_of(shape, config), reset)
    ours = owned_by_apply(fields, version, "")
    merged = Seen(version, shape, merge(shape, live.obj, config))
    new = yield from _pruned(merged, {**managed, who: ours}, last, fields)
    found = yield from comparisons(live, new, {owned.api_version for owned in managed.values()}, reset)
    if not force and (conflicts := _conflicts(managed, found, who)):
        raise Conflicts(conflicts)
    after = yielded(managed, found, who)
    own = found[version]
    same = own is None or own.same
    kept = sets.difference(fields, UNOWNED)
    if kept:
        after[who] = _owned(kept, version, last, (last.time if last is not None else "") if same else now)
    else:
        after.pop(who, None)
    return Applied(None if same else new.obj, capped(after))


def _owned(fields: Fields, version: str, last: Owned | None, time: str) -> Owned:
    """What stands there already is not written anew."""
    if last is not None and last.entry is not None and last.api_version == version and last.fields == fields:
        return Owned(last.fields, version, time, last.entry)
    return owned_by_apply(fields, version, time)


def _conflicts(managed: Managed, found: dict[str, Comparison | None], who: Identity) -> dict[Identity, Fields]:
    conflicts: dict[Identity, Fields] = {}
    for key, owned in managed.items():
        comparison = found[owned.api_version]
        if key != who and comparison is not None:
            taken = sets.intersection(owned.fields, comparison.changed)
            if taken:
                conflicts[key] = taken
    return conflicts


def _pruned(merged: Seen, managed: Managed, last: Owned | None, fields: Fields) -> Steps[Seen]:
    """Without what this manager applied last time, leaves out now, and no other owns."""
    if last is None or not last.fields:
        return merged
    if last.api_version == merged.api_version and not sets.difference(last.fields, fields):
        return merged
    converted = yield from in_version(merged, last.api_version)
    if converted is None:
        return merged
    named = with_named(converted.shape, last.fields)
    pruned = _without(converted, named)
    pruned = yield from _with_owned(converted, pruned, managed)
    there = yield from in_version(pruned, last.api_version)
    if there is None:
        return merged
    gone = sets.difference(_named_set(converted), _named_set(there))
    result = _without(converted, sets.intersection(gone, named))
    back = yield from in_version(result, merged.api_version)
    return merged if back is None else back


def _with_owned(merged: Seen, pruned: Seen, managed: Managed) -> Steps[Seen]:
    """What was pruned and anybody owns, in any version, is there again. The version at hand comes first: without what
    conversions need there might be none."""
    found: dict[str, Fields] = {merged.api_version: NONE}
    for owned in managed.values():
        found[owned.api_version] = sets.union(found.get(owned.api_version, NONE), owned.fields)
    for version, fields in found.items():
        if not fields:
            continue
        whole = yield from in_version(merged, version)
        part = (yield from in_version(pruned, version)) if whole is not None else None
        if whole is None or part is None:
            continue
        keep = sets.union(_named_set(part), with_named(whole.shape, fields))
        pruned = _without(whole, sets.difference(_named_set(whole), keep))
        merged = whole
    return pruned


def _named_set(seen: Seen) -> Fields:
    return with_named(seen.shape, set_of(seen.shape, seen.obj))


def _without(seen: Seen, gone: Fields) -> Seen:
    if not gone:
        return seen
    rest: Obj = remove(seen.shape, seen.obj, gone) or {}
    # who an object is belongs to nobody, and no conversion can do without
    for name in ("apiVersion", "kind", "metadata"):
        if name not in rest and name in seen.obj:
            rest[name] = _who_it_is(seen.obj["metadata"]) if name == "metadata" else seen.obj[name]
    return Seen(seen.api_version, seen.shape, rest)


def _who_it_is(metadata: Obj) -> Obj:
    return {name: metadata[name] for name in ("name", "namespace", "uid", "creationTimestamp") if name in metadata}
