"""A group version that an APIService sends to a Service is answered by the API server there.

Conformance: "aggregator-supports-the-sample-apiserver" (Aggregator).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web
from tests.server.aggregation.conftest import APISERVICES, NAME, ROOT, Front, Sample, started, until

from sampan.server.config import ServerConfig

FLUNDERS = f"{ROOT}/namespaces/default/flunders"


@pytest.fixture
async def served(front: Front, bundle: str) -> Front:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    return front


async def test_a_request_is_answered_by_the_api_server_behind_the_service(served: Front) -> None:
    """Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator [LinuxOnly]: list
    and create through the aggregator."""
    status, found = await served.json("GET", FLUNDERS)
    assert (status, found["items"][0]["metadata"]["name"]) == (200, "f")
    status, made = await served.json("POST", FLUNDERS, json={"kind": "Flunder", "metadata": {"name": "f"}})
    assert (status, made["kind"]) == (201, "Flunder")


async def test_a_body_and_the_query_arrive_as_they_were_sent(served: Front, sample: Sample) -> None:
    body = b'{"metadata": {"name":  "f"}}'
    await served.json("POST", f"{FLUNDERS}?fieldManager=a%26b&dryRun=All", data=body)
    assert sample.bodies == [body]
    assert sample.asked(FLUNDERS)[-1].rel_url.raw_query_string == "fieldManager=a%26b&dryRun=All"


async def test_the_backend_learns_who_asks_and_sees_no_credentials(served: Front, sample: Sample) -> None:
    headers = {
        "Impersonate-User": "alice", "Impersonate-Group": "developers", "Impersonate-Uid": "u-1",
        "Impersonate-Extra-Example.com%2Fscopes": "read", "X-Remote-User": "root", "Authorization": "Basic eDp5",
    }  # fmt: skip
    await served.json("GET", FLUNDERS, headers=headers)
    seen = sample.asked(FLUNDERS)[-1].headers
    assert seen.getall("X-Remote-User") == ["alice"]
    assert seen.getall("X-Remote-Group") == ["developers", "system:authenticated"]
    assert seen.getall("X-Remote-Uid") == ["u-1"]
    assert seen.getall("X-Remote-Extra-Example.com%2Fscopes") == ["read"]
    assert "Authorization" not in seen
    assert not [name for name in seen if name.lower().startswith("impersonate-")]


async def test_the_front_proxy_shows_its_certificate(served: Front, sample: Sample) -> None:
    await served.json("GET", FLUNDERS)
    transport = sample.asked(FLUNDERS)[-1].transport
    assert transport is not None
    subject = transport.get_extra_info("peercert")["subject"]
    assert subject == ((("commonName", "front-proxy-client"),),)


async def test_a_watch_comes_through_event_by_event(served: Front, sample: Sample) -> None:
    async with served.request("GET", f"{FLUNDERS}?watch=true") as response:
        for number in range(3):
            event = {"type": "ADDED", "object": {"metadata": {"name": f"f{number}"}}}
            sample.events.put_nowait(orjson.dumps(event) + b"\n")
            assert orjson.loads(await response.content.readline()) == event
        sample.events.put_nowait(None)
        assert await response.content.read() == b""


async def test_an_upgraded_connection_is_joined_to_the_backends(served: Front) -> None:
    url = f"{served.server.url}{FLUNDERS}/f/talk"
    async with served.http.ws_connect(url, headers={"Impersonate-User": "alice"}) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "alice: hello"


async def test_a_redirect_is_neither_followed_nor_passed_on(served: Front, sample: Sample) -> None:
    """CVE-2022-3172."""

    async def away(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "https://169.254.169.254/secrets"})

    sample.instead[FLUNDERS] = away
    status, text = await served.text("GET", FLUNDERS)
    assert (status, text) == (502, "the backend attempted to redirect this request, which is not permitted\n")


async def test_what_the_backend_answers_is_what_the_client_gets(served: Front, sample: Sample) -> None:
    async def teapot(request: web.Request) -> web.StreamResponse:
        headers = {"X-Own": "1", "Warning": '299 - "careful"', "Access-Control-Allow-Origin": "*"}
        return web.Response(status=418, text="short and stout", headers=headers)

    sample.instead[FLUNDERS] = teapot
    async with served.request("GET", FLUNDERS) as response:
        assert (response.status, await response.text()) == (418, "short and stout")
        assert response.headers["X-Own"] == "1"
        assert response.headers["Warning"] == '299 - "careful"'
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_nobody_is_sent_on_whom_this_server_does_not_allow(
    config_of: object, sample: Sample, bundle: str
) -> None:
    assert callable(config_of)
    config: ServerConfig = config_of(bootstrap=True, authorization_modes=("RBAC",))
    async with started(config, sample) as front:
        await front.register(caBundle=bundle)
        await front.until_said("Passed")
        status, refusal = await front.json("GET", FLUNDERS)
    assert (status, refusal["reason"]) == (403, "Forbidden")
    assert 'cannot list resource "flunders" in API group "wardle.example.com"' in refusal["message"]
    assert sample.asked(FLUNDERS) == []


async def test_components_of_this_process_get_through_as_well(served: Front) -> None:
    found = await served.call("GET", FLUNDERS)
    assert found["kind"] == "FlunderList"
    made = await served.call("POST", FLUNDERS, {"metadata": {"name": "f"}})
    assert made["kind"] == "Flunder"


async def test_a_removed_api_service_ends_the_group(served: Front) -> None:
    await served.call("DELETE", f"{APISERVICES}/{NAME}")
    status, text = await served.text("GET", FLUNDERS)
    assert (status, text) == (404, "404 page not found\n")
    _, groups = await served.json("GET", "/apis")
    assert "wardle.example.com" not in [group["name"] for group in groups["groups"]]


async def test_a_built_in_group_is_never_given_away(front: Front, bundle: str, sample: Sample) -> None:
    await front.register(name="v1.apps", caBundle=bundle)
    status, found = await front.json("GET", "/apis/apps/v1/deployments")
    assert (status, found["kind"]) == (200, "DeploymentList")
    assert sample.seen == []


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_a_dead_backend_is_503_in_the_references_words(served: Front, sample: Sample) -> None:
    await sample.stop()
    refused = f"error trying to reach service: dial tcp 127.0.0.1:{sample.port}: connect: connection refused\n"
    # A connection that was kept may be tried once more.
    answer = await until(lambda: served.text("GET", FLUNDERS), lambda answer: answer[1] == refused)
    assert answer[0] == 503


async def test_an_unavailable_one_is_not_even_tried(front: Front, sample: Sample, bundle: str) -> None:
    await front.call("DELETE", "/api/v1/namespaces/wardle/services/api")
    await front.register(caBundle=bundle)
    await front.until_said("ServiceNotFound")
    assert await front.text("GET", FLUNDERS) == (503, "service unavailable\n")
    assert sample.seen == []


async def test_a_certificate_of_another_name_is_refused(front: Front, sample: Sample, bundle: str) -> None:
    await sample.stop()
    await sample.start("other", sample.port)
    await front.register(caBundle=bundle)
    await front.until_said("Passed")  # availability is asked without verification, as upstream does
    status, text = await front.text("GET", FLUNDERS)
    assert status == 503
    assert text.startswith("error trying to reach service: tls: failed to verify certificate: x509: ")
    assert sample.asked(FLUNDERS) == []


async def test_a_ca_that_did_not_sign_it_is_refused(front: Front, pki: Path) -> None:
    await front.register(caBundle=base64.b64encode((pki / "front-proxy-ca.crt").read_bytes()).decode())
    await front.until_said("Passed")
    status, text = await front.text("GET", FLUNDERS)
    assert (status, text) == (
        503,
        "error trying to reach service: tls: failed to verify certificate: "
        "x509: certificate signed by unknown authority\n",
    )


async def test_whoever_asks_for_no_verification_gets_none(front: Front, sample: Sample) -> None:
    await sample.stop()
    await sample.start("other", sample.port)
    await front.register(insecureSkipTLSVerify=True)
    await front.until_said("Passed")
    assert (await front.json("GET", FLUNDERS))[0] == 200


async def test_the_servers_own_certificate_may_be_pinned(front: Front, pki: Path) -> None:
    await front.register(caBundle=base64.b64encode((pki / "api.crt").read_bytes()).decode())
    await front.until_said("Passed")
    assert (await front.json("GET", FLUNDERS))[0] == 200


async def test_a_ca_that_is_no_certificate_is_told(front: Front) -> None:
    await front.register(caBundle="bm90IGEgY2VydGlmaWNhdGU=")
    await front.until_said("Passed")
    assert await front.text("GET", FLUNDERS) == (
        500,
        "unable to load root certificates: unable to parse bytes as PEM block\n",
    )


async def test_a_backend_that_never_answers_ends_with_the_request(
    config_of: object, sample: Sample, bundle: str
) -> None:
    silence = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await silence.wait()
        return web.Response()

    assert callable(config_of)
    sample.instead[FLUNDERS] = silent
    async with started(config_of(), sample) as front:
        await front.register(caBundle=bundle)
        await front.until_said("Passed")
        status, refusal = await front.json("GET", f"{FLUNDERS}?timeout=50ms")
        silence.set()
    assert (status, refusal["reason"]) == (504, "Timeout")


async def test_an_answer_that_trickles_is_cut_off(config_of: object, sample: Sample, bundle: str) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"[")
        await asyncio.Event().wait()
        return response

    assert callable(config_of)
    sample.instead[FLUNDERS] = trickle
    async with started(config_of(request_timeout_seconds=0.2), sample) as front:
        await front.register(caBundle=bundle)
        await front.until_said("Passed")
        with pytest.raises(aiohttp.ClientPayloadError):
            await front.text("GET", FLUNDERS)


async def test_a_long_answer_is_passed_on_piece_by_piece(served: Front, sample: Sample) -> None:
    """A reader that stops stops the backend: nothing is collected in between."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(bytes(1 << 16))
                sent += 1 << 16
        return response

    sample.instead[FLUNDERS] = endless
    async with served.request("GET", f"{FLUNDERS}?watch=1") as response:
        await response.content.readexactly(1 << 16)
        before = -1
        async with asyncio.timeout(30):
            while before != sent:
                before = sent
                await asyncio.sleep(0.05)
        assert sent < 64 << 20
        response.close()
