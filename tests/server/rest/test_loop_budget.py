"""Nothing that one body can make holds the event loop: every kind, with lists and maps of thousands of elements.

While a request is served, a heartbeat on the same loop takes a turn whenever it can. The longest time between two of
its turns is measured in processor time of the loop's own thread: what other threads and other processes do meanwhile
does not count, so a busy machine fails nothing. 25 ms, where 10 is what is wanted: a request writes its object of up to
1.5 MiB in one piece of C (some ms), and this runs on slow machines too. What is caught took from hundreds of
milliseconds to seconds.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson
import pytest
import suite_samples
from tests.server.conftest import Answer, Api

from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.schema.nodes import ListNode, MapNode, Node, ObjectNode, ScalarNode
from sampan.api.transport import Call

LONGEST_SECONDS = 0.025
#: of valid elements; of empty ones, which are two bytes, a quarter
BODY_BYTES = 128 * 1024
#: lists and maps tried of each kind, chosen by seed: all of them would take many minutes
FIELDS_A_KIND = suite_samples.of(2, 1)
CREATED = [kind for kind in registry().kinds() if "create" in kind.verbs and not kind.former]
LIMITS = [
    {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"memory": "1Mi"}, "max": {"cpu": "2"}},
    {"type": "Pod", "max": {"cpu": "3"}, "min": {"memory": "1Ki"}},
    {"type": "PersistentVolumeClaim", "min": {"storage": "1Ki"}, "max": {"storage": "1Ti"}},
]
POD, PODS = "/api/v1/namespaces/default/pods/p", "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
async def measured(guarded_api: Api) -> AsyncIterator[Measured]:
    await guarded_api.server.local_transport().call(
        Call(
            "POST",
            "/api/v1/namespaces/default/limitranges",
            body={"metadata": {"name": "l"}, "spec": {"limits": LIMITS}},
        )
    )
    gc.collect()
    gc.disable()  # what the whole test session holds is no part of a request's cost
    yield Measured(guarded_api)
    gc.enable()


class Measured:
    """``await measured("POST", url, body)``: the answer, once it is sure that nobody had to wait for it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def __call__(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        longest = 0.0
        done = False

        async def beat() -> None:
            nonlocal longest
            last = time.thread_time()
            while not done:
                # Not 0: a heart that never rests fights the threads for the interpreter.
                await asyncio.sleep(0.001)
                now = time.thread_time()
                longest, last = max(longest, now - last), now

        # What the test itself encodes and decodes is done before and after.
        request = self._api.request(method, url, None if body is None else orjson.dumps(body), **headers)
        heart = asyncio.create_task(beat())
        await asyncio.sleep(0)
        response = await self._api.server.handler(request)
        done = True
        await heart
        assert isinstance(response.body, bytes)
        obj = orjson.loads(response.body) if response.body.startswith(b"{") else None
        assert response.status < 500, obj
        assert longest <= LONGEST_SECONDS, f"the loop stood still for {longest * 1000:.0f} ms"
        return Answer(response.status, obj)


# -- every kind, by its schema


def collections(node: Node, way: tuple[str, ...] = (), depth: int = 0) -> Iterator[tuple[tuple[str, ...], Node]]:
    """The lists and maps of a kind, each by the way to it, not looking into elements and no deeper than a template."""
    if not isinstance(node, ObjectNode) or depth > 5:
        return
    for name, field in node.fields.items():
        if name == "managedFields":  # dropped
            continue
        if isinstance(field.node, ListNode | MapNode):
            yield (*way, name), field.node
        else:
            yield from collections(field.node, (*way, name), depth + 1)


def element(node: Node, number: int, depth: int = 0) -> Any:
    """Something small of this type that differs from its siblings in what names it."""
    if isinstance(node, ScalarNode):
        return {"string": f"e{number}", "bool": True, "[]uint8": "YQ=="}.get(
            node.go_type,
            f"{number}" if "Quantity" in node.go_type else None if "Time" in node.go_type else number % 60000,
        )
    if isinstance(node, ObjectNode):
        wanted = {*node.required, "name", "key", "kind", "uid", "port", "image"} if depth < 2 else node.required
        return {name: element(field.node, number, depth + 1) for name, field in node.fields.items() if name in wanted}
    if isinstance(node, ListNode):
        return [element(node.items, number, depth + 1)] if depth < 2 else []
    return {}


def filled(node: Node, limit: int, make: Callable[[Node, int], Any]) -> Any:
    """A list or map with elements until it is so long."""
    items = node.items if isinstance(node, ListNode) else node.values if isinstance(node, MapNode) else node
    length = len(orjson.dumps(make(items, 10000))) + (1 if isinstance(node, ListNode) else 9)
    count = limit // length
    if isinstance(node, ListNode):
        return [make(items, number) for number in range(count)]
    return {f"k{number}": make(items, number) for number in range(count)}


def empty(node: Node, _number: int) -> Any:
    return {} if isinstance(node, ObjectNode | MapNode) else [] if isinstance(node, ListNode) else ""


def body_of(kind: Kind, way: tuple[str, ...], value: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"name": "x"}}
    holder = body
    for step in way[:-1]:
        holder = holder.setdefault(step, {})
    holder[way[-1]] = value
    return body


