"""The node authorizer: a kubelet may read what pods on its own node use, and little else (KEP-279 and followers).

``start`` follows pods to know which are on which node; the objects a pod refers to are found by looking at those few
pods when asked, so there is no graph to keep in step. Anything that is not decided here is left to RBAC, which
grants ``system:node`` to nobody by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sampan.api.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authz.policy.cluster_roles import node_rules
from sampan.server.authz.rules import allows
from sampan.server.reader import ObjectReader
from sampan.server.request import UserInfo

NODE_USER_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
_VOLUME_ATTACHMENTS = Resource("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", False)
_NO = Decision(False)


def node_name(user: UserInfo) -> str | None:
    """The node a kubelet's user speaks for; None for anybody else."""
    if NODES_GROUP not in user.groups or not user.name.startswith(NODE_USER_PREFIX):
        return None
    return user.name.removeprefix(NODE_USER_PREFIX) or None


class NodeAuthorizer:
    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._pods: dict[str, dict[tuple[str, str], Obj]] = {}  # node -> (namespace, name) -> pod
        self._unsubscribe: Callable[[], None] | None = None
        self._rules = node_rules()

    def start(self) -> None:
        if self._unsubscribe is None:
            self._unsubscribe = self._reader.subscribe(PODS, self._changed)
            for pod in self._reader.list(PODS):
                self._changed("ADDED", pod, None, 0)

    def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _changed(self, event: EventType, pod: Obj, _previous: Obj | None, _revision: int) -> None:
        node = pod["spec"].get("nodeName")
        if not node:
            return
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if event == "DELETED":
            on_node = self._pods.get(node, {})
            on_node.pop(key, None)
            if not on_node:
                self._pods.pop(node, None)
        else:
            self._pods.setdefault(node, {})[key] = pod

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        node = node_name(attributes.user)
        if node is None:
            return _NO
        special = self._special(node, attributes)
        if special is not None:
            return special
        return Decision(True) if any(allows(rule, attributes) for rule in self._rules) else _NO

    def _special(self, node: str, attributes: AuthorizationAttributes) -> Decision | None:
        """The answer for what a node may reach only through its pods, or only as its own; None: see the rules."""
        match (attributes.group, attributes.resource):
            case ("", "secrets" | "configmaps" | "persistentvolumeclaims" | "persistentvolumes"):
                if attributes.resource == "persistentvolumeclaims" and attributes.subresource == "status":
                    if attributes.verb not in ("get", "update", "patch"):
                        return _NO
                elif attributes.verb not in ("get", "list", "watch") or attributes.subresource:
                    return Decision(False, "can only read resources of this type")
                return self._related(node, attributes)
            case ("storage.k8s.io", "volumeattachments"):
                return self._related(node, attributes) if attributes.verb == "get" else _NO
            case ("", "serviceaccounts"):
                if (attributes.verb, attributes.subresource) != ("create", "token"):
                    return None
                return self._related(node, attributes)
            case ("coordination.k8s.io", "leases") | ("storage.k8s.io", "csinodes"):
                return _own(node, attributes)
        return None

    def _related(self, node: str, attributes: AuthorizationAttributes) -> Decision:
        unrelated = Decision(False, f"no relationship found between node '{node}' and this object")
        if not attributes.name:
            return Decision(False, "No Object name found")
        wanted = (attributes.resource, attributes.namespace, attributes.name)
        if attributes.resource == "volumeattachments":
            found = self._reader.get(_VOLUME_ATTACHMENTS, None, attributes.name)
            related = found is not None and found.get("spec", {}).get("nodeName") == node
        else:
            related = any(wanted == used for pod in self._pods.get(node, {}).values() for used in self._uses(pod))
        return Decision(True) if related else unrelated

    def _uses(self, pod: Obj) -> Iterator[tuple[str, str, str]]:
        namespace = pod["metadata"]["namespace"]
        yield "serviceaccounts", namespace, pod["spec"].get("serviceAccountName") or "default"
        for resource, name in pod_references(pod):
            yield resource, namespace, name
            if resource == "persistentvolumeclaims":
                claim = self._reader.get(PERSISTENT_VOLUME_CLAIMS, namespace, name)
                volume = ((claim or {}).get("spec") or {}).get("volumeName")
                if volume:
                    yield "persistentvolumes", "", volume
                    yield from self._volume_secrets(volume)

    def _volume_secrets(self, volume: str) -> Iterator[tuple[str, str, str]]:
        found = self._reader.get(PERSISTENT_VOLUMES, None, volume)
        for source in ((found or {}).get("spec") or {}).values():
            if isinstance(source, dict):
                for key, reference in source.items():
                    if key.lower().endswith("secretref") and isinstance(reference, dict):
                        yield "secrets", reference.get("namespace", ""), reference.get("name", "")


def _own(node: str, attributes: AuthorizationAttributes) -> Decision:
    """Only the object of the node's own name; leases only in their namespace."""
    if attributes.resource == "leases" and attributes.namespace != "kube-node-lease":
        return Decision(False, 'can only access leases in the "kube-node-lease" system namespace')
    if attributes.verb not in ("get", "create", "update", "patch", "delete"):
        return _NO
    if attributes.verb != "create" and attributes.name != node:
        what = "node lease" if attributes.resource == "leases" else "CSINode"
        return Decision(False, f"can only access {what} with the same name as the requesting node")
    return Decision(True)


def pod_containers(spec: Obj) -> Iterator[Obj]:
    """Every container of every sort: the one iterator that policy uses, so that none is forgotten (CVE-2023-2727)."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()


def pod_references(pod: Obj) -> Iterator[tuple[str, str]]:
    """(resource, name) of each secret, configmap and claim the pod uses, in its own namespace."""
    spec = pod["spec"]
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name", "")
    for container in pod_containers(spec):
        for source in container.get("envFrom") or ():
            yield from _by_ref(source, "configMapRef", "secretRef")
        for variable in container.get("env") or ():
            yield from _by_ref(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        yield from _volume_references(volume, pod["metadata"].get("name", ""))


def _by_ref(holder: Obj, config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    if holder.get(config_map):
        yield "configmaps", holder[config_map].get("name", "")
    if holder.get(secret):
        yield "secrets", holder[secret].get("name", "")


def _volume_references(volume: Obj, pod_name: str) -> Iterator[tuple[str, str]]:
    if volume.get("configMap"):
        yield "configmaps", volume["configMap"].get("name", "")
    if volume.get("secret"):
        yield "secrets", volume["secret"].get("secretName", "")
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"].get("claimName", "")
    if "ephemeral" in volume:
        yield "persistentvolumeclaims", f"{pod_name}-{volume.get('name', '')}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _by_ref(source, "configMap", "secret")
    for source in volume.values():
        if isinstance(source, dict):
            yield from _secret_refs(source)


def _secret_refs(source: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """``secretRef`` and ``nodePublishSecretRef`` of the remote volume types."""
    for key in ("secretRef", "nodePublishSecretRef"):
        if isinstance(source.get(key), dict):
            yield "secrets", source[key].get("name", "")
    if isinstance(source.get("secretName"), str):  # azureFile; for ``secret`` itself it is a harmless repetition
        yield "secrets", source["secretName"]
