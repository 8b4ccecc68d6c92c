"""What a pod asks for."""

import pytest

from sampan.scheduler.requests import pod_requests


def container(cpu, **other):
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **other}


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
    ],
)
def test_pod_requests(spec, millicores):
    assert pod_requests({"spec": spec})["cpu"] == millicores


def test_a_resize_counts_the_larger_until_it_is_done():
    status = {"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}
    assert pod_requests({"spec": {"containers": [container("1")]}, "status": status})["cpu"] == 2000
