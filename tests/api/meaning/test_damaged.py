"""No question about a pod or a node raises, whatever stands in the object."""

import itertools
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.nodes import affinity, taints
from sampan.api.nodes import status as nodes
from sampan.api.pods import containers, origin, qos, requests, status, tolerations

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JUNK = (None, True, 7, -1.5, "x", "", [], {}, ["x"], [None], [{}], {"x": "y"}, {"cpu": []}, 10**30)

POD = {
    "metadata": {"name": "p", "annotations": {"a": "b"}, "deletionTimestamp": "x", "creationTimestamp": "x"},
    "spec": {
        "nodeName": "n", "priority": 1, "hostNetwork": False, "overhead": {"cpu": "1"}, "nodeSelector": {"a": "b"},
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1"}},
        "tolerations": [{"key": "k", "operator": "Lt", "value": "1", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{
                "matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}],
                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}],
            }]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchFields": []}}],
        }},
        "initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}],
        "containers": [{
            "name": "c", "ports": [{"name": "w", "hostPort": 1, "hostIP": "", "protocol": "TCP", "containerPort": 1}],
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}},
        }],
    },
    "status": {
        "phase": "Running", "qosClass": "x", "startTime": "x",
        "conditions": [{"type": "Ready", "status": "True", "reason": "x", "lastTransitionTime": "x"}],
        "containerStatuses": [{"name": "c", "restartCount": 1, "allocatedResources": {"cpu": "1"},
                               "resources": {"requests": {"cpu": "1"}}}],
        "allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "1"}},
    },
}  # fmt: skip
NODE = {
    "metadata": {"name": "n", "labels": {"a": "1"}},
    "spec": {"unschedulable": True, "taints": [{"key": "k", "value": "1", "effect": "NoSchedule"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def paths(value, above=()):
    """Where something stands in an object."""
    yield above
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*above, key))


def with_junk(value, path, junk):
    if not path:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_junk(value[path[0]], path[1:], junk)
    return copy


def ask_everything(pod, node):
    containers.find(pod, "c"), containers.long_running(pod), containers.is_host_network(pod)
    list(containers.host_ports(pod)), containers.find_port(pod, "w", "TCP"), containers.find_status(pod, "main", "c")
    requests.pod_requests(pod), requests.pod_requests(pod, {"cpu": 1}, use_status=False), requests.pod_limits(pod)
    requests.pod_limit(pod, "memory"), requests.has_pod_level(pod), qos.qos_class(pod), qos.compute_qos_class(pod)
    status.is_active(pod), status.available_in_seconds(pod, 5, NOW), status.restarts(pod), status.created(pod)
    status.started(pod), status.node_name(pod), status.is_resize_infeasible(pod)
    origin.is_critical(pod), origin.priority(pod)
    tolerations.first_untolerated(pod, taints.of(node), taints.REPELLING)
    affinity.allows(pod, node), list(affinity.preferred(affinity.node_affinity(pod)))
    affinity.named_nodes(affinity.node_affinity(pod))
    nodes.is_ready(node), nodes.is_cordoned(node), nodes.zone_key(node), taints.has(node, "k", "NoSchedule")


def test_anything_in_place_of_any_part_counts_as_absent():
    for path, junk in itertools.product(paths(POD), JUNK):
        ask_everything(with_junk(POD, path, junk), NODE)
    for path, junk in itertools.product(paths(NODE), JUNK):
        ask_everything(POD, with_junk(NODE, path, junk))


ANYTHING = st.recursive(st.sampled_from(JUNK), lambda inner: st.lists(inner, max_size=2), max_leaves=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(paths(POD["spec"]))), ANYTHING), max_size=4))
def test_several_damages_at_once_raise_nothing_either(damages):
    spec = POD["spec"]
    for path, junk in damages:
        try:
            spec = with_junk(spec, path, junk)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier damage took this place away
    ask_everything({**POD, "spec": spec}, NODE)
