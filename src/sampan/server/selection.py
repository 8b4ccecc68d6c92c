"""Which objects of a resource a list or watch wants: namespace, name, labels, fields. One engine for every URL form."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sampan.api import fields
from sampan.api.types import Obj
from sampan.server.options import ListOptions
from sampan.server.target import Target
from sampan.store.cache import CachedEntry, CacheEvent

#: a list whose selectors are longer is not worth keeping
_KEPT_SELECTORS: Final = 2000
#: entries that a selector looks at in one turn of the loop, and where each has to be converted for it
_LOOKED_AT, _CONVERTED = 1000, 50
#: entries that a webhook converts for a selector at a time
_ASKED: Final = 500
#: a page whose selector has found too little among so many goes on in turns
_LOOKED_AT_FOR_A_PAGE = 2000


class Selection:
    def __init__(self, target: Target, options: ListOptions) -> None:
        self.storage, self.view = target.storage, target.view
        self.labels, self.fields = options.labels, options.fields
        namespace = target.namespace
        if not namespace and target.kind.namespaced:
            namespace = options.fields.exact("metadata.namespace") or ""
        self.prefix = target.storage.key_prefix(namespace)
        name = target.name or options.fields.exact("metadata.name") or ""
        #: the one key that can match, when namespace and name are pinned
        self.key = self.storage.key(namespace, name) if name and (namespace or not target.kind.namespaced) else None
        self.name = name
        self.everything = options.everything and not name
        #: the same for two selections that see the same objects in the same version
        self.question = (
            target.storage.serial,
            target.kind.api_version,
            self.prefix,
            self.key,
            options.labels,
            options.fields,
            name,
        )
        #: the same for lists that may be kept under it; None: it takes too much memory itself
        self.kept_as = self.question if options.selectors_length <= _KEPT_SELECTORS else None
        # Another version of the kind may select by fields that the stored one does not have.
        self._own_fields = target.kind is not self.storage.kind and bool(
            set(options.fields.fields()) - {"metadata.name", "metadata.namespace"}
        )
        #: somebody else has to be asked what an object's fields are in this version
        self._asks = target.view.converter is not None and bool(
            set(options.fields.fields()) - {"metadata.name", "metadata.namespace"}
        )
        #: a field that the selection pins: watchers of other values of it cost this one nothing
        self.only = None if self._own_fields or self._asks else _pinned(options.fields)

    async def entries(self, after: str = "", limit: int = 0) -> Sequence[CachedEntry]:
        """The matching ones in key order, behind the key ``after``, as they are when this begins.

        ``limit``: not more than one beyond so many, which shows that there are more.
        """
        cache = self.storage.cache
        if self.key is not None:
            entry = cache.get(self.key) if self.key > after else None
            one = [entry] if entry is not None and self.matches(entry) else []
            return await self._asked(one) if self._asks else one
        if self._asks:
            return await self._asked(
                [e for e in cache.entries(self.prefix, after=after or None) if self.matches(e)], limit
            )
        if self.everything:
            return cache.entries(self.prefix, after=after or None, limit=limit + 1 if limit else 0)
        found: list[CachedEntry] = []
        step = _CONVERTED if self._own_fields else _LOOKED_AT
        if limit:
            for _ in range(0, _LOOKED_AT_FOR_A_PAGE, step):
                portion = cache.entries(self.prefix, after=after or None, limit=step)
                found += filter(self.matches, portion)
                if len(found) > limit or len(portion) < step:
                    return found
                after = portion[-1].key
                if self._own_fields:
                    break
        rest = cache.entries(self.prefix, after=after or None)
        for at in range(0, len(rest), step):
            if at or limit:
                await asyncio.sleep(0)
            found += filter(self.matches, rest[at : at + step])
            if limit and len(found) > limit:
                break
        return found

    async def of(self, entries: Sequence[CachedEntry]) -> Sequence[CachedEntry]:
        """The matching ones of these, which were read at an older revision."""
        if self.everything:
            return entries
        if self._asks:
            return await self._asked([entry for entry in entries if self.matches(entry)])
        found: list[CachedEntry] = []
        step = _CONVERTED if self._own_fields else _LOOKED_AT
        for at in range(0, len(entries), step):
            if at:
                await asyncio.sleep(0)
            found += filter(self.matches, entries[at : at + step])
        return found

    def matches(self, entry: CachedEntry) -> bool:
        if self.everything:
            return True
        if not self.labels.matches(entry.labels):
            return False
        if self._asks:  # by what can be seen at once
            return not self.name or entry.fields.get("metadata.name") == self.name
        if self._own_fields and not entry.damaged:
            return self._matches_fields(self.view.from_stored_now(entry.object()))
        return self.fields.matches(entry.fields) and (not self.name or entry.fields.get("metadata.name") == self.name)

    async def _asked(self, candidates: Sequence[CachedEntry], limit: int = 0) -> Sequence[CachedEntry]:
        """Those of the candidates whose fields match once they are converted; one more than ``limit`` at most.

        Raises ApiError.
        """
        found: list[CachedEntry] = []
        readable = [entry for entry in candidates if not entry.damaged]
        for at in range(0, len(readable), _ASKED):
            portion = readable[at : at + _ASKED]
            objects = await self.view.readables(portion)
            found += [entry for entry, obj in zip(portion, objects, strict=True) if self._matches_fields(obj)]
            if limit and len(found) > limit:
                break
        return found

    async def narrowed(self, events: Sequence[CacheEvent]) -> Sequence[CacheEvent]:
        """Of events that match by what can be seen at once, those that match; as ADDED what comes into the selection,
        and as DELETED what leaves it. Raises ApiError."""
        if not self._asks:
            return events
        result: list[CacheEvent] = []
        for event in events:
            now = event.type != "DELETED" and bool(await self._asked([event.entry]))
            before = False
            if event.type != "ADDED":
                earlier = event.entry if event.type == "DELETED" or event.previous is None else event.previous
                before = bool(await self._asked([earlier]))
            if now or before:
                result.append(event if now and before else event.as_type("ADDED" if now else "DELETED"))
        return result

    def _matches_fields(self, obj: Obj) -> bool:
        kind = self.view.kind if self._own_fields or self._asks else self.storage.kind
        return self.fields.everything or self.fields.matches(fields.object_fields(obj, kind.selectable_fields(obj)))


def _pinned(selector: fields.FieldSelector) -> tuple[str, str] | None:
    for requirement in selector.requirements:
        if requirement.equal and requirement.field != "metadata.namespace":  # which the prefix takes care of
            return requirement.field, requirement.value
    return None
