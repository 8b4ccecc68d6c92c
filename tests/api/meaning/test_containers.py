"""Containers of a pod, their ports, and the small words: images, numbers that may be percentages, resolv.conf."""

import pytest

from sampan.api import imagenames, resolvconf
from sampan.api.intorpercent import scaled
from sampan.api.pods import containers, origin

POD = {
    "spec": {
        "initContainers": [
            {"name": "once", "ports": [{"name": "never", "containerPort": 1, "hostPort": 1}]},
            {"name": "beside", "restartPolicy": "Always",
             "ports": [{"name": "mesh", "containerPort": 2, "hostPort": 2}]},
        ],
        "containers": [{"name": "main", "ports": [
            {"name": "web", "containerPort": 3},
            {"name": "web", "containerPort": 4, "protocol": "UDP", "hostPort": 4, "hostIP": "10.0.0.1"},
        ]}],
        "ephemeralContainers": [{"name": "look"}],
    }
}  # fmt: skip


def test_a_walk_meets_every_container_of_every_sort():
    assert [(sort, container["name"]) for sort, container in containers.walk(POD)] == [
        ("init", "once"), ("init", "beside"), ("main", "main"), ("ephemeral", "look"),
    ]  # fmt: skip
    assert containers.find(POD, "look") == ("ephemeral", {"name": "look"})
    assert containers.find(POD, "nobody") is None


def test_sidecars_run_as_long_as_the_main_containers():
    assert [container["name"] for container in containers.long_running(POD)] == ["main", "beside"]
    assert not containers.is_sidecar("main", {"restartPolicy": "Always"})


def test_host_ports_are_those_of_containers_that_keep_running():
    assert list(containers.host_ports(POD)) == [("10.0.0.1", "UDP", 4), ("0.0.0.0", "TCP", 2)]


@pytest.mark.parametrize(
    ("target", "protocol", "number"),
    [("web", "TCP", 3), ("web", "UDP", 4), ("mesh", "TCP", 2), ("never", "TCP", None), (80, "TCP", 80)],
)
def test_a_named_port_is_found_by_name_and_protocol(target, protocol, number):
    assert containers.find_port(POD, target, protocol) == number


@pytest.mark.parametrize(
    ("annotations", "priority", "critical"),
    [
        ({}, 0, False), ({}, 1_999_999_999, False), ({}, 2_000_000_000, True),
        ({origin.MIRROR_ANNOTATION: "x"}, 0, True),
        ({origin.SOURCE_ANNOTATION: "file"}, 0, True), ({origin.SOURCE_ANNOTATION: "api"}, 0, False),
    ],
)  # fmt: skip
def test_critical_pods(annotations, priority, critical):
    assert origin.is_critical({"metadata": {"annotations": annotations}, "spec": {"priority": priority}}) is critical


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [(3, 3, 3), ("25%", 3, 2), ("100%", 10, 10), ("0%", 0, 0), ("150%", 15, 15), (-1, -1, -1)],
)
def test_percentages_are_of_the_total_and_rounded_as_asked(value, up, down):
    assert scaled(value, 10, round_up=True) == up
    assert scaled(value, 10, round_up=False) == down


@pytest.mark.parametrize("value", [None, True, "5", "%", "-5%", "5 %", "٥%", "5%\n", 2.5, [], "9" * 5000 + "%"])
def test_what_is_neither_number_nor_percentage_is_nothing(value):
    assert scaled(value, 10, round_up=True) is None


def test_an_image_name_is_completed_for_comparison():
    assert imagenames.with_tag("localhost:5000/a") == "localhost:5000/a:latest"
    assert imagenames.with_tag("a:1") == "a:1"


def test_a_resolv_conf_is_read_with_its_comments_and_odd_lines():
    text = "nameserver 10.0.0.1 # first\nnameserver\ndomain a\nsearch b c\n;x\noptions ndots:2 edns0\nnameserver ::1\n"
    assert resolvconf.parse(text) == resolvconf.ResolvConf(("10.0.0.1", "::1"), ("b", "c"), ("ndots:2", "edns0"))
