"""The arrays agree with a naive scheduler that looks at one node after the other, through any history of changes."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import ProfileConfig, build_profile
from sampan.scheduler.framework import Verdicts
from sampan.scheduler.podinfo import PodInfo

ZONES = ("a", "b", None)
TAINTS = ((), ("red",), ("red", "blue"))

nodes = st.builds(
    dict,
    cpu=st.integers(1, 4),
    zone=st.sampled_from(ZONES),
    taints=st.sampled_from(TAINTS),
    cordoned=st.booleans(),
    pods=st.integers(0, 3),
)
pods = st.builds(
    dict,
    cpu=st.integers(0, 3),
    zone=st.sampled_from(ZONES),
    tolerates=st.sampled_from(TAINTS),
    port=st.sampled_from((0, 80, 81)),
    app=st.sampled_from(("x", "y")),
    apart=st.booleans(),
    spread=st.booleans(),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("node"), st.integers(0, 4), nodes),
        st.tuples(st.just("drop"), st.integers(0, 4)),
        st.tuples(st.just("pod"), st.integers(0, 4), pods),
        st.tuples(st.just("gone"), st.integers(0, 9)),
        st.tuples(st.just("decide"), pods),
    ),
    max_size=25,
)


def node_object(name, spec):
    labels = {"host": name} | ({"zone": spec["zone"]} if spec["zone"] else {})
    taints = [{"key": key, "effect": "NoSchedule"} for key in spec["taints"]]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints, "unschedulable": spec["cordoned"]},
        "status": {"allocatable": {"cpu": str(spec["cpu"]), "pods": str(spec["pods"])}},
    }


def pod_object(name, spec, node=""):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": str(spec["cpu"])}}}
    if spec["port"]:
        container["ports"] = [{"hostPort": spec["port"]}]
    body = {"containers": [container], "tolerations": [{"key": key, "operator": "Exists"} for key in spec["tolerates"]]}
    if spec["zone"]:
        body["nodeSelector"] = {"zone": spec["zone"]}
    selector = {"matchLabels": {"app": spec["app"]}}
    if spec["apart"]:
        term = {"topologyKey": "zone", "labelSelector": selector}
        body["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    if spec["spread"]:
        rule = {"maxSkew": 1, "topologyKey": "host", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
        body["topologySpreadConstraints"] = [rule]
    if node:
        body["nodeName"] = node
    return {"metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": spec["app"]}}, "spec": body}


def naive(pod, name, nodes, placed):
    """Whether the pod fits the node, told from the plain specs."""
    node = nodes[name]
    here = [spec for spec, where in placed.values() if where == name]
    if node["cordoned"] or set(node["taints"]) - set(pod["tolerates"]):
        return False
    if pod["zone"] and pod["zone"] != node["zone"]:
        return False
    if (pod["cpu"] and sum(p["cpu"] for p in here) + pod["cpu"] > node["cpu"]) or len(here) + 1 > node["pods"]:
        return False
    if pod["port"] and any(p["port"] == pod["port"] for p in here):
        return False
    if node["zone"]:
        in_zone = [p for p, where in placed.values() if where in nodes and nodes[where]["zone"] == node["zone"]]
        if any(p["app"] == pod["app"] and (p["apart"] or pod["apart"]) for p in in_zone):
            return False
    if pod["spread"]:
        usable = [n for n, spec in nodes.items() if not pod["zone"] or spec["zone"] == pod["zone"]]
        counts = {n: sum(p["app"] == pod["app"] for p, where in placed.values() if where == n) for n in usable}
        if counts and counts.get(name, 0) + 1 - min(counts.values()) > 1:
            return False
    return True


@settings(max_examples=60, deadline=None)
@given(steps)
def test_the_arrays_agree_with_a_naive_scheduler(history):
    cluster, profile, rng = Cluster(), build_profile(ProfileConfig(), None), random.Random(1)
    present, placed, serial = {}, {}, 0
    for step in history:
        match step:
            case ("node", number, spec):
                present[f"n{number}"] = spec
                cluster.put_node(node_object(f"n{number}", spec))
            case ("drop", number):
                present.pop(f"n{number}", None)
                cluster.drop_node(f"n{number}")
            case ("pod", number, spec):
                serial += 1
                placed[f"p{serial}"] = (spec, f"n{number}")
                cluster.put_pod(PodInfo(pod_object(f"p{serial}", spec, f"n{number}")))
            case ("gone", number) if placed:
                name = sorted(placed)[number % len(placed)]
                del placed[name]
                cluster.drop_pod(name)
            case ("decide", spec):
                info = PodInfo(pod_object("new", spec))
                verdicts = profile.verdicts(info, cluster)
                fits = {name for name in present if verdicts[cluster.nodes.slot_of[name]] == Verdicts.PASS}
                assert fits == {name for name in present if naive(spec, name, present, placed)}
                decision = profile.decide(info, cluster, rng)
                assert (decision.node in fits) if fits else not decision.node
                assert decision.feasible == len(fits)
                assert sum(decision.ruled_out.values()) == len(present) - len(fits)
    cluster.check_invariants()
