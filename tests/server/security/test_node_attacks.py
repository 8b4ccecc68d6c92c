# ruff: noqa: E501 -- refusals are easier to compare on one line
"""A kubelet's certificate in the wrong hands: certificate, authorizer, admission and token issuer together.

Each attack goes through the whole pipeline as a request and must end as it does with upstream: refused with its code
and message, while the work of an honest kubelet on the same objects goes on.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.clock import FixedClock
from sampan.server.app import Server
from sampan.server.authn.jwt import unverified_claims
from sampan.server.config import ServerConfig
from sampan.server.request import Request

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
Body = dict[str, Any]


def subject(user: str, *groups: str) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user), *organizations])


@dataclass
class Answer:
    status: int
    obj: Any

    @property
    def message(self) -> str:
        return str(self.obj.get("message", "")) if isinstance(self.obj, dict) else str(self.obj)


class Cluster:
    """``await cluster("node a", "GET", url)``; ``token=`` instead of the certificate."""

    def __init__(self, server: Server, certificate_of: Callable[..., bytes]) -> None:
        self.server = server
        self._certificates = {
            "admin": certificate_of("admin", "system:masters"),
            "node a": certificate_of("system:node:a", "system:nodes"),
            "node b": certificate_of("system:node:b", "system:nodes"),
            "nameless node": certificate_of("system:node:", "system:nodes"),
        }

    async def __call__(
        self,
        who: str,
        method: str,
        url: str,
        body: Any = None,
        *,
        token: str = "",
        patch: str = "merge-patch+json",
        impersonate: str = "",
    ) -> Answer:
        path, _, raw_query = url.partition("?")
        lists = parse_qs(raw_query, keep_blank_values=True)
        headers = {"content-type": "application/json" if method != "PATCH" else f"application/{patch}"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if impersonate:
            headers["impersonate-user"] = impersonate
        request = Request(
            method,
            path,
            {key: values[0] for key, values in lists.items()},
            headers,
            b"" if body is None else orjson.dumps(body),
            query_lists=lists,
            raw_query=raw_query,
            peer_certificate=None if token else self._certificates[who],
        )
        response = await self.server.handler(request)
        if not isinstance(response.body, bytes):
            return Answer(response.status, {})
        return Answer(response.status, orjson.loads(response.body) if response.body else {})

    async def admin(self, method: str, url: str, body: Any = None) -> Body:
        answer = await self("admin", method, url, body)
        assert answer.status < 300, answer
        found: Body = answer.obj
        return found

    async def run(self, name: str, node: str, *, namespace: str = "default", **spec: Any) -> Body:
        """A pod that was scheduled to the node."""
        await self.admin("POST", f"/api/v1/namespaces/{namespace}/pods", pod(name, **spec))
        target = {"target": {"kind": "Node", "name": node}}
        await self.admin("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", target)
        return await self.admin("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    async def uid_of(self, node: str) -> str:
        return str((await self.admin("GET", f"/api/v1/nodes/{node}"))["metadata"]["uid"])

    async def mirror(self, name: str, node: str = "a", **spec: Any) -> Body:
        made = pod(name, nodeName=node, **spec)
        made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
        made["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": node, "uid": await self.uid_of(node), "controller": True}
        ]
        return made


def pod(name: str, **spec: Any) -> Body:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


DEFAULT, SYSTEM = "/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"


@pytest.fixture
async def cluster(certificate_of: Callable[..., bytes]) -> AsyncIterator[Cluster]:
    config = ServerConfig(
        listen=False, bootstrap=False, authorization_modes=("Node", "RBAC"), clock=FixedClock(NOW), random=Random(1)
    )
    async with Server(config) as server:
        made = Cluster(server, certificate_of)
        for namespace in ("default", "kube-system", "kube-node-lease"):
            await made.admin("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
            accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
            for account in ("default", "powerful"):
                await made.admin("POST", accounts, {"metadata": {"name": account}})
        for node in ("a", "b"):
            await made.admin("POST", "/api/v1/nodes", {"metadata": {"name": node}})
        yield made


def bound(found: Body, *audiences: str) -> Body:
    meta = found["metadata"]
    reference = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
    return {"spec": {"boundObjectRef": reference, **({"audiences": list(audiences)} if audiences else {})}}


# Tokens


async def test_a_mirror_pod_gives_no_token_of_the_default_account(cluster: Cluster) -> None:
    made = await cluster("node a", "POST", f"{SYSTEM}/pods", await cluster.mirror("m"))
    assert made.status == 201
    answer = await cluster("node a", "POST", f"{SYSTEM}/serviceaccounts/default/token", bound(made.obj))
    assert (answer.status, answer.message) == (
        403,
        'serviceaccounts "default" is forbidden: User "system:node:a" cannot create resource "serviceaccounts/token" in '
        'API group "" in the namespace "kube-system": no relationship found between node \'a\' and this object',
    )
    # Nor does the issuer take its lack of an account for the default one, whoever asks.
    answer = await cluster("admin", "POST", f"{SYSTEM}/serviceaccounts/default/token", bound(made.obj))
    assert (answer.status, answer.message) == (
        400,
        'cannot bind token for serviceaccount "default" to pod running with different serviceaccount name.',
    )


async def test_a_pod_gives_tokens_of_its_own_account_to_its_own_node(cluster: Cluster) -> None:
    mine, theirs = await cluster.run("mine", "a"), await cluster.run("theirs", "b")
    url = f"{DEFAULT}/serviceaccounts/default/token"
    answer = await cluster("node a", "POST", url, bound(mine))
    assert answer.status == 201
    claims = unverified_claims(answer.obj["status"]["token"])
    assert claims is not None
    assert claims["kubernetes.io"]["node"] == {"name": "a", "uid": await cluster.uid_of("a")}
    begin = 'serviceaccounts "default" is forbidden: '
    refusals = {
        "not bound to a pod": {"spec": {}},
        "with a pod binding without a uid": bound({"metadata": {"name": "mine", "uid": ""}}),
        "bound to a pod scheduled on a different node": bound(theirs),
    }
    for text, body in refusals.items():
        answer = await cluster("node a", "POST", url, body)
        assert (answer.status, answer.message) == (403, f"{begin}node requested token {text}")
    reborn = bound({"metadata": {"name": "mine", "uid": "another"}})
    answer = await cluster("node a", "POST", url, reborn)
    assert (answer.status, answer.message) == (
        403,
        f"{begin}the UID in the bound object reference (another) does not match the UID in record. "
        "The object might have been deleted and then recreated",
    )
    answer = await cluster("node a", "POST", url, bound({"metadata": {"name": "gone", "uid": "x"}}))
    assert (answer.status, answer.message) == (404, 'pods "gone" not found')


async def test_an_account_that_no_pod_of_the_node_has_is_out_of_reach(cluster: Cluster) -> None:
    mine = await cluster.run("mine", "a")
    await cluster.run("theirs", "b", serviceAccountName="powerful")
    for method, suffix, body in (("POST", "/token", bound(mine)), ("GET", "", None)):
        answer = await cluster("node a", method, f"{DEFAULT}/serviceaccounts/powerful{suffix}", body)
        assert answer.status == 403
        assert "no relationship found between node 'a' and this object" in answer.message
    # The issuer holds the line by itself too: a token for one account cannot be bound to another's pod.
    answer = await cluster("admin", "POST", f"{DEFAULT}/serviceaccounts/powerful/token", bound(mine))
    assert answer.status == 400


async def test_a_node_gets_tokens_for_the_audiences_of_its_pods_only(cluster: Cluster) -> None:
    source = {"serviceAccountToken": {"path": "t", "audience": "vault"}}
    mine = await cluster.run("mine", "a", volumes=[{"name": "v", "projected": {"sources": [source]}}])
    url = f"{DEFAULT}/serviceaccounts/default/token"
    assert (await cluster("node a", "POST", url, bound(mine, "vault"))).status == 201
    answer = await cluster("node a", "POST", url, bound(mine, "bank"))
    assert (answer.status, answer.message) == (
        403,
        'serviceaccounts "default" is forbidden: audience "bank" not found in pod spec volume, '
        "system:node:a is not authorized to request tokens for this audience",
    )
    answer = await cluster("node a", "POST", url, bound(mine, "vault", "bank"))
    assert answer.message == 'serviceaccounts "default" is forbidden: node may only request 0 or 1 audiences'


async def test_a_bound_token_ends_with_what_it_is_bound_to(cluster: Cluster) -> None:
    mine = await cluster.run("mine", "a")
    issued = await cluster("node a", "POST", f"{DEFAULT}/serviceaccounts/default/token", bound(mine))
    token = issued.obj["status"]["token"]
    for _ in range(2):  # verified, then remembered
        assert (await cluster("", "GET", "/api/v1/nodes", token=token)).status == 403
    await cluster.admin("PATCH", f"{DEFAULT}/pods/mine/status", {"status": {"phase": "Running"}})
    assert (await cluster("", "GET", "/api/v1/nodes", token=token)).status == 403
    await cluster.admin("DELETE", f"{DEFAULT}/pods/mine?gracePeriodSeconds=0")
    await cluster.run("mine", "a")
    assert (await cluster("", "GET", "/api/v1/nodes", token=token)).status == 401


async def test_a_token_ends_with_its_account_on_the_next_request(cluster: Cluster) -> None:
    url = f"{DEFAULT}/serviceaccounts/powerful"
    token = (await cluster.admin("POST", f"{url}/token", {"spec": {}}))["status"]["token"]
    for _ in range(2):
        assert (await cluster("", "GET", "/api/v1/nodes", token=token)).status == 403
    await cluster.admin("DELETE", url)
    assert (await cluster("", "GET", "/api/v1/nodes", token=token)).status == 401
    await cluster.admin("POST", f"{DEFAULT}/serviceaccounts", {"metadata": {"name": "powerful"}})
    assert (await cluster("", "GET", "/api/v1/nodes", token=token)).status == 401


# Mirror pods


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"annotations": None}, 'pod does not have "kubernetes.io/config.mirror" annotation, node "a" can only create mirror pods'),
        ({"ownerReferences": []}, 'node "a" can only create pods with an owner reference set to itself'),
        ({"ownerReferences": [{"name": "b"}]}, 'node "a" can only create pods with an owner reference set to itself'),
        ({"ownerReferences": [{"kind": "Pod"}]}, 'node "a" can only create pods with an owner reference set to itself'),
        ({"ownerReferences": [{}, {"name": "b"}]}, 'node "a" can only create pods with a single owner reference set to itself'),
        ({"ownerReferences": [{"controller": False}]}, 'node "a" can only create pods with a controller owner reference set to itself'),
        ({"ownerReferences": [{"blockOwnerDeletion": True}]}, 'node "a" must not set blockOwnerDeletion on an owner reference'),
        ({"ownerReferences": [{"uid": "x"}]}, "node a UID mismatch: expected x got UID"),
        ({"spec": {"nodeName": "b"}}, 'node "a" can only create pods with spec.nodeName set to itself'),
        ({"spec": {"serviceAccountName": "default"}}, "a mirror pod may not reference service accounts"),
        ({"spec": {"imagePullSecrets": [{"name": "s"}]}}, "a mirror pod may not reference secrets"),
        ({"spec": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}}, "a mirror pod may not reference secrets"),
        ({"spec": {"volumes": [{"name": "v", "configMap": {"name": "s"}}]}}, "node NODE can not create pods that reference configmaps"),
        ({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "s"}}]}},
         "node NODE can not create pods that reference persistentvolumeclaims"),
        ({"spec": {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]}},
         "node NODE can not create pods that reference persistentvolumeclaims (via ephemeral volumes)"),
        ({"spec": {"volumes": [{"name": "v", "csi": {"driver": "d"}}]}},
         "node NODE can not create pods that reference csidrivers (via CSI volumes)"),
        ({"spec": {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}},
         "a mirror pod may not use ServiceAccountToken volume projections"),
        ({"spec": {"volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "t", "name": "x"}}]}}]}},
         "node NODE can not create pods that reference clustertrustbundles"),
        ({"spec": {"resourceClaims": [{"name": "c", "resourceClaimName": "x"}]}},
         "node NODE can not create pods that reference resourceclaims"),
    ],
)  # fmt: skip
async def test_a_node_creates_mirror_pods_of_its_own_and_nothing_else(
    cluster: Cluster, change: Body, text: str
) -> None:
    made = await cluster.mirror("m")
    uid = made["metadata"]["ownerReferences"][0]["uid"]
    own = made["metadata"]["ownerReferences"][0]
    for key, value in change.items():
        if key == "spec":
            made["spec"].update(value)
        else:
            made["metadata"][key] = [{**own, **owner} for owner in value] if value is not None else value
    answer = await cluster("node a", "POST", f"{DEFAULT}/pods", made)
    wanted = text.replace("NODE", '"a"').replace(
        "UID mismatch: expected x got UID", f"UID mismatch: expected x got {uid}"
    )
    assert (answer.status, answer.message) == (403, f'pods "m" is forbidden: {wanted}')


async def test_a_mirror_pod_leads_its_node_to_nothing(cluster: Cluster) -> None:
    """Even one that an administrator made with references."""
    made = await cluster.mirror("m", volumes=[{"name": "v", "configMap": {"name": "cm"}}])
    await cluster.admin("POST", f"{DEFAULT}/pods", made)
    await cluster.admin("POST", f"{DEFAULT}/configmaps", {"metadata": {"name": "cm"}})
    assert (await cluster("node a", "GET", f"{DEFAULT}/pods/m")).status == 200
    answer = await cluster("node a", "GET", f"{DEFAULT}/configmaps/cm")
    assert answer.status == 403
    assert answer.message.endswith("no relationship found between node 'a' and this object")


async def test_a_mirror_pod_stays_one_and_no_other_becomes_one(cluster: Cluster) -> None:
    await cluster("node a", "POST", f"{DEFAULT}/pods", await cluster.mirror("m"))
    await cluster.run("p", "a")
    field = "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not"
    for name, value, what in (("m", None, "remove or update"), ("m", "x", "remove or update"), ("p", "x", "add")):
        change = {"metadata": {"annotations": {"kubernetes.io/config.mirror": value}}}
        answer = await cluster("node a", "PATCH", f"{DEFAULT}/pods/{name}/status", change)
        assert (answer.status, answer.message) == (
            422,
            f'Pod "{name}" is invalid: {field} {what} mirror pod annotation',
        )
        assert (await cluster("admin", "PATCH", f"{DEFAULT}/pods/{name}", change)).status == 422


# Pods of others


async def test_a_node_reads_its_own_pods_only(cluster: Cluster) -> None:
    await cluster.run("mine", "a")
    await cluster.run("theirs", "b")
    for url in (
        "/api/v1/pods",
        f"{DEFAULT}/pods",
        "/api/v1/pods?watch=1",
        "/api/v1/pods?fieldSelector=spec.nodeName!=b",
    ):
        answer = await cluster("node a", "GET", url)
        assert answer.status == 403
        assert answer.message.endswith(": can only list/watch pods with spec.nodeName field selector")
    assert (await cluster("node a", "GET", "/api/v1/pods?fieldSelector=spec.nodeName=b")).status == 403
    listed = await cluster("node a", "GET", "/api/v1/pods?fieldSelector=spec.nodeName=a")
    assert [item["metadata"]["name"] for item in listed.obj["items"]] == ["mine"]
    assert (await cluster("node a", "GET", f"{DEFAULT}/pods/mine")).status == 200
    assert (await cluster("node a", "GET", f"{DEFAULT}/pods?fieldSelector=metadata.name=mine")).status == 200
    for name in ("theirs", "nowhere"):
        answer = await cluster("node a", "GET", f"{DEFAULT}/pods/{name}")
        assert (answer.status, answer.message) == (
            403,
            f'pods "{name}" is forbidden: User "system:node:a" cannot get resource "pods" in API group "" in the '
            "namespace \"default\": no relationship found between node 'a' and this object",
        )


async def test_a_node_writes_its_own_pods_only(cluster: Cluster) -> None:
    await cluster.run("mine", "a")
    await cluster.run("theirs", "b")
    theirs = f"{DEFAULT}/pods/theirs"
    ready = {"status": {"phase": "Running"}}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "theirs"}}
    attacks = (
        ("PATCH", f"{theirs}/status", ready, 'node "a" can only update pod status for pods with spec.nodeName set to itself'),
        ("DELETE", theirs, None, 'node "a" can only delete pods with spec.nodeName set to itself'),
        ("POST", f"{theirs}/eviction", eviction, "node a can only evict pods with spec.nodeName set to itself"),
    )  # fmt: skip
    for method, url, body, text in attacks:
        answer = await cluster("node a", method, url, body)
        assert (answer.status, answer.message) == (403, f'pods "theirs" is forbidden: {text}')
    for method, url in (
        ("PUT", theirs),
        ("PATCH", theirs),
        ("DELETE", f"{DEFAULT}/pods"),
        ("POST", f"{theirs}/binding"),
    ):
        assert (await cluster("node a", method, url, {})).status == 403
    assert (await cluster("node a", "PATCH", f"{DEFAULT}/pods/mine/status", ready)).status == 200
    answer = await cluster("node a", "PATCH", f"{DEFAULT}/pods/mine/status", {"metadata": {"labels": {"app": "x"}}})
    assert answer.message == 'pods "mine" is forbidden: node "a" cannot update labels through pod status'
    assert (await cluster("node a", "DELETE", f"{DEFAULT}/pods/mine?gracePeriodSeconds=0")).status == 200


async def test_status_changes_neither_owner_nor_spec_of_a_pod(cluster: Cluster) -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": await cluster.uid_of("a"), "controller": True}
    await cluster.run("mine", "a")
    change = {
        "metadata": {"ownerReferences": [owner], "finalizers": ["a.b/c"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"serviceAccountName": "powerful", "nodeName": "b"},
        "status": {"phase": "Running"},
    }
    answer = await cluster("node a", "PATCH", f"{DEFAULT}/pods/mine/status", change)
    assert answer.status == 200
    found = await cluster.admin("GET", f"{DEFAULT}/pods/mine")
    assert (found["spec"]["serviceAccountName"], found["spec"]["nodeName"]) == ("default", "a")
    assert not {"ownerReferences", "deletionTimestamp"} & found["metadata"].keys()
    assert found["status"]["phase"] == "Running"


async def test_a_node_cannot_make_claims_its_pods_own(cluster: Cluster) -> None:
    """Which ResourceClaims it may read follows from the pods' status, which it writes."""
    claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
    for name in ("used", "secret"):
        request = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
        await cluster.admin("POST", claims, {"metadata": {"name": name}, "spec": request})
    await cluster.run("mine", "a", resourceClaims=[{"name": "c", "resourceClaimName": "used"},
                                                   {"name": "t", "resourceClaimTemplateName": "t"}])  # fmt: skip
    assert (await cluster("node a", "GET", f"{claims}/used")).status == 200
    assert (await cluster("node b", "GET", f"{claims}/used")).status == 403
    answer = await cluster("node a", "GET", claims)
    assert answer.message.endswith(": can only get individual resources of this type")
    for change, text in (
        (
            {"resourceClaimStatuses": [{"name": "t", "resourceClaimName": "secret"}]},
            "cannot update resource claim statues",
        ),
        (
            {"extendedResourceClaimStatus": {"resourceClaimName": "secret"}},
            "cannot update extended resource claim status",
        ),
    ):
        answer = await cluster("node a", "PATCH", f"{DEFAULT}/pods/mine/status", {"status": change})
        assert (answer.status, answer.message) == (403, f'pods "mine" is forbidden: node "a" {text}')
        assert (await cluster("node a", "GET", f"{claims}/secret")).status == 403
    # What the controller made for the pod is the node's to read, at once.
    made = {"status": {"resourceClaimStatuses": [{"name": "t", "resourceClaimName": "secret"}]}}
    await cluster.admin("PATCH", f"{DEFAULT}/pods/mine/status", made)
    assert (await cluster("node a", "GET", f"{claims}/secret")).status == 200


