"""Label and field selectors for informers that read the server's cache directly: a part to ask for, and a predicate.

A remote server applies selectors itself; in-process the cache is asked for what can be looked up (a name, one value of
a field), and the predicate decides on that. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.resources import Resource
from sampan.api.transport import Part
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


def plan_part(field_selector: str) -> Part | None:
    """The part of a resource outside of which nothing matches; None: it is all of it. Raises ValueError."""
    if not field_selector:
        return None
    from sampan.api import fields

    parsed = fields.parse(field_selector)
    name, namespace = parsed.exact("metadata.name") or "", parsed.exact("metadata.namespace") or ""
    for requirement in parsed.requirements:
        if requirement.equal and not requirement.field.startswith("metadata."):
            return Part(namespace, name, requirement.field, requirement.value)
    return Part(namespace, name) if name or namespace else None
