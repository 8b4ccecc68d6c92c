"""What serves Ingresses and Gateways on each node may read the Secrets and ConfigMaps that these refer to, by name.

No rule can say that, and a rule for all of them would give whoever takes over one node every Secret of the cluster.
What else it may is RBAC's. Whoever may write Ingresses of a namespace decides which of its Secrets the edge reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sampan.api.resources import Resource
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authz.edge_graph import EdgeGraph
from sampan.server.reader import ObjectReader

EDGE_GROUP: Final = "sampan:ingress"
_READ_VERBS: Final = frozenset({"get", "list", "watch"})
_RESOURCES: Final = frozenset({"secrets", "configmaps"})
_NO, _YES = Decision(False), Decision(True)
_UNNAMED = Decision(False, "can only read individual resources of this type")
_UNREFERRED = Decision(False, "no Ingress, Gateway or BackendTLSPolicy refers to this object")


class EdgeAuthorizer:
    def __init__(self, reader: ObjectReader, served: Callable[[Resource], object | None]) -> None:
        self._graph = EdgeGraph(reader, served)

    def start(self) -> None:
        self._graph.start()

    def stop(self) -> None:
        self._graph.stop()

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return self.decide_now(attributes)

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision:
        """A list or watch may be of one named object only."""
        asked = attributes
        if EDGE_GROUP not in asked.user.groups or asked.resource not in _RESOURCES:
            return _NO
        if asked.group or asked.subresource or asked.verb not in _READ_VERBS:
            return _NO
        if not asked.namespace or not asked.name:
            return _UNNAMED
        return _YES if self._graph.refers(asked.resource, asked.namespace, asked.name) else _UNREFERRED
