"""Which objects of a resource a list or watch wants: namespace, name, labels, fields. One engine for every URL form."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import fields
from sampan.api.types import Obj
from sampan.server.options import ListOptions
from sampan.server.target import Target
from sampan.store.cache import CachedEntry


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
        # Another version of the kind may select by fields that the stored one does not have.
        self._own_fields = target.kind is not self.storage.kind and bool(
            set(options.fields.fields()) - {"metadata.name", "metadata.namespace"}
        )
        #: a field that the selection pins: watchers of other values of it cost this one nothing
        self.only = None if self._own_fields else _pinned(options.fields)

    def entries(self, after: str = "") -> Sequence[CachedEntry]:
        """The matching ones in key order, behind the key ``after``."""
        cache = self.storage.cache
        if self.key is not None:
            entry = cache.get(self.key)
            return [entry] if entry is not None and self.matches(entry) else []
        entries = cache.entries(self.prefix, after=after or None)
        return entries if self.everything else [entry for entry in entries if self.matches(entry)]

    def matches(self, entry: CachedEntry) -> bool:
        if self.everything:
            return True
        if not self.labels.matches(entry.labels):
            return False
        if self._own_fields:
            return self._matches_fields(self.view.from_stored_now(entry.object()))
        return self.fields.matches(entry.fields) and (not self.name or entry.fields["metadata.name"] == self.name)

    def matches_object(self, obj: Obj) -> bool:
        """The same of a decoded object of the stored kind."""
        metadata = obj["metadata"]
        if self.name and metadata.get("name") != self.name:
            return False
        if not self.labels.matches(metadata.get("labels")):
            return False
        return self._matches_fields(self.view.from_stored_now(obj) if self._own_fields else obj)

    def _matches_fields(self, obj: Obj) -> bool:
        kind = self.view.kind if self._own_fields else self.storage.kind
        return self.fields.everything or self.fields.matches(fields.object_fields(obj, kind.selectable_fields(obj)))


def _pinned(selector: fields.FieldSelector) -> tuple[str, str] | None:
    for requirement in selector.requirements:
        if requirement.equal and requirement.field != "metadata.namespace":  # which the prefix takes care of
            return requirement.field, requirement.value
    return None
