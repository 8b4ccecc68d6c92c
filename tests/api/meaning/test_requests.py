"""What a pod asks for and may use."""

import pytest

from sampan.api.pods.qos import compute_qos_class, qos_class
from sampan.api.pods.requests import pod_limit, pod_limits, pod_requests


def container(cpu, **other):
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **other}


def limited(cpu, memory="1Gi", **other):
    limits = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": "c", "resources": {"limits": limits, "requests": dict(limits)}, **other}


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "millicores"),
    [
        ({"containers": [container("1"), container("500m")]}, 1500),
        ({"containers": [container("1")], "initContainers": [container("3"), container("2")]}, 3000),
        ({"containers": [container("1")], "initContainers": [container("2", **SIDECAR)]}, 3000),
        ({"containers": [container("1")], "initContainers": [container("2", **SIDECAR), container("3")]}, 5000),
        ({"containers": [container("1")], "initContainers": [container("3"), container("1", **SIDECAR)]}, 3000),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}}, 4000),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}, "overhead": {"cpu": 1}}, 5000),
        ({"containers": [container("1")], "ephemeralContainers": [container("9")]}, 1000),
    ],
)
def test_pod_requests(spec, millicores):
    assert pod_requests({"spec": spec})["cpu"] == millicores


def test_only_some_resources_are_asked_for_by_a_pod_as_a_whole():
    spec = {"containers": [], "resources": {"requests": {"hugepages-2Mi": "4Mi", "example.com/gpu": "1"}}}
    assert pod_requests({"spec": spec}) == {"hugepages-2Mi": 4 << 20}


def resized(status, *conditions, **pod_status):
    listed = [{"type": kind, "reason": reason} for kind, reason in conditions]
    return {
        "spec": {"containers": [container("1")]},
        "status": {"containerStatuses": [{"name": "c", **status}], "conditions": listed, **pod_status},
    }


@pytest.mark.parametrize(
    ("pod", "millicores"),
    [
        (resized({"resources": {"requests": {"cpu": "2"}}}), 2000),
        (resized({"allocatedResources": {"cpu": "3"}, "resources": {"requests": {"cpu": "2"}}}), 3000),
        (resized({"allocatedResources": {"cpu": "500m"}}), 1000),
        (resized({"allocatedResources": {"cpu": "500m"}}, ("PodResizePending", "Deferred")), 1000),
        (resized({"allocatedResources": {"cpu": "500m"}}, ("PodResizePending", "Infeasible")), 500),
        (resized({}, allocatedResources={"cpu": "7"}, resources={"requests": {"cpu": "6"}}), 7000),
    ],
)
def test_a_resize_counts_the_largest_of_wanted_allocated_and_in_force_unless_it_cannot_be(pod, millicores):
    assert pod_requests(pod)["cpu"] == millicores


def test_a_resize_of_the_pod_as_a_whole_counts_without_its_overhead_twice():
    pod = {
        "spec": {
            "containers": [],
            "overhead": {"cpu": "500m"},
            "resources": {"requests": {"cpu": "1"}},
        },
        "status": {"allocatedResources": {"cpu": "2500m"}, "resources": {"requests": {"cpu": "1500m"}}},
    }
    assert pod_requests(pod)["cpu"] == 2500


def test_a_sidecar_that_is_resized_counts():
    pod = {
        "spec": {"containers": [], "initContainers": [container("1", **SIDECAR)]},
        "status": {"initContainerStatuses": [{"name": "c", "allocatedResources": {"cpu": "2"}}]},
    }
    assert pod_requests(pod)["cpu"] == 2000


def test_defaults_stand_in_only_for_requests_that_are_not_made():
    assert pod_requests({"spec": {"containers": [container("0"), {}]}}, {"cpu": 100})["cpu"] == 100


def test_limits_add_up_like_requests_and_overhead_only_widens_what_is_limited():
    spec = {
        "containers": [limited("1", "1Ki"), limited("", "1Ki")],
        "overhead": {"cpu": "1", "memory": "1Ki", "x": "1"},
    }
    assert pod_limits({"spec": spec}) == {"cpu": 2000, "memory": 3 << 10}


@pytest.mark.parametrize(
    ("spec", "bytes_"),
    [
        ({"containers": [limited("1"), limited("1")]}, 2 << 30),
        ({"containers": [limited("1"), limited("1", "")]}, None),
        ({"containers": [limited("1")], "initContainers": [limited("1", "")]}, None),
        ({"containers": [limited("1")], "initContainers": [limited("1", **SIDECAR)]}, 2 << 30),
        ({"containers": [limited("1", "")], "resources": {"limits": {"memory": "3Gi"}}}, 3 << 30),
        ({"containers": [limited("1", "0")]}, None),
        ({"containers": [{}]}, None),
    ],
)
def test_a_pod_is_limited_when_all_its_containers_are_or_it_is_as_a_whole(spec, bytes_):
    assert pod_limit({"spec": spec}, "memory") == bytes_


@pytest.mark.parametrize(
    ("spec", "quality"),
    [
        ({"containers": [{}]}, "BestEffort"),
        ({"containers": [limited("1")]}, "Guaranteed"),
        ({"containers": [limited("1"), {}]}, "Burstable"),
        ({"containers": [limited("1")], "initContainers": [container("1")]}, "Burstable"),
        ({"containers": [limited("1")], "ephemeralContainers": [container("1")]}, "Guaranteed"),
        ({"containers": [container("0")]}, "BestEffort"),
        ({"containers": [{}], "resources": limited("1")["resources"]}, "Guaranteed"),
        ({"containers": [limited("1")], "resources": {"requests": {"cpu": "2"}}}, "Burstable"),
    ],
)
def test_quality_of_service(spec, quality):
    assert compute_qos_class({"spec": spec}) == quality


def test_the_class_that_was_fixed_at_admission_stays():
    assert qos_class({"spec": {"containers": [{}]}, "status": {"qosClass": "Guaranteed"}}) == "Guaranteed"
    assert qos_class({"spec": {"containers": [{}]}, "status": {"qosClass": "Golden"}}) == "BestEffort"
