"""Certificates by the API: what a user, a joining node and a node that renews its own certificate do."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cryptography import x509

from sampan.api.clock import SystemClock
from sampan.api.resources import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_TRUST_BUNDLES,
)
from sampan.client.client import Client
from sampan.cluster import addons
from sampan.cluster.initializing import objects
from sampan.cluster.settings import ClusterSettings
from sampan.controllers.certificates import requests
from sampan.controllers.context import ControllersConfig
from sampan.controllers.manager import run_controllers
from sampan.server.app import Server
from sampan.server.config import ServerConfig

CLIENT = ("digital signature", "key encipherment", "client auth")
SERVING = ("digital signature", "key encipherment", "server auth")


@asynccontextmanager
async def cluster(ca: Any) -> AsyncIterator[Callable[..., Client]]:
    """Inside: ``client(user, *groups)``; without arguments the administrator's."""
    async with Server(ServerConfig(listen=False, openapi=False)) as server:

        def client(user: str = "admin", *groups: str) -> Client:
            return Client(server.local_transport(user, groups or ("system:masters",)))

        started = asyncio.Event()
        config = ControllersConfig(
            root_ca_pem=ca.certificate.read_text(), signing_certificate=ca.certificate, signing_key=ca.key
        )
        work = asyncio.ensure_future(
            run_controllers(
                Client(server.local_transport()),
                clock=SystemClock(),
                random=random.Random(1),
                config=config,
                client_for=lambda name: Client(server.local_transport(f"system:serviceaccount:kube-system:{name}")),
                started=started,
            )
        )
        await started.wait()
        try:
            yield client
        finally:
            work.cancel()
            await asyncio.wait([work])


async def settled(admin: Client, name: str) -> dict[str, Any]:
    """The request once it is signed or failed."""
    async with asyncio.timeout(30):
        while True:
            found = await admin.get(CERTIFICATE_SIGNING_REQUESTS, name)
            if found.get("status", {}).get("certificate") or requests.has(found, "Failed"):
                return found
            await asyncio.sleep(0)


async def approve(admin: Client, name: str) -> None:
    found = await admin.get(CERTIFICATE_SIGNING_REQUESTS, name)
    approved = {"type": "Approved", "status": "True", "reason": "ByHand", "message": "it is jane"}
    await admin.update(CERTIFICATE_SIGNING_REQUESTS, requests.with_condition(found, approved), "approval")


async def test_a_user_gets_a_certificate_once_somebody_approves(
    ca: Any, request_of: Callable[..., bytes], csr_of: Callable[..., Any]
) -> None:
    async with cluster(ca) as client:
        admin = client()
        csr = csr_of(request_of("jane", ("dev",)), requests.API_SERVER_CLIENT, CLIENT, expirationSeconds=3600)
        await admin.create(CERTIFICATE_SIGNING_REQUESTS, csr)
        await approve(admin, "r")
        found = await settled(admin, "r")
        made = x509.load_pem_x509_certificate(base64.b64decode(found["status"]["certificate"]))
        assert made.subject.rfc4514_string() == "CN=jane,O=dev"
        assert [condition["type"] for condition in found["status"]["conditions"]] == ["Approved"]


