"""Who gets in: certificates, tokens, and the API server's word on each request."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.node.api.auth import Attributes, request_attributes

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


async def test_anonymous_and_bad_tokens_are_unauthorized(node: NodeWorld) -> None:
    assert await node.request("/pods", user="") == (401, "Unauthorized")
    assert await node.request("/pods", user="", Authorization="Bearer nonsense") == (401, "Unauthorized")


async def test_weak_user_is_forbidden_in_the_kubelets_words(node: NodeWorld) -> None:
    assert await node.request("/pods", user="weak") == (
        403,
        "Forbidden (user=weak, verb=get, resource=nodes, subresource(s)=[pods proxy])",
    )


async def test_reading_rights_do_not_allow_exec(node: NodeWorld) -> None:
    node.server.allowed.add(("weak", "get", "proxy"))
    status, _ = await node.request("/exec/ns/web/c?command=id&output=1", user="weak")
    assert status == 403


async def test_answers_are_kept_for_a_while(node: NodeWorld) -> None:
    node.server.tokens["good"] = "metrics"
    node.server.allowed.add(("metrics", "get", "stats"))
    for _ in range(3):
        status, _ = await node.request("/stats/summary", user="", Authorization="Bearer good")
        assert status == 200
    assert len(node.server.calls) == 2


async def test_administrators_need_no_api_server(node: NodeWorld) -> None:
    assert await node.request("/healthz") == (200, "ok")
    assert node.server.calls == []


async def test_nothing_else_is_served(node: NodeWorld) -> None:
    for path in ("/logs/", "/debug/pprof/", "/checkpoint/ns/web/c"):
        assert (await node.request(path))[0] == 404
