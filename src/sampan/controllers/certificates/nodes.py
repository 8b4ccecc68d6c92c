"""Approves what a node asks for besides its client certificate: that of its own API, and those of its parts.

Upstream leaves the first to a person or to an approver of the site, and has no other parts: its proxy is a pod. Here
they are asked for by ``sampan join``, as the node, and approved when they are the node's own: its name, addresses that
nobody else has, its parts' names and groups. Whoever has a token chooses the name of his node: one by which clients
look for an API server or a Service is no name that a serving certificate is given for. Like the renewal of its client
certificate they hang on the right to create ``certificatesigningrequests/selfnodeclient``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

import orjson
from cryptography import x509

from sampan.api.errors import NotFound
from sampan.api.reading import part, parts, text
from sampan.api.resources import CERTIFICATE_SIGNING_REQUESTS, CONFIG_MAPS, ENDPOINT_SLICES, NODES, SERVICE_CIDRS
from sampan.api.types import Obj
from sampan.client.controller import DONE, Controller, Result
from sampan.client.keys import ObjectKey, own_key
from sampan.controllers.certificates import requests
from sampan.controllers.certificates.approving import AGAIN_SECONDS, REVIEWS, approved, is_open, review
from sampan.controllers.certificates.requests import API_SERVER_CLIENT, KUBELET_SERVING, Asked, NotAllowed, Unreadable
from sampan.controllers.context import Context
from sampan.records import dataclass

log = logging.getLogger(__name__)

NAME: Final = "node-certificate-approver"
_SIGNERS: Final = frozenset({KUBELET_SERVING, API_SERVER_CLIENT})
_NODES_GROUP, _NODE_USER = "system:nodes", "system:node:"
#: what ``sampan init`` tells of the cluster (``cluster.initializing.objects``)
_SETTINGS: Final = ("sampan-config", "kube-system", "cluster")
#: of an object's name (RFC 1123), as a Node's: a name with a star would be that of many
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
#: by which clients on any machine look for an API server, and the end of all names of Services
_RESERVED: Final = frozenset({"localhost", "kubernetes", "kubernetes.default"})
_SERVICES, _DOMAIN = ".svc", "cluster.local"
_CLIENT_USAGES: Final = frozenset({"digital signature", "key encipherment", "client auth"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NotItsOwn(Exception):
    """The text says what of the request is somebody else's."""


@dataclass(frozen=True, slots=True)
class Others:
    """What a node must not pass for: addresses and DNS names of other nodes and of API servers, ranges of Services, the
    domain of their names. Names are in small letters; one may begin with a star."""

    names: Collection[str]
    ranges: tuple[Network, ...] = ()
    domain: str = _DOMAIN


def asking_node(csr: Obj) -> str:
    """The node that made the request; "": none did. The API server fills in who asks."""
    spec = part(csr, "spec")
    groups, user = spec.get("groups"), text(spec, "username")
    if not isinstance(groups, list) or _NODES_GROUP not in groups or not user.startswith(_NODE_USER):
        return ""
    return user.removeprefix(_NODE_USER)


def check(csr: Obj, asked: Asked, node: str, others: Others) -> None:
    """Pure. Raises NotItsOwn."""
    if text(part(csr, "spec"), "signerName") == KUBELET_SERVING:
        _check_serving(asked, requests.usages(csr), node, others)
    else:
        _check_part(asked, requests.usages(csr), node)


def _check_serving(asked: Asked, usages: Collection[str], node: str, others: Others) -> None:
    try:
        requests.check_kubelet_serving(asked, usages)
    except NotAllowed as error:
        raise NotItsOwn(str(error)) from error
    if asked.common_name != _NODE_USER + node:
        raise NotItsOwn(f"{asked.common_name} is another's name")
    names = asked.request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in names:
        if isinstance(name, x509.DNSName):
            if name.value != node:
                raise NotItsOwn(f"DNS name {name.value} is not the node's name")
            _check_name(node, others)
        if isinstance(name, x509.IPAddress):
            _check_address(name.value, others)


def _check_name(name: str, others: Others) -> None:
    """Of a node, which is what whoever joined it chose."""
    if _NAME.fullmatch(name) is None:
        raise NotItsOwn(f"{name} is no name of a node")
    star = f"*.{name.partition('.')[2]}"
    if name in _RESERVED or name in others.names or star in others.names:
        raise NotItsOwn(f"DNS name {name} is that of another node or of an API server")
    if name.endswith((_SERVICES, f"{_SERVICES}.{others.domain}")):
        raise NotItsOwn(f"DNS name {name} is one of Services")


def _check_address(address: object, others: Others) -> None:
    if not isinstance(address, Address):
        raise NotItsOwn(f"{address} is no single address")
    if str(address) in others.names:
        raise NotItsOwn(f"address {address} is that of another node or of an API server")
    if any(address in network for network in others.ranges):
        raise NotItsOwn(f"address {address} is one of Services")


