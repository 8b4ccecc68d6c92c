"""The node authorizer: a kubelet may read what pods on its own node use, and little else (KEP-279 and followers).

What depends on the node's pods is asked of the graph; nodes, pods, leases, CSINodes and slices are the node's own or
nobody's; the rest follows fixed rules. Anything that is not allowed here is left to RBAC, which grants
``system:node`` to nobody by default. What a create or update says is for NodeRestriction to judge.
"""

from __future__ import annotations

from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authz.messages import quote
from sampan.server.authz.node_graph import NodeGraph
from sampan.server.authz.policy.cluster_roles import node_rules
from sampan.server.authz.rules import allows
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

NODE_USER_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
NODE_LEASES = "kube-node-lease"
_NO, _YES = Decision(False), Decision(True)
_REMEMBERED, _LONGEST_REMEMBERED = 1024, 256

_OWN_VERBS = frozenset({"get", "create", "update", "patch", "delete"})
_SLICE_VERBS = frozenset({"list", "watch", "deletecollection"})
_READ_VERBS = frozenset({"get", "list", "watch"})


def is_node(user: UserInfo) -> bool:
    """Whether the user is a kubelet, of whatever node."""
    return NODES_GROUP in user.groups and user.name.startswith(NODE_USER_PREFIX)


def node_name(user: UserInfo) -> str | None:
    """The node a kubelet's user speaks for; None for anybody else."""
    return user.name.removeprefix(NODE_USER_PREFIX) or None if is_node(user) else None


