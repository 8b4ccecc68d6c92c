import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.resources import ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES
from sampan.controllers.endpoints.legacy import EndpointsController
from sampan.controllers.endpoints.mirroring import EndpointSliceMirroringController
from sampan.controllers.endpoints.service_slices import EndpointSliceController, plan_groups
from sampan.controllers.endpoints.slices import Group, SliceMeta, plan_slices

#: a node without a zone
NODE = {"n1": ""}


def service(**spec):
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    return {
        "metadata": {"name": "svc", "namespace": "default", "uid": "s", "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"},
            "ports": ports,
            "clusterIP": "10.96.0.9",
            "ipFamilies": ["IPv4"],
            **spec,
        },
    }


def pod(name="a", *, ready=True, ip="10.244.0.5", deleting=False, phase="Running", port=8080, **spec):
    meta = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}}
    if deleting:
        meta |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    return {
        "metadata": meta,
        "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "web", "containerPort": port}]}], **spec},
        "status": {"phase": phase, "podIP": ip, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@pytest.mark.parametrize(
    ("ready", "deleting", "publish", "expected"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, False, True, (True, False, False)),
    ],
)
def test_endpoint_conditions(ready, deleting, publish, expected):
    (group,) = plan_groups(
        service(publishNotReadyAddresses=publish), [pod(ready=ready, deleting=deleting)], NODE, "IPv4"
    )
    conditions = group.endpoints[0]["conditions"]
    assert tuple(conditions[name] for name in ("ready", "serving", "terminating")) == expected


def test_finished_pods_and_pods_without_address_are_no_endpoints():
    assert plan_groups(service(), [pod(phase="Succeeded"), pod("b", ip="")], NODE, "IPv4") == []


def test_named_port_differs_by_pod():
    groups = plan_groups(service(), [pod("a"), pod("b", port=9090)], NODE, "IPv4")
    assert sorted(group.ports[0]["port"] for group in groups) == [8080, 9090]


def test_hostname_only_below_its_own_service():
    named = pod(hostname="h", subdomain="svc")
    (group,) = plan_groups(service(), [named], {"n1": "zone-a"}, "IPv4")
    assert group.endpoints[0]["hostname"] == "h"
    assert group.endpoints[0]["zone"] == "zone-a"
    (group,) = plan_groups(service(), [pod(hostname="h", subdomain="other")], NODE, "IPv4")
    assert "hostname" not in group.endpoints[0]


def endpoint(number):
    return {"addresses": [f"10.0.{number // 250}.{number % 250}"], "targetRef": {"uid": str(number)}}


OWNER = {"uid": "s", "name": "svc", "kind": "Service"}
META = SliceMeta("default", "svc-", "IPv4", {"kubernetes.io/service-name": "svc"}, OWNER)


NUMBERS = itertools.count()


def applied(existing, plan):
    kept = {obj["metadata"]["name"]: obj for obj in existing}
    for obj in plan.create:
        obj["metadata"]["name"] = f"slice-{next(NUMBERS)}"
        kept[obj["metadata"]["name"]] = obj
    for obj in plan.update:
        kept[obj["metadata"]["name"]] = obj
    for obj in plan.delete:
        del kept[obj["metadata"]["name"]]
    return list(kept.values())


@settings(max_examples=30, deadline=None)  # two seconds on a slow machine
@given(st.lists(st.sets(st.integers(0, 40)), min_size=1, max_size=6))
def test_slices_hold_exactly_the_endpoints_within_the_limit_and_settle(rounds):
    slices = []
    for numbers in rounds:
        group = Group(({"name": "", "port": 80, "protocol": "TCP"},), tuple(endpoint(n) for n in numbers))
        groups = [group] if numbers else []
        plan = plan_slices(META, groups, slices, 10)
        slices = applied(slices, plan)
        held = [e["targetRef"]["uid"] for obj in slices for e in obj["endpoints"]]
        assert sorted(held) == sorted(str(n) for n in numbers)
        assert all(len(obj["endpoints"]) <= 10 for obj in slices)
        assert slices
        again = plan_slices(META, groups, slices, 10)
        assert (again.create, again.update, again.delete) == ([], [], [])


async def test_slices_and_endpoints_follow_the_pods(api, context, running, wait):
    api.add(NODES, {"metadata": {"name": "n1"}, "spec": {}})
    async with running(EndpointSliceController(context), EndpointsController(context)):
        api.add(SERVICES, service(clusterIP="None"))
        await wait.quiet(api)
        (empty,) = api.all(ENDPOINT_SLICES)
        assert empty["endpoints"] == []
        api.add(PODS, pod())
        await wait.quiet(api)
        (found,) = api.all(ENDPOINT_SLICES)
        assert found["endpoints"][0]["addresses"] == ["10.244.0.5"]
        assert found["endpoints"][0]["nodeName"] == "n1"
        assert found["metadata"]["labels"] == {
            "team": "a",
            "kubernetes.io/service-name": "svc",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "service.kubernetes.io/headless": "",
        }
        (subset,) = api.get(ENDPOINTS, "default", "svc")["subsets"]
        assert subset["ports"] == [{"port": 8080, "protocol": "TCP", "name": "http"}]
        assert subset["addresses"][0]["targetRef"]["name"] == "a"

        def unready(obj):
            obj["status"]["conditions"] = [{"type": "Ready", "status": "False"}]

        api.change(PODS, "default", "a", unready)
        await wait.quiet(api)
        assert api.all(ENDPOINT_SLICES)[0]["endpoints"][0]["conditions"]["ready"] is False
        assert "addresses" not in api.get(ENDPOINTS, "default", "svc")["subsets"][0]
        api.log.clear()
        api.change(PODS, "default", "a", lambda obj: obj["status"].update(hostIP="1.2.3.4"))
        await wait.quiet(api)
        assert api.log == [], "a change that endpoints do not show writes nothing"
        api.remove(SERVICES, "default", "svc")
        await wait.quiet(api)
        assert api.all(ENDPOINTS) == []


async def test_hand_made_endpoints_are_mirrored(api, context, running, wait):
    async with running(EndpointSliceMirroringController(context)):
        plain = service()
        del plain["spec"]["selector"]
        api.add(SERVICES, plain)
        subsets = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]
        api.add(ENDPOINTS, {"metadata": {"name": "svc", "namespace": "default"}, "subsets": subsets})
        await wait.quiet(api)
        (mirror,) = api.all(ENDPOINT_SLICES)
        assert mirror["endpoints"] == [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]
        api.remove(ENDPOINTS, "default", "svc")
        await wait.quiet(api)
        assert api.all(ENDPOINT_SLICES) == []
