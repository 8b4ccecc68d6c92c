"""What a webhook that is slow, dead, lying or against its own cluster can do: end its own requests, nothing else."""

from __future__ import annotations

import asyncio
import base64
import sys
from random import Random
from types import FrameType
from typing import Any

import orjson
import pytest
from aiohttp import web

from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore

from .conftest import CONFIGURATIONS, Configured, Hook, Pki, allow, deny, patched, rule, webhook

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
EVERYTHING = rule("*/*", group="*", version="*")


def config_map(name: str = "c") -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"a": "b"}}


def pod(name: str = "p") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def test_while_one_write_waits_for_a_webhook_all_others_go_on(
    api: Any, configured: Configured, hook: Hook
) -> None:
    hook.reply = hook.silence
    await configured.validating(webhook(hook.by_url(), rule("pods")))
    waiting = asyncio.create_task(api("POST", PODS, pod()))
    await hook.reached.wait()
    assert (await api("POST", MAPS, config_map())).status == 201
    assert (await api("GET", "/readyz")).status == 200 and (await api("GET", PODS)).status == 200
    assert (await api("POST", LEASES, {"metadata": {"name": "l"}, "spec": {}})).status == 201
    assert (await api("DELETE", f"{CONFIGURATIONS}/validatingwebhookconfigurations/v")).status == 200
    assert not waiting.done()
    assert (await api("POST", PODS, pod("other"))).status == 201  # the configuration is gone
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await api("GET", f"{PODS}/p")).status == 404


@pytest.mark.parametrize("kind", ["mutating", "validating"])
async def test_a_dead_webhook_on_everything_leaves_the_cluster_administrable(
    api: Any, configured: Configured, unused_port: int, kind: str
) -> None:
    await getattr(configured, kind)(webhook({"url": f"https://127.0.0.1:{unused_port}/"}, EVERYTHING), name="all")
    assert (await api("POST", MAPS, config_map())).status == 500
    for path in ("/healthz", "/livez", "/readyz", MAPS, "/api/v1/nodes", "/metrics", "/apis"):
        assert (await api("GET", path)).status == 200, path
    path = f"{CONFIGURATIONS}/{kind}webhookconfigurations/all"
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]
    assert (await api("PATCH", path, patch, content_type="application/json-patch+json")).status == 200
    assert (await api("POST", MAPS, config_map())).status == 201
    assert (await api("DELETE", path)).status == 200


async def test_a_server_starts_under_a_dead_webhook_on_everything(unused_port: int, clock: Any, api_of: Any) -> None:
    """What a cluster needs is written by the server itself, whoever would refuse it: also when it is missing."""
    store = MemoryStore(clock=clock)
    stored = {
        "kind": "ValidatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": "all"},
        "webhooks": [webhook({"url": f"https://127.0.0.1:{unused_port}/"}, EVERYTHING, failurePolicy="Fail")],
    }
    key = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/all"
    await store.commit(key, 0, orjson.dumps(stored))
    config = ServerConfig(
        listen=False, authorization_modes=("AlwaysAllow",), clock=clock, random=Random(1), openapi=False
    )
    async with Server(config, store=store) as server:
        api = api_of(server, clock)
        assert (await api("GET", "/api/v1/namespaces/kube-system")).status == 200
        assert (await api("POST", MAPS, config_map())).status == 500


async def test_a_webhook_that_refuses_its_own_backend_can_be_taken_back(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """Its pods cannot come, so it never answers; a namespace that it leaves out lets them come."""
    spec = {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 443}]}
    service = {"metadata": {"name": "guard"}, "spec": spec}
    assert (await api("POST", "/api/v1/namespaces/default/services", service)).status == 201
    config = {"service": {"namespace": "default", "name": "guard"}}
    selector = {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}
    guard = webhook(config, rule("pods", "endpoints"), namespaceSelector=selector)
    await configured.validating(guard)
    answer = await api("POST", PODS, pod())
    assert answer.status == 500 and 'failed to call webhook: Post "https://guard.default.svc:443/' in answer.message
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "guards", "labels": {"free": "yes"}}})
    assert (await api("POST", "/api/v1/namespaces/guards/pods", pod())).status == 201
    assert (await api("DELETE", f"{CONFIGURATIONS}/validatingwebhookconfigurations/v")).status == 200
    assert (await api("POST", PODS, pod())).status == 201


