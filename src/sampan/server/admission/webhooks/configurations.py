"""The webhooks that there are, in the order in which they are asked: by the name of their configuration.

Followed through the reader; compiled once a change, when the next write asks. Which of them can concern a resource at
all is remembered, so that a write that concerns none costs a look-up. Event loop only.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from sampan.api.kind import Kind
from sampan.api.reading import part, parts, text
from sampan.api.registry import Registry
from sampan.api.resources import Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.admission.webhooks.hooks import Hook, HookType, hooks_of
from sampan.server.reader import ObjectReader
from sampan.server.threads import is_heavy_value, paced

_NONE: tuple[Hook, ...] = ()
_Gvk: TypeAlias = tuple[str, str, str]


class Webhooks:
    """Invariant: once started, a configuration is in ``_compiled`` as the reader has it, or in ``_changed``."""

    def __init__(self, reader: ObjectReader, resource: Resource, kind: HookType) -> None:
        self._reader, self._resource, self._kind = reader, resource, kind
        self._started = False
        self._compiled: dict[str, list[Hook]] = {}
        #: what has to be compiled anew; None: it is gone
        self._changed: dict[str, Obj | None] = {}
        self._compiling = asyncio.Lock()
        self._all: tuple[Hook, ...] = ()
        #: for the kinds that were served when it was made
        self._kinds: Registry | None = None
        self._concerned: dict[_Gvk, tuple[Hook, ...]] = {}

    @property
    def none(self) -> bool:
        return self._started and not self._changed and not self._all

    async def concerning(self, kind: Kind, kinds: Registry) -> tuple[Hook, ...]:
        """The webhooks with a rule on the resource of this kind, in any of its versions."""
        if not self._started:
            self._start()
        if self._changed:
            await self._compile()
        if not self._all:
            return _NONE
        if kinds is not self._kinds:
            self._kinds = kinds
            self._concerned.clear()
        gvk = kind.group, kind.version, kind.kind
        found = self._concerned.get(gvk)
        if found is None:
            resources = {(each.group, each.plural) for each in (kind, *kinds.equivalents(kind))}
            found = tuple(hook for hook in self._all if any(hook.concerns(*each) for each in resources))
            self._concerned[gvk] = found
        return found

    def _start(self) -> None:
        self._started = True
        self._reader.subscribe(self._resource, self._on_change, keep=False)
        for obj in self._reader.list(self._resource):
            self._on_change("ADDED", obj, None, 0)

    def _on_change(self, event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
        self._changed[text(part(obj, "metadata"), "name")] = obj if event != "DELETED" else None

    async def _compile(self) -> None:
        """Whoever asks meanwhile waits for it: a write that comes after a change of a configuration sees the change,
        also when the request that compiles it is given up."""
        async with self._compiling:
            while self._changed:
                name, obj = next(iter(self._changed.items()))
                hooks = await paced(_is_long(obj), hooks_of, obj, self._kind) if obj is not None else []
                if self._changed.get(name) is not obj:
                    continue  # it has changed again
                del self._changed[name]
                self._compiled.pop(name, None)
                if hooks:
                    self._compiled[name] = hooks
                self._all = tuple(hook for name in sorted(self._compiled) for hook in self._compiled[name])
                self._concerned.clear()


def _is_long(obj: Obj) -> bool:
    """Whether compiling it is a thread's work: each expression takes up to a millisecond."""
    return is_heavy_value(obj) or any(hook.get("matchConditions") for hook in parts(obj, "webhooks"))
