"""The controller that removes ``kubernetes.io/vac-protection`` from a VolumeAttributesClass that goes, once no claim
and no volume names it any more (upstream ``vacprotection``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sampan.api.errors import NotFound
from sampan.api.reading import part, text
from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, VOLUME_ATTRIBUTES_CLASSES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.context import Context
from sampan.controllers.volumeprotection.plan import plan_finalizer

NAME: Final = "volumeattributesclass-protection-controller"
PROTECTION: Final = "kubernetes.io/vac-protection"
_BY_CLASS: Final = "class of attributes that it names"


class AttributesClassProtectionController:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._classes = context.informers.informer(VOLUME_ATTRIBUTES_CLASSES)
        self._claims = context.informers.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = context.informers.informer(PERSISTENT_VOLUMES)
        self._claims.add_index(_BY_CLASS, names_of_claim)
        self._volumes.add_index(_BY_CLASS, names_of_volume)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._controller.watch(self._classes, own_key)
        # The names of the state before a change, too: that is the news for a class that waits.
        self._controller.watch(self._claims, lambda claim: _keys(names_of_claim(claim)))
        self._controller.watch(self._volumes, lambda volume: _keys(names_of_volume(volume)))

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        found = self._classes.get(*key)
        if found is None:
            return DONE
        in_use = bool(self._claims.count(_BY_CLASS, key[1]) or self._volumes.count(_BY_CLASS, key[1]))
        new = plan_finalizer(found, PROTECTION, in_use=in_use)
        if new is not None:
            try:
                await observe(self._classes, await self._client.update(VOLUME_ATTRIBUTES_CLASSES, new))
            except NotFound:
                pass
        return DONE


def _keys(names: Iterable[str]) -> Iterable[ObjectKey]:
    return [ObjectKey("", name) for name in names]


def names_of_claim(claim: Obj) -> Iterable[str]:
    """What it asks for, what it has, and what is being tried. Pure."""
    spec, status = part(claim, "spec"), part(claim, "status")
    found = {
        text(spec, "volumeAttributesClassName"),
        text(status, "currentVolumeAttributesClassName"),
        text(part(status, "modifyVolumeStatus"), "targetVolumeAttributesClassName"),
    }
    return sorted(found - {""})


def names_of_volume(volume: Obj) -> Iterable[str]:
    """Pure."""
    name = text(part(volume, "spec"), "volumeAttributesClassName")
    return (name,) if name else ()
