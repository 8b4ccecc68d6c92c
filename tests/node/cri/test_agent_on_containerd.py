"""The agent with real containers: what only a real runtime can show. Opt-in (root, containerd)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from csi_faults import DRIVER, NODE_CAPABILITIES, FaultyDriver, RealMount, Registrar, serve_driver

from sampan.api import gates
from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.errors import AlreadyExists, NotFound
from sampan.api.pods.requests import amounts
from sampan.api.resources import (
    CONFIG_MAPS,
    CSI_DRIVERS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SERVICE_ACCOUNTS,
)
from sampan.client.client import Client
from sampan.csi.server import serve
from sampan.node import runtime
from sampan.node.agent import NodeAgent
from sampan.node.cgroups.manager import remove_all
from sampan.node.cgroups.tree import CgroupTree
from sampan.node.config import NodeConfig
from sampan.node.processors import parse, read_topology
from sampan.server.app import Server
from sampan.server.config import ServerConfig

#: Of the runtimes that ``bench`` knows, the real one: these tests are about containers.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("bench", ["containerd"], indirect=True),
]


class Cluster:
    def __init__(self, bench: Any, admin: Client, node: Client) -> None:
        self.bench, self.admin, self.node = bench, admin, node
        self.config = NodeConfig(
            node_name="n1", addresses=("192.0.2.1",), root_dir=bench.base / "node", log_dir=bench.base / "podlogs",
            cgroup_root=f"/sampan-agent-{os.getpid()}", static_pod_dir=bench.base / "manifests",
            relist_seconds=3600,  # what happens here is known by the runtime's events
        )  # fmt: skip
        self.agent: NodeAgent
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.agent = NodeAgent(self.config, self.node, self.bench.runtime, SystemClock(), SystemRandom())
        started = asyncio.Event()
        self._task = asyncio.create_task(self.agent.run(started))
        async with asyncio.timeout(60):
            await started.wait()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def create(self, name: str, command: list[str], **spec: Any) -> None:
        container = {"name": "main", "image": self.bench.image, "command": command, **spec.pop("container", {})}
        body = {
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": "n1", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 5,
                "containers": [container, *spec.pop("also", ())], **spec,
            },
        }  # fmt: skip
        await self.admin.create(PODS, body)

    async def until(self, name: str, condition: Callable[[Any], Any], seconds: float = 60) -> Any:
        async with asyncio.timeout(seconds):
            while True:
                pod = await self.admin.get(PODS, name, "default")
                if condition(pod):
                    return pod
                await asyncio.sleep(0.01)

    async def until_there(self, name: str, condition: Callable[[Any], Any]) -> Any:
        """Of a pod that others make, and make anew."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(NotFound):
                    return await self.until(name, condition)
                await asyncio.sleep(0.01)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(60):
            try:
                while True:
                    await self.admin.get(PODS, name, "default")
                    await asyncio.sleep(0.01)
            except NotFound:
                return


@pytest.fixture
async def cluster(bench: Any) -> AsyncIterator[Cluster]:
    async with Server(ServerConfig(store="memory", listen=False)) as server:
        admin = Client(server.local_transport())
        try:
            await admin.create(
                SERVICE_ACCOUNTS,
                {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}},
                "default",
            )
        except AlreadyExists:
            pass
        made = Cluster(bench, admin, Client(server.local_transport("system:node:n1", ("system:nodes",))))
        await made.start()
        yield made
        await made.stop()
        async with asyncio.timeout(60):
            while not remove_all(made.config.cgroup_root):
                for sandbox in await bench.runtime.list_sandboxes():
                    with contextlib.suppress(runtime.RuntimeCallError):  # one is still under way
                        await bench.runtime.remove_sandbox(sandbox.id)
                await asyncio.sleep(0.02)


def phase(wanted: str) -> Callable[[Any], bool]:
    return lambda pod: (pod.get("status") or {}).get("phase") == wanted


def ready(pod: Any) -> bool:
    found = {item["type"]: item["status"] for item in (pod.get("status") or {}).get("conditions") or ()}
    return found.get("Ready") == "True"