async def test_a_webhook_that_writes_what_it_is_asked_about_comes_to_an_end(
    pki: Pki, hook: Hook, clock: Any, api_of: Any
) -> None:
    """Each of its writes asks it anew. The requests in flight are the bound; reading is not touched by it."""
    config = ServerConfig(
        listen=False,
        bootstrap=False,
        authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=("ServiceAccount",),
        max_mutating_requests_inflight=12,
        clock=clock,
        random=Random(1),
        openapi=False,
    )
    async with Server(config) as server:
        api = api_of(server, clock)
        await api("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
        await Configured(api).mutating(webhook(hook.by_url()))
        statuses: list[int] = []

        async def write_again(review: Any) -> Any:
            assert (await api("GET", MAPS)).status == 200
            answer = await api("POST", MAPS, {"metadata": {"generateName": "again-"}})
            statuses.append(answer.status)
            return allow(review) if answer.status == 201 else deny(review, message="I could not write")

        hook.reply = write_again
        answer = await api("POST", MAPS, config_map())
        assert answer.status == 400 and answer.message.endswith("I could not write")
        assert statuses[0] == 429 and len(statuses) == 12
        assert (await api("GET", MAPS)).obj["items"] == []


async def test_a_configuration_that_nobody_can_read_is_no_configuration(
    api: Any, configured: Configured, hook: Hook
) -> None:
    broken = {
        "kind": "ValidatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": "broken"},
        "webhooks": [1, {"rules": "x", "clientConfig": []}, {"name": "x", "rules": [{"operations": 7}, None]}],
    }
    prefix = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/"
    await api.server.store.commit(f"{prefix}broken", 0, orjson.dumps(broken))
    hook.reply = deny
    await configured.validating(webhook(hook.by_url()))
    assert (await api("POST", MAPS, config_map())).status == 400
    assert (await api("POST", PODS, pod())).status == 201


async def test_a_flood_instead_of_an_answer_is_cut_off(api: Any, configured: Configured, hook: Hook) -> None:
    hook.reply = lambda review: web.Response(body=b"x" * (5 << 20))
    await configured.validating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert answer.status == 500 and "the response is larger than 4194304 bytes" in answer.message


async def test_a_patch_that_makes_much_of_little_is_refused(api: Any, configured: Configured, hook: Hook) -> None:
    operations = [{"op": "copy", "from": "/data", "path": f"/data/x{number}"} for number in range(40)]
    encoded = base64.b64encode(orjson.dumps(operations)).decode()
    hook.reply = lambda review: allow(review, patchType="JSONPatch", patch=encoded)
    await configured.mutating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert (answer.status, answer.reason) == (500, "InternalError")


async def test_what_a_webhook_says_does_not_reach_the_log(
    api: Any, configured: Configured, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    """CVE-2020-8561: neither where it would have us go, nor what is said there."""
    location = {"Location": "https://127.0.0.1/secret-place"}
    hook.reply = lambda review: web.Response(status=307, headers=location, text="secret-word")
    await configured.validating(webhook(hook.by_url()))
    answer = await api("POST", MAPS, config_map())
    assert "status code 307" in answer.message and len(hook.asked) == 1
    assert "secret" not in answer.message and "secret" not in caplog.text


async def test_a_long_object_on_its_way_through_webhooks_holds_nobody(
    api: Any, configured: Configured, hook: Hook
) -> None:
    """Counted in calls, not in time: what looks at ten thousand keys makes more of them than this in one go."""
    hook.replies = {"/m": lambda review: patched(review, {"op": "add", "path": "/data/mutated", "value": "yes"})}
    await configured.mutating(webhook(hook.by_url("/m")))
    await configured.validating(webhook(hook.by_url("/v"), name="v.example.com"))
    body = orjson.dumps({**config_map(), "data": {f"key{number}": "v" * 40 for number in range(10_000)}})
    request = api.request("POST", MAPS, body)
    one_go = asyncio.Handle._run.__code__
    most = calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal most, calls
        if frame.f_code is one_go:
            most, calls = max(most, calls), 0
        elif event in ("call", "c_call"):
            calls += 1

    sys.setprofile(count)  # of this thread, which is the loop's
    try:
        response = await api.server.handler(request)
    finally:
        sys.setprofile(None)
    assert response.status == 201
    assert 100 < most < 5000
