"""Approves the certificates that nodes ask for, if they may have them (upstream ``certificates/approver``).

Whether somebody may is RBAC's to say: ``create`` of ``certificatesigningrequests/selfnodeclient`` for a node that
renews its own certificate, ``.../nodeclient`` for whoever joins a node. Other than upstream's, the latter is not given
the name of a node that is alive: whoever has a token could be any machine of the cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sampan.api.reading import part, parts, text
from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS, NODES
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.certificates import requests
from sampan.controllers.certificates.requests import Asked, Unreadable
from sampan.controllers.context import Context
from sampan.records import dataclass

log = logging.getLogger(__name__)

NAME = "certificate-controller"
_GROUP, _NODE_USER = "certificates.k8s.io", "system:node:"
#: Nothing tells when somebody gets the right; upstream asks again for as long as the request is there, too.
AGAIN_SECONDS = 60.0
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Recognizer:
    """``matches`` takes the object and its request. ``subresource``: what its maker must be allowed to create."""

    matches: Callable[[Obj, Asked], bool]
    subresource: str
    message: str


def _is_own(csr: Obj, asked: Asked) -> bool:
    return text(part(csr, "spec"), "username") == asked.common_name and requests.is_node_client(csr, asked)


JOINING = Recognizer(
    requests.is_node_client, "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."
)
#: in the order in which they are tried
RECOGNIZERS = (
    Recognizer(_is_own, "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
    JOINING,
)


def is_open(csr: Obj) -> bool:
    """Nobody has decided on it yet. Pure."""
    decided = requests.has(csr, "Approved") or requests.has(csr, "Denied")
    return not decided and not text(part(csr, "status"), "certificate")


def review(csr: Obj, subresource: str) -> Obj:
    """The question whether the request's maker may create what the subresource stands for. Pure."""
    spec = part(csr, "spec")
    who = {"user": spec.get("username"), "uid": spec.get("uid"), "groups": spec.get("groups")}
    attributes = {
        "group": _GROUP,
        "resource": CERTIFICATE_SIGNING_REQUESTS.plural,
        "subresource": subresource,
        "verb": "create",
    }
    asked = {key: value for key, value in {**who, "extra": spec.get("extra")}.items() if value}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {**asked, "resourceAttributes": attributes},
    }


def approved(csr: Obj, message: str) -> Obj:
    """A copy with the condition. Pure."""
    return requests.with_condition(
        csr, {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
    )


def is_alive(node: Obj | None) -> bool:
    """Pure."""
    conditions = parts(part(node, "status"), "conditions")
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


class CertificateApprover:
    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._requests = context.informers.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._nodes = context.informers.informer(NODES)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync)
        self._controller.watch(self._requests, own_key)
        self._controller.watch(self._nodes, lambda node: ())  # known, and no reason to look at a request

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        csr = self._requests.get(*key)
        if csr is None or not is_open(csr) or text(part(csr, "spec"), "signerName") != requests.KUBELET_CLIENT:
            return DONE
        try:
            asked = await asyncio.to_thread(requests.read, csr)
        except Unreadable as error:
            log.warning("certificate request %s is not approved: %s", key.name, error)
            return DONE
        tried = []
        for recognizer in RECOGNIZERS:
            if not recognizer.matches(csr, asked):
                continue
            tried.append(recognizer.subresource)
            if recognizer is JOINING and is_alive(self._nodes.get("", asked.common_name.removeprefix(_NODE_USER))):
                log.warning("certificate request %s is not approved: %s is alive", key.name, asked.common_name)
                continue
            answer = await self._client.raw("POST", REVIEWS, review(csr, recognizer.subresource))
            if part(answer, "status").get("allowed"):
                written = approved(csr, recognizer.message)
                await self._client.update(CERTIFICATE_SIGNING_REQUESTS, written, "approval")
                return DONE
        if not tried:
            return DONE
        log.info("certificate request %s is a node's (%s), and its maker may not", key.name, ", ".join(tried))
        return Result(AGAIN_SECONDS)
