"""Slices of Services as pods, nodes and Services change: families, hints, what triggered a write."""

import pytest

from sampan.api.errors import Forbidden
from sampan.api.resources import ENDPOINT_SLICES, ENDPOINTS, EVENTS, NODES, PODS, SERVICES
from sampan.controllers.endpoints import facts
from sampan.controllers.endpoints.legacy import EndpointsController
from sampan.controllers.endpoints.service_slices import EndpointSliceController, plan_groups
from sampan.controllers.endpoints.triggers import TriggerTimes

TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
MODE = "service.kubernetes.io/topology-mode"


def service(annotations=None, **spec):
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"selector": {"app": "web"}, "ports": ports, "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], **spec}
    meta = {"name": "svc", "namespace": "x", "uid": "s", "creationTimestamp": "2026-01-01T00:00:10Z"}
    return {"metadata": {**meta, "annotations": annotations or {}}, "spec": spec}


def pod(name, ip, node="n1", since="2026-01-01T00:00:00Z", ips=()):
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": each} for each in (ip, *ips)]}
    status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    meta = {"name": name, "namespace": "x", "uid": name, "labels": {"app": "web"}}
    return {"metadata": meta, "spec": {"nodeName": node, "containers": []}, "status": status}


def node(name, zone="", cpu="1", ready="True"):
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    status = {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": status}


def hints(api):
    return [
        [zone["name"] for zone in (endpoint.get("hints") or {}).get("forZones") or ()]
        for obj in api.all(ENDPOINT_SLICES)
        for endpoint in sorted(obj["endpoints"], key=lambda endpoint: endpoint["addresses"])
    ]


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (None, None),
        ("PreferClose", {"forZones": [{"name": "z"}]}),
        ("PreferSameZone", {"forZones": [{"name": "z"}]}),
        ("PreferSameNode", {"forZones": [{"name": "z"}], "forNodes": [{"name": "n1"}]}),
        ("Other", None),
    ],
)
def test_hints_of_a_traffic_distribution(distribution, expected):
    [group] = plan_groups(service(trafficDistribution=distribution), [pod("a", "10.1.0.1")], {"n1": "z"}, "IPv4")
    assert group.endpoints[0].get("hints") == expected


def test_a_node_without_a_zone_gets_a_hint_for_the_node_alone():
    [group] = plan_groups(service(trafficDistribution="PreferSameNode"), [pod("a", "10.1.0.1")], {"n1": ""}, "IPv4")
    assert group.endpoints[0]["hints"] == {"forNodes": [{"name": "n1"}]}


@pytest.mark.parametrize("publish", [False, True])
def test_a_pod_on_no_node_is_an_endpoint_only_where_all_are_published(publish):
    made = plan_groups(service(publishNotReadyAddresses=publish), [pod("a", "10.1.0.1", "gone")], {}, "IPv4")
    assert bool(made) is publish


async def test_pods_become_endpoints_when_their_node_is_known(api, context, running, wait):
    async with running(EndpointSliceController(context)):
        api.add(SERVICES, service())
        api.add(PODS, pod("a", "10.1.0.1"))
        await wait.quiet(api)
        assert [obj["endpoints"] for obj in api.all(ENDPOINT_SLICES)] == [[]]
        api.add(NODES, node("n1"))
        await wait.quiet(api)
        assert [len(obj["endpoints"]) for obj in api.all(ENDPOINT_SLICES)] == [1]


async def test_each_family_has_its_slices_and_a_family_that_is_dropped_loses_them(api, context, running, wait):
    async with running(EndpointSliceController(context)):
        api.add(NODES, node("n1"))
        api.add(SERVICES, service(ipFamilies=["IPv4", "IPv6"]))
        api.add(PODS, pod("a", "10.1.0.1", ips=["fd00::1"]))
        await wait.quiet(api)
        assert sorted((obj["addressType"], obj["endpoints"][0]["addresses"]) for obj in api.all(ENDPOINT_SLICES)) == [
            ("IPv4", ["10.1.0.1"]), ("IPv6", ["fd00::1"]),
        ]  # fmt: skip
        api.change(SERVICES, "x", "svc", lambda obj: obj["spec"].update(ipFamilies=["IPv6"]))
        await wait.quiet(api)
        assert [obj["addressType"] for obj in api.all(ENDPOINT_SLICES)] == ["IPv6"]


async def test_a_service_s_annotations_are_its_own_and_its_labels_are_the_slices_too(api, context, running, wait):
    async with running(EndpointSliceController(context)):
        api.add(SERVICES, service({"mine": "x"}))
        api.change(SERVICES, "x", "svc", lambda obj: obj["metadata"].update(labels={"team": "a"}))
        await wait.quiet(api)
        [found] = api.all(ENDPOINT_SLICES)
    assert set(found["metadata"].get("annotations") or {}) <= {TRIGGER} and found["metadata"]["labels"]["team"] == "a"


