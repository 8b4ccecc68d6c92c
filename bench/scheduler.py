"""Measures decisions of the scheduler at 1,000 and 5,000 nodes. Usage: ``python bench/scheduler.py``.

"template" is the next pod of one workload (its class is kept and repaired), "new" a pod of a class never seen before.
Each decision's pod is assumed on its node, as the real loop does. Times are CPU time of this thread, so that other
work on the machine does not count.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from sampan.api import labels
from sampan.client.client import Client
from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import ProfileConfig, build_profile
from sampan.scheduler.podinfo import PodInfo


def node(number: int) -> dict[str, Any]:
    name = f"node-{number:05}"
    offered = {"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    metadata = {
        "name": name,
        "labels": {
            "kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": f"zone-{number % 3}",
            "disk": "ssd" if number % 2 else "hdd",
        },
    }
    taints = [{"key": "special", "effect": "NoSchedule"}] if number % 20 == 0 else []
    return {"metadata": metadata, "spec": {"taints": taints}, "status": {"allocatable": offered}}


def pod(serial: int, kind: str) -> PodInfo:
    requests = {"cpu": "100m", "memory": "128Mi"}
    if kind == "new":
        requests["memory"] = str(128 * 2**20 + serial)
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "app:1", "resources": {"requests": requests}}]}
    spec["nodeSelector"] = {"disk": "ssd"}
    if kind == "spread":
        selector = {"matchLabels": {"app": kind}}
        zone = "topology.kubernetes.io/zone"
        rule = {"maxSkew": 1, "topologyKey": zone, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
        spec["topologySpreadConstraints"] = [rule]
    if kind == "anti-affinity":
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": kind}}}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    name = f"{kind}-{serial}"
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {"app": kind}}
    return PodInfo({"metadata": metadata, "spec": spec})


def measure(cluster: Cluster, kind: str, count: int) -> None:
    profile, entropy = build_profile(ProfileConfig(), Client(None)), random.Random(1)  # type: ignore[arg-type]  # unused
    if kind == "workload":
        wanted = labels.from_map({"app": kind})
        cluster.default_selector = lambda pod: wanted
    took = []
    for serial in range(count):
        info = pod(serial, kind)
        start = time.thread_time()
        decision = profile.decide(info, cluster, entropy)
        took.append(time.thread_time() - start)
        cluster.assume(info, decision.node)
    took.sort()
    cluster.default_selector = lambda pod: None
    print(
        f"{cluster.nodes.count:>6} nodes  {kind:<14}{count / sum(took):>10,.0f} decisions/s"
        f"   p50 {statistics.median(took) * 1e6:>7.0f} µs   p99 {took[int(count * 0.99)] * 1e6:>7.0f} µs"
    )


def main() -> None:
    for size in (1000, 5000):
        cluster = Cluster()
        start = time.perf_counter()
        for number in range(size):
            cluster.put_node(node(number))
        print(f"{size:>6} nodes taken in: {(time.perf_counter() - start) * 1000:.0f} ms")
        # "workload": a Deployment's pods, spread over hosts and zones by default.
        for kind, count in (
            ("template", 2000),
            ("new", 300),
            ("workload", 500),
            ("spread", 500),
            ("anti-affinity", 300),
        ):
            measure(cluster, kind, count)


if __name__ == "__main__":
    main()