class NodeAuthorizer:
    def __init__(self, reader: ObjectReader) -> None:
        self._graph = NodeGraph(reader)
        self._rules = node_rules()
        #: what the fixed rules say, by all that they look at; at most ``_REMEMBERED``
        self._fixed: dict[tuple[str, str, str, str], Decision] = {}

    def start(self) -> None:
        self._graph.start()

    def stop(self) -> None:
        self._graph.stop()

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return self.decide_now(attributes)

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision:
        user = attributes.user
        if NODES_GROUP not in user.groups or not is_node(user):
            return _NO
        node = node_name(user)
        if node is None:
            return Decision(False, f"unknown node for user {quote(user.name)}")
        reason = self._refusal(node, attributes)
        if reason is None:
            return self._by_rules(attributes)
        return Decision(False, reason) if reason else _YES

    def _by_rules(self, asked: AuthorizationAttributes) -> Decision:
        key = (asked.verb, asked.resource, asked.subresource, asked.group)
        known = self._fixed.get(key) if asked.resource else _NO  # no rule speaks of a path
        if known is None:
            known = _YES if any(allows(rule, asked) for rule in self._rules) else _NO
            if sum(map(len, key)) <= _LONGEST_REMEMBERED:
                if len(self._fixed) >= _REMEMBERED:
                    self._fixed.clear()
                self._fixed[key] = known
        return known

    def _refusal(self, node: str, asked: AuthorizationAttributes) -> str | None:
        """Why not, for what is a node's own or its pods'; "": it may; None: the fixed rules say."""
        match (asked.group, asked.resource):
            case ("", "secrets" | "configmaps"):
                return self._read(node, asked)
            case ("", "persistentvolumeclaims") if asked.subresource == "status":
                if asked.verb not in ("update", "patch"):
                    return "can only get/update/patch this type"
                return self._related(node, asked)
            case ("", "persistentvolumeclaims" | "persistentvolumes"):
                return self._get(node, asked)
            case ("resource.k8s.io", "resourceclaims") | ("storage.k8s.io", "volumeattachments"):
                return self._get(node, asked)
            case ("", "serviceaccounts"):
                return self._account(node, asked)
            case ("coordination.k8s.io", "leases"):
                return _lease(node, asked)
            case ("storage.k8s.io", "csinodes"):
                return _csi_node(node, asked)
            case ("resource.k8s.io", "resourceslices"):
                return self._slice(node, asked)
            case ("certificates.k8s.io", "podcertificaterequests"):
                return self._certificate(node, asked)
            case ("", "nodes"):
                return _node(node, asked)
            case ("", "pods"):
                return self._pod(node, asked)
        return None

    def _related(self, node: str, asked: AuthorizationAttributes) -> str:
        if not asked.name:
            return "No Object name found"
        if self._graph.reaches(node, asked.resource, asked.namespace, asked.name):
            return ""
        return f"no relationship found between node '{node}' and this object"

    def _get(self, node: str, asked: AuthorizationAttributes) -> str:
        if asked.verb != "get":
            return "can only get individual resources of this type"
        return "cannot get subresource" if asked.subresource else self._related(node, asked)

    def _read(self, node: str, asked: AuthorizationAttributes) -> str:
        """A list or watch may be of one named object only."""
        if asked.verb not in _READ_VERBS:
            return "can only read resources of this type"
        if asked.subresource:
            return "cannot read subresource"
        if not asked.namespace:
            return "can only read namespaced object of this type"
        return self._related(node, asked)

    def _account(self, node: str, asked: AuthorizationAttributes) -> str:
        if asked.verb == "get" and not asked.subresource:
            return self._read(node, asked)
        if asked.verb != "create" or not asked.name:
            return "can only create tokens for individual service accounts"
        if asked.subresource != "token":
            return "can only create token subresource of serviceaccount"
        return self._related(node, asked)

    def _slice(self, node: str, asked: AuthorizationAttributes) -> str:
        if asked.subresource:
            return "cannot authorize ResourceSlice subresources"
        if asked.verb == "create":
            return ""
        if asked.verb in _OWN_VERBS:
            return self._related(node, asked)
        if asked.verb in _SLICE_VERBS:
            if ("spec.nodeName", node) in asked.fields:
                return ""
            return "can only list/watch/deletecollection resourceslices with nodeName field selector"
        return (
            "only the following verbs are allowed for a ResourceSlice: "
            "get, watch, list, create, update, patch, delete, deletecollection"
        )

    def _certificate(self, node: str, asked: AuthorizationAttributes) -> str:
        if asked.subresource:
            return "nodes may not access the status subresource of PodCertificateRequests"
        if asked.verb == "create":
            return ""
        if asked.verb == "get":
            return self._related(node, asked)
        if asked.verb in ("list", "watch"):
            if ("spec.nodeName", node) in asked.fields:
                return ""
            return "can only list/watch podcertificaterequests with nodeName field selector"
        return f"nodes may not {asked.verb} podcertificaterequests"

    def _pod(self, node: str, asked: AuthorizationAttributes) -> str | None:
        verb = asked.verb
        match asked.subresource:
            case "" if verb == "get":
                return self._related(node, asked)
            case "" if verb in ("list", "watch"):
                if ("spec.nodeName", node) in asked.fields:
                    return ""
                if asked.name:
                    return self._related(node, asked)
                return "can only list/watch pods with spec.nodeName field selector"
        return None


def _lease(node: str, asked: AuthorizationAttributes) -> str:
    if asked.verb not in _OWN_VERBS:
        return "can only get, create, update, patch, or delete a node lease"
    if asked.namespace != NODE_LEASES:
        return f"can only access leases in the {quote(NODE_LEASES)} system namespace"
    if asked.verb != "create" and asked.name != node:
        return "can only access node lease with the same name as the requesting node"
    return ""


def _csi_node(node: str, asked: AuthorizationAttributes) -> str:
    if asked.verb not in _OWN_VERBS:
        return "can only get, create, update, patch, or delete a CSINode"
    if asked.subresource:
        return "cannot authorize CSINode subresources"
    if asked.verb != "create" and asked.name != node:
        return "can only access CSINode with the same name as the requesting node"
    return ""


def _node(node: str, asked: AuthorizationAttributes) -> str | None:
    """None where the fixed rules are as narrow as upstream's own list: create, update, patch and status."""
    if asked.subresource or asked.verb not in _READ_VERBS or asked.name == node:
        return None
    if not asked.name:
        return f"node '{node}' cannot read all nodes, only its own Node object"
    return f"node '{node}' cannot read '{asked.name}', only its own Node object"
