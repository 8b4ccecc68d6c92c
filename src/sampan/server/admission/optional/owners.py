"""OwnerReferencesPermissionEnforcement: who cannot delete an object cannot have the garbage collector do it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from sampan.api import registry
from sampan.api.reading import flag, part, parts, text
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, refuse
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes, Authorizer

#: owners that are asked about in one turn of the loop
_STEP = 50


class OwnerReferencesPermissionEnforcement(Plugin):
    name = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: AdmissionAttributes) -> None:
        kind, new, old = attributes.kind, attributes.obj, attributes.old
        if new is None or attributes.operation not in ("CREATE", "UPDATE"):
            return
        if (kind.group, kind.plural, attributes.subresource) == ("", "pods", "status"):
            return
        if _references(new) == _references(old):
            return
        if attributes.operation == "UPDATE":
            asked = self._question(attributes, "delete", kind.group, kind.version, kind.plural, attributes.name)
            asked.subresource = attributes.subresource
            decision = await self._authorizer.authorize(asked)
            if not decision.allowed:
                text_ = "cannot set an ownerRef on a resource you can't delete"
                raise refuse(attributes, f"{text_}: {decision.reason}, <nil>")
        for index, reference in enumerate(_newly_blocking(new, old)):
            if index % _STEP == _STEP - 1:
                await asyncio.sleep(0)
            await self._check_owner(attributes, reference)

    async def _check_owner(self, attributes: AdmissionAttributes, reference: Obj) -> None:
        """Raises Forbidden: its deletion would wait for an object of somebody who has no say in it."""
        surface = getattr(attributes.request, "surface", None)
        kinds = surface.kinds if surface is not None else registry.registry()
        api_version, name = text(reference, "apiVersion"), text(reference, "kind")
        owner = kinds.by_api_version(api_version, name)
        if owner is None:
            detail = "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion"
            raise refuse(attributes, f'{detail} {api_version} Kind {name}: no matches for kind "{name}"')
        asked = self._question(attributes, "update", owner.group, owner.version, owner.plural, text(reference, "name"))
        asked.subresource = "finalizers"
        asked.namespace = attributes.namespace if owner.namespaced else ""
        decision = await self._authorizer.authorize(asked)
        if not decision.allowed:
            detail = (
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
            )
            raise refuse(attributes, f"{detail}: {decision.reason}, <nil>")

    @staticmethod
    def _question(
        attributes: AdmissionAttributes, verb: str, group: str, version: str, resource: str, name: str
    ) -> AuthorizationAttributes:
        return AuthorizationAttributes(
            attributes.user, verb, group, version, resource, namespace=attributes.namespace, name=name
        )


def _references(obj: Obj | None) -> list[Obj]:
    return list(parts(part(obj, "metadata"), "ownerReferences"))


def _newly_blocking(new: Obj, old: Obj | None) -> Iterator[Obj]:
    before = {text(reference, "uid") for reference in _references(old) if flag(reference, "blockOwnerDeletion")}
    for reference in _references(new):
        if flag(reference, "blockOwnerDeletion") and text(reference, "uid") not in before:
            yield reference