# Secrets, volumes


async def test_secrets_are_read_by_the_nodes_whose_pods_use_them(cluster: Cluster) -> None:
    for name in ("mine", "theirs"):
        await cluster.admin("POST", f"{DEFAULT}/secrets", {"metadata": {"name": name}})
    secrets = f"{DEFAULT}/secrets"
    volume = {"name": "v", "secret": {"secretName": "mine"}}
    await cluster.run("p", "a", volumes=[volume])
    await cluster.run("q", "b", volumes=[{"name": "v", "secret": {"secretName": "theirs"}}])
    for allowed in (f"{secrets}/mine", f"{secrets}?fieldSelector=metadata.name=mine"):
        assert (await cluster("node a", "GET", allowed)).status == 200
    for refused in (f"{secrets}/theirs", secrets, "/api/v1/secrets", f"{SYSTEM}/secrets/mine"):
        assert (await cluster("node a", "GET", refused)).status == 403
    for method, url in (("POST", secrets), ("PUT", f"{secrets}/mine"), ("DELETE", f"{secrets}/mine")):
        answer = await cluster("node a", method, url, {"metadata": {"name": "mine"}})
        assert answer.message.endswith(": can only read resources of this type")
    await cluster.admin("DELETE", f"{DEFAULT}/pods/p?gracePeriodSeconds=0")
    assert (await cluster("node a", "GET", f"{secrets}/mine")).status == 403


