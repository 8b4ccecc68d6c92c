"""How pods and nodes are doing."""

from datetime import UTC, datetime

import pytest

from sampan.api.nodes import status as nodes
from sampan.api.pods import status

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ready(since, value="True"):
    return {"status": {"conditions": [{"type": "Ready", "status": value, "lastTransitionTime": since}]}}


@pytest.mark.parametrize(
    ("pod", "seconds", "expected"),
    [
        (ready("2025-12-31T23:59:50Z"), 30, 20.0),
        (ready("2025-12-31T23:59:00Z"), 30, 0.0),
        (ready("2025-12-31T23:59:00Z", "False"), 30, None),
        (ready("2026-01-01T00:00:00Z"), 0, 0.0),
        (ready("yesterday"), 30, None),
        ({}, 0, None),
    ],
)
def test_a_pod_is_available_once_it_was_ready_long_enough(pod, seconds, expected):
    assert status.available_in_seconds(pod, seconds, NOW) == expected


@pytest.mark.parametrize(
    ("phase", "deleted", "terminal", "active"),
    [("Running", "", False, True), ("Running", "x", False, False), ("Failed", "", True, False), ("", "", False, True)],
)
def test_a_pod_is_active_until_it_ended_or_is_deleted(phase, deleted, terminal, active):
    pod = {"metadata": {"deletionTimestamp": deleted} if deleted else {}, "status": {"phase": phase}}
    assert status.is_terminal(pod) is terminal
    assert status.is_active(pod) is active


def test_a_node_says_where_it_stands_and_how_it_is():
    labels = {nodes.REGION: "r", nodes.ZONE: "z"}
    node = {"metadata": {"labels": labels}, "spec": {"unschedulable": True}, **ready("2026-01-01T00:00:00Z")}
    assert nodes.is_ready(node)
    assert nodes.is_cordoned(node)
    assert nodes.zone_key(node) == "r:\x00:z"
    assert nodes.zone_key({}) == ""
