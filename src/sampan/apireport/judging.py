"""What the API server would refuse of a manifest, as far as the manifest alone says it. Pure."""

from __future__ import annotations

from sampan.api import schema
from sampan.api.objects import deep_copy
from sampan.api.reading import text
from sampan.api.registry import registry
from sampan.api.types import Obj


def refusals(obj: Obj) -> list[str]:
    """The faults, in the server's words; none of a kind that is not known, or of what is too odd to be judged here."""
    kind = registry().by_api_version(text(obj, "apiVersion"), text(obj, "kind"))
    if kind is None:
        return []
    given: Obj = {"metadata": {}, **deep_copy(obj)}
    decoded = schema.decode(kind.node, given, kind.kind, collect_unknown=True)
    if decoded.error is not None:
        return [f"cannot be read as {kind.api_version} {kind.kind}: {decoded.error}"]
    try:
        kind.default(given)
        kind.prepare_create(given)
        return [fault.message() for fault in kind.validate(given)]
    except (AttributeError, LookupError, TypeError, ValueError):
        return []
