"""Reads that are answered without a task: the same answers as the pipeline's, for as long as they are true."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from sampan.api import resources
from sampan.api.clock import FixedClock
from sampan.api.registry import Registry, registry
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.server.http import answers
from sampan.server.http.heads import HeadParser
from sampan.server.http.limits import Limits
from sampan.server.request import Request, Response, UserInfo
from sampan.server.surface import Surface
from sampan.testing.yielding import YieldingStore

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def asked(api: Any, url: str, **headers: str) -> Request:
    """As the transport makes it of a head that it has not seen before."""
    request: Request = api.request("GET", url, **headers)
    request.template = SimpleNamespace(plan=None)
    return request


def now(api: Any, request: Request) -> Response | None:
    answer: Response | None = api.server._pipeline.answer_now(request)
    return answer


async def create(api: Any, name: str, **labels: str) -> None:
    body = {"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}}
    assert (await api("POST", CONFIG_MAPS, body)).status == 201


@pytest.mark.parametrize(
    "url",
    [
        f"{CONFIG_MAPS}/a",
        f"{CONFIG_MAPS}/a?resourceVersion=0",
        CONFIG_MAPS,
        f"{CONFIG_MAPS}?labelSelector=x%3D1",
        f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Da",
        "/api/v1/configmaps",
        "/api/v1/namespaces/default",
    ],
)
async def test_the_answer_is_the_pipelines(api: Any, url: str) -> None:
    await create(api, "a", x="1")
    await create(api, "b", x="2")
    slow = await api.server.handler(asked(api, url))  # also joins a list's bytes, which are then at hand
    quick = now(api, asked(api, url))
    assert quick is not None
    assert (quick.status, quick.body, quick.content_type) == (slow.status, slow.body, slow.content_type)


@pytest.mark.parametrize(
    "url",
    [
        f"{CONFIG_MAPS}/missing",
        f"{CONFIG_MAPS}/a?resourceVersion=99",
        f"{CONFIG_MAPS}/a?pretty=1",
        f"{CONFIG_MAPS}?limit=1",
        f"{CONFIG_MAPS}?watch=1",
        f"{CONFIG_MAPS}?continue=x",
        f"{CONFIG_MAPS}?labelSelector=x%3D%3D%3D",
        "/api/v1/componentstatuses",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        "/api/v1/namespaces/default/pods/p/log",
        "/api/v1/nothings",
        "/version",
    ],
)
async def test_what_is_out_of_the_ordinary_is_left_to_the_pipeline(api: Any, url: str) -> None:
    await create(api, "a")
    assert now(api, asked(api, url)) is None


@pytest.mark.parametrize("accept", ["application/yaml", "application/json;as=Table;g=meta.k8s.io;v=v1", "text/html"])
async def test_other_forms_are_left_to_the_pipeline(api: Any, accept: str) -> None:
    await create(api, "a")
    assert now(api, asked(api, f"{CONFIG_MAPS}/a", accept=accept)) is None


async def test_an_answer_follows_every_change_though_its_plan_is_kept(api: Any) -> None:
    await create(api, "a")
    request = asked(api, f"{CONFIG_MAPS}/a")
    first = now(api, request)
    await api("PATCH", f"{CONFIG_MAPS}/a", {"data": {"k": "w"}}, content_type="application/merge-patch+json")
    again = asked(api, f"{CONFIG_MAPS}/a")
    again.template = request.template
    second = now(api, again)
    assert first is not None and second is not None
    assert orjson.loads(first.body)["data"] == {"k": "v"}
    assert orjson.loads(second.body)["data"] == {"k": "w"}
    await api("DELETE", f"{CONFIG_MAPS}/a")
    assert now(api, again) is None


async def test_a_list_that_changed_is_joined_anew_by_the_pipeline(api: Any) -> None:
    await create(api, "a")
    request = asked(api, CONFIG_MAPS)
    assert now(api, request) is None
    await api.server.handler(asked(api, CONFIG_MAPS))
    assert now(api, request) is not None
    await create(api, "b")
    assert now(api, request) is None


async def test_a_plan_ends_with_its_surface(api: Any) -> None:
    await create(api, "a")
    request = asked(api, f"{CONFIG_MAPS}/a")
    assert now(api, request) is not None
    kinds = registry()
    without = Registry(kinds.groups(), [kind for kind in kinds.kinds() if kind.plural != "configmaps"])
    await api.server._surfaces.replace(lambda before: Surface.build(without, api.server.store, kept=before))
    assert now(api, request) is None
    assert (await api("GET", f"{CONFIG_MAPS}/a")).status == 404


@pytest.fixture
async def guarded(api_of: Any) -> AsyncIterator[Any]:
    """With RBAC on, asked by nobody in particular."""
    clock = FixedClock(NOW)
    async with Server(ServerConfig(listen=False, clock=clock, random=Random(1))) as server:
        yield api_of(server, clock)


async def test_permission_is_asked_every_time(guarded: Any) -> None:
    admin = Client(guarded.server.local_transport())
    await admin.create(resources.CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}})
    request = asked(guarded, f"{CONFIG_MAPS}/a")
    assert now(guarded, request) is None  # forbidden, which the pipeline words
    assert (await guarded("GET", f"{CONFIG_MAPS}/a")).status == 403
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    await admin.create(resources.ROLES, {"metadata": {"name": "r", "namespace": "default"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "b", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:anonymous"}],
    }
    await admin.create(resources.ROLE_BINDINGS, binding)
    assert now(guarded, request) is not None
    await admin.delete(resources.ROLE_BINDINGS, "b", "default")
    assert now(guarded, request) is None


async def test_a_store_with_other_writers_is_asked_first(api_of: Any) -> None:
    clock = FixedClock(NOW)
    config = ServerConfig(listen=False, bootstrap=False, authorization_modes=("AlwaysAllow",), clock=clock)
    async with Server(config, store=YieldingStore(1, clock=clock)) as server:
        api = api_of(server, clock)
        await api("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
        assert now(api, asked(api, "/api/v1/namespaces/default")) is None
        assert (await api("GET", "/api/v1/namespaces/default")).status == 200


async def test_flow_headers_name_the_flow_schema_of_the_moment(guarded: Any) -> None:
    admin = Client(guarded.server.local_transport())
    schemas = resources.Resource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", False)

    header = "X-Kubernetes-PF-FlowSchema-UID"
    before = (await guarded("GET", "/version")).headers[header]
    found = await admin.get(schemas, "global-default")
    assert found["metadata"]["uid"] == before
    await admin.delete(schemas, "global-default")
    del found["metadata"]["uid"], found["metadata"]["resourceVersion"]
    made = await admin.create(schemas, found)
    after = (await guarded("GET", "/version")).headers[header]
    assert after == made["metadata"]["uid"] != before


async def test_each_who_sends_the_same_bytes_is_asked_about_himself(guarded: Any) -> None:
    """Clients with certificates send no credentials in their heads: theirs are alike to the byte."""
    admin = Client(guarded.server.local_transport())
    await admin.create(resources.CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}})
    request = asked(guarded, f"{CONFIG_MAPS}/a")
    master, stranger = UserInfo("m", ("system:masters",)), UserInfo("s", ("system:authenticated",))
    who = [master, stranger, master, stranger]

    class Certificates:
        def identify_now(self, request: Request) -> UserInfo:
            return who.pop(0)

    pipeline = guarded.server._pipeline
    pipeline._reads = replace(pipeline._reads, authentication=Certificates())
    allowed = []
    for _ in range(4):
        again = asked(guarded, f"{CONFIG_MAPS}/a")
        again.template = request.template
        allowed.append(now(guarded, again) is not None)
    assert allowed == [True, False, True, False]


async def test_the_answer_looks_the_same_on_the_wire(api: Any) -> None:
    await create(api, "a")
    head = HeadParser(Limits()).parse(f"GET {CONFIG_MAPS}/a HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    lines = []
    for answer in (now, None):
        request = asked(api, f"{CONFIG_MAPS}/a", audit_id="i")
        response = answer(api, request) if answer is not None else await api.server.handler(request)
        assert response is not None
        wire = answers.whole(b"Date: d\r\n", head, request, response, response.body, close=False)
        first, _, rest = wire.partition(b"\r\n")
        names, _, body = rest.partition(b"\r\n\r\n")
        lines.append((first, sorted(line.lower() for line in names.split(b"\r\n")), body))
    assert lines[0] == lines[1]
    assert any(line.startswith(b"content-type: application/json") for line in lines[0][1])
