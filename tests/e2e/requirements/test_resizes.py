"""Containers that get more or less while they run: what the API tells of them is what their cgroups have."""

from __future__ import annotations

from typing import Any

import pytest
from requirement_room import Obj, Room, condition, container, pod, restarts, status_of

from sampan.api import quantity

#: cgroup v2, else v1: quota of the processor in a period of 100 ms (or none), and bytes
READ = """
cd /sys/fs/cgroup
if [ -e cpu.max ]; then echo $(cut -d' ' -f1 cpu.max) $(cat memory.max)
else echo $(cat cpu/cpu.cfs_quota_us) $(cat memory/memory.limit_in_bytes); fi
"""
PERIOD, LEAST_QUOTA = 100_000, 1_000


def given(cpu: str = "", memory: str = "", cpu_limit: str = "", memory_limit: str = "") -> Obj:
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {name: value for name, value in (("cpu", cpu_limit), ("memory", memory_limit)) if value}
    return {name: each for name, each in (("requests", requests), ("limits", limits)) if each}


def fixed(cpu: str, memory: str) -> Obj:
    return given(cpu, memory, cpu, memory)


#: by pod: of each container what it has, and what it is to have
RESIZES: dict[str, list[tuple[Obj, Obj]]] = {
    "net-increase": [
        (fixed("20m", "20Mi"), fixed("40m", "30Mi")),
        (fixed("20m", "20Mi"), fixed("40m", "30Mi")),
        (fixed("30m", "30Mi"), fixed("20m", "20Mi")),
    ],
    "net-decrease": [
        (fixed("20m", "20Mi"), fixed("30m", "30Mi")),
        (fixed("40m", "40Mi"), fixed("20m", "20Mi")),
        (fixed("40m", "40Mi"), fixed("20m", "20Mi")),
    ],
    "mixed": [
        (fixed("20m", "20Mi"), fixed("30m", "20Mi")),
        (fixed("30m", "20Mi"), fixed("20m", "30Mi")),
        (fixed("20m", "20Mi"), fixed("30m", "30Mi")),
    ],
    "six": [
        (given("10m", "20Mi", "20m", "30Mi"), given("15m", "25Mi", "30m", "40Mi")),
        (given("20m", "30Mi", "40m", "40Mi"), given("10m", "20Mi", "20m", "30Mi")),
        (given("20m", "20Mi", "40m", "40Mi"), given("20m", "20Mi", "30m", "50Mi")),
        (given("10m", "20Mi"), given("10m", "20Mi", "20m", "30Mi")),
        (given("10m"), given("10m", "20Mi", "", "30Mi")),
        ({}, given("10m", "20Mi", "20m", "30Mi")),
    ],
    "equivalents": [(given("2m", cpu_limit="10m"), given("1m", cpu_limit="5m"))],
    "replaced": [(given("10m", "20Mi", "20m", "30Mi"), given("20m", "30Mi", "30m", "40Mi"))],
}


def names(name: str) -> list[str]:
    return [f"c{number}" for number in range(1, len(RESIZES[name]) + 1)]


PODS = tuple(
    pod(
        name,
        *(container(name=each, resources=before) for each, (before, _) in zip(names(name), pairs, strict=True)),
        restartPolicy="Always",
    )
    for name, pairs in RESIZES.items()
)


def wished(name: str) -> list[Obj]:
    pairs = zip(names(name), RESIZES[name], strict=True)
    return [{"name": each, "resources": after} for each, (_, after) in pairs]


def resized(name: str, found: Obj) -> bool:
    """Status tells of each container what it is to have, and of the pod that nothing is under way."""
    statuses = [status_of(found, each) for each in names(name)]
    return (
        [each.get("resources", {}) for each in statuses] == [after for _, after in RESIZES[name]]
        and [each.get("allocatedResources", {}) for each in statuses]
        == [after.get("requests", {}) for _, after in RESIZES[name]]
        and not any(condition(found, kind) for kind in ("PodResizePending", "PodResizeInProgress"))
    )


def cgroups(room: Room, name: str) -> list[tuple[int, int]]:
    """Of each container: its quota and its bytes; 0 is no limit."""
    found = []
    for each in names(name):
        quota, memory = room.run(name, "sh", "-c", READ, container=each)[1].decode().split()
        numbers = [0 if text in ("max", "-1") or int(text) >= 1 << 62 else int(text) for text in (quota, memory)]
        found.append((numbers[0], numbers[1]))
    return found


def limits(resources: Obj) -> tuple[int, int]:
    found = resources.get("limits", {})
    quota = max(quantity.millis(found["cpu"]) * PERIOD // 1000, LEAST_QUOTA) if "cpu" in found else 0
    return quota, quantity.value(found.get("memory", 0))


@pytest.fixture(scope="module")
def changed(room: Room) -> None:
    """All pods have been told what they are to have."""
    for name in RESIZES:
        room.ready(name)
    for name in RESIZES:
        path, body = room.path(name=name, subresource="resize"), {"spec": {"containers": wished(name)}}
        if name == "replaced":
            read = room.get(name)
            read["spec"]["containers"][0]["resources"] = RESIZES[name][0][1]
            read["metadata"].pop("resourceVersion")
            room.api("PUT", path, read)
        else:
            room.api.patch(path, body, "strategic-merge")


def resize(room: Room, name: str) -> Obj:
    found = room.until(name, lambda p: resized(name, p))
    assert [each["resources"] for each in found["spec"]["containers"]] == [after for _, after in RESIZES[name]]
    assert [restarts(found, each) for each in names(name)] == [0] * len(names(name))
    assert cgroups(room, name) == [limits(after) for _, after in RESIZES[name]]
    return found


@pytest.mark.usefixtures("changed")
def test_containers_of_a_guaranteed_pod_get_what_they_are_given(room: Room) -> None:
    """Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase cpu & mem on c1,
    c2, decrease cpu & mem on c3 - net increase [MinimumKubeletVersion:1.34]; Pod InPlace Resize Container guaranteed
    pods with multiple containers 3 containers - increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease
    [MinimumKubeletVersion:1.34]; Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers -
    increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2) [MinimumKubeletVersion:1.34]"""
    for name in ("net-increase", "net-decrease", "mixed"):
        assert resize(room, name)["status"]["qosClass"] == "Guaranteed"


@pytest.mark.usefixtures("changed")
def test_containers_of_a_burstable_pod_get_what_they_are_given(room: Room) -> None:
    """Pod InPlace Resize Container burstable pods - extended 6 containers - various operations performed (including
    adding limits and requests) [MinimumKubeletVersion:1.34]"""
    assert resize(room, "six")["status"]["qosClass"] == "Burstable"


@pytest.mark.usefixtures("changed")
def test_what_a_cgroup_cannot_tell_apart_is_told_as_it_was_asked_for(room: Room) -> None:
    """Pod InPlace Resize Container burstable pods - extended resize with equivalents [MinimumKubeletVersion:1.34]"""
    resize(room, "equivalents")


@pytest.mark.usefixtures("changed")
def test_a_resize_replaces_the_pod_as_a_patch_changes_it(room: Room) -> None:
    """Pod InPlace Resize Container resize pod via the replace endpoint [MinimumKubeletVersion:1.34]"""
    resize(room, "replaced")
    path: Any = room.path(name="replaced")
    assert room.api("GET", f"{path}/resize") == room.api("GET", path)
