"""What a kubelet may ask for on behalf of its pods: ServiceAccount tokens and pod certificates.

The rest of NodeRestriction. Whoever holds such a token or certificate is the pod's account, so the pod must be real,
bound to the requesting node, and have that very account; a mirror pod has none.
"""

from __future__ import annotations

from typing import NoReturn

from sampan.api import errors
from sampan.api.pods.origin import is_mirror
from sampan.api.pods.status import node_name
from sampan.api.reading import part, parts, text
from sampan.api.resources import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SERVICE_ACCOUNTS,
    Resource,
)
from sampan.api.types import Obj
from sampan.server.admission.base import refuse
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes, Authorizer
from sampan.server.authz.messages import quote
from sampan.server.reader import ObjectReader

_CSI_DRIVERS = Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", False)


class _Missing(Exception):
    """Something on the way from a pod's volume to its CSI driver is not there; the text names it."""


async def check_token(node: str, attributes: AdmissionAttributes, reader: ObjectReader, authorizer: Authorizer) -> None:
    """Raises Forbidden, NotFound."""
    spec = part(attributes.obj, "spec")
    reference = part(spec, "boundObjectRef")
    if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
        _deny(attributes, "node requested token not bound to a pod")
    uid = text(reference, "uid")
    if not uid:
        _deny(attributes, "node requested token with a pod binding without a uid")
    pod = await _find(reader, PODS, attributes.namespace, text(reference, "name"), uid)
    if pod is None:
        raise errors.not_found("pods", text(reference, "name"))
    if uid != text(part(pod, "metadata"), "uid"):
        detail = f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"  # noqa: E501 - upstream's sentence
        _deny(attributes, detail)
    if node_name(pod) != node:
        _deny(attributes, "node requested token bound to a pod scheduled on a different node")
    await _check_audience(attributes, pod, reader, authorizer)


async def _check_audience(
    attributes: AdmissionAttributes, pod: Obj, reader: ObjectReader, authorizer: Authorizer
) -> None:
    """A kubelet asks for the audiences that its pods' volumes name (ServiceAccountNodeAudienceRestriction)."""
    audiences = part(attributes.obj, "spec").get("audiences") or [""]
    if len(audiences) > 1:
        _deny(attributes, "node may only request 0 or 1 audiences")
    audience = str(audiences[0])
    try:
        if _names_audience(pod, audience, reader):
            return
    except _Missing as missing:
        fault = f"error validating audience {quote(audience)}: {missing}"
    else:
        user = attributes.user.name
        fault = f"audience {quote(audience)} not found in pod spec volume, {user} is not authorized to request tokens for this audience"  # noqa: E501 - upstream's sentence
    question = AuthorizationAttributes(
        attributes.user, "request-serviceaccounts-token-audience", "", "v1", audience,
        namespace=attributes.namespace, name=attributes.name,
    )  # fmt: skip
    if audience and (await authorizer.authorize(question)).allowed:
        return
    _deny(attributes, fault)


def _names_audience(pod: Obj, audience: str, reader: ObjectReader) -> bool:
    """Raises _Missing when nothing names it and a volume could not be followed."""
    missing: _Missing | None = None
    for volume in parts(part(pod, "spec"), "volumes"):
        for source in parts(part(volume, "projected"), "sources"):
            token = source.get("serviceAccountToken")
            if isinstance(token, dict) and text(token, "audience") == audience:
                return True
        try:
            driver = _driver_of(pod, volume, reader)
            if driver and _driver_wants(driver, audience, reader):
                return True
        except _Missing as fault:
            missing = missing or fault
    if missing is not None:
        raise missing
    return False


def _driver_of(pod: Obj, volume: Obj, reader: ObjectReader) -> str:
    """The CSI driver behind a volume, "" when there is none. Raises _Missing."""
    meta = part(pod, "metadata")
    claim_name = text(part(volume, "persistentVolumeClaim"), "claimName")
    if "ephemeral" in volume:
        claim_name = f"{text(meta, 'name')}-{text(volume, 'name')}"
    if not claim_name:
        return text(part(volume, "csi"), "driver")
    claim = reader.get(PERSISTENT_VOLUME_CLAIMS, text(meta, "namespace"), claim_name)
    if claim is None:
        raise _Missing(f'persistentvolumeclaim "{claim_name}" not found')
    name = text(part(claim, "spec"), "volumeName")
    found = reader.get(PERSISTENT_VOLUMES, None, name) if name else None
    if found is None:
        raise _Missing(f'persistentvolume "{name}" not found')
    return text(part(part(found, "spec"), "csi"), "driver")