async def test_a_job_leaves_its_message_and_log(cluster: Cluster) -> None:
    script = "echo hello; echo why >/dev/termination-log; exit 3"
    await cluster.create("job", ["sh", "-c", script], restartPolicy="Never")
    pod = await cluster.until("job", phase("Failed"))
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")
    uid = pod["metadata"]["uid"]
    log = cluster.config.pod_log_dir("default", "job", uid) / "main/0.log"
    assert "stdout F hello" in log.read_text()
    await cluster.admin.delete(PODS, "job", "default")
    await cluster.gone("job")
    async with asyncio.timeout(60):
        while log.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_container_sees_its_environment_hosts_and_volume(cluster: Cluster) -> None:
    await cluster.admin.create(
        CONFIG_MAPS,
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "cfg"}, "data": {"key": "value"}},
        "default",
    )
    script = 'cat /etc/hosts /cfg/key; echo "$A $IP"; cat /etc/resolv.conf; hostname; id -u; touch /x || echo readonly'
    container = {
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "key"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}],
        "securityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": True},
        "resources": {"limits": {"cpu": "100m", "memory": "32Mi"}},
    }
    await cluster.create(
        "look", ["sh", "-c", script], restartPolicy="Never", container=container,
        volumes=[{"name": "cfg", "configMap": {"name": "cfg"}}],
        hostAliases=[{"ip": "192.0.2.9", "hostnames": ["friend"]}],
    )  # fmt: skip
    pod = await cluster.until("look", phase("Succeeded"))
    log = cluster.config.pod_log_dir("default", "look", pod["metadata"]["uid"]) / "main/0.log"
    text = log.read_text()
    for wanted in (
        "192.0.2.9\tfriend", f"value {pod['status']['podIP']}", "search default.svc.cluster.local svc.cluster.local",
        "nameserver 10.96.0.10", "F look", "F 1000", "readonly", f"{pod['status']['podIP']}\tlook",
    ):  # fmt: skip
        assert wanted in text, wanted


async def test_a_killed_agent_changes_nothing_for_the_containers(cluster: Cluster) -> None:
    await cluster.create("web", ["sleep", "1000"])
    before = await cluster.until("web", phase("Running"))
    await cluster.stop()
    await cluster.start()
    await asyncio.sleep(0.5)
    after = await cluster.admin.get(PODS, "web", "default")
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert len(await cluster.bench.runtime.list_containers()) == 1


