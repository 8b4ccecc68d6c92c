"""Hand-made Endpoints in slices: one for each set of ports and family, with the reasons of what is left out."""

import pytest

from sampan.api.resources import ENDPOINT_SLICES, ENDPOINTS, EVENTS, SERVICES
from sampan.controllers.endpoints.mirroring import (
    EndpointSliceMirroringController,
    mirrored,
    plan_mirror,
    should_mirror,
)


def endpoints(*subsets, name="svc", **meta):
    return {"metadata": {"name": name, "namespace": "x", "uid": "e", **meta}, "subsets": list(subsets)}


def subset(*ips, ready=True, port=80, **more):
    addresses = [{"ip": ip} for ip in ips]
    return {"addresses" if ready else "notReadyAddresses": addresses, "ports": [{"port": port}], **more}


SERVICE = {"metadata": {"name": "svc", "namespace": "x", "uid": "s"}, "spec": {"ports": [{"port": 80}]}}


def shown(api):
    return sorted(
        (
            obj["addressType"],
            [port["port"] for port in obj["ports"]],
            sorted(e["addresses"][0] for e in obj["endpoints"]),
        )
        for obj in api.all(ENDPOINT_SLICES)
    )


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({}, True),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, False),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "no"}}, True),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, False),
    ],
)
def test_what_is_mirrored(meta, expected):
    assert should_mirror(endpoints(**meta)) is expected


async def test_a_slice_for_each_family_and_set_of_ports_whatever_its_size(api, context, running, wait):
    many = [f"10.0.{number // 200}.{number % 200}" for number in range(300)]
    async with running(EndpointSliceMirroringController(context)):
        api.add(SERVICES, SERVICE)
        api.add(
            ENDPOINTS, endpoints(subset(*many), subset("10.9.0.1", "fd00::1", port=81), subset("10.9.0.2", port=81))
        )
        await wait.quiet(api)
    assert shown(api) == [
        ("IPv4", [80], sorted(many)), ("IPv4", [81], ["10.9.0.1", "10.9.0.2"]), ("IPv6", [81], ["fd00::1"]),
    ]  # fmt: skip


async def test_what_is_said_of_the_endpoints_is_said_of_the_slices(api, context, running, wait):
    hidden = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
    }
    async with running(EndpointSliceMirroringController(context)):
        api.add(SERVICES, SERVICE)
        api.add(ENDPOINTS, endpoints(subset("10.0.0.1"), labels={"team": "a"}, annotations={"mine": "1", **hidden}))
        await wait.quiet(api)
        [mirror] = api.all(ENDPOINT_SLICES)
        assert mirror["metadata"]["annotations"] == {"mine": "1"}
        assert mirror["metadata"]["labels"] == {
            "team": "a",
            "kubernetes.io/service-name": "svc",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }
        assert [(owner["kind"], owner["uid"]) for owner in mirror["metadata"]["ownerReferences"]] == [
            ("Endpoints", "e")
        ]
        name = mirror["metadata"]["name"]
        api.change(ENDPOINTS, "x", "svc", lambda obj: obj["metadata"]["annotations"].update(mine="2"))
        api.change(ENDPOINTS, "x", "svc", lambda obj: obj.update(subsets=[subset("10.0.0.1", ready=False, port=81)]))
        await wait.quiet(api)
        [mirror] = api.all(ENDPOINT_SLICES)
        assert mirror["metadata"]["name"] == name, "a slice is used again"
        assert mirror["metadata"]["annotations"] == {"mine": "2"} and mirror["ports"][0]["port"] == 81
        assert mirror["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}]


async def test_a_mirror_that_somebody_deleted_or_changed_is_made_again(api, context, running, wait):
    async with running(EndpointSliceMirroringController(context)):
        api.add(SERVICES, SERVICE)
        api.add(ENDPOINTS, endpoints(subset("10.0.0.1")))
        await wait.quiet(api)
        [mirror] = api.all(ENDPOINT_SLICES)
        api.remove(ENDPOINT_SLICES, "x", mirror["metadata"]["name"])
        await wait.quiet(api)
        [mirror] = api.all(ENDPOINT_SLICES)
        api.change(ENDPOINT_SLICES, "x", mirror["metadata"]["name"], lambda obj: obj.update(endpoints=[]))
        await wait.quiet(api)
        assert shown(api) == [("IPv4", [80], ["10.0.0.1"])]
        written = len(api.log)
        api.change(ENDPOINTS, "x", "svc", lambda obj: obj["metadata"].update(resourceVersion="x"))
        await wait.quiet(api)
        assert len(api.log) == written


async def test_mirrors_go_with_the_service_and_when_it_gets_a_selector(api, context, running, wait):
    async with running(EndpointSliceMirroringController(context)):
        for name in ("one", "two"):
            api.add(SERVICES, {**SERVICE, "metadata": {**SERVICE["metadata"], "name": name, "uid": name}})
            api.add(ENDPOINTS, endpoints(subset("10.0.0.1"), name=name))
        await wait.quiet(api)
        assert len(api.all(ENDPOINT_SLICES)) == 2
        api.remove(SERVICES, "x", "one")
        api.change(SERVICES, "x", "two", lambda obj: obj["spec"].update(selector={"a": "b"}))
        await wait.quiet(api)
    assert api.all(ENDPOINT_SLICES) == []


async def test_addresses_that_cannot_be_mirrored_are_told_of(api, make_context, run_with, wait):
    context = make_context(api, mirroring_max_endpoints_per_subset=3)
    async with run_with(context, EndpointSliceMirroringController(context)):
        api.add(SERVICES, SERVICE)
        ips = ("nonsense", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5")
        api.add(ENDPOINTS, endpoints(subset(*ips)))
        await wait.quiet(api)
    assert shown(api) == [("IPv4", [80], ["10.0.0.1", "10.0.0.2", "10.0.0.3"])]
    assert [(event["reason"], event["message"], event["source"]["component"]) for event in api.all(EVENTS)] == [
        ("InvalidIPAddress", "Skipped 1 invalid IP addresses when mirroring to EndpointSlices",
         "endpoint-slice-mirroring-controller"),
        ("TooManyAddressesToMirror", "A max of 3 addresses can be mirrored to EndpointSlices per Endpoints subset. "
         "3 addresses were skipped", "endpoint-slice-mirroring-controller"),
    ]  # fmt: skip


def test_a_mirror_of_more_than_fits_is_not_written_again_and_again():
    own = endpoints(subset("10.0.0.1", "10.0.0.2"), subset("10.0.1.1", "10.0.1.2"))
    [made] = plan_mirror(own, mirrored(own, 2), [], 2)[0].create
    assert len(made["endpoints"]) == 2
    [ipv4, ipv6] = plan_mirror(own, mirrored(own, 2), [made], 2)
    assert ipv4.unchanged == [made]
    assert not (ipv4.rendered() or ipv4.delete or ipv6.rendered() or ipv6.delete)
