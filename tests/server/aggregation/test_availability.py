"""Whether an APIService's backend is there: the Available condition, in the reference's words."""

from __future__ import annotations

import pytest
from aiohttp import web
from tests.server.aggregation.conftest import (
    APISERVICES,
    NAME,
    ROOT,
    SERVICES,
    SLICES,
    Front,
    Sample,
    api_service,
    endpoint_slice,
)


async def test_one_that_answers_passes(front: Front, bundle: str, sample: Sample) -> None:
    await front.register(caBundle=bundle)
    condition = await front.until_said("Passed")
    assert (condition["status"], condition["message"]) == ("True", "all checks passed")
    probe = sample.asked(ROOT)[0].headers
    assert (probe["X-Remote-User"], probe["X-Remote-Group"]) == ("system:kube-aggregator", "system:masters")


async def test_a_service_that_is_not_there_is_named(front: Front, bundle: str) -> None:
    await front.call("DELETE", f"{SERVICES}/api")
    await front.register(caBundle=bundle)
    condition = await front.until_said("ServiceNotFound")
    assert (condition["status"], condition["message"]) == ("False", 'service/api in "wardle" is not present')


async def test_a_port_that_the_service_lacks_is_named(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle, service={"namespace": "wardle", "name": "api", "port": 444})
    condition = await front.until_said("ServicePortError")
    assert condition["message"] == 'service/api in "wardle" is not listening on port 444'


async def test_a_service_without_slices_is_named(front: Front, bundle: str) -> None:
    await front.call("DELETE", f"{SLICES}/api-1")
    await front.register(caBundle=bundle)
    condition = await front.until_said("EndpointsNotFound")
    assert condition["message"] == 'cannot find endpointslices for service/api in "wardle"'


@pytest.mark.parametrize("fault", [{"ready": False}, {"port_name": "other"}])
async def test_slices_without_a_ready_address_are_named(front: Front, bundle: str, fault: dict[str, bool]) -> None:
    await front.call("DELETE", f"{SLICES}/api-1")
    await front.call("POST", SLICES, endpoint_slice(**fault))  # type: ignore[arg-type]
    await front.register(caBundle=bundle)
    condition = await front.until_said("MissingEndpoints")
    assert condition["message"] == 'endpointslices for service/api in "wardle" have no addresses with port name ""'


async def test_what_was_missing_is_seen_when_it_comes(front: Front, bundle: str) -> None:
    await front.call("DELETE", f"{SLICES}/api-1")
    await front.register(caBundle=bundle)
    await front.until_said("EndpointsNotFound")
    await front.call("POST", SLICES, endpoint_slice())
    assert (await front.until_said("Passed"))["status"] == "True"


async def test_a_service_that_goes_is_seen_at_once(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    await front.call("DELETE", f"{SERVICES}/api")
    assert (await front.until_said("ServiceNotFound"))["status"] == "False"


async def test_a_dead_backend_fails_the_check_and_is_found_again(front: Front, bundle: str, sample: Sample) -> None:
    await sample.stop()
    await front.register(caBundle=bundle)
    condition = await front.until_said("FailedDiscoveryCheck")
    url = f"https://127.0.0.1:{sample.port}{ROOT}"
    assert condition["message"] == (
        f'failing or missing response from {url}: Get "{url}": '
        f"dial tcp 127.0.0.1:{sample.port}: connect: connection refused"
    )
    await sample.start(port=sample.port)
    assert (await front.until_said("Passed"))["status"] == "True"


async def test_a_bad_status_fails_the_check(front: Front, bundle: str, sample: Sample) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    sample.instead[ROOT] = broken
    await front.register(caBundle=bundle)
    condition = await front.until_said("FailedDiscoveryCheck")
    url = f"https://127.0.0.1:{sample.port}{ROOT}"
    assert condition["message"] == f"failing or missing response from {url}: bad status from {url}: 500"


async def test_one_endpoint_of_several_is_enough(front: Front, bundle: str, sample: Sample) -> None:
    async def sometimes(request: web.Request) -> web.StreamResponse:
        if len(sample.asked(ROOT)) < 3:
            return web.Response(status=500)
        return await sample.usual(request)

    sample.instead[ROOT] = sometimes
    await front.register(caBundle=bundle)
    await front.until_said("Passed")


async def test_one_becomes_this_servers_own_again(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    found = await front.call("GET", f"{APISERVICES}/{NAME}")
    found["spec"] = {key: found["spec"][key] for key in ("group", "version", "groupPriorityMinimum", "versionPriority")}
    await front.call("PUT", f"{APISERVICES}/{NAME}", found)
    status, _ = await front.text("GET", f"{ROOT}/namespaces/default/flunders")
    assert status == 404


async def test_nonsense_in_one_costs_no_other(front: Front, bundle: str) -> None:
    await front.call("POST", APISERVICES, api_service("v1.dead.example.com", service={"namespace": "x", "name": "y"}))
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    await front.until_said("ServiceNotFound", "v1.dead.example.com")


async def test_alerts_find_the_unavailable_in_the_metrics(front: Front, bundle: str) -> None:
    await front.register(caBundle=bundle)
    await front.until_said("Passed")
    gauge, counter = f'aggregator_unavailable_apiservice{{name="{NAME}"}}', "aggregator_unavailable_apiservice_total"
    _, text = await front.text("GET", "/metrics")
    assert f"{gauge} 0" in text
    await front.call("DELETE", f"{SERVICES}/api")
    await front.until_said("ServiceNotFound")
    _, text = await front.text("GET", "/metrics")
    assert f"{gauge} 1" in text
    assert f'{counter}{{name="{NAME}",reason="ServiceNotFound"}} 1' in text
    await front.call("DELETE", f"{APISERVICES}/{NAME}")
    assert NAME not in (await front.text("GET", "/metrics"))[1]
