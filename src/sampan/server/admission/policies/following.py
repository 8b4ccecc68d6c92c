"""The policies that there are, with their bindings, in the order of their names.

Followed through the reader; compiled once a change, in a thread, when the next write asks. Which of them can concern a
resource at all is remembered, so that a write that concerns none costs a look-up. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sampan.api.expressions.policies import Policy, compile_mutating, compile_validating
from sampan.api.kind import Kind
from sampan.api.reading import part, text
from sampan.api.registry import Registry
from sampan.api.resources import Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.admission.matching import GROUP
from sampan.server.admission.policies.compiled import Binding, Definition, Hook, binding_of, definition_of
from sampan.server.reader import ObjectReader
from sampan.server.threads import aside

_NONE: tuple[Hook, ...] = ()
_Gvk: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """Which resources hold policies and bindings, and what compiles a policy's spec."""

    policies: Resource
    bindings: Resource
    compile: Callable[[Obj], Policy]


def _family(kind: str, plural: str, compile_: Callable[[Obj], Policy]) -> Family:
    return Family(
        Resource(GROUP, "v1", plural, kind, False),
        Resource(GROUP, "v1", f"{kind.lower()}bindings", f"{kind}Binding", False),
        compile_,
    )


VALIDATING: Final = _family("ValidatingAdmissionPolicy", "validatingadmissionpolicies", compile_validating)
MUTATING: Final = _family("MutatingAdmissionPolicy", "mutatingadmissionpolicies", compile_mutating)


class Policies:
    """Invariant: once started, a policy is in ``_definitions`` as the reader has it, or in ``_changed``."""

    def __init__(self, reader: ObjectReader, family: Family) -> None:
        self._reader, self._family = reader, family
        self._started = False
        self._definitions: dict[str, Definition] = {}
        #: what has to be compiled anew; None: it is gone
        self._changed: dict[str, Obj | None] = {}
        self._compiling = asyncio.Lock()
        self._bindings: dict[str, Binding] = {}
        #: the policies that something binds; None: to be put together
        self._hooks: tuple[Hook, ...] | None = _NONE
        #: for the kinds that were served when it was made
        self._kinds: Registry | None = None
        self._concerned: dict[_Gvk, tuple[Hook, ...]] = {}
        self._equivalents: dict[_Gvk, tuple[Kind, ...]] = {}

    async def concerning(self, kind: Kind, kinds: Registry) -> tuple[Hook, ...]:
        """The bound policies with a rule on the resource of this kind, in any of its versions."""
        if not self._started:
            self._start()
        if self._changed:
            await self._compile()
        if self._hooks is None:
            self._hooks = self._bound()
            self._concerned.clear()
        if not self._hooks:
            return _NONE
        if kinds is not self._kinds:
            self._kinds = kinds
            self._concerned.clear()
            self._equivalents.clear()
        gvk = kind.group, kind.version, kind.kind
        found = self._concerned.get(gvk)
        if found is None:
            resources = {(each.group, each.plural) for each in (kind, *self.equivalents(kind, kinds))}
            found = self._concerned[gvk] = tuple(
                hook for hook in self._hooks if any(hook.definition.constraints.concern(*each) for each in resources)
            )
        return found

    def equivalents(self, kind: Kind, kinds: Registry) -> tuple[Kind, ...]:
        """The other kinds through which the same stored objects are served."""
        gvk = kind.group, kind.version, kind.kind
        found = self._equivalents.get(gvk)
        if found is None:
            stored = kinds.storage(kind)
            served = (each for each in kinds.kinds() if each is not kind and each.kind == kind.kind)
            found = self._equivalents[gvk] = tuple(each for each in served if kinds.storage(each) is stored)
        return found

    def _start(self) -> None:
        self._started = True
        for resource, changed in (
            (self._family.policies, self._policy_changed),
            (self._family.bindings, self._binding_changed),
        ):
            self._reader.subscribe(resource, changed, keep=False)
            for obj in self._reader.list(resource):
                changed("ADDED", obj, None, 0)

    def _policy_changed(self, event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
        self._changed[text(part(obj, "metadata"), "name")] = obj if event != "DELETED" else None

    def _binding_changed(self, event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
        name = text(part(obj, "metadata"), "name")
        self._bindings.pop(name, None)
        if event != "DELETED":
            self._bindings[name] = binding_of(obj)
        self._hooks = None

    async def _compile(self) -> None:
        """Whoever asks meanwhile waits for it: a write that comes after a change of a policy sees the change."""
        async with self._compiling:
            while self._changed:
                name, obj = next(iter(self._changed.items()))
                definition = await aside(self._compiled, obj) if obj is not None else None
                if self._changed.get(name) is not obj:
                    continue  # it has changed again
                del self._changed[name]
                self._definitions.pop(name, None)
                if definition is not None:
                    self._definitions[name] = definition
                self._hooks = None

    def _compiled(self, obj: Obj) -> Definition:
        return definition_of(obj, self._family.compile(part(obj, "spec")))

    def _bound(self) -> tuple[Hook, ...]:
        bound: dict[str, list[Binding]] = {}
        for name in sorted(self._bindings):
            bound.setdefault(self._bindings[name].policy, []).append(self._bindings[name])
        return tuple(
            Hook(self._definitions[name], tuple(bound[name])) for name in sorted(self._definitions) if name in bound
        )
