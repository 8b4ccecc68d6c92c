"""One dict for all equal field sets of a process: thousands of pods of one template own the same fields.

Sets are read-only by agreement (``sets``). What is kept is bounded; when it is full it begins anew.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sampan.api.apply import sets
from sampan.api.apply.comparing import Comparison
from sampan.api.apply.sets import Fields

#: of text; sets of short names take up to fifty times theirs
_MOST_BYTES: Final = 1024 * 1024
#: a longer set is one object's own (a ConfigMap of a thousand keys)
_LONGEST_BYTES: Final = 16 * 1024
_MOST_ORDERED: Final = 256
_LONGEST_ORDERED: Final = 4 * 1024


class Interned:
    def __init__(self) -> None:
        self._kept: dict[bytes, Fields] = {}
        self._bytes = 0
        #: by the text of a set as it was made
        self._ordered: dict[bytes, Fields] = {}

    def one(self, fields: Fields) -> Fields:
        """The set that stands for all that are written as this one is."""
        text = orjson.dumps(fields)
        found = self._kept.get(text)
        if found is not None:
            return found
        if len(text) > _LONGEST_BYTES:
            return fields
        # Most of a set that is one object's own (the address of a pod is in it) is that of many others.
        fields = {name: self._parts(below) if len(below) > 1 else below for name, below in fields.items()}
        self._keep_one(text, fields)
        return fields

    def _parts(self, fields: Fields) -> Fields:
        return {name: self._part(below) if below else below for name, below in fields.items()}

    def _part(self, fields: Fields) -> Fields:
        text = orjson.dumps(fields)
        found = self._kept.get(text)
        if found is None:
            self._keep_one(text, fields)
            found = fields
        return found

    def _keep_one(self, text: bytes, fields: Fields) -> None:
        self._bytes += len(text)
        if self._bytes > _MOST_BYTES:
            self._kept, self._bytes = {}, len(text)
        self._kept[_copied(text)] = fields

    def ordered(self, fields: Fields) -> Fields:
        """The set in upstream's order. One that was seen before is not ordered again."""
        text = orjson.dumps(fields)
        found = self._ordered.get(text)
        if found is None:
            found = self.one(sets.ordered(fields))
            self._keep(text, found)
        return found

    def written(self, comparison: Comparison, reset: Fields, unowned: Fields) -> Fields:
        """What whoever made an object owns of it, in upstream's order: all that it has, but for what is reset and what
        nobody owns. Objects of one form are worked out once."""
        text = orjson.dumps((comparison.added, comparison.modified, reset))
        found = self._ordered.get(text)
        if found is None:
            changed = comparison.without(reset).changed
            found = self.one(sets.ordered(sets.difference(changed, unowned)))
            self._keep(text, found)
        return found

    def _keep(self, text: bytes, found: Fields) -> None:
        if len(text) <= _LONGEST_ORDERED:
            if len(self._ordered) >= _MOST_ORDERED:
                self._ordered = {}
            self._ordered[_copied(text)] = found

    def share(self, metadata: dict[str, Any]) -> None:
        """Puts the shared sets into the managed fields of freshly decoded metadata."""
        for entry in metadata["managedFields"]:
            fields = entry.get("fieldsV1")
            if fields:
                entry["fieldsV1"] = self.one(fields)


def _copied(text: bytes) -> bytes:
    """What is kept: orjson's own bytes hold on to the buffer of some KiB that they were written to."""
    return bytes(memoryview(text))


#: of this process
SETS: Final = Interned()
