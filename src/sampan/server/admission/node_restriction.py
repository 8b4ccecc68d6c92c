"""NodeRestriction: a kubelet writes only its own Node, its own Lease and CSINode, and pods bound to itself.

Applies to users ``system:node:NAME`` in ``system:nodes``. Upstream: plugin/pkg/admission/noderestriction.
"""

from __future__ import annotations

from typing import NoReturn

from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, refuse
from sampan.server.admission.service_account import MIRROR_ANNOTATION
from sampan.server.attributes import AdmissionAttributes
from sampan.server.authz.node import node_name, pod_references
from sampan.server.reader import ObjectReader

_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    }
)  # fmt: skip
_KUBELET_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED_LABEL_DOMAIN = "node-restriction.kubernetes.io"


class NodeRestriction(Plugin):
    name = "NodeRestriction"

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def admit(self, attributes: AdmissionAttributes) -> None:
        node = node_name(attributes.user)
        if node is None:
            return
        match (attributes.kind.group, attributes.kind.plural, attributes.subresource):
            case ("", "pods", ""):
                self._check_pod(node, attributes)
            case ("", "pods", "status"):
                self._check_pod_status(node, attributes)
            case ("", "pods", "eviction"):
                self._check_eviction(node, attributes)
            case ("", "pods", "resize" | "ephemeralcontainers" | "binding"):
                _deny(attributes, f'node "{node}" may not write pods/{attributes.subresource}')
            case ("", "nodes", _):
                _check_node(node, attributes)
            case ("", "serviceaccounts", "token"):
                self._check_token(node, attributes)
            case ("coordination.k8s.io", "leases", ""):
                _check_own(node, attributes, "lease", namespace="kube-node-lease")
            case ("storage.k8s.io", "csinodes", ""):
                _check_own(node, attributes, "CSINode")
            case ("resource.k8s.io", "resourceslices", ""):
                _check_slice(node, attributes)

    def _check_pod(self, node: str, attributes: AdmissionAttributes) -> None:
        if attributes.operation == "CREATE":
            self._check_mirror_pod(node, attributes, attributes.obj or {})
        elif attributes.operation == "DELETE":
            self._require_bound(node, attributes, "delete")
        else:
            _deny(attributes, f'unexpected operation "{attributes.operation}"')

    def _check_mirror_pod(self, node: str, attributes: AdmissionAttributes, pod: Obj) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        if MIRROR_ANNOTATION not in (meta.get("annotations") or {}):
            _deny(
                attributes,
                f'pod does not have "{MIRROR_ANNOTATION}" annotation, node "{node}" can only create mirror pods',
            )
        if spec.get("nodeName") != node:
            _deny(attributes, f'node "{node}" can only create pods with spec.nodeName set to itself')
        owners = meta.get("ownerReferences") or []
        if len(owners) > 1:
            _deny(attributes, f'node "{node}" can only create pods with a single owner reference set to itself')
        for owner in owners:
            self._check_owner(node, attributes, owner)
        if spec.get("serviceAccountName"):
            _deny(attributes, f'node "{node}" can not create pods that reference a service account')
        for resource, _ in pod_references(pod):
            _deny(attributes, f'node "{node}" can not create pods that reference {resource}')
        if spec.get("resourceClaims"):
            _deny(attributes, f'node "{node}" can not create pods that reference resourceclaims')

    def _check_owner(self, node: str, attributes: AdmissionAttributes, owner: Obj) -> None:
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            _deny(attributes, f'node "{node}" can only create pods with an owner reference set to itself')
        if not owner.get("controller") or owner.get("blockOwnerDeletion"):
            _deny(attributes, f'node "{node}" can only create pods with a controller owner reference set to itself')
        known = self._reader.get(NODES, None, node)
        if known is None or known["metadata"].get("uid") != owner.get("uid"):
            _deny(attributes, f'node "{node}" can only create pods with an owner reference to its own UID')

    def _require_bound(self, node: str, attributes: AdmissionAttributes, verb: str) -> None:
        pod = attributes.old or self._reader.get(PODS, attributes.namespace, attributes.name)
        if pod is not None and pod["spec"].get("nodeName") != node:
            _deny(attributes, f'node "{node}" can only {verb} pods with spec.nodeName set to itself')

    def _check_pod_status(self, node: str, attributes: AdmissionAttributes) -> None:
        if attributes.operation != "UPDATE":
            _deny(attributes, f'unexpected operation "{attributes.operation}"')
        self._require_bound(node, attributes, "update pod status for")
        new, old = (attributes.obj or {})["metadata"], (attributes.old or {}).get("metadata", {})
        if (new.get("labels") or {}) != (old.get("labels") or {}):
            _deny(attributes, f'node "{node}" cannot update labels through pod status')
        if (new.get("ownerReferences") or []) != (old.get("ownerReferences") or []):
            _deny(attributes, f'node "{node}" cannot update ownerReferences through pod status')

    def _check_eviction(self, node: str, attributes: AdmissionAttributes) -> None:
        pod = self._reader.get(PODS, attributes.namespace, attributes.name)
        if pod is None or pod["spec"].get("nodeName") != node:
            _deny(attributes, f"node {node} can only evict pods with spec.nodeName set to itself")

    def _check_token(self, node: str, attributes: AdmissionAttributes) -> None:
        reference = ((attributes.obj or {}).get("spec") or {}).get("boundObjectRef") or {}
        if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
            _deny(attributes, "node requested token not bound to a pod")
        if not reference.get("uid"):
            _deny(attributes, "node requested token with a pod binding without a uid")
        pod = self._reader.get(PODS, attributes.namespace, reference["name"])
        if pod is None or pod["metadata"].get("uid") != reference["uid"]:
            _deny(attributes, "node requested token bound to a pod that does not exist")
        if pod["spec"].get("nodeName") != node:
            _deny(attributes, "node requested token bound to a pod scheduled on a different node")