def _check_part(asked: Asked, usages: Collection[str], node: str) -> None:
    """The names that ``cluster/pki.py`` gives to what runs beside the node agent."""
    own = {("system:sampan:network", ("sampan:network",)), (f"system:edge:{node}", ("sampan:ingress",))}
    if (asked.common_name, asked.organizations) not in own or any(asked.names.values()):
        raise NotItsOwn(f"{asked.common_name} (groups {', '.join(asked.organizations) or 'none'}) is no part of a node")
    if not _CLIENT_USAGES.issuperset(usages) or "client auth" not in usages:
        raise NotItsOwn(f"usages {', '.join(usages)} are not those of a client")


class NodeCertificateApprover:
    """What is not a node's own stays open, for a person to decide; the log says why."""

    def __init__(self, context: Context) -> None:
        self._client = context.client_for(NAME)
        self._requests = context.informers.informer(CERTIFICATE_SIGNING_REQUESTS)
        self._nodes = context.informers.informer(NODES)
        self._slices = context.informers.informer(ENDPOINT_SLICES)
        self._ranges = context.informers.informer(SERVICE_CIDRS)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=1)
        self._controller.watch(self._requests, own_key)
        for informer in (self._nodes, self._slices, self._ranges):
            self._controller.watch(informer, _nothing)

    async def run(self) -> None:
        await self._controller.run()

    async def sync(self, key: ObjectKey) -> Result:
        csr = self._requests.get(*key)
        if csr is None or not is_open(csr) or text(part(csr, "spec"), "signerName") not in _SIGNERS:
            return DONE
        node = asking_node(csr)
        if not node:
            return DONE
        try:
            check(csr, await asyncio.to_thread(requests.read, csr), node, await self._others(node))
        except (Unreadable, NotItsOwn) as error:
            log.warning("certificate request %s of node %s is not approved: %s", key.name, node, error)
            return DONE
        answer = await self._client.raw("POST", REVIEWS, review(csr, "selfnodeclient"))
        if not part(answer, "status").get("allowed"):
            log.info("certificate request %s is a node's own, and its maker may not", key.name)
            return Result(AGAIN_SECONDS)
        written = approved(csr, "Auto approving a certificate of the node's own after SubjectAccessReview.")
        await self._client.update(CERTIFICATE_SIGNING_REQUESTS, written, "approval")
        return DONE

    async def _others(self, node: str) -> Others:
        """What the node's own object says does not count: a node may write there what it likes. One that stands beside
        an API server has its certificates made there (``cluster/pki``)."""
        settings = await self._settings()
        taken = api_server_names(settings)
        for each in self._nodes.list():
            if each["metadata"]["name"] != node:
                taken.update(text(one, "address").lower() for one in parts(part(each, "status"), "addresses"))
        for endpoint in parts(self._slices.get("default", "kubernetes"), "endpoints"):
            taken.update(str(address) for address in endpoint.get("addresses") or ())
        ranges = [ipaddress.ip_network(cidr) for each in self._ranges.list() for cidr in _cidrs(each)]
        return Others(frozenset(taken), tuple(ranges), text(settings, "cluster_domain") or _DOMAIN)

    async def _settings(self) -> Obj:
        """The cluster's; {} where none are told: no machine can join there."""
        name, namespace, key = _SETTINGS
        try:
            told = await self._client.get(CONFIG_MAPS, name, namespace)
        except NotFound:
            return {}
        try:
            found = orjson.loads(text(part(told, "data"), key))
        except orjson.JSONDecodeError as error:
            raise NotItsOwn(f"ConfigMap {namespace}/{name}, which says what is an API server's, is damaged") from error
        return found if isinstance(found, dict) else {}


def api_server_names(settings: Obj) -> set[str]:
    """By what clients reach the API servers besides their own addresses: a balancer's name or address, further names of
    the certificate. Pure."""
    endpoint = text(settings, "control_plane_endpoint")
    host = endpoint if _is_address(endpoint) else urlsplit(f"//{endpoint}").hostname or ""
    named = [text(settings, "api_address"), host, *text(settings, "cert_sans").split(",")]
    return {_canonical(each.strip()) for each in named if each.strip()}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _canonical(name: str) -> str:
    """An address in its shortest form, as a certificate's is compared."""
    return str(ipaddress.ip_address(name)) if _is_address(name) else name.lower().rstrip(".")


def _cidrs(service_cidr: Obj) -> Iterable[str]:
    listed = part(service_cidr, "spec").get("cidrs")
    return [str(each) for each in listed] if isinstance(listed, list) else []


def _nothing(obj: Obj) -> Iterable[ObjectKey]:
    """Known, and no reason to look at a request again."""
    return ()
