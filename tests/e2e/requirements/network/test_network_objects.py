"""Objects of the network as the API keeps them, from creation to deletion, and the Services that a cluster begins with.

What packets do with them is shown by the modules beside this one.
"""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from object_lives import MARK, lives, named, names, served
from requirement_room import Obj, Refused, Room

NETWORKING, DISCOVERY = "networking.k8s.io/v1", "discovery.k8s.io/v1"
RANGES = f"/apis/{NETWORKING}/servicecidrs"
#: addresses for documentation (RFC 5737): nobody has them
RANGE = "203.0.113.0/24"

PODS: tuple[Obj, ...] = ()


def service(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Obj:
    port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels or {}},
        "spec": {"ports": [port], **spec},
    }  # fmt: skip


def status_is_patched_and_replaced(room: Room, path: str, status: Obj) -> None:
    """Seen by those who read it, and the rest of the object is left alone by it."""
    api = room.api
    patched = api.patch(f"{path}/status", {"metadata": {"annotations": {"patched-status": "yes"}}, "status": status})
    assert patched["metadata"]["annotations"]["patched-status"] == "yes"
    assert {key: patched["status"][key] for key in status} == status
    read = api("GET", f"{path}/status")
    read["metadata"]["annotations"]["updated-status"] = "yes"
    replaced = api("PUT", f"{path}/status", {**read, "spec": {}})
    assert replaced["metadata"]["annotations"]["updated-status"] == "yes"
    assert replaced["spec"] == read["spec"] == api("GET", path)["spec"]


def going(room: Room, path: str) -> bool:
    """Deleted, and seen as such while its finalizer lasts."""
    try:
        found = room.api("GET", path)
    except Refused as refused:
        return refused.code == 404
    return bool(found["metadata"].get("deletionTimestamp"))


def test_ranges_of_addresses_from_creation_to_deletion(room: Room) -> None:
    """ServiceCIDR and IPAddress API should support ServiceCIDR API operations"""
    assert served(room, "networking.k8s.io", "servicecidrs", "servicecidrs/status", "ipaddresses")
    api, (mine, other) = room.api, (MARK, f"{MARK}-other")
    wanted = {mine: RANGE, other: "198.51.100.0/24"}
    for name, cidr in wanted.items():
        made = api("POST", RANGES, named({"spec": {"cidrs": [cidr]}}, name, name))
        assert made["spec"] == {"cidrs": [cidr]}
    both = {"labelSelector": f"mark={MARK}"}
    listed = api("GET", RANGES, **both)
    assert sorted(names(listed)) == [mine, other]
    path = f"{RANGES}/{mine}"
    is_ready(room, mine, listed["metadata"]["resourceVersion"])

    said = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"}
    added = {**said, "lastTransitionTime": "2026-01-02T03:04:05Z"}
    conditions = [*api("GET", path)["status"]["conditions"], added]
    status_is_patched_and_replaced(room, path, {"conditions": conditions})
    labelled = api.patch(path, {"metadata": {"labels": {"patched": "yes"}}}, "strategic-merge")
    assert labelled["metadata"]["labels"]["patched"] == "yes"
    labelled["metadata"]["labels"]["updated"] = "yes"
    labelled["metadata"].pop("resourceVersion")
    assert api("PUT", path, labelled)["metadata"]["labels"]["updated"] == "yes"
    with pytest.raises(Refused) as refused:
        api.patch(path, {"spec": {"cidrs": ["192.0.2.0/24"]}})
    assert refused.value.code == 422

    asked = room.create(service("of-the-new-range", clusterIP="203.0.113.7"))
    assert asked["spec"]["clusterIPs"] == ["203.0.113.7"]
    assert names(api("GET", f"/apis/{NETWORKING}/ipaddresses", labelSelector=owned_by("ipallocator")))
    api("DELETE", path)
    api("DELETE", RANGES, **both)
    assert going(room, path) and going(room, f"{RANGES}/{other}")
    found = api("GET", path)
    assert found["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]  # an address is used
    api("DELETE", room.path("services", "of-the-new-range"))
    with pytest.raises(Refused) as refused:
        api("GET", f"/apis/{NETWORKING}/ipaddresses/203.0.113.7")
    assert refused.value.code == 404


def owned_by(component: str) -> str:
    return f"ipaddress.kubernetes.io/managed-by={component}.k8s.io"


def is_ready(room: Room, name: str, revision: str) -> None:
    """Returns once the range may be used."""
    query = {"watch": "1", "resourceVersion": revision, "fieldSelector": f"metadata.name={name}"}
    found = room.api("GET", f"{RANGES}/{name}")
    with closing(room.api.lines(RANGES, **query)) as lines:
        while not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions_of(found)):
            found = json.loads(next(lines))["object"]