async def test_a_node_renews_its_certificate_and_joins_with_a_token_without_anybodys_help(
    ca: Any, request_of: Callable[..., bytes], csr_of: Callable[..., Any]
) -> None:
    async with cluster(ca) as client:
        admin, pem = client(), request_of("system:node:n1", ("system:nodes",))
        for name, role, group in (
            ("renew", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"),
            ("join", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers"),
            ("ask", "system:node-bootstrapper", "system:bootstrappers"),
        ):
            binding = {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
            }
            await admin.create(CLUSTER_ROLE_BINDINGS, binding)
        own = csr_of(pem, requests.KUBELET_CLIENT, CLIENT, name="own")
        await client("system:node:n1", "system:nodes").create(CERTIFICATE_SIGNING_REQUESTS, own)
        joining = csr_of(pem, requests.KUBELET_CLIENT, CLIENT, name="joining")
        await client("system:bootstrap:abcdef", "system:bootstrappers").create(CERTIFICATE_SIGNING_REQUESTS, joining)
        said = []
        for name in ("own", "joining"):
            found = await settled(admin, name)
            assert found["status"]["certificate"]
            said += [(c["type"], c["reason"], c["message"]) for c in found["status"]["conditions"]]
        assert said == [
            ("Approved", "AutoApproved", "Auto approving self kubelet client certificate after SubjectAccessReview."),
            ("Approved", "AutoApproved", "Auto approving kubelet client certificate after SubjectAccessReview."),
        ]


async def test_nobody_is_approved_who_may_not_make_nodes_and_no_serving_certificate_by_itself(
    ca: Any, request_of: Callable[..., bytes], csr_of: Callable[..., Any]
) -> None:
    async with cluster(ca) as client:
        admin = client()
        stranger = csr_of(request_of("system:node:n1", ("system:nodes",)), requests.KUBELET_CLIENT, CLIENT, name="a")
        serving = csr_of(
            request_of("system:node:n1", ("system:nodes",), ("n1",)), requests.KUBELET_SERVING, SERVING, name="b"
        )
        # May ask for certificates, and has no say in whether nodes get any.
        writer = client("operator", "system:nodes-of-others")
        binding = {
            "metadata": {"name": "ask"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-bootstrapper"
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}],
        }  # fmt: skip
        await admin.create(CLUSTER_ROLE_BINDINGS, binding)
        await writer.create(CERTIFICATE_SIGNING_REQUESTS, stranger)
        await client("system:node:n1", "system:nodes").create(CERTIFICATE_SIGNING_REQUESTS, serving)
        # The third is the proof that the controllers have seen the others: they take requests in order.
        last = csr_of(request_of("jane"), requests.API_SERVER_CLIENT, ("server auth",), name="c")
        await admin.create(CERTIFICATE_SIGNING_REQUESTS, last)
        await approve(admin, "c")
        assert (await settled(admin, "c"))["status"]["conditions"][1]["reason"] == "SignerValidationFailure"
        for name in ("a", "b"):
            assert not (await admin.get(CERTIFICATE_SIGNING_REQUESTS, name)).get("status")


async def test_who_signs_for_the_api_server_is_published_once(ca: Any) -> None:
    async with cluster(ca) as client:
        admin = client()
        old = {
            "metadata": {"name": "kubernetes.io:kube-apiserver-serving:old"},
            "spec": {"signerName": "kubernetes.io/kube-apiserver-serving", "trustBundle": ca.certificate.read_text()},
        }
        await admin.create(CLUSTER_TRUST_BUNDLES, old)
        async with asyncio.timeout(30):
            while True:
                found = (await admin.list(CLUSTER_TRUST_BUNDLES))["items"]
                if [bundle["metadata"]["name"] for bundle in found] not in ([], [old["metadata"]["name"]]) and len(
                    found
                ) == 1:
                    break
                await asyncio.sleep(0)
        assert found[0]["spec"] == old["spec"]
        assert found[0]["metadata"]["name"].startswith("kubernetes.io:kube-apiserver-serving:")


async def test_a_ca_that_cannot_sign_keeps_nobody_from_being_refused(
    ca: Any, request_of: Callable[..., bytes], csr_of: Callable[..., Any]
) -> None:
    async with cluster(ca) as client:
        admin = client()
        ca.key.write_text("damaged")
        await admin.create(CERTIFICATE_SIGNING_REQUESTS, csr_of(request_of("a"), requests.API_SERVER_CLIENT, CLIENT))
        await approve(admin, "r")
        unusable = csr_of(request_of("b"), requests.API_SERVER_CLIENT, ("server auth",), name="b")
        await admin.create(CERTIFICATE_SIGNING_REQUESTS, unusable)
        await approve(admin, "b")
        assert requests.has(await settled(admin, "b"), "Failed")
        assert "certificate" not in (await admin.get(CERTIFICATE_SIGNING_REQUESTS, "r"))["status"]


async def test_a_node_gets_a_serving_certificate_unless_its_name_is_what_api_servers_are_reached_by(
    ca: Any, request_of: Callable[..., bytes], csr_of: Callable[..., Any]
) -> None:
    async with cluster(ca) as client:
        admin, settings = client(), ClusterSettings(control_plane_endpoint="api.example.com:6443")
        await addons.ensure(admin, settings)
        await objects.apply(admin, [objects.settings(settings, "192.0.2.1")])
        # Requests are taken one by one, in order: the last one's answer comes after the others were looked at.
        for name in ("api.example.com", "n2"):
            pem = request_of(f"system:node:{name}", ("system:nodes",), (name,))
            csr = csr_of(pem, requests.KUBELET_SERVING, SERVING, name=name)
            await client(f"system:node:{name}", "system:nodes").create(CERTIFICATE_SIGNING_REQUESTS, csr)
        assert (await settled(admin, "n2"))["status"]["certificate"]
        assert not (await admin.get(CERTIFICATE_SIGNING_REQUESTS, "api.example.com")).get("status")
