"""Which webhooks a write concerns: rules, then selectors, then match conditions (upstream: ShouldCallHook)."""

from __future__ import annotations

from sampan.api import errors, labels
from sampan.api.kind import Kind
from sampan.api.reading import part
from sampan.api.resources import NAMESPACES
from sampan.api.types import Obj
from sampan.server.admission.matching import Asked
from sampan.server.admission.webhooks.conditions import Conditions
from sampan.server.admission.webhooks.hooks import Hook
from sampan.server.admission.webhooks.subjects import Call, Subject
from sampan.server.reader import ObjectReader
from sampan.server.write import Write


class Deciding:
    def __init__(self, reader: ObjectReader, conditions: Conditions) -> None:
        self._reader, self._conditions = reader, conditions

    async def call_of(self, hook: Hook, write: Write, asked: Asked, subject: Subject) -> Call | None:
        """None: it does not concern the webhook.

        Raises NotFound: the namespace, which decides that, is not there; Forbidden: its conditions cannot be told.
        """
        if not selects_object(hook.objects, write):
            return None
        kind = self._matched(hook, write, asked)
        if kind is None or not await selects_namespace(self._reader, hook.namespaces, write, asked):
            return None
        call = Call(hook, kind)
        return call if await self._conditions.hold(call, write, asked, subject) else None

    def _matched(self, hook: Hook, write: Write, asked: Asked) -> Kind | None:
        """The version that a rule names: the one asked for or, unless only that counts, another of the same objects."""
        requested = write.request_kind or write.kind
        if any(rule.matches(asked) for rule in hook.rules):
            return requested
        if not hook.equivalent:
            return None
        others = write.request.surface.kinds.equivalents(requested)
        for rule in hook.rules:  # the earlier rule decides the version
            for kind in others:
                if rule.matches(asked.of_kind(kind)):
                    return kind
        return None


async def selects_namespace(reader: ObjectReader, selector: labels.Selector, write: Write, asked: Asked) -> bool:
    """Objects without a namespace are always selected, a Namespace by its own labels. Raises NotFound."""
    if selector.everything or (not asked.namespace and not asked.of_namespaces):
        return True
    if asked.of_namespaces and not asked.subresource and asked.operation in ("CREATE", "UPDATE"):
        return selector.matches(_labels(write.obj))
    name = asked.namespace
    found = reader.get(NAMESPACES, None, name) or await reader.fresh(NAMESPACES, None, name)
    if found is None:
        raise errors.not_found("namespaces", name)
    return selector.matches(_labels(found))


def selects_object(selector: labels.Selector, write: Write) -> bool:
    """The object or what it was; what has no labels at all (options of a connection) is never selected by any."""
    if selector.everything:
        return True
    return any(
        selector.matches(_labels(obj)) for obj in (write.obj, write.old) if obj is not None and "metadata" in obj
    )


def _labels(obj: Obj | None) -> dict[str, str]:
    return part(part(obj, "metadata"), "labels")