def conditions_of(found: Obj) -> list[Obj]:
    conditions: list[Obj] = found.get("status", {}).get("conditions", [])
    return conditions


def test_addresses_from_creation_to_deletion(room: Room) -> None:
    """ServiceCIDR and IPAddress API should support IPAddress API operations"""
    assert served(room, "networking.k8s.io", "ipaddresses")
    parent = {"group": "", "resource": "Something", "namespace": room.namespace, "name": "foo"}
    collection = f"/apis/{NETWORKING}/ipaddresses"
    lives(room, collection, {"spec": {"parentRef": parent}}, "192.0.2.10", "192.0.2.11")


def test_ingresses_from_creation_to_deletion(room: Room) -> None:
    """Ingress API should support creating Ingress API operations"""
    assert served(room, "networking.k8s.io", "ingresses", "ingresses/status")
    collection = room.path("ingresses", group=NETWORKING)
    spec = {
        "ingressClassName": f"{MARK}.example.com",
        "defaultBackend": {"service": {"name": "default-backend", "port": {"number": 80}}},
    }
    lives(room, collection, {"spec": spec})
    room.api("POST", collection, named({"spec": spec}, MARK, "mine"))
    everywhere = room.api("GET", f"/apis/{NETWORKING}/ingresses", labelSelector=f"mark={MARK}")
    assert names(everywhere) == [MARK]
    path = f"{collection}/{MARK}"
    status_is_patched_and_replaced(room, path, {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}})
    room.api("DELETE", path)


def test_classes_of_ingresses_from_creation_to_deletion(room: Room) -> None:
    """IngressClass API should support creating IngressClass API operations"""
    assert served(room, "networking.k8s.io", "ingressclasses")
    lives(room, f"/apis/{NETWORKING}/ingressclasses", {"spec": {"controller": "example.com/of-nobody"}})


def test_slices_of_endpoints_from_creation_to_deletion(room: Room) -> None:
    """EndpointSlice should support creating EndpointSlice API operations"""
    assert served(room, "discovery.k8s.io", "endpointslices")
    lives(room, room.path("endpointslices", group=DISCOVERY), {"addressType": "IPv4", "endpoints": []})


