"""NodeRestriction: a kubelet writes only its own Node, Lease, CSINode and slices, and pods bound to itself.

Applies to users ``system:node:NAME`` in ``system:nodes``. The node authorizer has let the request through by what its
URL says; this looks at what the object says. Upstream: plugin/pkg/admission/noderestriction. And, of our own: what
serves Ingresses on a node writes their status, and not the annotations by which it may read Secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from sampan.api import errors
from sampan.api.nodes.labels import kubelet_may_set
from sampan.api.pods.origin import is_mirror
from sampan.api.pods.references import api_reference
from sampan.api.pods.status import node_name as node_of
from sampan.api.reading import part, parts, text
from sampan.api.resources import NODES, PODS
from sampan.api.types import Obj
from sampan.server.admission.base import Plugin, refuse
from sampan.server.admission.certificates import BadRequestText, parse_request
from sampan.server.admission.node_pods import check_certificate_request, check_token
from sampan.server.attributes import AdmissionAttributes, Authorizer
from sampan.server.authz.edge import EDGE_GROUP
from sampan.server.authz.messages import quote
from sampan.server.authz.node import NODE_LEASES, is_node, node_name
from sampan.server.reader import ObjectReader
from sampan.server.threads import paced

_KUBELET_SIGNERS = frozenset({"kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"})
#: what a kubelet reports of a claim: that it has grown
_CLAIM_STATUS = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    resources = frozenset(
        {
            ("", "pods"), ("", "nodes"), ("", "persistentvolumeclaims"), ("", "serviceaccounts"),
            ("coordination.k8s.io", "leases"), ("storage.k8s.io", "csinodes"), ("resource.k8s.io", "resourceslices"),
            ("certificates.k8s.io", "certificatesigningrequests"), ("certificates.k8s.io", "podcertificaterequests"),
            ("networking.k8s.io", "ingresses"),
        }
    )  # fmt: skip

    def __init__(self, reader: ObjectReader, authorizer: Authorizer) -> None:
        self._reader, self._authorizer = reader, authorizer

    async def admit(self, attributes: AdmissionAttributes) -> None:
        if attributes.kind.plural == "ingresses":
            if EDGE_GROUP in attributes.user.groups:
                _check_annotations(attributes)
            return
        if attributes.operation == "CONNECT" or not is_node(attributes.user):
            return
        node = node_name(attributes.user)
        if node is None:
            _deny(attributes, f"could not determine node from user {quote(attributes.user.name)}")
        match (attributes.kind.group, attributes.kind.plural):
            case ("", "pods"):
                await self._check_pods(node, attributes)
            case ("", "nodes"):
                await paced(attributes.request.heavy, _check_node, node, attributes)
            case ("", "persistentvolumeclaims"):
                await paced(attributes.request.heavy, _check_claim, node, attributes)
            case ("", "serviceaccounts") if attributes.operation == "CREATE" and attributes.subresource == "token":
                await check_token(node, attributes, self._reader, self._authorizer)
            case ("coordination.k8s.io", "leases"):
                _check_lease(node, attributes)
            case ("storage.k8s.io", "csinodes"):
                _require_own_name(node, attributes, "CSINode")
            case ("resource.k8s.io", "resourceslices"):
                _check_slice(node, attributes)
            case ("certificates.k8s.io", "certificatesigningrequests") if attributes.operation == "CREATE":
                await paced(attributes.request.heavy, _check_signing_request, node, attributes)
            case ("certificates.k8s.io", "podcertificaterequests"):
                await check_certificate_request(node, attributes, self._reader)

    async def _check_pods(self, node: str, attributes: AdmissionAttributes) -> None:
        match attributes.subresource:
            case "":
                await self._check_pod(node, attributes)
            case "status":
                await paced(attributes.request.heavy, _check_pod_status, node, attributes)
            case "eviction":
                pod = attributes.old or await self._pod(attributes)
                if node_of(pod) != node:
                    _deny(attributes, f"node {node} can only evict pods with spec.nodeName set to itself")
            case other:
                text = f"unexpected pod subresource {quote(other)}, only 'status' and 'eviction' are allowed"
                _deny(attributes, text)

    async def _check_pod(self, node: str, attributes: AdmissionAttributes) -> None:
        if attributes.operation == "CREATE":
            await self._check_mirror_pod(node, attributes, attributes.obj or {})
        elif attributes.operation == "DELETE":
            if node_of(attributes.old or await self._pod(attributes)) != node:
                _deny(attributes, f"node {quote(node)} can only delete pods with spec.nodeName set to itself")
        else:
            detail = f"unexpected operation {quote(attributes.operation)}, node {quote(node)} can only create and delete mirror pods"  # noqa: E501 - upstream's sentence
            _deny(attributes, detail)

    async def _pod(self, attributes: AdmissionAttributes) -> Obj:
        """Raises NotFound."""
        pod = self._reader.get(PODS, attributes.namespace, attributes.name)
        pod = pod or await self._reader.fresh(PODS, attributes.namespace, attributes.name)
        if pod is None:
            raise errors.not_found("pods", attributes.name)
        return pod

    async def _check_mirror_pod(self, node: str, attributes: AdmissionAttributes, pod: Obj) -> None:
        name = quote(node)
        if not is_mirror(pod):
            detail = (
                f'pod does not have "kubernetes.io/config.mirror" annotation, node {name} can only create mirror pods'
            )
            _deny(attributes, detail)
        if node_of(pod) != node:
            _deny(attributes, f"node {name} can only create pods with spec.nodeName set to itself")
        await self._check_owner(node, attributes, list(parts(part(pod, "metadata"), "ownerReferences")))
        found = await paced(attributes.request.heavy, api_reference, pod)
        if found:
            _deny(attributes, f"node {name} can not create pods that reference {found}")

    async def _check_owner(self, node: str, attributes: AdmissionAttributes, owners: Sequence[Obj]) -> None:
        """Exactly one, the node itself: the pod goes with its node, and with nothing else."""
        begin = f"node {quote(node)} can only create pods with"
        if len(owners) > 1:
            _deny(attributes, f"{begin} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            _deny(attributes, f"{begin} an owner reference set to itself")
        if owner.get("controller") is not True:
            _deny(attributes, f"{begin} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            _deny(attributes, f"node {quote(node)} must not set blockOwnerDeletion on an owner reference")
        known = self._reader.get(NODES, None, node) or await self._reader.fresh(NODES, None, node)
        if known is None:
            raise errors.not_found("nodes", node)
        uid = text(part(known, "metadata"), "uid")
        if uid != owner.get("uid"):
            _deny(attributes, f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}")


def _deny(attributes: AdmissionAttributes, detail: str) -> NoReturn:
    raise refuse(attributes, detail)


def _check_pod_status(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.operation != "UPDATE":
        _deny(attributes, f"unexpected operation {quote(attributes.operation)}")
    new, old = attributes.obj or {}, attributes.old or {}
    name = quote(node)
    if node_of(old) != node:
        refused = f"node {name} can only update pod status for pods with spec.nodeName set to itself"  # noqa: S608 - no SQL
        _deny(attributes, refused)
    if part(part(new, "metadata"), "labels") != part(part(old, "metadata"), "labels"):
        _deny(attributes, f"node {name} cannot update labels through pod status")
    # Which claims were made for a pod decides what its node may read.
    if _claims(new) != _claims(old):
        _deny(attributes, f"node {name} cannot update resource claim statues")
    after, before = (part(part(pod, "status"), "extendedResourceClaimStatus") for pod in (new, old))
    if after != before:
        _deny(attributes, f"node {name} cannot update extended resource claim status")


def _claims(pod: Obj) -> list[tuple[object, object]]:
    entries = parts(part(pod, "status"), "resourceClaimStatuses")
    return [(entry.get("name"), entry.get("resourceClaimName")) for entry in entries]


def _check_node(node: str, attributes: AdmissionAttributes) -> None:
    """A generated name is nobody's: the name that was asked for must be the node's own."""
    name = quote(node)
    if attributes.name != node:
        _deny(attributes, f"node {name} is not allowed to modify node {quote(attributes.name)}")
    new, old = attributes.obj or {}, attributes.old or {}
    if attributes.operation == "CREATE":
        if part(new, "spec").get("configSource") is not None:
            _deny(attributes, f"node {name} is not allowed to create pods with a non-nil configSource")
        refused = _refused_labels(new, {})
        if refused:
            _deny(attributes, f"node {name} is not allowed to set the following labels: {', '.join(refused)}")
    elif attributes.operation == "UPDATE":
        source = part(new, "spec").get("configSource")
        if source is not None and source != part(old, "spec").get("configSource"):
            _deny(attributes, f"node {name} is not allowed to update configSource to a new non-nil configSource")
        if list(parts(part(new, "spec"), "taints")) != list(parts(part(old, "spec"), "taints")):
            _deny(attributes, f"node {name} is not allowed to modify taints")
        owners = [list(parts(part(obj, "metadata"), "ownerReferences")) for obj in (new, old)]
        if owners[0] != owners[1]:
            _deny(attributes, f"node {name} is not allowed to modify ownerReferences")
        refused = _refused_labels(new, old)
        if refused:
            _deny(attributes, f"is not allowed to modify labels: {', '.join(refused)}")


def _refused_labels(new: Obj, old: Obj) -> list[str]:
    after, before = (part(part(obj, "metadata"), "labels") for obj in (new, old))
    changed = sorted(key for key in {*after, *before} if after.get(key) != before.get(key))
    return [key for key in changed if not kubelet_may_set(key)]


def _check_claim(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.subresource != "status":
        _deny(attributes, "may only update PVC status")
    if attributes.operation != "UPDATE":
        _deny(attributes, f"unexpected operation {quote(attributes.operation)}")
    if _comparable_claim(attributes.obj or {}) != _comparable_claim(attributes.old or {}):
        text = f"node {quote(node)} is not allowed to update fields other than status.quantity and status.conditions"
        _deny(attributes, text)


def _comparable_claim(claim: Obj) -> Obj:
    meta = {k: v for k, v in part(claim, "metadata").items() if k not in ("resourceVersion", "managedFields")}
    status = {key: value for key, value in part(claim, "status").items() if key not in _CLAIM_STATUS}
    rest = {key: value for key, value in claim.items() if key not in ("metadata", "status", "kind", "apiVersion")}
    return {**rest, "metadata": meta, "status": status}


def _check_annotations(attributes: AdmissionAttributes) -> None:
    """A status may be written with them, as of all kinds."""
    new, old = (part(part(obj, "metadata"), "annotations") for obj in (attributes.obj, attributes.old))
    if new != old:
        _deny(attributes, "what serves Ingresses may not change their annotations")


def _check_lease(node: str, attributes: AdmissionAttributes) -> None:
    if attributes.namespace != NODE_LEASES:
        _deny(attributes, f"can only access leases in the {quote(NODE_LEASES)} system namespace")
    _require_own_name(node, attributes, "node lease")


def _require_own_name(node: str, attributes: AdmissionAttributes, what: str) -> None:
    if attributes.name != node:
        _deny(attributes, f"can only access {what} with the same name as the requesting node")


def _check_slice(node: str, attributes: AdmissionAttributes) -> None:
    """The node authorizer knows neither what a create says nor each object of a deletecollection."""
    obj, verb = {"CREATE": (attributes.obj, "create"), "DELETE": (attributes.old, "delete")}.get(
        attributes.operation, (None, "")
    )
    if verb and text(part(obj, "spec"), "nodeName") != node:
        _deny(attributes, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def _check_signing_request(node: str, attributes: AdmissionAttributes) -> None:
    spec = part(attributes.obj, "spec")
    if attributes.subresource or text(spec, "signerName") not in _KUBELET_SIGNERS:
        return
    try:
        subject = parse_request(text(spec, "request"))
    except BadRequestText as error:
        _deny(attributes, f"unable to parse csr: {error}")
    if subject.common_name != f"system:node:{node}":
        _deny(attributes, f"can only create a node CSR with CN=system:node:{node}")