async def test_a_claim_that_names_another_volume_does_not_lead_there(cluster: Cluster) -> None:
    """Whose a volume is says the volume, not whoever asks for it."""
    csi = {"driver": "d", "volumeHandle": "h"}
    capacity = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    for name, claim in (("mine", "data"), ("theirs", "other")):
        secret = {"nodeStageSecretRef": {"name": f"of-{name}", "namespace": "kube-system"}}
        spec = {**capacity, "csi": {**csi, **secret}, "claimRef": {"namespace": "default", "name": claim}}
        await cluster.admin("POST", "/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": spec})
        await cluster.admin("POST", f"{SYSTEM}/secrets", {"metadata": {"name": f"of-{name}"}})
    for name, volume in (("data", "mine"), ("greedy", "theirs")):
        request = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": volume,
        }
        await cluster.admin("POST", f"{DEFAULT}/persistentvolumeclaims", {"metadata": {"name": name}, "spec": request})
        mounted = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
        await cluster.run(f"uses-{name}", "a", volumes=[mounted])
    for path in ("/api/v1/persistentvolumes/{}", f"{SYSTEM}/secrets/of-{{}}"):
        assert (await cluster("node a", "GET", path.format("mine"))).status == 200
        assert (await cluster("node b", "GET", path.format("mine"))).status == 403
        assert (await cluster("node a", "GET", path.format("theirs"))).status == 403
    claim = f"{DEFAULT}/persistentvolumeclaims/data"
    answer = await cluster("node a", "PATCH", f"{claim}/status", {"status": {"phase": "Lost"}})
    assert (answer.status, answer.message) == (
        403,
        'persistentvolumeclaims "data" is forbidden: node "a" is not allowed to update fields other than '
        "status.quantity and status.conditions",
    )
    grown = {"status": {"capacity": {"storage": "2Gi"}}}
    assert (await cluster("node a", "PATCH", f"{claim}/status", grown)).status == 200
    assert (await cluster("node b", "PATCH", f"{claim}/status", grown)).status == 403


