"""HorizontalPodAutoscalers by kubectl of several releases, on a simulated node."""

from __future__ import annotations

import re

import pytest
from client_harness import Program, eventually

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")


def lines(text: str) -> list[str]:
    """Without what depends on widths and on time."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def test_autoscale_get_and_describe_by_each_kubectl(each_kubectl: Program) -> None:
    """[sig-autoscaling] kubectl autoscale makes one that keeps its bounds at once; describe shows why."""
    kubectl = each_kubectl
    kubectl("create", "deployment", "web", "--image=example.com/a:1")
    made = kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=70")
    assert made == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    eventually(lambda: kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2")
    head, row = lines(eventually(lambda: seen(kubectl, "SuccessfulRescale") and kubectl("get", "hpa", "web")))
    assert head == "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE"
    assert re.fullmatch(r"web Deployment/web cpu: <unknown>/70% 2 5 \d \d+s", row)
    told = lines(kubectl("describe", "hpa", "web"))
    for line in (
        "Reference: Deployment/web",
        "Metrics: ( current / target )",
        "resource cpu on pods (as a percentage of request): <unknown> / 70%",
        "Min replicas: 2",
        "Max replicas: 5",
        "ScaledToZero False NotScaledToZero the HPA controller did not scale the workload to zero",
    ):
        assert line in told, told
    below = r"New size: 2; reason: Current number of replicas below Spec\.MinReplicas"
    for pattern in (
        r"Deployment pods: [12] current / 2 desired",
        r"AbleToScale True Succeeded(Rescale|GetScale) the HPA controller was .*",
        rf"Normal SuccessfulRescale \S+ horizontal-pod-autoscaler {below}",
    ):
        assert any(re.fullmatch(pattern, line) for line in told), (pattern, told)
    kubectl("delete", "hpa", "web")
    assert "not found" in kubectl.fails("get", "hpa", "web")


def seen(kubectl: Program, reason: str) -> bool:
    return reason in kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()


def test_the_newest_kubectl_asks_for_cpu_and_memory_in_its_new_words(kubectl: Program) -> None:
    kubectl("create", "deployment", "web", "--image=example.com/a:1")
    kubectl("autoscale", "deployment", "web", "--max=5", "--cpu=500m", "--memory=80%")
    metrics = kubectl.json("get", "hpa", "web")["spec"]["metrics"]
    assert {each["resource"]["name"]: each["resource"]["target"] for each in metrics} == {
        "cpu": {"type": "AverageValue", "averageValue": "500m"},
        "memory": {"type": "Utilization", "averageUtilization": 80},
    }
    shown = lines(kubectl("get", "hpa", "web"))[1]
    assert re.search(r" cpu: \S+/500m, memory: <unknown>/80% 1 5 ", shown), "it asks for no memory"


def test_a_target_that_is_not_there_is_described(kubectl: Program) -> None:
    manifest = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: lost}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: nowhere}
  maxReplicas: 3
"""
    said = kubectl.run("apply", "-f", "-", stdin=manifest)
    assert said.stderr == "", "no warning that nothing acts on it"
    eventually(lambda: seen(kubectl, "FailedGetScale"))
    told = lines(kubectl("describe", "hpa", "lost"))
    missing = 'deployments.apps "nowhere" not found'
    assert (
        f"AbleToScale False FailedGetScale the HPA controller was unable to get the target's current scale: {missing}"
        in told
    )
    assert any(line.startswith("Warning FailedGetScale") and line.endswith(missing) for line in told), told