def _driver_wants(name: str, audience: str, reader: ObjectReader) -> bool:
    """Raises _Missing."""
    driver = reader.get(_CSI_DRIVERS, None, name)
    if driver is None:
        raise _Missing(f'csidriver.storage.k8s.io "{name}" not found')
    return any(text(wanted, "audience") == audience for wanted in parts(part(driver, "spec"), "tokenRequests"))


async def check_certificate_request(node: str, attributes: AdmissionAttributes, reader: ObjectReader) -> None:
    """Raises Forbidden, and Conflict where the caches may only be behind."""
    if attributes.operation != "CREATE":
        _deny(attributes, f"unexpected operation {attributes.operation}")
    if attributes.subresource:
        _deny(attributes, f"unexpected subresource {attributes.subresource}")
    spec, namespace = part(attributes.obj, "spec"), attributes.namespace
    if text(spec, "nodeName") != node:
        stated = quote(text(spec, "nodeName"))
        _deny(
            attributes, f"PodCertificateRequest.Spec.NodeName={stated}, which is not the requesting node {quote(node)}"
        )
    own = await _find(reader, NODES, "", node, text(spec, "nodeUID"))
    _require_uid(attributes, own, "node", text(spec, "nodeUID"))
    pod = await _find(reader, PODS, namespace, text(spec, "podName"), text(spec, "podUID"))
    _require_uid(attributes, pod, "pod", text(spec, "podUID"))
    assert pod is not None
    name = quote(f"{namespace}/{text(spec, 'podName')}")
    if node_name(pod) != node:
        _deny(attributes, f"pod {name} is not running on node {quote(node)} named in the PodCertificateRequest")
    if is_mirror(pod):
        _deny(attributes, f"pod {name} is a mirror pod")
    account, running = text(spec, "serviceAccountName"), text(part(pod, "spec"), "serviceAccountName")
    if account != running:
        detail = f"PodCertificateRequest for pod {name} contains serviceAccountName ({quote(account)}) that differs from running pod ({quote(running)})"  # noqa: E501 - upstream's sentence
        _deny(attributes, detail)
    found = await _find(reader, SERVICE_ACCOUNTS, namespace, account, text(spec, "serviceAccountUID"))
    _require_uid(attributes, found, "service account", text(spec, "serviceAccountUID"))


def _require_uid(attributes: AdmissionAttributes, found: Obj | None, what: str, uid: str) -> None:
    """A name that is gone or another's now: the request is late, and may be right a moment later."""
    spec = part(attributes.obj, "spec")
    name = quote(f"{attributes.namespace}/{text(spec, 'podName')}")
    if found is None:
        raise errors.conflict(
            attributes.kind.plural,
            attributes.name,
            attributes.kind.group,
            f"the {what} named in the PodCertificateRequest for pod {name} does not exist",
        )
    running = text(part(found, "metadata"), "uid")
    if running != uid:
        detail = f"PodCertificateRequest for pod {name} names {what} UID {quote(uid)}, which differs from the running {what} ({quote(running)})"  # noqa: E501 - upstream's sentence
        raise errors.conflict(attributes.kind.plural, attributes.name, attributes.kind.group, detail)


async def _find(reader: ObjectReader, resource: Resource, namespace: str, name: str, uid: str) -> Obj | None:
    """As the cache has it, or as the store has it when the cache has another one or none."""
    found = reader.get(resource, namespace, name)
    if found is None or text(part(found, "metadata"), "uid") != uid:
        found = await reader.fresh(resource, namespace, name)
    return found


def _deny(attributes: AdmissionAttributes, detail: str) -> NoReturn:
    raise refuse(attributes, detail)