def path_of(kind: Kind) -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/default/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"


@pytest.mark.parametrize("kind", CREATED, ids=lambda kind: f"{kind.group or 'core'}-{kind.version}-{kind.kind}")
async def test_a_list_or_map_of_thousands_holds_nobody_up(measured: Measured, kind: Kind) -> None:
    found = list(collections(kind.node))
    chosen = random.Random(f"{kind.api_version} {kind.kind}").sample(found, min(FIELDS_A_KIND, len(found)))
    for way, node in chosen:
        await measured("POST", path_of(kind), body_of(kind, way, filled(node, BODY_BYTES, element)))
        await measured("POST", path_of(kind), body_of(kind, way, filled(node, BODY_BYTES // 4, empty)))


# -- the worst that is known


def pod(count: int, make: Callable[[int], Any] = lambda _: {}, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **meta}, "spec": {"containers": [make(number) for number in range(count)]}}


def whole(number: int) -> Any:
    return {"name": f"c{number}", "image": "i", "resources": {"requests": {"memory": "1Ki"}, "limits": {"cpu": "1"}}}


async def test_thousands_of_empty_containers_hold_nobody_up(measured: Measured) -> None:
    answer = await measured("POST", PODS, pod(10_000))
    assert answer.status == 422


async def test_fewer_containers_than_make_a_body_long_hold_nobody_up(measured: Measured) -> None:
    assert (await measured("POST", PODS, pod(95))).status == 422


async def test_a_long_object_is_patched_read_and_deleted_with_nobody_held_up(measured: Measured) -> None:
    base = {"metadata": {"name": "p"}, "data": {f"key-{number}": "v" * 8 for number in range(20_000)}}
    assert (await measured("POST", CONFIG_MAPS, base)).status == 201
    one = f"{CONFIG_MAPS}/p"
    for kind, patch in (
        (MERGE, {"data": {"a": "b"}}),
        (STRATEGIC, {"data": {"a": "c"}}),
        (JSON_PATCH, [{"op": "add", "path": "/data/a", "value": "d"}]),
    ):
        assert (await measured("PATCH", one, patch, content_type=kind)).status == 200
    stored = (await measured("GET", one)).obj
    assert (await measured("PUT", one, stored)).status == 200
    for form in ("Table", "PartialObjectMetadata"):
        await measured("GET", one, accept=f"application/json;as={form};g=meta.k8s.io;v=v1")
    await measured("GET", one, accept="application/yaml")
    await measured("GET", CONFIG_MAPS, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert (await measured("DELETE", one)).status == 200


async def test_a_short_patch_that_copies_makes_nothing_long_on_the_loop(measured: Measured) -> None:
    await measured("POST", CONFIG_MAPS, {"metadata": {"name": "p", "annotations": {"a": "b"}}})
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
    grow = [{"op": "add", "path": "/metadata/ownerReferences", "value": [{**owner, "x": [owner]}]}]
    grow += [{"op": "copy", "from": "/metadata/ownerReferences/0/x", "path": "/metadata/ownerReferences/0/x/-"}] * 14
    answer = await measured("PATCH", f"{CONFIG_MAPS}/p", grow, content_type=JSON_PATCH)
    assert answer.status in (200, 413, 422)


async def test_thousands_of_owners_are_told_apart_in_no_time(measured: Measured) -> None:
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": f"{number}"} for number in range(20_000)]
    owners.append(owners[0])
    answer = await measured("POST", CONFIG_MAPS, {"metadata": {"name": "p", "ownerReferences": owners}})
    assert answer.status == 201
    assert len(answer.obj["metadata"]["ownerReferences"]) == 20_000


async def test_an_object_of_thousands_of_faults_names_some_hundreds_and_counts_the_rest(measured: Measured) -> None:
    answer = await measured("POST", PODS, pod(3_000))
    causes = answer.obj["details"]["causes"]
    assert len(causes) == 501
    assert causes[-1]["message"].startswith("and ")
    assert causes[-1]["message"].endswith(" more errors")
    assert answer.message.endswith(f"{causes[-1]['message']}]")


async def test_faults_about_long_values_are_short(measured: Measured) -> None:
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": f"{number}", "controller": True}
        for number in range(1_500)
    ]
    answer = await measured("POST", CONFIG_MAPS, {"metadata": {"name": "p", "ownerReferences": owners}})
    assert answer.status == 422
    assert len(orjson.dumps(answer.obj)) < 2 * 1024 * 1024


async def test_a_refusal_by_limits_names_some_hundreds_of_faults_and_counts_the_rest(measured: Measured) -> None:
    answer = await measured(
        "POST", PODS, pod(400, lambda number: {**whole(number), "resources": {"limits": {"cpu": "3"}}})
    )
    assert answer.status == 403
    assert "and 201 more]" in answer.message


async def test_a_role_of_many_rules_is_weighed_with_nobody_held_up(measured: Measured) -> None:
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": [f"r{number}"]} for number in range(2_500)]
    url = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    assert (await measured("POST", url, {"metadata": {"name": "many"}, "rules": rules})).status == 201
