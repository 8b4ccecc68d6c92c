"""Plugins for what an administrator configures: webhooks and policies. Nearly every cluster has none of a sort.

A plugin knows which hooks there are and which of them a write concerns; what acts on the hooks is made when a write
concerns one for the first time, in a thread, for it brings many modules with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sampan.api.kind import Kind
from sampan.api.registry import Registry
from sampan.server.admission.base import Plugin
from sampan.server.attributes import AdmissionAttributes
from sampan.server.threads import aside
from sampan.server.write import Write

H = TypeVar("H")
H_co = TypeVar("H_co", covariant=True)
H_contra = TypeVar("H_contra", contravariant=True)


class Hooks(Protocol[H_co]):
    @property
    def none(self) -> bool:
        """There are none at all, as far as everybody has been told."""
        ...

    async def concerning(self, kind: Kind, kinds: Registry) -> tuple[H_co, ...]: ...


class Acting(Protocol[H_contra]):
    async def act(self, write: Write, hooks: tuple[H_contra, ...]) -> None:
        """Raises the refusal."""


class _Hooked(Plugin, Generic[H]):
    def __init__(
        self, name: str, hooks: Hooks[H], is_exempt: Callable[[Kind], bool], acting: Callable[[], Acting[H]]
    ) -> None:
        """``is_exempt``: of what is no hook's to judge. ``acting`` is called in a thread."""
        self.name = name
        self._hooks, self._is_exempt, self._make = hooks, is_exempt, acting
        self._acting: Acting[H] | None = None

    def idle(self) -> bool:
        """Nothing concerns any write at the moment: the chain asks before it calls, for every write."""
        return self._hooks.none

    async def _act(self, write: Write) -> None:
        kind = write.request_kind or write.kind
        if self._is_exempt(kind) or write.of_server:
            return  # also when a hook cannot be read: this is how it is taken back
        hooks = await self._hooks.concerning(kind, write.request.surface.kinds)
        if not hooks:
            return
        if self._acting is None:
            made = await aside(self._make)
            self._acting = self._acting or made  # several may have come at once
        await self._acting.act(write, hooks)


class Mutating(_Hooked[H]):
    async def admit(self, attributes: AdmissionAttributes) -> None:
        await self._act(attributes)


class Validating(_Hooked[H]):
    async def validate(self, attributes: AdmissionAttributes) -> None:
        await self._act(attributes)
