"""Which taints a pod tolerates, and which keep it away."""

import pytest

from sampan.api.nodes import taints
from sampan.api.pods import tolerations

TAINT = {"key": "k", "value": "5", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "covered"),
    [
        ({"key": "k", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "k", "value": "5"}, True),
        ({"key": "k", "value": "5", "operator": "Equal", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "6"}, False),
        ({"key": "k"}, False),
        ({"key": "k", "operator": "Lt", "value": "6"}, True),
        ({"key": "k", "operator": "Lt", "value": "5"}, False),
        ({"key": "k", "operator": "Gt", "value": "4"}, True),
        ({"key": "k", "operator": "Gt", "value": "-4"}, True),
        ({"key": "k", "operator": "Gt", "value": "5"}, False),
        ({"key": "k", "operator": "Gt", "value": "04"}, False),
        ({"key": "k", "operator": "Gt", "value": "-99999999999999999999"}, False),
        ({"key": "k", "operator": "Gt", "value": "٤"}, False),
        ({"key": "k", "operator": "Near", "value": "5"}, False),
    ],
)
def test_a_toleration_covers_a_taint_as_upstream_says(toleration, covered):
    assert tolerations.tolerates(toleration, TAINT) is covered


def test_numbers_are_compared_only_when_the_taint_has_one():
    assert not tolerations.tolerates({"key": "k", "operator": "Lt", "value": "9"}, {**TAINT, "value": "five"})


def test_the_first_taint_of_the_effects_that_no_toleration_covers_is_found():
    pod = {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}
    node = {"spec": {"taints": [
        {"key": "a", "effect": "NoExecute"}, {"key": "b", "effect": "PreferNoSchedule"},
        {"key": "c", "effect": "NoSchedule"},
    ]}}  # fmt: skip
    found = tolerations.first_untolerated(pod, taints.of(node), taints.REPELLING)
    assert found == {"key": "c", "effect": "NoSchedule"}
    assert tolerations.first_untolerated(pod, taints.of(node), ("NoExecute",)) is None


def test_taints_are_found_by_key_and_effect():
    node = {"spec": {"taints": [{"key": taints.NOT_READY, "effect": "NoExecute"}]}}
    assert taints.has(node, taints.NOT_READY, "NoExecute")
    assert not taints.has(node, taints.NOT_READY, "NoSchedule")


def test_who_tolerates_a_control_plane_by_its_name_of_today_tolerates_that_of_old_too() -> None:
    """Control planes are tainted under both; the other way round the old name says nothing of the new one."""
    today, old = "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"
    assert tolerations.covers({"key": today, "operator": "Exists"}, old, "", "NoSchedule")
    assert not tolerations.covers({"key": today, "operator": "Exists", "effect": "NoExecute"}, old, "", "NoSchedule")
    assert not tolerations.covers({"key": old, "operator": "Exists"}, today, "", "NoSchedule")