async def test_hints_follow_the_cpu_of_zones_and_their_coming_and_going_is_told(api, context, running, wait):
    async with running(EndpointSliceController(context)):
        api.add(NODES, node("n1", "a"))
        api.add(NODES, node("n2", "b"))
        for number in range(4):
            api.add(PODS, pod(f"p{number}", f"10.1.0.{number}", "n1"))
        api.add(SERVICES, service({MODE: "Auto"}))
        await wait.quiet(api)
        assert sorted(hints(api)) == [["a"], ["a"], ["b"], ["b"]]
        written = len(api.log)
        api.change(NODES, "", "n2", lambda obj: obj["status"]["allocatable"].update(cpu="1100m"))
        await wait.quiet(api)
        assert len(api.log) == written, "no zone is overloaded yet"
        api.change(NODES, "", "n2", lambda obj: obj["status"]["allocatable"].update(cpu="3"))
        await wait.quiet(api)
        assert sorted(hints(api)) == [["a"], ["b"], ["b"], ["b"]]
        api.change(NODES, "", "n2", lambda obj: obj["status"]["conditions"][0].update(status="False"))
        await wait.quiet(api)
        assert hints(api) == [[]] * 4
        api.change(NODES, "", "n2", lambda obj: obj["status"]["conditions"][0].update(status="True"))
        api.change(SERVICES, "x", "svc", lambda obj: obj["metadata"].update(labels={"touched": "yes"}))
        await wait.quiet(api)
        assert [] not in hints(api)
        api.change(SERVICES, "x", "svc", lambda obj: obj["metadata"].update(annotations={}))
        await wait.quiet(api)
        assert hints(api) == [[]] * 4
    told = [(event["type"], event["reason"], event["message"]) for event in api.all(EVENTS)]
    few = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
    assert told == [
        ("Normal", "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4"),
        ("Warning", "TopologyAwareHintsDisabled", f"{few}, addressType: IPv4"),
        ("Warning", "TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled, addressType: IPv4"),
    ]


async def test_a_failed_write_is_told(api, context, running, wait):
    api.fail_next = [("POST", "endpointslices", Forbidden("exceeded quota"))]
    async with running(EndpointSliceController(context)):
        api.add(SERVICES, service())
        await wait.until(lambda: api.all(EVENTS) and api.all(ENDPOINT_SLICES))
    [event] = api.all(EVENTS)
    assert (event["type"], event["reason"]) == ("Warning", "FailedToUpdateEndpointSlices")
    assert event["message"] == "Error updating Endpoint Slices for Service x/svc: exceeded quota"
    assert event["source"]["component"] == "endpoint-slice-controller"


def test_what_triggered_a_change_is_the_earliest_that_was_not_seen():
    times, own = TriggerTimes(), service()
    a, b = pod("a", "", since="2026-01-01T00:00:05Z"), pod("b", "", since="2026-01-01T00:00:20Z")
    assert times.changed("k", own, [a, b]) == "2026-01-01T00:00:05Z"
    assert times.changed("k", own, [a, b]) == ""
    b = pod("b", "", since="2026-01-01T00:00:30Z")
    assert times.changed("k", own, [a, b]) == "2026-01-01T00:00:30Z"
    assert times.changed("k", own, [b]) == "", "a pod that goes has no time"
    assert times.changed("k", own, [a, b]) == "2026-01-01T00:00:05Z", "and is new when it comes again"
    times.forget("k")
    assert times.changed("k", own, []) == "2026-01-01T00:00:10Z"


@pytest.mark.parametrize("controller", [EndpointSliceController, EndpointsController])
async def test_a_pods_news_has_that_pod_read_and_none_of_its_neighbours(
    api, context, running, wait, monkeypatch, controller
):
    read = []
    pod_ips = facts.pod_ips
    monkeypatch.setattr(
        facts, "pod_ips", lambda pod, family: read.append(pod["metadata"]["name"]) or pod_ips(pod, family)
    )
    resource = ENDPOINT_SLICES if controller is EndpointSliceController else ENDPOINTS

    def shown():
        return str([(obj.get("endpoints"), obj.get("subsets")) for obj in api.all(resource)])

    api.add(NODES, node("n1", "z1"))
    api.add(SERVICES, service())
    for number in range(20):
        api.add(PODS, pod(f"p{number}", f"10.1.0.{number + 1}"))
    async with running(controller(context)):
        await wait.quiet(api)
        assert "10.1.0.20" in shown()
        read.clear()
        api.change(PODS, "x", "p7", lambda obj: obj["status"].update(podIP="10.1.9.9", podIPs=[{"ip": "10.1.9.9"}]))
        await wait.quiet(api)
        assert "10.1.9.9" in shown()
        assert set(read) == {"p7"}
        api.change(SERVICES, "x", "svc", lambda obj: obj["spec"].update(publishNotReadyAddresses=True))
        api.change(PODS, "x", "p3", lambda obj: obj["status"]["conditions"][0].update(status="False"))
        api.add(PODS, pod("late", "10.1.8.8"))
        await wait.quiet(api)
        assert "10.1.8.8" in shown()
        assert len(set(read)) == 21
        assert "10.1.0.4" in shown() and "notReadyAddresses': [" not in shown()


async def test_a_node_that_gets_a_zone_gives_it_to_endpoints_that_were_known(api, context, running, wait):
    api.add(NODES, node("n1", "z1"))
    api.add(SERVICES, service())
    api.add(PODS, pod("a", "10.1.0.1"))
    async with running(EndpointSliceController(context)):
        await wait.quiet(api)
        assert "'zone': 'z1'" in str(api.all(ENDPOINT_SLICES))
        api.change(NODES, "", "n1", lambda obj: obj["metadata"]["labels"].update({"topology.kubernetes.io/zone": "z2"}))
        await wait.quiet(api)
        assert "'zone': 'z2'" in str(api.all(ENDPOINT_SLICES))
