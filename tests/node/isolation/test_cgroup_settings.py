"""What a pod, its containers and the QoS tiers get of CPU and memory, in the kernel's files of both versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.node.cgroups import settings
from sampan.node.cgroups.manager import CgroupManager
from sampan.node.pods import resources

MIB, GIB = 1 << 20, 1 << 30

#: What stands at the root of a machine with cgroup v2, before anything is delegated.
V2_ROOT = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "cgroup.max.depth": "max\n",
    "cgroup.max.descendants": "max\n",
    "cgroup.procs": "1\n",
    "cgroup.stat": "nr_descendants 41\nnr_dying_descendants 0\n",
    "cgroup.subtree_control": "cpuset cpu io memory pids\n",
    "cgroup.threads": "1\n",
}


def pod(*containers: Any, uid: str = "u", **spec: Any) -> Any:
    named = [{"name": f"c{number}", **container} for number, container in enumerate(containers or ({},))]
    return {"metadata": {"name": uid, "namespace": "d", "uid": uid}, "spec": {"containers": named, **spec}}


def asking(cpu: str) -> Any:
    return {"resources": {"requests": {"cpu": cpu}}}


def test_a_pods_cgroup_has_the_sum_of_its_containers_and_the_largest_init() -> None:
    one = {"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "10Mi", "cpu": "1"}}}
    init = {"name": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "50Mi", "cpu": "2"}}}
    both = pod(one, initContainers=[init])
    assert settings.pod_settings(both, unified=False) == {
        "cpu": {"cpu.shares": "2048", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "200000"},
        "memory": {"memory.limit_in_bytes": str(50 * MIB)},
    }
    assert settings.pod_settings(both, unified=True) == {
        "cpu": {"cpu.weight": "79", "cpu.max": "200000 100000"},
        "memory": {"memory.max": str(50 * MIB)},
    }


@pytest.mark.parametrize(("unified", "file"), [(False, "limit_in_bytes"), (True, "max")])
def test_a_pod_and_its_containers_are_held_to_their_huge_pages_and_to_none_of_other_sizes(
    unified: bool, file: str
) -> None:
    one = {"resources": {"limits": {"hugepages-2Mi": "4Mi", "memory": "10Mi"}}}
    sizes = ("hugepages-2Mi", "hugepages-1Gi")
    both = pod(one, one)
    assert settings.pod_settings(both, unified=unified, page_sizes=sizes)["hugetlb"] == {
        f"hugetlb.2MB.{file}": str(8 * MIB),
        f"hugetlb.1GB.{file}": "0",
    }
    assert "hugetlb" not in settings.pod_settings(both, unified=unified)
    container = both["spec"]["containers"][0]
    given = resources.container_resources(both, container, GIB, page_sizes=sizes)
    assert given.hugepage_limits == {"2MB": 4 * MIB, "1GB": 0}
    assert resources.container_resources(both, container, GIB).hugepage_limits == {}


@pytest.mark.parametrize("version", [1, 2])
async def test_huge_pages_are_bounded_where_the_kernel_can(version: int, tmp_path: Path) -> None:
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu memory hugetlb\n")
    else:
        (tmp_path / "hugetlb").mkdir()
    manager = CgroupManager("/sampan", tmp_path, page_sizes=("hugepages-64Ki",))
    assert manager.bounds_hugepages
    path = await manager.create(pod(asking("1")))
    directory = tmp_path / path.lstrip("/") if version == 2 else tmp_path / "hugetlb" / path.lstrip("/")
    file = "hugetlb.64KB.max" if version == 2 else "hugetlb.64KB.limit_in_bytes"
    assert (directory / file).read_text() == "0"
    assert not CgroupManager("/sampan", tmp_path / "elsewhere").bounds_hugepages


def test_a_pod_without_limits_is_not_limited() -> None:
    assert settings.pod_settings(pod(), unified=False) == {
        "cpu": {"cpu.shares": "2", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1"}
    }
    assert settings.pod_settings(pod(), unified=True) == {"cpu": {"cpu.weight": "1", "cpu.max": "max 100000"}}


def test_what_the_pod_asks_for_as_a_whole_is_its_cgroup() -> None:
    whole = {"requests": {"cpu": "1", "memory": "100Mi"}, "limits": {"cpu": "2", "memory": "200Mi"}}
    both = pod({"resources": {"requests": {"cpu": "100m"}}}, {}, resources=whole)
    assert settings.pod_settings(both, unified=False) == {
        "cpu": {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "200000"},
        "memory": {"memory.limit_in_bytes": str(200 * MIB)},
    }
    assert settings.pod_path("/root", both) == "/root/burstable/podu"
    equal = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert settings.pod_path("/root/", pod({}, resources=equal)) == "/root/podu"


def test_a_container_without_limits_has_those_of_its_pod() -> None:
    whole = {"limits": {"cpu": "2", "memory": "200Mi"}, "requests": {"cpu": "1"}}
    shared = pod({}, {"resources": {"limits": {"cpu": "500m"}}}, resources=whole)
    first, second = (resources.container_resources(shared, each, 0) for each in shared["spec"]["containers"])
    assert (first.cpu_quota, first.memory_limit_bytes, first.cpu_shares) == (200_000, 200 * MIB, 2048)
    assert (second.cpu_quota, second.memory_limit_bytes, second.cpu_shares) == (50_000, 200 * MIB, 512)


def test_containers_share_what_their_pod_asks_for_beyond_them_when_memory_runs_out() -> None:
    whole = {"requests": {"memory": "500Mi"}}
    shared = pod({"resources": {"requests": {"memory": "100Mi"}}}, {}, resources=whole)
    first, second = (resources.oom_score_adj(shared, each, 1000 * MIB) for each in shared["spec"]["containers"])
    assert (first, second) == (1000 - 300, 1000 - 200)


def test_a_sidecar_is_not_ended_before_those_it_serves() -> None:
    sidecar = {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"memory": "10Mi"}}}
    served = pod({"resources": {"requests": {"memory": "300Mi"}}}, initContainers=[sidecar])
    assert resources.oom_score_adj(served, sidecar, 1000 * MIB) == 700
    plain = {**sidecar, "restartPolicy": None}
    served["spec"]["initContainers"] = [plain]
    assert resources.oom_score_adj(served, plain, 1000 * MIB) == 990


def test_only_the_most_important_pods_of_a_node_are_kept_to_the_last() -> None:
    system = {"priority": 2_000_001_000, "priorityClassName": "system-node-critical"}
    assert resources.oom_score_adj(pod({}, **system), {}, GIB) == -997
    assert resources.oom_score_adj(pod({}, priority=2_000_000_000), {}, GIB) == 1000


def test_with_version_2_a_container_out_of_memory_ends_as_a_whole() -> None:
    assert resources.container_resources(pod(), {}, 0, unified=True).unified == {"memory.oom.group": "1"}
    assert resources.container_resources(pod(), {}, 0).unified == {}


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (2048, 79), (262_144, 10_000)])
def test_shares_become_weights_as_the_kubelet_converts_them(shares: int, weight: int) -> None:
    assert settings.weight(shares) == weight


def test_pods_that_ask_for_nothing_share_the_least_and_the_others_get_their_sum() -> None:
    pods = [pod(asking("250m"), uid="a"), pod(asking("750m"), asking("1"), uid="b"), pod(uid="c")]
    assert settings.burstable_millicores(pods) == 2000
    assert settings.tier_settings("burstable", 2000, unified=False) == {"cpu": {"cpu.shares": "2048"}}
    assert settings.tier_settings("burstable", 2000, unified=True) == {"cpu": {"cpu.weight": "79"}}
    assert settings.tier_settings("besteffort", 2000, unified=False) == {"cpu": {"cpu.shares": "2"}}
    assert settings.tier_settings("besteffort", 0, unified=True) == {"cpu": {"cpu.weight": "1"}}


async def test_version_2_gets_weights_limits_and_controllers_all_the_way_down(tmp_path: Path) -> None:
    for name, text in V2_ROOT.items():
        (tmp_path / name).write_text(text)
    manager = CgroupManager("/sampan", tmp_path)
    assert manager.unified
    limited = pod({"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "64Mi"}}})
    assert await manager.create(limited) == "/sampan/burstable/podu"
    made = tmp_path / "sampan/burstable/podu"
    assert (made / "cpu.weight").read_text() == "20"
    assert (made / "cpu.max").read_text() == "100000 100000"
    assert (made / "memory.max").read_text() == str(64 * MIB)
    assert (tmp_path / "sampan/burstable/cpu.weight").read_text() == "20"
    assert (tmp_path / "sampan/besteffort/cpu.weight").read_text() == "1"
    for above in (tmp_path, tmp_path / "sampan", tmp_path / "sampan/burstable"):
        assert (above / "cgroup.subtree_control").read_text().startswith("+")
    # A cgroup with controllers of its own takes no processes: the pod's must stay without.
    assert not (made / "cgroup.subtree_control").exists()
    await manager.create(pod(asking("1500m"), uid="v"))
    assert (tmp_path / "sampan/burstable/cpu.weight").read_text() == "79"


async def test_a_node_without_a_root_leaves_cgroups_to_the_runtime(tmp_path: Path) -> None:
    manager = CgroupManager("", tmp_path)
    assert await manager.create(pod()) == ""
    await manager.remove(pod())
    await manager.sweep([pod()], list)
    assert list(tmp_path.iterdir()) == []


def test_a_pods_processes_are_bounded_where_the_node_says_so() -> None:
    assert settings.pod_settings(pod(), unified=False, pids_limit=100)["pids"] == {"pids.max": "100"}
    assert "pids" not in settings.pod_settings(pod(), unified=False)


@pytest.mark.parametrize(
    ("unified", "cpu", "memory"),
    [(False, {"cpu.shares": "3584"}, "memory.limit_in_bytes"), (True, {"cpu.weight": "137"}, "memory.max")],
)
def test_all_pods_together_get_what_nothing_else_is_reserved_for(
    unified: bool, cpu: dict[str, str], memory: str
) -> None:
    assert settings.node_settings(3500, 1 << 30, unified=unified) == {"cpu": cpu, "memory": {memory: str(1 << 30)}}


async def test_a_machine_that_bounds_nothing_says_so_and_one_that_cannot_fails(tmp_path: Path) -> None:
    assert not await CgroupManager("", tmp_path).hold_together(1000, 1 << 30)
    with pytest.raises(OSError):
        await CgroupManager("/sampan", tmp_path).hold_together(1000, 1 << 30)
