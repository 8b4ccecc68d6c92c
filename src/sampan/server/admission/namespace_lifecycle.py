"""NamespaceLifecycle: nothing is made in a namespace that is missing or going; some namespaces never go."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.resources import NAMESPACES
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, refuse
from sampan.server.attributes import AdmissionAttributes
from sampan.server.reader import ObjectReader

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def admit(self, attributes: AdmissionAttributes) -> None:
        kind = attributes.kind
        if kind.plural == "namespaces" and kind.group == "":
            if attributes.operation == "DELETE" and attributes.name in IMMORTAL:
                raise refuse(attributes, "this namespace may not be deleted")
            return
        if not kind.namespaced or not attributes.namespace or attributes.operation in ("DELETE", "CONNECT"):
            return
        if kind.group == "authorization.k8s.io":  # asking about a namespace needs no namespace
            return
        namespace = self._reader.get(NAMESPACES, None, attributes.namespace)
        if namespace is None or is_terminating(namespace):
            # It may just have been made, or made again.
            namespace = await self._reader.fresh(NAMESPACES, None, attributes.namespace)
        check(attributes, namespace)


def check(attributes: AdmissionAttributes, namespace: Obj | None) -> None:
    """Raises NotFound: it is not there; Forbidden: it ends, and something is to be made in it."""
    if namespace is None:
        raise errors.not_found("namespaces", attributes.namespace)
    if attributes.operation == "CREATE" and not attributes.subresource and is_terminating(namespace):
        text = f"namespace {attributes.namespace} is being terminated"
        cause = {"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}
        detail = f"unable to create new content in namespace {attributes.namespace} because it is being terminated"
        raise refuse(attributes, detail, [cause])


def is_terminating(namespace: dict[str, object]) -> bool:
    status = namespace.get("status")
    return isinstance(status, dict) and status.get("phase") == "Terminating"