async def test_a_container_that_dies_is_restarted_at_once(cluster: Cluster) -> None:
    await cluster.create("web", ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"])
    pod = await cluster.until("web", phase("Running"))
    container_id = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    await cluster.bench.runtime.exec_sync(container_id, ["kill", "1"], 5)
    pod = await cluster.until("web", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (0, "Completed")


async def test_a_pod_whose_sandbox_dies_gets_another_at_once(cluster: Cluster) -> None:
    await cluster.create("web", ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"])
    await cluster.until("web", phase("Running"))
    [sandbox] = await cluster.bench.runtime.list_sandboxes()
    await cluster.bench.kill_sandbox(sandbox.id)
    await cluster.until("web", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    ready = [item.attempt for item in await cluster.bench.runtime.list_sandboxes() if item.ready]
    assert ready == [1]


async def test_out_of_memory_is_named(cluster: Cluster) -> None:
    script = "x=a; while true; do x=$x$x; done"
    await cluster.create(
        "hog", ["sh", "-c", script], restartPolicy="Never", container={"resources": {"limits": {"memory": "8Mi"}}}
    )
    pod = await cluster.until("hog", phase("Failed"))
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"


async def test_a_missing_image_is_reported(cluster: Cluster) -> None:
    container = {"image": "127.0.0.1:1/absent:1"}
    await cluster.create("absent", ["true"], container=container)

    def waiting(pod: Any) -> str:
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{"state": {}}]
        return str((statuses[0]["state"].get("waiting") or {}).get("reason"))

    await cluster.until("absent", lambda pod: waiting(pod) in ("ErrImagePull", "ImagePullBackOff"))
    await cluster.until("absent", lambda pod: waiting(pod) == "ImagePullBackOff")
    async with asyncio.timeout(60):
        while True:
            events = await cluster.admin.list(EVENTS, "default")
            if {"Pulling", "Failed"} <= {item["reason"] for item in events["items"]}:
                break
            await asyncio.sleep(0.05)


async def test_pre_stop_runs_and_grace_is_kept(cluster: Cluster) -> None:
    marker = cluster.bench.base / "shared"
    Path(marker).mkdir()
    container = {
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "lifecycle": {"preStop": {"exec": {"command": ["touch", "/shared/stopped"]}}},
    }
    await cluster.create(
        "web", ["sleep", "1000"], container=container,
        volumes=[{"name": "shared", "hostPath": {"path": str(marker)}}],
    )  # fmt: skip
    await cluster.until("web", phase("Running"))
    await cluster.admin.delete(PODS, "web", "default", grace_period_seconds=2)
    await cluster.gone("web")
    assert (marker / "stopped").exists()


async def test_a_restarted_containerd_is_followed_again(cluster: Cluster) -> None:
    await cluster.create("web", ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"])
    pod = await cluster.until("web", phase("Running"))
    before = pod["status"]["containerStatuses"][0]["containerID"]
    await cluster.bench.process.stop()
    await cluster.bench.process.start()
    await cluster.create("later", ["sleep", "1000"])
    await cluster.until("later", phase("Running"))
    pod = await cluster.admin.get(PODS, "web", "default")
    assert pod["status"]["containerStatuses"][0]["containerID"] == before
    await cluster.bench.runtime.exec_sync(before.removeprefix("containerd://"), ["kill", "1"], 5)
    await cluster.until("web", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)


# What a pod asks for of isolation.


async def logs(cluster: Cluster, name: str) -> str:
    """What the pod, which has ended, wrote."""
    pod = await cluster.until(name, lambda each: phase("Succeeded")(each) or phase("Failed")(each))
    log = cluster.config.pod_log_dir("default", name, pod["metadata"]["uid"]) / "main/0.log"
    return "".join(line.split(" ", 3)[3] for line in log.read_text().splitlines(keepends=True))


def cgroups(cluster: Cluster) -> set[str]:
    """Those of pods, of all hierarchies together."""
    root, tree = cluster.config.cgroup_root, CgroupTree()
    below = (tree.children(place) for place in (root, f"{root}/burstable", f"{root}/besteffort"))
    return {name for names in below for name in names if name.startswith("pod")}


async def test_containerd_1_runs_no_pod_with_less_than_it_asked_for(cluster: Cluster) -> None:
    """Where containerd is older than 2.0. It would take all of them, and run them without."""
    if (await cluster.bench.runtime.features()).handlers:
        pytest.skip("this containerd can do more")
    await cluster.create("userns", ["sleep", "1000"], hostUsers=False)
    await cluster.create("strict", ["sleep", "1000"], securityContext={"supplementalGroupsPolicy": "Strict"})
    mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}
    await cluster.create(
        "rro", ["sleep", "1000"], container={"volumeMounts": [mount]}, volumes=[{"name": "v", "emptyDir": {}}]
    )
    strict = await cluster.until("strict", phase("Failed"))
    assert strict["status"]["reason"] == "SupplementalGroupsPolicyNotSupported"

    def reason(pod: Any) -> str:
        statuses = (pod.get("status") or {}).get("containerStatuses") or [{"state": {}}]
        return str((statuses[0]["state"].get("waiting") or {}).get("reason"))

    await cluster.until("rro", lambda pod: reason(pod) == "CreateContainerConfigError")
    async with asyncio.timeout(60):
        while True:
            found = (await cluster.admin.list(EVENTS, "default"))["items"]
            if any("runtime does not support user namespaces" in event["message"] for event in found):
                break
            await asyncio.sleep(0.02)
    assert not [each for each in await cluster.bench.runtime.list_sandboxes() if each.name in ("userns", "strict")]
    assert await cluster.bench.runtime.list_containers() == []


async def test_safe_sysctls_are_set_and_others_forbidden(cluster: Cluster) -> None:
    def asking(name: str, value: str) -> Any:
        return {"sysctls": [{"name": name, "value": value}]}

    port = "net.ipv4.ip_unprivileged_port_start"
    file = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    await cluster.create("safe", ["cat", file], restartPolicy="Never", securityContext=asking(port, "777"))
    await cluster.create("unsafe", ["true"], restartPolicy="Never", securityContext=asking("kernel.msgmax", "65536"))
    assert await logs(cluster, "safe") == "777\n"
    assert (await cluster.until("unsafe", phase("Failed")))["status"]["reason"] == "SysctlForbidden"


async def test_a_seccomp_profile_of_the_node_is_in_force(cluster: Cluster) -> None:
    profile = cluster.config.seccomp_root / "team" / "no-folders.json"
    profile.parent.mkdir(parents=True)
    denied = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]}))
    named = {"type": "Localhost", "localhostProfile": "team/no-folders.json"}
    script = "mkdir /tmp/x 2>/dev/null && echo made || echo denied"
    for name, context in (("with", {"seccompProfile": named}), ("without", {})):
        await cluster.create(name, ["sh", "-c", script], restartPolicy="Never", securityContext=context)
    assert await logs(cluster, "with") == "denied\n"
    assert await logs(cluster, "without") == "made\n"


