"""Which policies and bindings a write concerns (apiserver ``policy/matching``)."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.api.resources import NAMESPACES
from sampan.api.types import Obj
from sampan.server.admission.matching import Asked
from sampan.server.admission.policies.compiled import Binding, Constraints, Definition
from sampan.server.admission.webhooks.deciding import selects_namespace, selects_object
from sampan.server.reader import ObjectReader
from sampan.server.write import Write


class Matching:
    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def definition(self, definition: Definition, write: Write, asked: Asked) -> Kind | None:
        """The version in which a policy sees the write; None: it does not concern it. Raises NotFound."""
        return await self._matched(definition.constraints, write, asked)

    async def binding(self, binding: Binding, write: Write, asked: Asked) -> bool:
        """Raises NotFound."""
        return binding.constraints is None or await self._matched(binding.constraints, write, asked) is not None

    async def namespace(self, write: Write, asked: Asked) -> Obj | None:
        """The namespace of the object; None: it is in none. Raises NotFound."""
        if not write.namespace or asked.of_namespaces:
            return None
        found = self._reader.get(NAMESPACES, None, write.namespace)
        found = found or await self._reader.fresh(NAMESPACES, None, write.namespace)
        if found is None:
            raise errors.not_found("namespaces", write.namespace)
        return found

    async def _matched(self, constraints: Constraints, write: Write, asked: Asked) -> Kind | None:
        if not selects_object(constraints.objects, write):
            return None
        requested = write.request_kind or write.kind
        others = write.request.surface.kinds.equivalents(requested) if constraints.equivalent else ()
        if any(rule.matches(asked) for rule in constraints.excluded):
            return None
        if any(rule.matches(asked.of_kind(kind)) for rule in constraints.excluded for kind in others):
            return None
        found = _version(constraints, requested, others, asked)
        if found is None or not await selects_namespace(self._reader, constraints.namespaces, write, asked):
            return None
        return found


def _version(constraints: Constraints, requested: Kind, others: tuple[Kind, ...], asked: Asked) -> Kind | None:
    """The version that a rule names: the one asked for, or another of the same objects."""
    if not constraints.rules or any(rule.matches(asked) for rule in constraints.rules):
        return requested
    for rule in constraints.rules:  # the earlier rule decides the version
        for kind in others:
            if rule.matches(asked.of_kind(kind)):
                return kind
    return None