# Nodes


async def test_a_node_makes_no_nodes_but_itself(cluster: Cluster) -> None:
    for metadata, name in (({"generateName": "a"}, ""), ({"name": "c"}, "c"), ({"generateName": "x-"}, "")):
        answer = await cluster("node a", "POST", "/api/v1/nodes", {"metadata": metadata})
        shown = metadata.get("name") or metadata["generateName"]
        text = f'nodes "{shown}" is forbidden: node "a" is not allowed to modify node "{name}"'
        assert (answer.status, answer.message) == (403, text)
    assert (await cluster("node a", "POST", "/api/v1/nodes", {"metadata": {"name": "a"}})).status == 409
    names = [item["metadata"]["name"] for item in (await cluster.admin("GET", "/api/v1/nodes"))["items"]]
    assert names == ["a", "b"]


async def test_a_node_reads_and_changes_itself_only(cluster: Cluster) -> None:
    answer = await cluster("node a", "GET", "/api/v1/nodes")
    assert answer.message.endswith(": node 'a' cannot read all nodes, only its own Node object")
    answer = await cluster("node a", "GET", "/api/v1/nodes/b")
    assert answer.message.endswith(": node 'a' cannot read 'b', only its own Node object")
    assert (await cluster("node a", "GET", "/api/v1/nodes/a")).status == 200
    assert (await cluster("node a", "GET", "/api/v1/nodes?fieldSelector=metadata.name=a")).status == 200
    for url in ("/api/v1/nodes/b", "/api/v1/nodes/b/status"):
        answer = await cluster("node a", "PATCH", url, {"metadata": {"annotations": {"a": "b"}}})
        text = 'nodes "b" is forbidden: node "a" is not allowed to modify node "b"'
        assert (answer.status, answer.message) == (403, text)
    for name in ("a", "b"):
        assert (await cluster("node a", "DELETE", f"/api/v1/nodes/{name}")).status == 403
    assert (await cluster("node a", "DELETE", "/api/v1/nodes")).status == 403
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}
    attacks: list[tuple[Body, str]] = [
        ({"spec": {"taints": []}}, 'node "a" is not allowed to modify taints'),
        ({"metadata": {"ownerReferences": [reference]}}, 'node "a" is not allowed to modify ownerReferences'),
    ]
    for label in (
        "node-restriction.kubernetes.io/x",
        "node-role.kubernetes.io/master",
        "example.k8s.io/x",
        "kubernetes.io/x",
    ):
        attacks.append(({"metadata": {"labels": {label: "1"}}}, f"is not allowed to modify labels: {label}"))
    for change, text in attacks:
        answer = await cluster("node a", "PATCH", "/api/v1/nodes/a", change)
        assert (answer.status, answer.message) == (403, f'nodes "a" is forbidden: {text}')
    allowed = {"kubernetes.io/hostname": "a", "x.node.kubernetes.io/y": "1", "example.com/z": "1"}
    assert (await cluster("node a", "PATCH", "/api/v1/nodes/a", {"metadata": {"labels": allowed}})).status == 200
    assert (await cluster("node a", "PATCH", "/api/v1/nodes/a/status", {"status": {"phase": "Running"}})).status == 200