async def test_a_stop_signal_of_its_own_ends_the_container(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "drop", lambda table, new, old: None)  # a cluster where ContainerStopSignals is on
    script = "trap 'echo heard; exit 0' USR1; echo ready; while :; do sleep 0.05; done"
    container = {"lifecycle": {"stopSignal": "SIGUSR1"}}
    await cluster.create("stop", ["sh", "-c", script], container=container, os={"name": "linux"})
    pod = await cluster.until("stop", phase("Running"))
    log = cluster.config.pod_log_dir("default", "stop", pod["metadata"]["uid"]) / "main/0.log"
    async with asyncio.timeout(60):
        while "ready" not in log.read_text():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.02)
    finalizer = {"metadata": {"finalizers": ["tests.example/keep"]}}
    await cluster.admin.patch(PODS, "stop", finalizer, "default")
    await cluster.admin.delete(PODS, "stop", "default")
    ended = await cluster.until("stop", lambda each: each["status"]["containerStatuses"][0]["state"].get("terminated"))
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    await cluster.admin.patch(PODS, "stop", {"metadata": {"finalizers": None}}, "default")
    await cluster.gone("stop")


async def test_what_a_pod_may_use_as_a_whole_is_its_cgroups_limit_and_nothing_stays_of_it(cluster: Cluster) -> None:
    resources = {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}}
    await cluster.create("whole", ["sleep", "1000"], resources=resources)
    await cluster.create("hungry", ["sleep", "1000"])
    await cluster.until("whole", phase("Running"))
    await cluster.until("hungry", phase("Running"))
    root = cluster.config.cgroup_root.lstrip("/")
    tiers = Path("/sys/fs/cgroup/cpu") / root
    if tiers.is_dir():  # version 1
        assert (tiers / "burstable/cpu.shares").read_text() == "256\n"
        assert (tiers / "besteffort/cpu.shares").read_text() == "2\n"
        [pod] = list((Path("/sys/fs/cgroup/memory") / root / "burstable").glob("pod*"))
        assert (pod / "memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
        inner = [int((each / "memory.limit_in_bytes").read_text()) for each in pod.iterdir() if each.is_dir()]
        assert 64 << 20 in inner  # the container's own
    assert len(cgroups(cluster)) == 2
    for name in ("whole", "hungry"):
        await cluster.admin.delete(PODS, name, "default")
        await cluster.gone(name)
    async with asyncio.timeout(60):
        while cgroups(cluster):  # noqa: ASYNC110 (removed after the API object)
            await asyncio.sleep(0.02)


async def test_pods_by_the_dozen_leave_no_cgroup_behind(cluster: Cluster) -> None:
    """Their sandboxes go side by side, and the kernel lets go of each cgroup when it likes."""
    names = [f"churn-{number}" for number in range(12)]
    for name in names:
        await cluster.create(name, ["sleep", "1000"], terminationGracePeriodSeconds=0)
    for name in names:
        await cluster.until(name, phase("Running"))
    assert len(cgroups(cluster)) == len(names)
    for name in names:
        await cluster.admin.delete(PODS, name, "default")
    for name in names:
        await cluster.gone(name)
    async with asyncio.timeout(60):
        while cgroups(cluster):  # noqa: ASYNC110 (removed after the API object)
            await asyncio.sleep(0.02)


def in_the_kernel(cgroup: str) -> dict[str, int]:
    """Processor (millicores) and memory that cgroup v1 or v2 holds this to, by the kernel's own files."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        quota, period = (root / cgroup / "cpu.max").read_text().split()
        limit = (root / cgroup / "memory.max").read_text()
        return {"cpu limit": int(quota) * 1000 // int(period), "memory limit": int(limit)}
    quota = (root / "cpu" / cgroup / "cpu.cfs_quota_us").read_text()
    shares = int((root / "cpu" / cgroup / "cpu.shares").read_text())
    return {
        "cpu request": -(-shares * 1000 // 1024),
        "cpu limit": int(quota) // 100,
        "memory limit": int((root / "memory" / cgroup / "memory.limit_in_bytes").read_text()),
    }


def in_the_status(shown: Any) -> dict[str, int]:
    requests, limits = amounts(shown["requests"]), amounts(shown["limits"])
    return {"cpu request": requests["cpu"], "cpu limit": limits["cpu"], "memory limit": limits["memory"]}


def agrees(kernel: dict[str, int], status: dict[str, int]) -> bool:
    return kernel == {name: status[name] for name in kernel}


async def test_a_resized_pod_has_in_the_kernel_what_its_status_says(cluster: Cluster) -> None:
    """[sig-node] Pod InPlace Resize Container guaranteed pods with multiple containers: net increase, net decrease
    and various operations: every number of the status is compared with the cgroups, of containers and of the pod, while
    one of them is busy; none begins anew."""

    def sized(cpu: str, memory: str) -> dict[str, Any]:
        given = {"cpu": cpu, "memory": memory}
        return {"requests": given, "limits": given}

    def wishes(sizes: Any) -> list[Any]:
        return [{"name": name, "resources": sized(*size)} for name, size in zip(("main", "other"), sizes, strict=True)]

    def shows(sizes: Any) -> Callable[[Any], bool]:
        def holds(pod: Any) -> bool:
            statuses = pod["status"].get("containerStatuses") or [{}, {}]
            return [item.get("resources") for item in statuses] == [sized(*size) for size in sizes] and not [
                item for item in pod["status"]["conditions"] if item["type"].startswith("PodResize")
            ]

        return holds

    busy = ["sh", "-c", "trap exit TERM; while true; do :; done"]
    first = (("100m", "64Mi"), ("50m", "32Mi"))
    extra = {"name": "other", "image": cluster.bench.image, "command": ["sleep", "1000"], "resources": sized(*first[1])}
    await cluster.create("sized", busy, container={"resources": sized(*first[0])}, also=[extra])
    for sizes in (
        first,
        (("300m", "128Mi"), ("150m", "64Mi")),
        (("60m", "48Mi"), ("40m", "24Mi")),
        (("200m", "48Mi"), ("20m", "80Mi")),
    ):
        if sizes is not first:
            wish = {"spec": {"containers": wishes(sizes)}}
            await cluster.admin.patch(PODS, "sized", wish, "default", patch_type="strategic", subresource="resize")
        pod = await cluster.until("sized", shows(sizes))
        whole = f"{cluster.config.cgroup_root.strip('/')}/pod{pod['metadata']['uid']}"
        total: dict[str, int] = {}
        for status in pod["status"]["containerStatuses"]:
            told = in_the_status(status["resources"])
            assert agrees(in_the_kernel(f"{whole}/{status['containerID'].rpartition('/')[2]}"), told)
            assert amounts(status["allocatedResources"]) == amounts(status["resources"]["requests"])
            assert status["restartCount"] == 0
            total = {name: total.get(name, 0) + amount for name, amount in told.items()}
        assert agrees(in_the_kernel(whole), total)


async def test_an_init_container_that_runs_is_resized_and_has_it_in_the_kernel(cluster: Cluster) -> None:
    """[sig-node] Pod InPlace Resize Container: of a container that ends before the main ones begin
    (InPlacePodVerticalScalingInitContainers)"""

    def sized(cpu: str) -> dict[str, Any]:
        given = {"cpu": cpu, "memory": "32Mi"}
        return {"requests": given, "limits": given}

    script = "until [ -e /done/yes ]; do sleep 0.05; done"
    mounts = [{"name": "done", "mountPath": "/done"}]
    first = {"name": "first", "image": cluster.bench.image, "command": ["sh", "-c", script], "volumeMounts": mounts}
    await cluster.create(
        "begins", ["sleep", "1000"], container={"resources": sized("50m")},
        initContainers=[{**first, "resources": sized("50m")}], volumes=[{"name": "done", "emptyDir": {}}],
    )  # fmt: skip

    def status(pod: Any) -> Any:
        return ((pod.get("status") or {}).get("initContainerStatuses") or [{}])[0]

    await cluster.until("begins", lambda pod: "running" in status(pod).get("state", {}))
    wish = {"spec": {"initContainers": [{"name": "first", "resources": sized("200m")}]}}
    await cluster.admin.patch(PODS, "begins", wish, "default", patch_type="strategic", subresource="resize")
    pod = await cluster.until("begins", lambda pod: status(pod).get("resources") == sized("200m"))
    whole = f"{cluster.config.cgroup_root.strip('/')}/pod{pod['metadata']['uid']}"
    container = f"{whole}/{status(pod)['containerID'].rpartition('/')[2]}"
    assert agrees(in_the_kernel(container), in_the_status(sized("200m")))
    assert status(pod)["restartCount"] == 0 and "running" in status(pod)["state"]
    folder = cluster.config.root_dir / "pods" / pod["metadata"]["uid"] / "volumes/kubernetes.io~empty-dir/done"
    (folder / "yes").touch()
    await cluster.until("begins", ready)


async def test_memory_in_use_is_not_taken_from_a_running_container_and_a_pod_as_a_whole_is_resized(
    cluster: Cluster,
) -> None:
    def whole(memory: str) -> dict[str, Any]:
        return {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": memory}}

    def in_progress(pod: Any) -> list[Any]:
        return [item for item in pod["status"]["conditions"] if item["type"] == "PodResizeInProgress"]

    def shows(memory: str) -> Callable[[Any], bool]:
        return lambda pod: pod["status"].get("resources") == whole(memory) and not in_progress(pod)

    async def resize(memory: str) -> None:
        wish = {"spec": {"resources": whole(memory)}}
        await cluster.admin.patch(PODS, "full", wish, "default", patch_type="strategic", subresource="resize")

    fill = ["sh", "-c", "dd if=/dev/zero of=/dev/shm/full bs=1M count=40 && touch /tmp/full && exec sleep 1000"]
    probe = {"exec": {"command": ["test", "-e", "/tmp/full"]}, "periodSeconds": 1}
    await cluster.create("full", fill, container={"readinessProbe": probe}, resources=whole("64Mi"))
    pod = await cluster.until("full", lambda pod: ready(pod) and shows("64Mi")(pod))
    cgroup = f"{cluster.config.cgroup_root.strip('/')}/burstable/pod{pod['metadata']['uid']}"
    container = f"{cgroup}/{pod['status']['containerStatuses'][0]['containerID'].rpartition('/')[2]}"
    for directory in (cgroup, container):
        assert in_the_kernel(directory)["memory limit"] == 64 << 20
    await resize("20Mi")
    pod = await cluster.until("full", lambda pod: [item for item in in_progress(pod) if item.get("reason") == "Error"])
    [told] = in_progress(pod)
    assert told["message"].startswith(
        "cannot decrease memory limits: [attempting to set pod memory limit (20971520) below current usage ("
    )
    # What is told is what is in force, in the kernel too.
    assert pod["status"]["resources"] == whole("64Mi") and in_the_kernel(cgroup)["memory limit"] == 64 << 20
    await resize("96Mi")
    await cluster.until("full", shows("96Mi"))
    for directory in (cgroup, container):
        assert in_the_kernel(directory)["memory limit"] == 96 << 20
        assert in_the_kernel(directory)["cpu limit"] == 200


async def test_a_static_pod_runs_whatever_becomes_of_its_mirror(cluster: Cluster) -> None:
    """Mirror pods are made, recreated and removed as upstream's: the API server's rules for nodes let them."""
    folder = cluster.config.static_pod_dir
    assert folder is not None
    container = {"name": "main", "image": cluster.bench.image, "command": ["sleep", "1000"]}
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }  # fmt: skip
    folder.mkdir()
    (folder / "static.json").write_text(json.dumps(pod))
    shown = await cluster.until_there("static-n1", ready)
    container_id = shown["status"]["containerStatuses"][0]["containerID"]
    assert shown["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    await cluster.admin.delete(PODS, "static-n1", "default")

    def again(found: Any) -> bool:
        return found["metadata"]["uid"] != shown["metadata"]["uid"] and ready(found)

    found = await cluster.until_there("static-n1", again)
    assert found["status"]["containerStatuses"][0]["containerID"] == container_id
    (folder / "static.json").unlink()
    await cluster.gone("static-n1")
    assert not [each for each in await cluster.bench.runtime.list_containers() if each.state == "running"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor is reserved, and one is given away")
async def test_a_container_that_asks_for_a_whole_processor_has_one_that_no_other_runs_on(cluster: Cluster) -> None:
    await cluster.stop()
    whole = len(os.sched_getaffinity(0)) - 1
    config = replace(
        cluster.config, cpu_manager_policy="static", system_reserved={"cpu": "1"}, topology_policy="restricted",
        memory_manager_policy="Static", reserved_memory=({"numaNode": 0, "limits": {"memory": "100Mi"}},),
    )  # fmt: skip
    cluster.config = config
    await cluster.start()

    def allowed(pod: Any, tier: str, what: str = "cpus") -> set[int]:
        """By the kernel's own word on the container."""
        container_id = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        name = f"{config.cgroup_root.strip('/')}{tier}/pod{pod['metadata']['uid']}/{container_id}"
        root = Path("/sys/fs/cgroup")
        directory = root / name if (root / "cgroup.controllers").exists() else root / "cpuset" / name
        return set(parse((directory / f"cpuset.{what}").read_text()))

    await cluster.create("others", ["sleep", "1000"])
    others = await cluster.until("others", phase("Running"))
    given = {"cpu": str(whole), "memory": "16Mi"}
    sized = {"resources": {"requests": given, "limits": given}}
    await cluster.create("alone", ["sleep", "1000"], container=sized)
    alone = await cluster.until("alone", phase("Running"))
    mine = allowed(alone, "")
    assert len(mine) == whole
    # Its memory comes from the NUMA node of its processors.
    assert allowed(alone, "", "mems") == {place.node for cpu, place in read_topology().places.items() if cpu in mine}
    async with asyncio.timeout(30):
        while allowed(others, "/besteffort") & mine:  # noqa: ASYNC110 (the kernel tells nobody)
            await asyncio.sleep(0.02)
    await cluster.admin.delete(PODS, "alone", "default")
    async with asyncio.timeout(30):
        while not mine <= allowed(others, "/besteffort"):  # noqa: ASYNC110 (the kernel tells nobody)
            await asyncio.sleep(0.02)


class DiesAt:
    """A runtime of which one call is never answered: its work is not begun, is cut off, or is done."""

    def __init__(self, source: Any, method: str, when: str) -> None:
        self._source, self._method, self._when = source, method, when
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if name != self._method or self.reached.is_set():
            return getattr(self._source, name)
        return self._call

    async def _call(self, *arguments: Any, **named: Any) -> Any:
        if self._when != "after":
            self.reached.set()
        if self._when != "before":
            await getattr(self._source, self._method)(*arguments, **named)
        self.reached.set()
        return await asyncio.get_running_loop().create_future()


def runs(pod: Any) -> bool:
    return all("running" in item["state"] for item in pod["status"].get("containerStatuses") or [{"state": {}}])


@pytest.mark.parametrize("when", ["before", "during", "after"])
async def test_an_agent_that_dies_at_any_call_is_followed_by_one_that_finishes_what_it_began(
    cluster: Cluster, when: str
) -> None:
    real = cluster.bench.runtime

    async def die_at(method: str, begin: Callable[[], Any]) -> None:
        await cluster.stop()
        cluster.bench.runtime = broken = DiesAt(real, method, when)
        await cluster.start()
        await begin()
        async with asyncio.timeout(60):
            await broken.reached.wait()
        await cluster.stop()
        cluster.bench.runtime = real
        await cluster.start()

    for method in ("run_sandbox", "create_container", "start_container"):
        name = f"born-{method.replace('_', '-')}"
        await die_at(method, lambda name=name: cluster.create(name, ["sleep", "1000"]))  # type: ignore[misc]
        pod = await cluster.until(name, runs)
        uid = {runtime.POD_UID_LABEL: pod["metadata"]["uid"]}
        assert [item.state for item in await real.list_containers(uid) if item.state == "running"] == ["running"]
        assert len([item for item in await real.list_sandboxes(uid) if item.ready]) == 1
    for method in ("stop_container", "stop_sandbox", "remove_sandbox"):
        name = f"dead-{method.replace('_', '-')}"
        await cluster.create(name, ["sleep", "1000"], terminationGracePeriodSeconds=1)
        pod = await cluster.until(name, phase("Running"))
        await die_at(method, lambda name=name: cluster.admin.delete(PODS, name, "default"))  # type: ignore[misc]
        await cluster.gone(name)
        uid = {runtime.POD_UID_LABEL: pod["metadata"]["uid"]}
        async with asyncio.timeout(60):
            while await real.list_sandboxes(uid):  # noqa: ASYNC110 (removed after the API object)
                await asyncio.sleep(0.02)


@pytest.fixture
async def servers() -> AsyncIterator[list[Any]]:
    """gRPC servers that end with the test."""
    found: list[Any] = []
    yield found
    for server in found:
        await server.stop(None)


async def test_a_drivers_volume_is_shared_by_containers_survives_the_agent_and_leaves_nothing(
    cluster: Cluster, servers: list[Any]
) -> None:
    """Each call to the driver loses its answer once."""
    root = cluster.config.root_dir
    driver = FaultyDriver((*NODE_CAPABILITIES, "GET_VOLUME_STATS"), mount=RealMount())
    lost = {"NodeGetVolumeStats"}  # what it has not, it is asked for again a minute later
    driver.fault = lambda method: "" if method in lost or lost.add(method) else "lost"  # type: ignore[func-returns-value]
    # A short path: a socket's has at most 107 bytes.
    servers.append(await serve_driver(driver, root / "plugins" / "d" / "csi.sock"))
    registrar = Registrar("/var/lib/kubelet/plugins/d/csi.sock")
    servers.append(await serve(str(root / "plugins_registry" / "d.sock"), registrar))
    spec = {"attachRequired": False, "fsGroupPolicy": "File"}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": spec}
    await cluster.admin.create(CSI_DRIVERS, kind)
    wanted: Any = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "pv"}
    wanted["resources"] = {"requests": {"storage": "1Mi"}}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": wanted}
    claim = await cluster.admin.create(PERSISTENT_VOLUME_CLAIMS, body, "default")
    reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "c", "uid": claim["metadata"]["uid"]}
    source = {"driver": DRIVER, "volumeHandle": "h"}
    volume = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"}, "csi": source, "claimRef": reference}
    made = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": volume}
    await cluster.admin.create(PERSISTENT_VOLUMES, made)
    status = {"status": {"phase": "Bound", "capacity": {"storage": "1Mi"}}}
    await cluster.admin.patch(PERSISTENT_VOLUME_CLAIMS, "c", status, "default", subresource="status")
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]
    mounts = {"volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    scripts = {
        "writes": "id -u > /d/who; exec sleep 1000",
        "reads": "until [ -s /d/who ]; do sleep 0.05; done; exec sleep 1000",
    }
    for name, script in scripts.items():
        probe = {"exec": {"command": ["sh", "-c", "[ -s /d/who ]"]}, "periodSeconds": 1}
        container = {**mounts, "readinessProbe": probe, "securityContext": {"runAsUser": 1000}}
        security = {"fsGroup": 4711}
        await cluster.create(name, ["sh", "-c", script], volumes=volumes, container=container, securityContext=security)
    for name in scripts:
        await cluster.until(name, ready)
    async with asyncio.timeout(60):
        while len(found := cluster.agent.claimed_volumes()) < len(scripts):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert {(each["d"].claim, each["d"].usage.capacity_bytes) for each in found.values()} == {("c", 1000)}
    await cluster.stop()
    await cluster.start()
    for name in scripts:
        await cluster.admin.delete(PODS, name, "default", grace_period_seconds=0)
    for name in scripts:
        await cluster.gone(name)
    staged = root / "plugins/kubernetes.io/csi"
    async with asyncio.timeout(60):  # an undoing whose answer is lost is repeated
        while driver.staged or driver.published or list(staged.glob("*/*")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert driver.violations == []
    assert {"NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"} <= lost
