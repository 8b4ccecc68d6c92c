"""NamespaceExists and NamespaceAutoProvision: what becomes of a write to a namespace that is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sampan.api import errors
from sampan.api.resources import NAMESPACES
from sampan.api.transport import Call, Transport
from sampan.server.admission.base import Plugin
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader

#: makes a namespace; raises ApiError
MakeNamespace = Callable[[str], Awaitable[None]]


def namespace_maker(transport_of: Callable[[], Transport]) -> MakeNamespace:
    """``transport_of`` gives a transport to this server, once it answers."""

    async def make(name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await transport_of().call(Call("POST", NAMESPACES.path(), body=body))

    return make


async def _is_missing(reader: ObjectReader, attributes: AdmissionAttributes) -> bool:
    namespace = attributes.namespace
    if not namespace or not attributes.kind.namespaced:
        return False
    if reader.get(NAMESPACES, None, namespace) is not None:
        return False
    return await reader.fresh(NAMESPACES, None, namespace) is None


class NamespaceExists(Plugin):
    name = "NamespaceExists"

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.operation != "CONNECT" and await _is_missing(self._reader, attributes):
            raise errors.not_found("namespaces", attributes.namespace)


class NamespaceAutoProvision(Plugin):
    name = "NamespaceAutoProvision"

    def __init__(self, reader: ObjectReader, make: MakeNamespace) -> None:
        self._reader, self._make = reader, make

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.operation != "CREATE" or attributes.dry_run:
            return
        if await _is_missing(self._reader, attributes):
            try:
                await self._make(attributes.namespace)
            except errors.AlreadyExists:
                return  # somebody else was faster
