"""Random objects of every kind with the default admission plugins, RBAC and the node authorizer on: never a 500.

The objects are valid in structure and arbitrary in all else: no names, empty lists, nulls, limits that contradict each
other. The cluster they meet has what plugins look for: LimitRanges, classes of every sort, quotas of secrets. Seeded:
the same run every time. ``test_semantics_fuzz.py`` breaks the structure too.
"""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest
import suite_samples

from sampan.api import schema
from sampan.api.clock import FixedClock
from sampan.api.enablement import ALL_KINDS, ALL_VERSIONS
from sampan.api.errors import ApiError
from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.schema.nodes import ListNode, MapNode, Node, ObjectNode, ScalarNode
from sampan.api.transport import Call
from sampan.server.admission import names
from sampan.server.admission.chain import build_chain, default_plugins
from sampan.server.admission.escalation import RbacEscalationCheck
from sampan.server.app import Server
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.config import ServerConfig
from sampan.server.request import Request, UserInfo
from sampan.server.write import Write

SEED = 20261127
TEXTS = ("", "x", "a", "a.b/c", "é", "default", "10.0.0.1", "true", "x" * 300)
NUMBERS = (0, 1, -1, 80, 65536, 2**31 - 1)
QUANTITIES = ("0", "1", "-1", "100m", "1Gi", "9" * 18, "1e3", "1.5")
SCALARS: dict[str, tuple[Any, ...]] = {
    "string": TEXTS,
    "bool": (True, False),
    "int32": NUMBERS,
    "int64": (*NUMBERS, 2**63 - 1, -(2**63)),
    "float64": (0, 1.5),
    "[]uint8": ("", "YQ=="),
    "v1.Time": ("2026-01-01T00:00:00Z", None),
    "v1.MicroTime": ("2026-01-01T00:00:00.000000Z", None),
    "resource.Quantity": QUANTITIES,
    "intstr.IntOrString": (0, "x", "50%"),
}
#: what plugins look at: present more often than not
LOVED = frozenset(
    {
        "spec", "containers", "initContainers", "ephemeralContainers", "volumes", "projected", "sources", "resources",
        "limits", "requests", "env", "envFrom", "valueFrom", "secretRef", "tolerations", "annotations", "labels",
        "ownerReferences", "externalIPs", "taints", "resourceClaims", "imagePullSecrets", "priorityClassName",
        "runtimeClassName", "serviceAccountName", "volumeMounts", "name", "nodeName", "signerName", "request",
    }
)  # fmt: skip
#: names that lead somewhere, or else most objects would end at the first plugin
KNOWN: dict[str, tuple[Any, ...]] = {
    "runtimeClassName": ("x", ""), "priorityClassName": ("x", ""), "serviceAccountName": ("default", ""),
    "priority": (7, None), "preemptionPolicy": ("PreemptLowerPriority", None), "overhead": ({"cpu": "1"}, None),
    "nodeName": ("a", ""),
}  # fmt: skip
CREATED = [kind for kind in registry().kinds() if "create" in kind.verbs]


