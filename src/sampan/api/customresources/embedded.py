"""Resources inside a custom resource (``x-kubernetes-embedded-resource``): their type and metadata (apiextensions
``schema/objectmeta``). Metadata is decoded and pruned by the schema's nodes; here it is judged."""

from __future__ import annotations

import contextlib
from typing import Any

from sampan.api import errors, metadata, names, schema
from sampan.api.customresources.bounds import EnoughError, Told
from sampan.api.customresources.parts import Part
from sampan.api.customresources.places import Place, name
from sampan.api.errors import FieldError

Errors = list[FieldError]

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def validate(part: Part, value: Any, place: Place = None) -> Errors:
    """Faults of the resources inside; the object itself is none of them."""
    told = Told()
    with contextlib.suppress(EnoughError):
        _walk(part, value, place, told)
    return told.found


def _walk(part: Part, value: Any, place: Place, told: Told) -> None:
    if "embedded" not in part.traits:
        return
    keywords = part.keywords
    if type(value) is dict:
        if keywords.embedded:
            for fault in resource(value, place):
                told.add(fault)
        for key, item in value.items():
            below, step = keywords.below(key)
            if below is not None:
                _walk(below, item, (place, step), told)
    elif type(value) is list and keywords.items is not None:
        for index, item in enumerate(value):
            _walk(keywords.items, item, (place, index), told)


def resource(value: dict[str, Any], place: Place) -> Errors:
    """apiVersion and kind must be there; metadata need not, but what is there must be right."""
    found: Errors = []
    for key in ("apiVersion", "kind"):
        where, text = name((place, key)), value.get(key, "")
        if type(text) is not str:
            found.append(errors.invalid(where, text, "must be a string"))
        elif not text:
            found.append(errors.required(where))
        elif key == "kind":
            problems = ",".join(names.dns1035_label(text.lower()))
            if problems:
                text_ = f"may have mixed case, but should otherwise match: {problems}"
                found.append(errors.invalid(where, text, text_))
        elif text.count("/") > 1:
            found.append(errors.invalid(where, text, f"unexpected GroupVersion string: {text}"))
    if "metadata" in value:
        found += object_meta(value["metadata"], name((place, "metadata")))
    return found


def object_meta(value: Any, path: str) -> Errors:
    node = schema.load().definition(_OBJECT_META)
    if value is None:
        return []
    problem = schema.check(node, value, "ObjectMeta")
    if problem is not None:
        return [errors.invalid(path, value, problem)]
    return metadata.validate_embedded(value, path)