async def test_a_new_node_cannot_label_itself_into_trust(cluster: Cluster) -> None:
    await cluster.admin("DELETE", "/api/v1/nodes/a")
    labels = {"node-restriction.kubernetes.io/trusted": "1", "node-role.kubernetes.io/x": "1", "a": "b"}
    answer = await cluster("node a", "POST", "/api/v1/nodes", {"metadata": {"name": "a", "labels": labels}})
    assert (answer.status, answer.message) == (
        403,
        'nodes "a" is forbidden: node "a" is not allowed to set the following labels: '
        "node-restriction.kubernetes.io/trusted, node-role.kubernetes.io/x",
    )


async def test_whose_certificate_names_no_node_is_none(cluster: Cluster) -> None:
    answer = await cluster("nameless node", "GET", "/api/v1/nodes/a")
    assert (answer.status, answer.message) == (
        403,
        'nodes "a" is forbidden: User "system:node:" cannot get resource "nodes" in API group "" at the cluster '
        'scope: unknown node for user "system:node:"',
    )


# What else is a node's own


async def test_leases_and_csi_nodes_are_the_nodes_own(cluster: Cluster) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
    own = leases.format("kube-node-lease")
    assert (await cluster("node a", "POST", own, {"metadata": {"name": "a"}})).status == 201
    assert (await cluster("node a", "PATCH", f"{own}/a", {"spec": {"holderIdentity": "a"}})).status == 200
    for metadata in ({"name": "b"}, {"generateName": "a"}):
        answer = await cluster("node a", "POST", own, {"metadata": metadata})
        assert answer.message.endswith(": can only access node lease with the same name as the requesting node")
    answer = await cluster("node a", "PUT", f"{own}/b", {"metadata": {"name": "b"}})
    assert answer.message.endswith(": can only access node lease with the same name as the requesting node")
    answer = await cluster("node a", "POST", leases.format("default"), {"metadata": {"name": "a"}})
    assert answer.message.endswith(': can only access leases in the "kube-node-lease" system namespace')
    answer = await cluster("node a", "GET", own)
    assert answer.message.endswith(": can only get, create, update, patch, or delete a node lease")
    csi_nodes = "/apis/storage.k8s.io/v1/csinodes"
    assert (
        await cluster("node a", "POST", csi_nodes, {"metadata": {"name": "a"}, "spec": {"drivers": []}})
    ).status == 201
    answer = await cluster("node a", "POST", csi_nodes, {"metadata": {"name": "b"}, "spec": {"drivers": []}})
    assert answer.message == (
        'csinodes.storage.k8s.io "b" is forbidden: can only access CSINode with the same name as the requesting node'
    )
    assert (await cluster("node a", "DELETE", f"{csi_nodes}/b")).status == 403