def test_endpoints_from_creation_to_deletion(room: Room) -> None:
    """Endpoints should test the lifecycle of an Endpoint"""
    collection = room.path("endpoints")
    subset = {"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    lives(room, collection, {"subsets": [subset]})
    made = room.api("POST", collection, named({"subsets": [subset]}, "testservice", "mine"))
    path = f"{collection}/testservice"
    assert "testservice" in names(room.api("GET", "/api/v1/endpoints", labelSelector=f"mark={MARK}"))
    updated = room.api("PUT", path, {**made, "metadata": {**made["metadata"], "labels": {"updated": "yes"}}})
    assert updated["metadata"]["labels"] == {"updated": "yes"}
    other = {"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}
    patched = room.api.patch(path, {"subsets": [other]}, "strategic-merge")
    assert patched["subsets"] == room.api("GET", path)["subsets"] == [other]
    room.api("DELETE", collection, labelSelector="updated=yes")
    query = {
        "watch": "1",
        "resourceVersion": made["metadata"]["resourceVersion"],
        "fieldSelector": "metadata.name=testservice",
    }
    with closing(room.api.lines(collection, **query)) as lines:
        told = [json.loads(line)["type"] for line in islice(lines, 3)]
    assert told == ["MODIFIED", "MODIFIED", "DELETED"]


def test_the_status_of_a_service_is_read_patched_and_replaced(room: Room) -> None:
    """Services should complete a service status lifecycle"""
    labels, api = {"status": "lives"}, room.api
    made = room.create(service("status", labels, type="LoadBalancer", loadBalancerClass="example.com/nobodys"))
    path = room.path("services", "status")
    assert names(api("GET", "/api/v1/services", labelSelector="status=lives")) == ["status"]
    assert api("GET", f"{path}/status")["status"] == {"loadBalancer": {}}
    status_is_patched_and_replaced(room, path, {"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "VIP"}]}})
    said = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by a test"}
    condition = {**said, "lastTransitionTime": "2026-01-02T03:04:05Z"}
    read = api("GET", f"{path}/status")
    replaced = api("PUT", f"{path}/status", {**read, "status": {**read["status"], "conditions": [condition]}})
    assert replaced["status"]["conditions"] == api("GET", path)["status"]["conditions"] == [condition]
    patched = api.patch(path, {"metadata": {"labels": {"patched": "yes"}}}, "strategic-merge")
    assert patched["metadata"]["labels"] == {**labels, "patched": "yes"}
    api("DELETE", room.path("services"), labelSelector="status=lives")
    query = {"watch": "1", "resourceVersion": made["metadata"]["resourceVersion"], "labelSelector": "status=lives"}
    with closing(api.lines(room.path("services"), **query)) as lines:
        told = [json.loads(line) for line in islice(lines, 5)]
    assert [event["type"] for event in told] == ["MODIFIED"] * 4 + ["DELETED"]


def test_a_collection_of_services_is_deleted(room: Room) -> None:
    """Services should delete a collection of services"""
    api, collection = room.api, room.path("services")
    for name, group in (("first", "x"), ("second", "x"), ("third", "y")):
        room.create(service(name, {"collection": "yes", "group": group}))
    assert sorted(names(api("GET", collection, labelSelector="collection=yes"))) == ["first", "second", "third"]
    api("DELETE", collection, labelSelector="group=x")
    assert names(api("GET", collection, labelSelector="collection=yes")) == ["third"]


def test_the_api_server_is_a_service_that_speaks_tls(room: Room) -> None:
    """API Server should provide secure master service; Services should find a service from listing all namespaces"""
    found = [
        each for each in room.api("GET", "/api/v1/services")["items"]
        if (each["metadata"]["namespace"], each["metadata"]["name"]) == ("default", "kubernetes")
    ]  # fmt: skip
    assert [(port["name"], port["port"]) for port in found[0]["spec"]["ports"]] == [("https", 443)]


def test_the_service_of_the_api_server_points_to_it(room: Room) -> None:
    """API Server should have Endpoints and EndpointSlices pointing to API Server"""
    (subset,) = room.api("GET", "/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]
    listed = room.api(
        "GET", f"/apis/{DISCOVERY}/namespaces/default/endpointslices",
        labelSelector="kubernetes.io/service-name=kubernetes",
    )["items"]  # fmt: skip
    addresses = sorted(each["ip"] for each in subset["addresses"])
    assert addresses and addresses == sorted(a for each in listed for e in each["endpoints"] for a in e["addresses"])
    (port,) = subset["ports"]
    assert all(each["ports"] == [{"name": "https", "port": port["port"], "protocol": "TCP"}] for each in listed)
    assert (port["name"], port["protocol"], port["port"]) == ("https", "TCP", room.api.server.port)
