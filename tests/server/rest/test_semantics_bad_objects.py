"""The corpus of bad input over real sockets, as JSON and as YAML, against a server with its whole policy.

One server serves the whole table; every row is a request, its answer in the terms that clients match on, and it must
leave no trace. A row that fails is named in the failure.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import yaml

from sampan.server.app import Server
from sampan.server.config import ServerConfig

NS = "/api/v1/namespaces/default"
CMS, PODS, SERVICES = f"{NS}/configmaps", f"{NS}/pods", f"{NS}/services"
APPS = "/apis/apps/v1/namespaces/default"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CONTAINER = {"name": "c", "image": "i"}
INVALID, REQUIRED, FORBIDDEN = "FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden"
UNSUPPORTED, TOO_LONG = "FieldValueNotSupported", "FieldValueTooLong"


@dataclass(frozen=True)
class Row:
    name: str
    url: str
    body: Any
    status: int
    reason: str
    causes: list[tuple[str, str]] | None = None
    says: str = ""
    method: str = "POST"
    details: dict[str, Any] = field(default_factory=dict)


def cm(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", **meta}}


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [CONTAINER], **spec}}


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": list(ports) or [{"port": 80}], **spec}}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
    return {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


def owner(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u", **parts}


HANDLED = "cannot be handled as a"
BAD, UNPROCESSABLE = (400, "BadRequest"), (422, "Invalid")
ROWS = [
    Row("8 no kind, no name", CMS, {}, *UNPROCESSABLE, [(REQUIRED, "metadata.name")]),
    Row("9 another kind", CMS, {**cm(), "kind": "Secret", "apiVersion": "v1"}, *BAD,
        says='Secret in version "v1" cannot be handled as a ConfigMap'),
    Row("10 unknown kind", CMS, {**cm(), "kind": "Foo", "apiVersion": "v1"}, *BAD, says='no kind "Foo" is registered'),
    Row("10 another group", CMS, {**cm(), "kind": "ConfigMap", "apiVersion": "apps/v1"}, *BAD),
    Row("10 kind that is no text", CMS, {**cm(), "kind": 1, "apiVersion": "v1"}, *BAD),
    Row("10 metadata that is no object", CMS, {"metadata": []}, *BAD, says=HANDLED),
    Row("11 capitals", CMS, {"metadata": {"name": "ABC"}}, *UNPROCESSABLE, [(INVALID, "metadata.name")],
        says="a lowercase RFC 1123 subdomain must consist of", details={"name": "ABC", "kind": "ConfigMap"}),
    Row("12 namespace", CMS, cm(namespace="x"), *BAD, says="does not match the namespace sent on the request"),
    Row("13 missing namespace", "/api/v1/namespaces/nope/configmaps", cm(), 404, "NotFound",
        details={"name": "nope", "kind": "namespaces"}, says='namespaces "nope" not found'),
    Row("14 exists", f"{NS}/serviceaccounts", {"metadata": {"name": "taken"}}, 409, "AlreadyExists",
        details={"name": "taken", "kind": "serviceaccounts"}, says='serviceaccounts "taken" already exists'),
    Row("15 resourceVersion", CMS, cm(resourceVersion="1"), *BAD,
        says="resourceVersion should not be set on objects to be created"),
    Row("16 number as data", CMS, {**cm(), "data": {"a": 1}}, *BAD, says=HANDLED),
    Row("16 text as data", CMS, {**cm(), "data": "x"}, *BAD, says=HANDLED),
    Row("16 null key", CMS, {**cm(), "data": {"a": [1]}}, *BAD, says=HANDLED),
    Row("16 base64", f"{NS}/secrets", {**cm(), "data": {"a": "%%"}}, *BAD, says=HANDLED),
    Row("16 time", CMS, cm(creationTimestamp="now"), *BAD, says=HANDLED),
    Row("16 quantity", PODS, pod(containers=[{**CONTAINER, "resources": {"limits": {"cpu": "1x"}}}]), *BAD,
        says="quantities must match the regular expression"),
    Row("16 int overflow", f"{APPS}/deployments", deployment(replicas=1 << 40), *BAD, says=HANDLED),
    Row("16 fraction", PODS, pod(terminationGracePeriodSeconds=1.5), *BAD, says=HANDLED),
    Row("16 bool", PODS, pod(hostNetwork="yes please"), *BAD, says=HANDLED),
    Row("17 key", CMS, {**cm(), "data": {"a b": ""}}, *UNPROCESSABLE, [(INVALID, "data[a b]")]),
    Row("17 label value", CMS, cm(labels={"a": "x" * 64}), *UNPROCESSABLE, [(INVALID, "metadata.labels")],
        says="must be no more than 63"),
    Row("17 label key", CMS, cm(labels={"a b": "x"}), *UNPROCESSABLE, [(INVALID, "metadata.labels")]),
    Row("17 finalizer", CMS, cm(finalizers=["a b"]), *UNPROCESSABLE, [(INVALID, "metadata.finalizers")]),
    Row("17 owner uid", CMS, cm(ownerReferences=[owner(uid="")]), *UNPROCESSABLE,
        [(INVALID, "metadata.ownerReferences.uid")], says="must not be empty"),
    Row("17 controllers", CMS, cm(ownerReferences=[owner(controller=True), owner(name="q", uid="v", controller=True)]),
        *UNPROCESSABLE, [(INVALID, "metadata.ownerReferences")]),
    Row("18 annotations", CMS, cm(annotations={"a": "x" * 262144}), *UNPROCESSABLE,
        [(TOO_LONG, "metadata.annotations")], says="may not be more than 262144 bytes"),
    Row("18 size", CMS, {**cm(), "data": {"a": "x" * (1 << 20), "b": "z"}}, *UNPROCESSABLE, [(TOO_LONG, "[]")],
        says="may not be more than 1048576 bytes"),
    Row("68 immutable", f"{CMS}/frozen", {"metadata": {"name": "frozen"}, "data": {"a": "2"}, "immutable": True},
        *UNPROCESSABLE, [(FORBIDDEN, "data")], method="PUT", says="field is immutable when `immutable` is set"),
    Row("65 another name", f"{CMS}/frozen", cm(), *BAD, method="PUT",
        says="the name of the object (a) does not match the name on the URL (frozen)"),
    Row("65 no name", f"{CMS}/frozen", {}, *BAD, method="PUT"),
    Row("65 stale", f"{CMS}/frozen", {"metadata": {"name": "frozen", "resourceVersion": "1"}}, 409, "Conflict",
        method="PUT", says="please apply your changes to the latest version and try again",
        details={"name": "frozen", "kind": "configmaps"}),
    Row("65 foreign uid", f"{CMS}/frozen", {"metadata": {"name": "frozen", "uid": "u"}}, 409, "Conflict", method="PUT",
        says="Precondition failed: UID in precondition: u, UID in object meta: "),
    Row("65 missing", f"{CMS}/nope", {"metadata": {"name": "nope"}}, 404, "NotFound", method="PUT"),
    Row("66 no number", f"{CMS}/frozen", {"metadata": {"name": "frozen", "resourceVersion": "x"}}, *BAD, method="PUT"),
    Row("67 no version", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/exempt", {"metadata": {"name": "exempt"}},
        *UNPROCESSABLE, [(INVALID, "metadata.resourceVersion")], method="PUT", says="must be specified for an update"),
    Row("70 policy", f"{CMS}/frozen", {"propagationPolicy": "Maybe"}, *UNPROCESSABLE,
        [(UNSUPPORTED, "propagationPolicy")], method="DELETE", details={"kind": "DeleteOptions"}),
    Row("70 both", f"{CMS}/frozen", {"propagationPolicy": "Orphan", "orphanDependents": True}, *UNPROCESSABLE,
        [(INVALID, "propagationPolicy")], method="DELETE"),
    Row("70 uid", f"{CMS}/frozen", {"preconditions": {"uid": "u"}}, 409, "Conflict", method="DELETE"),
    Row("70 version", f"{CMS}/frozen", {"preconditions": {"resourceVersion": "1"}}, 409, "Conflict", method="DELETE"),
    Row("69 wrong kind", f"{CMS}/frozen", {"kind": "Secret", "apiVersion": "v1"}, *BAD, method="DELETE"),
    Row("69 wrong type", f"{CMS}/frozen", {"gracePeriodSeconds": "x"}, *BAD, method="DELETE"),
    Row("71 default", "/api/v1/namespaces/default", {}, 403, "Forbidden", method="DELETE",
        says='namespaces "default" is forbidden: this namespace may not be deleted'),
    Row("71 kube-system", "/api/v1/namespaces/kube-system", {}, 403, "Forbidden", method="DELETE"),
    Row("72 terminating", "/api/v1/namespaces/going/configmaps", cm(), 403, "Forbidden",
        [("NamespaceTerminating", "metadata.namespace")], says="because it is being terminated"),
    Row("73 no containers", PODS, pod(containers=[]), *UNPROCESSABLE, [(REQUIRED, "spec.containers")]),
    Row("73 restartPolicy", PODS, pod(restartPolicy="Maybe"), *UNPROCESSABLE, [(UNSUPPORTED, "spec.restartPolicy")],
        says='Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'),
    Row("73 account", PODS, pod(serviceAccountName="nobody"), 403, "Forbidden",
        says='error looking up service account default/nobody: serviceaccount "nobody" not found'),
    Row("73 spec", f"{PODS}/one", {"metadata": {"name": "one"}, "spec": {"containers": [CONTAINER], "nodeName": "x"}},
        *UNPROCESSABLE, None, method="PUT", says="pod updates may not"),
    Row("73 two names", PODS, pod(containers=[CONTAINER, CONTAINER]), *UNPROCESSABLE,
        [("FieldValueDuplicate", "spec.containers[1].name")]),
    Row("74 no target", f"{PODS}/one/binding", {"metadata": {"name": "one"}}, *BAD),
    Row("74 missing", f"{PODS}/nope/binding", {"metadata": {"name": "nope"}, "target": {"name": "n2"}}, 404, "NotFound",
        details={"name": "nope", "kind": "pods"}),
    Row("74 twice", f"{PODS}/bound/binding", {"metadata": {"name": "bound"}, "target": {"name": "n2"}}, 409, "Conflict",
        says='pod bound is already assigned to node "n1"'),
    Row("76 a second", f"{NS}/serviceaccounts/taken/token", {"spec": {"expirationSeconds": 1}}, *UNPROCESSABLE,
        [(INVALID, "spec.expirationSeconds")], says="may not specify a duration less than 10 minutes"),
    Row("76 missing pod", f"{NS}/serviceaccounts/taken/token",
        {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "nope"}}}, 404, "NotFound"),
    Row("77 name", f"{PODS}/one/eviction", {"metadata": {"name": "two"}}, *BAD,
        says="name in URL does not match name in Eviction object"),
    Row("78 scale", f"{APPS}/deployments/d0/scale", {"metadata": {"name": "d0"}, "spec": {"replicas": -1}},
        *UNPROCESSABLE, [(INVALID, "spec.replicas")], method="PUT",
        details={"kind": "Scale", "group": "autoscaling"}),
    Row("78 selector", f"{APPS}/deployments", deployment(selector={"matchLabels": {"x": "z"}}), *UNPROCESSABLE,
        [(INVALID, "spec.template.metadata.labels")], says="`selector` does not match template `labels`",
        details={"group": "apps", "kind": "Deployment", "name": "d"}),
    Row("78 negative", f"{APPS}/deployments", deployment(replicas=-1), *UNPROCESSABLE, [(INVALID, "spec.replicas")]),
    Row("79 nodePort", SERVICES, service({"port": 80, "nodePort": 80}, type="NodePort"), *UNPROCESSABLE,
        [(INVALID, "spec.ports[0].nodePort")], says="provided port is not in the valid range"),
    Row("79 clusterIP range", SERVICES, service(clusterIP="1.2.3.4"), *UNPROCESSABLE, [(INVALID, "spec.clusterIPs")]),
    Row("79 clusterIP taken", SERVICES, service(clusterIP="10.96.0.1"), *UNPROCESSABLE, [(INVALID, "spec.clusterIPs")],
        says="provided IP is already allocated"),
    Row("79 port", SERVICES, service({"port": 0}), *UNPROCESSABLE,
        [(INVALID, "spec.ports[0].port"), (INVALID, "spec.ports[0].targetPort")]),
    Row("84 empty rule", f"{RBAC}/namespaces/default/roles", {**cm(), "rules": [{"verbs": ["get"]}]}, *UNPROCESSABLE,
        [(REQUIRED, "rules[0].apiGroups"), (REQUIRED, "rules[0].resources")]),
    Row("84 roleRef", f"{RBAC}/clusterrolebindings/cluster-admin",
        {"metadata": {"name": "cluster-admin"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
        *UNPROCESSABLE, [(INVALID, "roleRef")], method="PUT", says="cannot change roleRef"),
]  # fmt: skip


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A served cluster with the objects that the table speaks of."""
    config = ServerConfig(
        bind_address="127.0.0.1", port=0, store="sqlite", data_dir=tmp_path, openapi=False,
        authorization_modes=("AlwaysAllow",),
    )  # fmt: skip
    async with Server(config) as server, aiohttp.ClientSession(server.url) as made:
        for url, body in [
            (f"{NS}/serviceaccounts", {"metadata": {"name": "default"}}),
            (f"{NS}/serviceaccounts", {"metadata": {"name": "taken"}}),
            (CMS, {"metadata": {"name": "frozen"}, "data": {"a": "1"}, "immutable": True}),
            (SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}),
            (PODS, {"metadata": {"name": "one"}, "spec": {"containers": [CONTAINER]}}),
            (PODS, {"metadata": {"name": "bound"}, "spec": {"containers": [CONTAINER], "nodeName": "n1"}}),
            (f"{APPS}/deployments", {**deployment(), "metadata": {"name": "d0"}}),
            ("/api/v1/namespaces", {"metadata": {"name": "going"}}),
        ]:
            async with made.post(url, json=body) as answer:
                assert answer.status == 201, await answer.text()
        async with made.delete("/api/v1/namespaces/going") as answer:
            assert answer.status == 200
        yield made