async def test_resource_slices_are_the_nodes_own(cluster: Cluster) -> None:
    slices = "/apis/resource.k8s.io/v1/resourceslices"

    def resource_slice(name: str, node: str) -> Body:
        pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
        return {"metadata": {"name": name}, "spec": {"driver": "d.example.com", "nodeName": node, "pool": pool}}

    assert (await cluster("node a", "POST", slices, resource_slice("mine", "a"))).status == 201
    assert (await cluster("node b", "POST", slices, resource_slice("theirs", "b"))).status == 201
    answer = await cluster("node a", "POST", slices, resource_slice("x", "b"))
    assert (answer.status, answer.message) == (
        403,
        'resourceslices.resource.k8s.io "x" is forbidden: '
        "can only create ResourceSlice with the same NodeName as the requesting node",
    )
    assert (await cluster("node a", "GET", f"{slices}/mine")).status == 200
    for method in ("GET", "DELETE"):
        answer = await cluster("node a", method, f"{slices}/theirs")
        assert answer.message.endswith("no relationship found between node 'a' and this object")
    for method in ("GET", "DELETE"):
        answer = await cluster("node a", method, slices)
        assert answer.message.endswith(
            ": can only list/watch/deletecollection resourceslices with nodeName field selector"
        )
    assert (await cluster("node a", "DELETE", f"{slices}?fieldSelector=spec.nodeName=a")).status == 200
    names = [item["metadata"]["name"] for item in (await cluster.admin("GET", slices))["items"]]
    assert names == ["theirs"]