def _deny(attributes: AdmissionAttributes, detail: str) -> NoReturn:
    raise refuse(attributes, detail)


def _check_node(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.name and attributes.name != node:
        _deny(attributes, f'node "{node}" is not allowed to modify node "{attributes.name}"')
    if attributes.operation == "DELETE":
        _deny(attributes, f'node "{node}" is not allowed to delete node "{attributes.name}"')
    new, old = attributes.obj or {}, attributes.old or {}
    if new.get("metadata", {}).get("name", node) != node:
        _deny(attributes, f'node "{node}" is not allowed to modify node "{new["metadata"]["name"]}"')
    if attributes.operation == "CREATE":
        _check_labels(node, attributes, new, {})
        if (new.get("spec") or {}).get("configSource"):
            _deny(attributes, f'node "{node}" is not allowed to create pods with a non-nil configSource')
        return
    if attributes.subresource == "" and (new.get("spec") or {}).get("taints") != (old.get("spec") or {}).get("taints"):
        _deny(attributes, f'node "{node}" is not allowed to modify taints')
    owners = [(obj.get("metadata") or {}).get("ownerReferences") or [] for obj in (new, old)]
    if owners[0] != owners[1]:
        _deny(attributes, f'node "{node}" is not allowed to modify ownerReferences')
    _check_labels(node, attributes, new, old)


def _check_labels(node: str, attributes: AdmissionAttributes, new: Obj, old: Obj) -> None:
    after, before = ((obj.get("metadata") or {}).get("labels") or {} for obj in (new, old))
    changed = sorted(key for key in {*after, *before} if after.get(key) != before.get(key))
    refused = [key for key in changed if not _kubelet_may_set(key)]
    if refused:
        _deny(attributes, f"is not allowed to modify labels: {', '.join(refused)}")


def _kubelet_may_set(label: str) -> bool:
    domain = label.partition("/")[0] if "/" in label else ""
    if domain == _RESTRICTED_LABEL_DOMAIN or domain.endswith("." + _RESTRICTED_LABEL_DOMAIN):
        return False
    if label in _KUBELET_LABELS or any(domain == d or domain.endswith("." + d) for d in _KUBELET_LABEL_DOMAINS):
        return True
    return not any(domain == d or domain.endswith("." + d) for d in ("kubernetes.io", "k8s.io"))


def _check_own(node: str, attributes: AdmissionAttributes, what: str, namespace: str = "") -> None:
    name = attributes.name or (attributes.obj or {}).get("metadata", {}).get("name", "")
    if namespace and attributes.namespace != namespace:
        _deny(attributes, f'can only access {what}s in the "{namespace}" system namespace')
    if name != node:
        _deny(attributes, f"can only access {what} with the same name as the requesting node")


def _check_slice(node: str, attributes: AdmissionAttributes) -> None:
    for obj in (attributes.obj, attributes.old):
        if obj is not None and (obj.get("spec") or {}).get("nodeName") != node:
            _deny(attributes, "can only create or change ResourceSlices with spec.nodeName set to the requesting node")
