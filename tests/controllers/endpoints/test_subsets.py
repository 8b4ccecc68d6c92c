"""The subsets of Endpoints: each port with the addresses that offer it, a thousand at most."""

import pytest

from sampan.controllers.endpoints import legacy
from sampan.controllers.endpoints import subsets as shared


def plan_subsets(of, pods):
    return shared.plan_subsets(map(shared.offers(of), pods))


def plan_endpoints(of, pods, *present):
    return legacy.plan_endpoints(of, map(shared.offers(of), pods), *present)


def service(*ports, **spec):
    ports = ports or ({"port": 80, "targetPort": 8080},)
    spec = {"selector": {"app": "web"}, "ports": list(ports), "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], **spec}
    return {"metadata": {"name": "svc", "namespace": "x", "uid": "s", "labels": {"team": "a"}}, "spec": spec}


def pod(name, ip, *, ready=True, deleting=False, phase="Running", named=(), **spec):
    meta = {"name": name, "namespace": "x", "uid": name}
    if deleting:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ports = [{"name": port, "containerPort": number} for port, number in named]
    status = {"phase": phase, "podIP": ip, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": meta, "spec": {"nodeName": "n", "containers": [{"ports": ports}], **spec}, "status": status}


def shown(subsets):
    return [
        (
            [port["port"] for port in subset.get("ports") or ()],
            [address["ip"] for address in subset.get("addresses") or ()],
            [address["ip"] for address in subset.get("notReadyAddresses") or ()],
        )
        for subset in subsets
    ]


def test_ready_addresses_and_others_in_one_subset_by_address():
    subsets, truncated = plan_subsets(
        service(), [pod("b", "10.1.0.2"), pod("c", "10.1.0.3", ready=False), pod("a", "10.1.0.1")]
    )
    assert shown(subsets) == [([8080], ["10.1.0.1", "10.1.0.2"], ["10.1.0.3"])] and not truncated
    assert subsets[0]["addresses"][0] == {
        "ip": "10.1.0.1", "nodeName": "n", "targetRef": {"kind": "Pod", "namespace": "x", "name": "a", "uid": "a"},
    }  # fmt: skip


def test_a_port_that_only_some_pods_have_is_a_subset_of_its_own():
    both = service(
        {"name": "web", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": "admin"}
    )
    subsets, _ = plan_subsets(both, [pod("a", "10.1.0.1"), pod("b", "10.1.0.2", named=[("admin", 9000)])])
    assert shown(subsets) == [([8080], ["10.1.0.1", "10.1.0.2"], []), ([9000], ["10.1.0.2"], [])]


def test_ports_with_the_same_addresses_are_together():
    two = service({"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": 8081})
    subsets, _ = plan_subsets(two, [pod("a", "10.1.0.1")])
    assert shown(subsets) == [([8080, 8081], ["10.1.0.1"], [])]


def test_of_no_ports_only_a_headless_service_has_addresses():
    none = {"metadata": service()["metadata"], "spec": {**service()["spec"], "ports": []}}
    assert plan_subsets(none, [pod("a", "10.1.0.1")]) == ([], False)
    none["spec"]["clusterIP"] = "None"
    subsets, _ = plan_subsets(none, [pod("a", "10.1.0.1")])
    assert shown(subsets) == [([], ["10.1.0.1"], [])] and "ports" not in subsets[0]


@pytest.mark.parametrize(
    ("publish", "kind", "expected"),
    [
        (False, {"deleting": True}, []),
        (True, {"deleting": True}, [([8080], ["10.1.0.1"], [])]),
        (False, {"ready": False}, [([8080], [], ["10.1.0.1"])]),
        (True, {"ready": False}, [([8080], ["10.1.0.1"], [])]),
        (True, {"phase": "Failed"}, []),
    ],
)
def test_pods_that_are_going_ill_or_done(publish, kind, expected):
    subsets, _ = plan_subsets(service(publishNotReadyAddresses=publish), [pod("a", "10.1.0.1", **kind)])
    assert shown(subsets) == expected


def test_the_first_family_counts():
    dual = pod("a", "10.1.0.1")
    dual["status"]["podIPs"] = [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]
    subsets, _ = plan_subsets(service(ipFamilies=["IPv6", "IPv4"]), [dual])
    assert shown(subsets) == [([8080], ["fd00::1"], [])]


def address(number):
    return f"10.{number // 62500}.{number // 250 % 250}.{number % 250}"


@pytest.mark.parametrize(
    ("ready", "others", "expected"),
    [(900, 100, (900, 100)), (900, 300, (900, 100)), (1200, 50, (1000, 0))],
)
def test_a_thousand_addresses_at_most_the_ready_ones_first(ready, others, expected):
    pods = [pod(f"p{n:04}", address(n), ready=n < ready) for n in range(ready + others)]
    subsets, truncated = plan_subsets(service(), pods)
    assert tuple(sum(len(s.get(f) or ()) for s in subsets) for f in ("addresses", "notReadyAddresses")) == expected
    assert truncated is (ready + others > 1000)


def test_what_is_left_out_is_left_out_of_each_subset_in_proportion():
    pods = [pod(f"p{n:04}", address(n), named=[("web", 1 if n % 4 else 2)]) for n in range(2000)]
    subsets, _ = plan_subsets(service({"port": 80, "targetPort": "web"}), pods)
    assert sorted(len(subset["addresses"]) for subset in subsets) == [250, 750]


def test_the_object_is_marked_labelled_and_left_alone_while_it_is_right():
    over, mark = "endpoints.kubernetes.io/over-capacity", "endpoints.kubernetes.io/last-change-trigger-time"
    pods = [pod(f"p{n:04}", address(n)) for n in range(1001)]
    new = plan_endpoints(service(clusterIP="None"), pods, None, "2026-01-01T00:00:00Z")
    assert new["metadata"]["annotations"] == {over: "truncated", mark: "2026-01-01T00:00:00Z"}
    assert new["metadata"]["labels"] == {
        "team": "a", "service.kubernetes.io/headless": "", "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }  # fmt: skip
    assert plan_endpoints(service(clusterIP="None"), pods, new) is None
    fewer = plan_endpoints(service(clusterIP="None"), pods[:5], new)
    assert "annotations" not in fewer["metadata"] and len(fewer["subsets"][0]["addresses"]) == 5
    fewer["metadata"]["labels"]["team"] = "b"
    assert plan_endpoints(service(clusterIP="None"), pods[:5], fewer)["metadata"]["labels"]["team"] == "a"
