"""The policies that there are, with their bindings, in the order of their names.

Followed through the reader; read once a change, when the next write asks. Which of them can concern a resource at all
is remembered, so that a write that concerns none costs a look-up. Event loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sampan.api.kind import Kind
from sampan.api.reading import part, text
from sampan.api.registry import Registry
from sampan.api.resources import Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.matching import GROUP
from sampan.server.admission.policies.compiled import Binding, Definition, Hook, binding_of, definition_of
from sampan.server.reader import ObjectReader
from sampan.server.threads import aside, is_heavy_value, paced

if TYPE_CHECKING:
    from sampan.api.expressions.policies import Policy

_NONE: tuple[Hook, ...] = ()
_Gvk: TypeAlias = tuple[str, str, str]

#: What is never judged by policies: they themselves, or nobody could take them back; and mere questions.
_EXEMPT: Final = frozenset(
    {
        (GROUP, "validatingadmissionpolicies"),
        (GROUP, "validatingadmissionpolicybindings"),
        (GROUP, "mutatingadmissionpolicies"),
        (GROUP, "mutatingadmissionpolicybindings"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    }
)


def is_exempt(kind: Kind) -> bool:
    return (kind.group, kind.plural) in _EXEMPT


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


def _compile_validating(spec: Obj) -> Policy:
    from sampan.api.expressions.policies import compile_validating  # late: most clusters have no policy

    return compile_validating(spec)


def _compile_mutating(spec: Obj) -> Policy:
    from sampan.api.expressions.policies import compile_mutating  # late: most clusters have no policy

    return compile_mutating(spec)


VALIDATING: Final = _family("ValidatingAdmissionPolicy", "validatingadmissionpolicies", _compile_validating)
MUTATING: Final = _family("MutatingAdmissionPolicy", "mutatingadmissionpolicies", _compile_mutating)


class Policies:
    """Invariant: once started, a policy or binding is kept here as the reader has it, or it is in ``_changed``."""

    def __init__(self, reader: ObjectReader, family: Family) -> None:
        self._reader, self._family = reader, family
        self._started = False
        self._definitions: dict[str, Definition] = {}
        self._bindings: dict[str, Binding] = {}
        #: what has to be read anew, by whether it is a binding, and its name; None: it is gone
        self._changed: dict[tuple[bool, str], Obj | None] = {}
        self._reading = asyncio.Lock()
        #: the policies that something binds; None: to be put together
        self._hooks: tuple[Hook, ...] | None = _NONE
        #: for the kinds that were served when it was made
        self._kinds: Registry | None = None
        self._concerned: dict[_Gvk, tuple[Hook, ...]] = {}

    @property
    def none(self) -> bool:
        return self._started and not self._changed and self._hooks == _NONE

    async def concerning(self, kind: Kind, kinds: Registry) -> tuple[Hook, ...]:
        """The bound policies with a rule on the resource of this kind, in any of its versions."""
        if not self._started:
            self._start()
        if self._changed:
            await self._read()
        if self._hooks is None:
            self._hooks = self._bound()
            self._concerned.clear()
        if not self._hooks:
            return _NONE
        if kinds is not self._kinds:
            self._kinds = kinds
            self._concerned.clear()
        gvk = kind.group, kind.version, kind.kind
        found = self._concerned.get(gvk)
        if found is None:
            resources = {(each.group, each.plural) for each in (kind, *kinds.equivalents(kind))}
            found = self._concerned[gvk] = tuple(
                hook for hook in self._hooks if any(hook.definition.constraints.concern(*each) for each in resources)
            )
        return found

    async def compiled(self, definition: Definition) -> Policy:
        """The policy's expressions; whoever asks first compiles them, in a thread."""
        async with definition.compiling:
            if definition.policy is None:
                definition.policy = await aside(self._family.compile, definition.spec)
            return definition.policy

    def _start(self) -> None:
        self._started = True
        for resource, is_binding in ((self._family.policies, False), (self._family.bindings, True)):
            changed = partial(self._on_change, is_binding)
            self._reader.subscribe(resource, changed, keep=False)
            for obj in self._reader.list(resource):
                changed("ADDED", obj, None, 0)

    def _on_change(self, is_binding: bool, event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
        name = text(part(obj, "metadata"), "name")
        self._changed[is_binding, name] = obj if event != "DELETED" else None

    async def _read(self) -> None:
        """Whoever asks meanwhile waits for it: a write that comes after a change of a policy sees the change."""
        async with self._reading:
            while self._changed:
                key, obj = next(iter(self._changed.items()))
                is_binding, name = key
                read: Callable[[Obj], Any] = binding_of if is_binding else definition_of
                found = await paced(is_heavy_value(obj), read, obj) if obj is not None else None
                if self._changed.get(key) is not obj:
                    continue  # it has changed again
                del self._changed[key]
                kept: dict[str, Any] = self._bindings if is_binding else self._definitions
                kept.pop(name, None)
                if found is not None:
                    kept[name] = found
                self._hooks = None

    def _bound(self) -> tuple[Hook, ...]:
        bound: dict[str, list[Binding]] = {}
        for name in sorted(self._bindings):
            bound.setdefault(self._bindings[name].policy, []).append(self._bindings[name])
        return tuple(
            Hook(self._definitions[name], tuple(bound[name])) for name in sorted(self._definitions) if name in bound
        )