class Maker:
    """Values that a node takes."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def value(self, node: Node, depth: int = 0) -> Any:
        rng = self._rng
        if rng.random() < 0.03:
            return None
        if isinstance(node, ScalarNode):
            return rng.choice(SCALARS.get(node.go_type, TEXTS))
        if depth > 9:
            return {} if isinstance(node, ObjectNode | MapNode) else []
        if isinstance(node, ObjectNode):
            chance = 0.3 if depth < 4 else 0.15
            return {
                name: rng.choice(KNOWN[name]) if name in KNOWN else self.value(field.node, depth + 1)
                for name, field in node.fields.items()
                if rng.random() < (0.7 if name in LOVED else chance)
            }
        if isinstance(node, ListNode):
            return [self.value(node.items, depth + 1) for _ in range(rng.choice((0, 1, 1, 2)))]
        if isinstance(node, MapNode):
            keys = rng.sample(("cpu", "memory", "storage", "a", ""), rng.randrange(3))
            return {key: self.value(node.values, depth + 1) for key in keys}
        return rng.choice(({}, {"a": "b"}, "x", 3, None))


ADMIN, NODE = ("root", "admins"), ("system:node:a", "system:nodes")


class Guarded:
    """``await guarded(who, method, url, body)``: the status and the answer."""

    def __init__(self, server: Server, certificate_of: Callable[..., bytes]) -> None:
        self.server = server
        self._certificates = {who: certificate_of(*who) for who in (ADMIN, NODE)}

    async def __call__(self, who: tuple[str, str], method: str, url: str, body: Any, kind: str = "json") -> Any:
        path, _, query = url.partition("?")
        text = body if isinstance(body, bytes) else orjson.dumps(body)
        parameters = dict(parse_qsl(query))
        headers = {"content-type": f"application/{kind}"}
        certificate = self._certificates[who]
        request = Request(method, path, parameters, headers, text, raw_query=query, peer_certificate=certificate)
        response = await self.server.handler(request)
        assert isinstance(response.body, bytes)
        return response.status, orjson.loads(response.body) if response.body.startswith(b"{") else response.body


def named(kind: str, api_version: str, name: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": api_version, "metadata": {"name": name, **more.pop("metadata", {})}, **more}


DEFAULT_CLASS = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true",
                                 "ingressclass.kubernetes.io/is-default-class": "true"}}  # fmt: skip
ENFORCED = {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}
LIMITS = [
    {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"memory": "1Mi"}, "max": {"cpu": "2"},
     "min": {"memory": "1Ki"}, "maxLimitRequestRatio": {"cpu": "2"}},
    {"type": "Pod", "max": {"cpu": "3"}, "min": {"memory": "1Ki"}},
    {"type": "PersistentVolumeClaim", "min": {"storage": "1Ki"}, "max": {"storage": "1Ti"}},
]  # fmt: skip
RBAC, STORAGE = "rbac.authorization.k8s.io/v1", "storage.k8s.io/v1"
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
#: what plugins look for
PRESENT = (
    named("ClusterRole", RBAC, "all", rules=[EVERYTHING]),
    named("ClusterRoleBinding", RBAC, "all", roleRef={"apiGroup": RBAC[:-3], "kind": "ClusterRole", "name": "all"},
          subjects=[{"apiGroup": RBAC[:-3], "kind": "Group", "name": "admins"}]),
    named("Namespace", "v1", "default"),
    named("Namespace", "v1", "strict"),
    named("Node", "v1", "a"),
    named("ServiceAccount", "v1", "default", metadata={"namespace": "default"}, imagePullSecrets=[{"name": "r"}]),
    named("ServiceAccount", "v1", "default", metadata={"namespace": "strict", **ENFORCED}, secrets=[{"name": "x"}]),
    named("LimitRange", "v1", "l", metadata={"namespace": "strict"}, spec={"limits": LIMITS}),
    named("StorageClass", STORAGE, "x", metadata=DEFAULT_CLASS, provisioner="p"),
    named("IngressClass", "networking.k8s.io/v1", "x", metadata=DEFAULT_CLASS, spec={"controller": "a.b/c"}),
    named("PriorityClass", "scheduling.k8s.io/v1", "x", value=7, globalDefault=True),
    named("RuntimeClass", "node.k8s.io/v1", "x", handler="h", overhead={"podFixed": {"cpu": "1"}},
          scheduling={"nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}]}),
)  # fmt: skip


@pytest.fixture
async def guarded(certificate_of: Callable[..., bytes]) -> AsyncIterator[Guarded]:
    clock = FixedClock(datetime(2026, 11, 27, tzinfo=UTC))
    config = ServerConfig(
        runtime_config=ALL_VERSIONS,
        feature_gates=ALL_KINDS,
        listen=False,
        bootstrap=False,
        clock=clock,
        random=random.Random(1),
        openapi=False,
    )
    async with Server(config) as server:
        writer = server.local_transport()
        for obj in PRESENT:
            kind = registry().by_api_version(obj["apiVersion"], obj["kind"])
            assert kind is not None
            await writer.call(Call("POST", kind.resource.path(obj["metadata"].get("namespace")), body=obj))
        yield Guarded(server, certificate_of)


def check(method: str, url: str, body: Any, answer: Any) -> list[str]:
    status, obj = answer
    if status < 400:
        return []
    fine = (
        status < 500
        and isinstance(obj, dict)
        and (obj.get("kind"), obj.get("status"), obj.get("code")) == ("Status", "Failure", status)
        and obj.get("reason")
        and obj.get("message")
        and not any(mark in obj["message"] for mark in PYTHON)
    )
    return [] if fine else [f"{method} {url} {orjson.dumps(body).decode()[:3000]}: {status} {obj}"]


#: what betrays that a message was made by the interpreter
PYTHON = ("Traceback", "NoneType", "object has no attribute", "KeyError", "not subscriptable", "[Errno", "codec can't")


@pytest.mark.parametrize("kind", CREATED, ids=lambda kind: f"{kind.group}-{kind.version}-{kind.plural}")
async def test_no_object_valid_in_structure_is_a_fault_of_the_server(guarded: Guarded, kind: Kind) -> None:
    rng = random.Random(f"{SEED} {kind.group} {kind.plural}")
    maker = Maker(rng)
    wrong: list[str] = []
    rounds = 40 if kind.plural in ("pods", "nodes", "services", "persistentvolumeclaims") else 8
    for number in range(rounds):
        namespace = ("strict", "default")[number % 2] if kind.namespaced else None
        body = maker.value(kind.node)
        if not isinstance(body, dict):
            continue
        body |= {"kind": kind.kind, "apiVersion": kind.api_version}
        meta = body["metadata"] = body["metadata"] if isinstance(body.get("metadata"), dict) else {}
        meta |= {"namespace": namespace} if namespace else {}
        if rng.random() < 0.2:
            meta["annotations"] = {"kubernetes.io/config.mirror": "x"}
        if rng.random() < 0.8:
            meta["name"] = rng.choice(("x", "a", "y"))
        who = NODE if rng.random() < 0.3 else ADMIN
        url = kind.resource.path(namespace)
        wrong += check("POST", url, body, await guarded(who, "POST", url, body))
        target = kind.resource.path(namespace, meta.get("name") or "x")
        for suffix in ("", "/status", "/ephemeralcontainers") if kind.plural == "pods" else ("", "/status"):
            wrong += check("PUT", target + suffix, body, await guarded(who, "PUT", target + suffix, body))
            patched = await guarded(who, "PATCH", target + suffix, body, "merge-patch+json")
            wrong += check("PATCH", target + suffix, body, patched)
    assert not wrong, f"{len(wrong)} of them\n" + "\n".join(wrong[:5])


SUBRESOURCES = {"pods": ("", "status", "ephemeralcontainers", "eviction", "resize"), "serviceaccounts": ("", "token")}


@pytest.mark.parametrize("kind", CREATED, ids=lambda kind: f"{kind.group}-{kind.version}-{kind.plural}")
async def test_plugins_survive_whatever_is_valid_in_structure(guarded: Guarded, kind: Kind) -> None:
    """Both halves of every plugin, without the validation that stands between them."""
    reader = guarded.server.reader
    rbac = RbacAuthorizer(reader)
    rbac.start()
    chain = build_chain(reader, rbac, rbac, random.Random(1), enable=names.OFF_BY_DEFAULT - {"AlwaysDeny"})
    rng = random.Random(f"{SEED} {kind.group} {kind.plural}")
    maker = Maker(rng)

    def made() -> Any:
        """As decoding leaves it: an object with metadata."""
        value = maker.value(kind.node)
        obj = value if isinstance(value, dict) else {}
        obj["metadata"] = obj["metadata"] if isinstance(obj.get("metadata"), dict) else {}
        obj["metadata"].update({"namespace": "strict", "name": "x"})
        return obj

    for _ in range(suite_samples.of(25, 10)):
        for operation in ("CREATE", "UPDATE", "DELETE"):
            for subresource in SUBRESOURCES.get(kind.plural, ("", "status")):
                name, group = rng.choice((ADMIN, NODE))
                user = UserInfo(name, (group,))
                new, old = (made(), None) if operation == "CREATE" else (made(), made())
                obj = None if operation == "DELETE" else new
                request = Request("POST", "/", {}, {}, user=user)
                request.surface = guarded.server.surface
                write = Write(
                    operation, kind, subresource, "strict" if kind.namespaced else "", rng.choice(("x", "a", "")),
                    obj, old, user, False, request,
                )  # type: ignore[arg-type]  # the operation is one of the literals  # fmt: skip
                for half in (chain.admit, chain.validate):
                    try:
                        await half(write)
                    except ApiError as error:
                        assert error.code < 500, error


async def test_plugins_have_nothing_to_say_of_resources_they_do_not_name(guarded: Guarded) -> None:
    """The chain does not ask them there."""
    reader = guarded.server.reader
    rbac = RbacAuthorizer(reader)
    rbac.start()
    maker = Maker(random.Random(SEED))
    spoke = []
    for plugin in (*default_plugins(reader, rbac, random.Random(1)), RbacEscalationCheck(rbac, rbac)):
        for kind in CREATED:
            resources = getattr(plugin, "resources", None)
            if resources is None or (kind.group, kind.plural) in resources:
                continue
            value = maker.value(kind.node)
            obj = value if isinstance(value, dict) else {}
            before = orjson.dumps(obj)
            for operation in ("CREATE", "UPDATE", "DELETE"):
                for name, group in (ADMIN, NODE):
                    user = UserInfo(name, (group,))
                    request = Request("POST", "/", {}, {}, user=user)
                    write = Write(operation, kind, "", "strict", "x", obj, obj, user, False, request)  # type: ignore[arg-type]
                    await plugin.admit(write)
                    await plugin.validate(write)
            if orjson.dumps(obj) != before:
                spoke.append((plugin.name, kind.plural))
    assert spoke == []


TOKEN, EVICTION = "authentication.k8s.io/v1 TokenRequest", "policy/v1 Eviction"


@pytest.mark.parametrize(("what", "suffix"), [(TOKEN, "serviceaccounts/default/token"), (EVICTION, "pods/p/eviction")])
async def test_no_subresource_body_is_a_fault_of_the_server(guarded: Guarded, what: str, suffix: str) -> None:
    rng = random.Random(f"{SEED} {what}")
    version, _, kind = what.partition(" ")
    node = schema.load().definition(f"io.k8s.api.{version.split('.')[0].split('/')[0]}.v1.{kind}")
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]}}
    await guarded(ADMIN, "POST", "/api/v1/namespaces/default/pods", pod)
    wrong: list[str] = []
    for number in range(150):
        body = Maker(rng).value(node)
        if isinstance(body, dict):
            who = (ADMIN, NODE)[number % 2]
            url = f"/api/v1/namespaces/default/{suffix}"
            wrong += check("POST", url, body, await guarded(who, "POST", url, body))
    assert not wrong, f"{len(wrong)} of them\n" + "\n".join(wrong[:5])


C = {"name": "c", "image": "i"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": [C], "volumes": [{"emptyDir": {}}]}, "spec.volumes[0].name"),
        ({"containers": [{"image": "i"}]}, "spec.containers[0].name"),
        ({"containers": [C], "initContainers": [{}]}, "spec.initContainers[0].name"),
        ({"containers": [{**C, "resources": {"requests": {"cpu": "-1"}}}]}, "spec.containers[0].resources.requests"),
        ({}, "spec.containers"),
    ],
)
async def test_what_is_half_made_is_refused_by_its_field(guarded: Guarded, spec: dict[str, Any], field: str) -> None:
    """In a namespace with LimitRanges, where admission completes pods before they are validated."""
    body = {"metadata": {"name": "x"}, "spec": spec}
    status, answer = await guarded(ADMIN, "POST", "/api/v1/namespaces/strict/pods", body)
    assert status == 422
    assert any(cause["field"].startswith(field) for cause in answer["details"]["causes"]), answer


def _repeated(item: bytes, size: int) -> bytes:
    return b",".join([item] * (size // (len(item) + 1)))


MIB = 1024 * 1024
#: name -> body; what costs the server most for each byte is smaller
LARGE: dict[str, bytes] = {
    "one long text": b'{"metadata":{"name":"x","annotations":{"a":"%s"}}}' % (b"x" * (2 * MIB)),
    "many containers": b'{"metadata":{"name":"x"},"spec":{"containers":[%s]}}' % _repeated(b"{}", 1500),
    "many volumes": b'{"metadata":{"name":"x"},"spec":{"volumes":[%s]}}' % _repeated(b'{"secret":{}}', MIB // 64),
    "many tolerations": b'{"metadata":{"name":"x"},"spec":{"tolerations":[%s]}}' % _repeated(b'{"key":"a"}', MIB // 4),
    "many owners": b'{"metadata":{"name":"x","ownerReferences":[%s]}}' % _repeated(b'{"kind":"Node"}', MIB // 4),
    "many addresses": b'{"metadata":{"name":"x"},"spec":{"externalIPs":[%s]}}' % _repeated(b'"1.1.1.1"', MIB // 8),
    "a certificate request": b'{"metadata":{"name":"x"},"spec":{"signerName":"kubernetes.io/kube-apiserver-client",'
    b'"request":"%s"}}' % base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * MIB),
    "many rules": b'{"metadata":{"name":"x"},"rules":[%s]}'
    % _repeated(b'{"verbs":["a","b"],"apiGroups":["c"],"resources":["d","e"]}', MIB // 4),
}  # fmt: skip
PLACES = (
    "/api/v1/namespaces/strict/pods", "/api/v1/namespaces/default/services", "/api/v1/nodes",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
)  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
async def test_no_large_object_is_a_fault_of_the_server(guarded: Guarded, name: str) -> None:
    """Within the test's own two seconds, all of them."""
    wrong: list[str] = []
    for url in PLACES:
        wrong += check("POST", url, name, await guarded(ADMIN, "POST", url, LARGE[name]))
    wrong += check("POST", PLACES[0], name, await guarded(NODE, "POST", PLACES[0], LARGE[name]))
    assert not wrong, "\n".join(wrong)
