"""Which nodes a pod's selector and required affinity allow."""

import pytest

from sampan.api.nodes import affinity

NODE = {"metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}}}


def pod_with(*terms, **selector):
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"spec": {"nodeSelector": selector, "affinity": {"nodeAffinity": required}}}


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def field(operator, *values):
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("pod", "allowed"),
    [
        ({}, True),
        ({"spec": {"nodeSelector": {"disk": "ssd"}}}, True),
        ({"spec": {"nodeSelector": {"disk": "hdd"}}}, False),
        ({"spec": {"nodeSelector": {"nope": "x"}}}, False),
        (pod_with(expression("disk", "In", "ssd", "nvme")), True),
        (pod_with(expression("disk", "NotIn", "ssd")), False),
        (pod_with(expression("gpu", "DoesNotExist")), True),
        (pod_with(expression("cores", "Gt", "4")), True),
        (pod_with(expression("cores", "Lt", "8")), False),
        (pod_with(expression("gpu", "Exists"), expression("disk", "Exists")), True),
        (pod_with(expression("disk", "Exists"), disk="hdd"), False),
        (pod_with(field("In", "n1")), True),
        (pod_with(field("NotIn", "n1")), False),
        (pod_with({**expression("disk", "Exists"), **field("In", "n2")}), False),
        (pod_with(), False),
        (pod_with({}), False),
    ],
)
def test_selector_and_affinity_must_both_allow_the_node(pod, allowed):
    assert affinity.allows(pod, NODE) is allowed


@pytest.mark.parametrize(
    "term",
    [
        expression("disk", "Near", "ssd"), expression("cores", "Gt", "many"), field("In", "n1", "n2"), field("Exists"),
        {"matchExpressions": "all"}, {"matchExpressions": ["disk"]}, {"matchFields": [3]},
    ],
)  # fmt: skip
def test_a_term_that_does_not_parse_matches_no_node_and_spoils_no_other(term):
    assert not affinity.allows(pod_with(term), NODE)
    assert affinity.allows(pod_with(term, expression("disk", "Exists")), NODE)


def test_preferences_without_weight_or_meaning_do_not_count():
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference": expression("disk", "Exists")},
        {"weight": 0, "preference": expression("disk", "Exists")},
        {"weight": 7, "preference": {}},
        {"weight": "9", "preference": expression("disk", "Exists")},
    ]}  # fmt: skip
    assert [weight for weight, _ in affinity.preferred(preferred)] == [5]


def test_the_nodes_that_every_term_names_are_known():
    def named(*terms):
        return affinity.named_nodes(affinity.node_affinity(pod_with(*terms)))

    assert named(field("In", "n1"), field("In", "n2")) == {"n1", "n2"}
    assert named(field("In", "n1"), expression("disk", "Exists")) is None
    assert named() is None
