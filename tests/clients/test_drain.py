"""``kubectl drain`` as it comes: it waits for the budget and says so, and goes on when the budget allows it."""

from __future__ import annotations

import json

from client_harness import Program, eventually

LABELS = {"app": "drained"}
OWNER = {
    "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
    "spec": {
        "replicas": 1, "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "any"}]}},
    },
}  # fmt: skip
BUDGET = {
    "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}},
}  # fmt: skip


def test_drain_waits_for_a_budget_says_for_which_pod_and_goes_on_when_it_may(kubectl: Program) -> None:
    """[sig-node] A node is emptied by evictions; pods that a budget protects are waited for."""
    node = kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    for made in (OWNER, BUDGET):
        kubectl("create", "-f", "-", stdin=json.dumps(made))
    name = eventually(
        lambda: kubectl(
            "get", "pods", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].metadata.name}"
        )
    )
    eventually(lambda: kubectl.json("get", "pdb", "all")["status"].get("currentHealthy") == 1)
    drain = ("drain", node, "--pod-selector=app=drained", "--ignore-daemonsets")
    try:
        said = kubectl.fails(*drain, "--timeout=1s")
        assert f'error when evicting pods/"{name}"' in said
        assert "Cannot evict pod as it would violate the pod's disruption budget." in said
        assert "will retry after 5s" in said
        assert kubectl.json("get", "pod", name)["status"]["phase"] == "Running"
        kubectl("delete", "pdb", "all")
        assert f"pod/{name} evicted" in kubectl(*drain, "--timeout=60s")
        assert "NotFound" in kubectl.fails("get", "pod", name)
    finally:
        kubectl("uncordon", node)
