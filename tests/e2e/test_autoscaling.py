"""A HorizontalPodAutoscaler that follows the processor use of real containers, up and down, through stock kubectl."""

from __future__ import annotations

import json
import re
from typing import Any

from e2e_harness import Kubectl, described, eventually
from e2e_manifests import IMAGE

#: works as long as the file is there
WORKER = (
    "while :; do if [ -e /tmp/load ]; then i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; else sleep 0.2; fi; done"
)
REQUEST, LIMIT, TARGET, MOST = 100, 250, 50, 3


def deployment() -> dict[str, Any]:
    resources = {"requests": {"cpu": f"{REQUEST}m"}, "limits": {"cpu": f"{LIMIT}m", "memory": "64Mi"}}
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", WORKER], "resources": resources}
    labels = {"app": "worker"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"}, "spec": spec}


def autoscaler() -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": TARGET}
    policies = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
        "minReplicas": 1, "maxReplicas": MOST,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": policies}},
    }  # fmt: skip
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "worker"}, "spec": spec,
    }  # fmt: skip


def replicas(kubectl: Kubectl) -> int:
    return int(kubectl("get", "deployment", "worker", "-o", "jsonpath={.spec.replicas}"))


def use(kubectl: Kubectl) -> dict[str, Any]:
    """What the autoscaler saw last; empty: nothing yet."""
    metrics = kubectl.json("get", "hpa", "worker").get("status", {}).get("currentMetrics") or [{}]
    found: dict[str, Any] = metrics[0].get("resource", {}).get("current", {})
    return found


def test_replicas_follow_what_the_processors_do(kubectl: Kubectl) -> None:
    """[sig-autoscaling] [Feature:HPA] Horizontal pod autoscaling (scale resource: CPU) Deployment should scale from 1
    pod to 3 pods and then from 3 pods to 1 pod"""
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment(), autoscaler()]})
    kubectl("apply", "-f", "-", stdin=manifest)
    kubectl("wait", "deployment/worker", "--for=condition=Available", "--timeout=90s")
    idle = eventually(lambda: use(kubectl), seconds=60, every=1)
    assert idle["averageUtilization"] < TARGET
    assert replicas(kubectl) == 1
    row = kubectl("get", "hpa", "worker", "--no-headers").split()
    assert row[:2] == ["worker", "Deployment/worker"]
    assert re.fullmatch(rf"\d+%/{TARGET}%", row[3])

    (pod,) = kubectl("get", "pods", "-l", "app=worker", "-o", "name").split()
    kubectl("exec", pod, "--", "touch", "/tmp/load")
    eventually(lambda: replicas(kubectl) == MOST, seconds=90, every=1)
    above = "cpu resource utilization (percentage of request) above target"
    described(kubectl, "hpa", "worker", says=[above, "ScalingActive   True"])

    kubectl("exec", pod, "--", "rm", "/tmp/load")
    eventually(lambda: replicas(kubectl) == 1, seconds=120, every=1)
    described(kubectl, "hpa", "worker", says=["New size: 1; reason: All metrics below target"])
    eventually(lambda: len(kubectl("get", "pods", "-l", "app=worker", "-o", "name").split()) == 1)
