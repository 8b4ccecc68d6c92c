"""Label and field selectors as one predicate, for informers that read the server's cache directly.

A remote server applies selectors itself; in-process the informer has to. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.resources import Resource
from sampan.api.types import Obj

Predicate = Callable[[Obj], bool]


def build_predicate(resource: Resource, label_selector: str, field_selector: str) -> Predicate | None:
    """None when both selectors are empty. Raises ValueError for a selector that does not parse."""
    if not label_selector and not field_selector:
        return None
    # Imported here: the registry is not needed by the many informers that have no selector.
    from sampan.api import fields, labels, registry

    by_labels = labels.parse(label_selector) if label_selector else None
    by_fields = fields.parse(field_selector) if field_selector else None
    kind = registry.registry().by_resource(resource.group, resource.version, resource.plural) if by_fields else None

    def matches(obj: Obj) -> bool:
        meta = obj["metadata"]
        if by_labels is not None and not by_labels.matches(meta.get("labels") or {}):
            return False
        if by_fields is None:
            return True
        values = {"metadata.name": meta["name"], "metadata.namespace": meta.get("namespace", "")}
        if kind is not None:
            values.update(kind.selectable_fields(obj))
        return by_fields.matches(values)

    return matches
