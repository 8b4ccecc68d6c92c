"""Translations of routes that still hold: what a route says and where its references lead are as they were.

A plan looks at all objects; most of its time would go to translating routes that nobody touched. Used by one plan at a
time; what a plan does not ask for is forgotten after it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.reading import part, parts, text, whole
from sampan.api.types import Obj
from sampan.edge.gateway.backends import Fault, Resolver
from sampan.edge.gateway.translation import Translated, translate
from sampan.edge.model import Backend

#: what a translation depends on
_Key = tuple[int | None, tuple[Backend | Fault, ...]]


class Memory:
    def __init__(self) -> None:
        self._known: dict[str, tuple[_Key, Translated]] = {}
        self._asked: dict[str, tuple[_Key, Translated]] = {}

    def begin(self) -> None:
        """A plan begins."""
        self._known, self._asked = self._asked, {}

    def translate(self, route: Obj, kind: str, resolver: Resolver) -> Translated:
        """Not to be changed by whoever gets it."""
        meta = part(route, "metadata")
        uid, generation = text(meta, "uid"), whole(meta, "generation")
        if not uid or generation is None:
            return translate(route, kind, resolver)
        namespace = text(meta, "namespace")
        leads = tuple(resolver.resolve(ref, kind, namespace) for ref in references_of(route))
        key = generation, leads
        known = self._known.get(uid)
        if known is None or known[0] != key:
            known = key, translate(route, kind, resolver)
        self._asked[uid] = known
        return known[1]


def references_of(route: Obj) -> Iterator[Obj]:
    """To back ends, those of mirrors among them."""
    for rule in parts(part(route, "spec"), "rules"):
        refs = parts(rule, "backendRefs")
        yield from refs
        for each in (*parts(rule, "filters"), *(each for ref in refs for each in parts(ref, "filters"))):
            if mirrored := part(part(each, "requestMirror"), "backendRef"):
                yield mirrored