def differences(row: Row, status: int, answer: Any) -> list[str]:
    details = answer.get("details", {})
    found = [(c.get("reason", ""), c.get("field", "")) for c in details.get("causes", [])]
    wrong = []
    if (status, answer.get("reason")) != (row.status, row.reason):
        wrong.append(f"{status} {answer.get('reason')}")
    if (answer.get("kind"), answer.get("status"), answer.get("code")) != ("Status", "Failure", row.status):
        wrong.append("no Status")
    if row.causes is not None and found != row.causes:
        wrong.append(f"causes {found}")
    if row.says not in answer.get("message", ""):
        wrong.append("message")
    wrong += [f"details.{key} {details.get(key)}" for key, value in row.details.items() if details.get(key) != value]
    return [f"{row.name}: {', '.join(wrong)}: {answer.get('message')}"[:600]] if wrong else []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
async def test_bad_objects_are_refused_in_upstreams_words(session: aiohttp.ClientSession, content_type: str) -> None:
    wrong: list[str] = []
    before = await revision(session)
    for row in ROWS:
        body = orjson.dumps(row.body)
        if content_type == "application/yaml":
            body = yaml.dump(row.body, Dumper=yaml.CSafeDumper).encode()
        headers = {"Content-Type": content_type}
        async with session.request(row.method, row.url, data=io.BytesIO(body), headers=headers) as answer:
            wrong += differences(row, answer.status, await answer.json())
    assert not wrong, "\n".join(wrong)
    assert await revision(session) == before


async def revision(session: aiohttp.ClientSession) -> str:
    async with session.get(f"{CMS}?limit=1") as answer:
        return str((await answer.json())["metadata"]["resourceVersion"])
