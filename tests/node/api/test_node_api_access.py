"""Who gets in: certificates, tokens, and the API server's word on each request."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, SERVICE_ACCOUNTS
from sampan.client.client import Client
from sampan.node.api.auth import Attributes, request_attributes
from sampan.testing.api import Api

NodeWorld = Any  # the fixture of conftest.py


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/stats/summary", Attributes("get", ("stats",))),
        ("GET", "/metrics/resource", Attributes("get", ("metrics",))),
        ("GET", "/pods", Attributes("get", ("pods", "proxy"))),
        ("GET", "/runningpods/", Attributes("get", ("pods", "proxy"))),
        ("GET", "/configz", Attributes("get", ("configz", "proxy"))),
        ("GET", "/containerLogs/a/b/c", Attributes("get", ("proxy",))),
        ("GET", "/exec/a/b/c", Attributes("create", ("proxy",))),
        ("POST", "/portForward/a/b", Attributes("create", ("proxy",))),
    ],
)
def test_each_path_has_its_subresource_and_acting_needs_create(method: str, path: str, expected: Attributes) -> None:
    assert request_attributes(method, path) == expected


async def allow(client: Client, user: str, verb: str, subresource: str) -> None:
    rbac = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": user}}
    rules = [{"apiGroups": [""], "resources": [f"nodes/{subresource}"], "verbs": [verb]}]
    await client.create(CLUSTER_ROLES, {**rbac, "kind": "ClusterRole", "rules": rules})
    subjects = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    await client.create(
        CLUSTER_ROLE_BINDINGS, {**rbac, "kind": "ClusterRoleBinding", "subjects": subjects, "roleRef": role}
    )


async def test_anonymous_and_bad_tokens_are_unauthorized(judged_node: NodeWorld) -> None:
    assert await judged_node.request("/pods", user="") == (401, "Unauthorized")
    assert await judged_node.request("/pods", user="", Authorization="Bearer nonsense") == (401, "Unauthorized")


async def test_weak_user_is_forbidden_in_the_kubelets_words(judged_node: NodeWorld) -> None:
    assert await judged_node.request("/pods", user="weak") == (
        403,
        "Forbidden (user=weak, verb=get, resource=nodes, subresource(s)=[pods proxy])",
    )


async def test_reading_rights_do_not_allow_exec(judged_node: NodeWorld, api: Api) -> None:
    await allow(api.client, "weak", "get", "proxy")
    assert (await judged_node.request("/configz", user="weak"))[0] == 200
    status, _ = await judged_node.request("/exec/ns/web/c?command=id&output=1", user="weak")
    assert status == 403


async def test_answers_are_kept_for_a_while(judged_node: NodeWorld, api: Api, asked: Any) -> None:
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "metrics", "namespace": "default"}}
    await api.client.create(SERVICE_ACCOUNTS, account)
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
    made = await api.client.create(SERVICE_ACCOUNTS, request, "default", name="metrics", subresource="token")
    await allow(api.client, "system:serviceaccount:default:metrics", "get", "stats")
    for _ in range(3):
        token = f"Bearer {made['status']['token']}"
        status, _ = await judged_node.request("/stats/summary", user="", Authorization=token)
        assert status == 200
    assert [path.rpartition("/")[2] for path in asked.calls] == ["tokenreviews", "subjectaccessreviews"]


async def test_administrators_need_no_api_server(node: NodeWorld) -> None:
    assert await node.request("/healthz") == (200, "ok")


async def test_nothing_else_is_served(node: NodeWorld) -> None:
    for path in ("/logs/", "/debug/pprof/", "/checkpoint/ns/web/c"):
        assert (await node.request(path))[0] == 404


async def test_what_is_no_http_is_refused_and_is_no_fault_of_the_node(node: NodeWorld) -> None:
    for sent in (b"GET / HTTP/1.1\r\n: \r\n\r\n", b"\x00\x01\r\n\r\n"):
        reader, writer = await node.connect("")
        writer.write(sent)
        assert (await reader.read()).split()[1] == b"400"
        writer.close()