def signing_request(user: str, signer: str) -> Body:
    built = (
        x509.CertificateSigningRequestBuilder().subject_name(subject(user, "system:nodes")).sign(KEY, hashes.SHA256())
    )
    pem = base64.b64encode(built.public_bytes(serialization.Encoding.PEM)).decode()
    usages = ["digital signature", "client auth"]
    return {"metadata": {"name": "csr"}, "spec": {"request": pem, "signerName": signer, "usages": usages}}


async def test_a_node_asks_for_certificates_of_its_own_name(cluster: Cluster) -> None:
    url = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    client = "kubernetes.io/kube-apiserver-client-kubelet"
    answer = await cluster("node a", "POST", url, signing_request("system:node:b", client))
    assert (answer.status, answer.message) == (
        403,
        'certificatesigningrequests.certificates.k8s.io "csr" is forbidden: '
        "can only create a node CSR with CN=system:node:a",
    )
    assert (await cluster("node a", "POST", url, signing_request("system:node:a", client))).status == 201


async def test_pod_certificates_are_for_the_nodes_own_pods(cluster: Cluster) -> None:
    url = "/apis/certificates.k8s.io/v1/namespaces/{}/podcertificaterequests"
    accounts = {
        namespace: (await cluster.admin("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))["metadata"]
        for namespace in ("default", "kube-system")
    }

    async def ask(found: Body, namespace: str = "default", **change: Any) -> Answer:
        spec = {
            "signerName": "example.com/s", "podName": found["metadata"]["name"], "podUID": found["metadata"]["uid"],
            "serviceAccountName": "default", "serviceAccountUID": accounts[namespace]["uid"], "nodeName": "a",
            "nodeUID": await cluster.uid_of("a"), "pkixPublicKey": "AA==", "proofOfPossession": "AA==", **change,
        }  # fmt: skip
        return await cluster("node a", "POST", url.format(namespace), {"metadata": {"name": "r"}, "spec": spec})

    mine, theirs = await cluster.run("mine", "a"), await cluster.run("theirs", "b")
    mirror = (await cluster("node a", "POST", f"{SYSTEM}/pods", await cluster.mirror("m"))).obj
    begin = 'podcertificaterequests.certificates.k8s.io "r" is forbidden: '
    assert (await ask(mine, nodeName="b")).message == (
        f'{begin}PodCertificateRequest.Spec.NodeName="b", which is not the requesting node "a"'
    )
    assert (await ask(theirs)).message == (
        f'{begin}pod "default/theirs" is not running on node "a" named in the PodCertificateRequest'
    )
    assert (await ask(mirror, "kube-system")).message == f'{begin}pod "kube-system/m" is a mirror pod'
    other = await ask(mine, serviceAccountName="powerful")
    assert other.message.endswith('contains serviceAccountName ("powerful") that differs from running pod ("default")')
    for wrong in ({"podUID": "x"}, {"nodeUID": "x"}, {"serviceAccountUID": "x"}):
        assert (await ask(mine, **wrong)).status == 409
    answer = await cluster("node a", "GET", url.format("default"))
    assert answer.message.endswith(": can only list/watch podcertificaterequests with nodeName field selector")


async def test_what_is_nobodys_stays_closed(cluster: Cluster) -> None:
    for method, url in (
        ("GET", f"{DEFAULT}/serviceaccounts"),
        ("GET", f"{DEFAULT}/secrets/x/status"),
        ("GET", "/apis/apps/v1/deployments"),
        ("POST", f"{DEFAULT}/pods/x/exec"),
        ("GET", "/api/v1/nodes/a/proxy/pods"),
        ("GET", "/api/v1/persistentvolumes"),
        ("GET", "/apis/storage.k8s.io/v1/volumeattachments"),
    ):
        assert (await cluster("node a", method, url)).status == 403, url
    assert (await cluster("node a", "GET", "/api/v1/nodes", impersonate="admin")).status == 403
