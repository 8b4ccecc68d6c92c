"""Statements of thresholds: what they mean, and which are refused, in the kubelet's words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sampan.node.config import NodeConfig
from sampan.node.durations import parse_duration
from sampan.node.host_memory import hollow_machine
from sampan.node.node_status import check_reservations, render_allocatable, render_capacity
from sampan.node.thresholds import DEFAULT_HARD, Amount, parse_thresholds, with_container_file_system


def test_the_defaults_are_the_kubelets() -> None:
    found = {each.signal: each for each in parse_thresholds(DEFAULT_HARD)}
    assert found["memory.available"].value == found["allocatableMemory.available"].value == Amount(100 << 20)
    assert [name for name in found if not found[name].is_hard] == []
    tenth = found["nodefs.available"].value
    # The kubelet's percentages are of single precision: a tenth is a little more than a tenth.
    assert tenth.of(62725623808) == 6272562474


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hard": {"disk": "1Gi"}}, "unsupported eviction signal disk"),
        ({"hard": {"memory.available": "0"}}, "eviction threshold memory.available must be positive: 0"),
        ({"hard": {"memory.available": "101%"}},
         "eviction percentage threshold memory.available must be <= 100%: 101%"),
        ({"hard": {"memory.available": "-1%"}}, "eviction percentage threshold memory.available must be >= 0%: -1%"),
        ({"hard": {}, "soft": {"memory.available": "1Gi"}},
         "grace period must be specified for the soft eviction threshold memory.available"),
        ({"hard": {}, "soft_grace": {"memory.available": "-1s"}},
         "invalid eviction grace period specified: -1s, must be a positive value"),
        ({"hard": {}, "soft_grace": {"memory.available": "1"}}, 'time: missing unit in duration "1"'),
        ({"hard": {}, "minimum_reclaim": {"nodefs.available": "-1Gi"}},
         "negative eviction minimum reclaim specified for nodefs.available"),
        ({"hard": {}, "minimum_reclaim": {"nodefs.available": "0%"}},
         "eviction percentage minimum reclaim nodefs.available must be positive: 0%"),
    ],
)  # fmt: skip
def test_a_wrong_statement_is_refused_in_the_kubelets_words(given: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_thresholds(**given)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["0%", "100%"])
def test_a_threshold_that_asks_for_nothing_or_for_everything_is_none(text: str) -> None:
    assert parse_thresholds({"nodefs.available": text}) == ()


def test_writable_layers_are_asked_for_what_their_file_system_is_asked_for() -> None:
    given = parse_thresholds({"nodefs.available": "1Gi", "imagefs.available": "2Gi", "containerfs.available": "9Gi"})
    for dedicated, expected in ((False, 1 << 30), (True, 2 << 30)):
        found = with_container_file_system(given, dedicated_image_fs=dedicated)
        assert [each.value.units for each in found if each.signal == "containerfs.available"] == [expected]


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("1m30s", 90), ("1.5h", 5400), ("-2ms", -0.002), ("+1us", 1e-6), (".5s", 0.5)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "1s2", "1h-1m", "9" * 60 + "h", "1s" * 40, "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time: "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("kube", "system", "words"),
    [
        ({"cpu": "3"}, {"cpu": "1", "memory": "1Gi"}, ""),
        ({"cpu": "3"}, {"cpu": "1500m"}, 'Resource "cpu" has a reservation of 4500m but capacity of 4.'),
        # What eviction keeps free counts, too.
        ({"memory": "2Gi"}, {}, 'Resource "memory" has a reservation of 2148Mi but capacity of 2Gi.'),
        ({}, {"ephemeral-storage": "11Gi"}, 'Resource "ephemeral-storage" has a reservation of '),
    ],
    ids=["fits", "cpu", "memory", "disk"],
)
def test_more_that_is_reserved_than_there_is_is_told_in_the_kubelets_words(
    kube: dict[str, str], system: dict[str, str], words: str
) -> None:
    config = NodeConfig(node_name="n", addresses=(), kube_reserved=kube, system_reserved=system)
    if not words:
        check_reservations(config, cpus=4, memory_bytes=2 << 30, disk_bytes=10 << 30)
        return
    with pytest.raises(ValueError) as refused:  # the words are the subject
        check_reservations(config, cpus=4, memory_bytes=2 << 30, disk_bytes=10 << 30)
    assert str(refused.value).startswith(f"invalid Node Allocatable configuration. {words}")
    assert str(refused.value).endswith("Expected capacity >= reservation.")


def test_huge_pages_are_resources_of_their_own_and_no_memory_of_pods() -> None:
    machine = replace(
        hollow_machine("n", memory_bytes=8 << 30), hugepages={"hugepages-2Mi": 1 << 30, "hugepages-1Gi": 0}
    )
    config = NodeConfig(node_name="n", addresses=(), eviction_thresholds=())
    capacity, allocatable = render_capacity(machine, config), render_allocatable(machine, config)
    assert (capacity["memory"], capacity["hugepages-2Mi"], capacity["hugepages-1Gi"]) == ("8Gi", "1Gi", "0")
    assert (allocatable["memory"], allocatable["hugepages-2Mi"]) == ("7Gi", "1Gi")


def test_what_is_reserved_and_kept_free_is_not_allocatable() -> None:
    """[sig-node] Node allocatable: what system daemons and eviction keep is told apart from what pods may have."""
    machine = hollow_machine("n", cpus=4, memory_bytes=8 << 30, disk_bytes=100 << 30)
    config = NodeConfig(
        node_name="n", addresses=(),
        kube_reserved={"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"},
        system_reserved={"cpu": "250m", "memory": "512Mi"},
    )  # fmt: skip
    capacity, allocatable = render_capacity(machine, config), render_allocatable(machine, config)
    assert (capacity["cpu"], allocatable["cpu"]) == ("4", "3500m")
    assert (capacity["memory"], allocatable["memory"]) == ("8Gi", "7068Mi")
    kept = (1 << 30) + int((100 << 30) * 0.10000000149011612)
    assert (capacity["ephemeral-storage"], allocatable["ephemeral-storage"]) == ("100Gi", str((100 << 30) - kept))
