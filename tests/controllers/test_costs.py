"""What one event costs the controllers does not grow with the namespace, nor with the cluster."""

from collections import Counter

import pytest

from sampan.api.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    LEASES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from sampan.client.informer import Informer, _Index
from sampan.controllers.deployment.controller import DeploymentController
from sampan.controllers.disruption.controller import DisruptionController
from sampan.controllers.endpoints.legacy import EndpointsController
from sampan.controllers.endpoints.service_slices import EndpointSliceController
from sampan.controllers.garbagecollector.controller import GarbageCollector
from sampan.controllers.garbagecollector.pods import PodGarbageCollector
from sampan.controllers.namespace.contents import Contents
from sampan.controllers.namespace.deletion import NamespaceDeletionController
from sampan.controllers.node.lifecycle import NodeLifecycleController
from sampan.controllers.replicaset.adapters import REPLICA_SET
from sampan.controllers.replicaset.controller import ReplicaSetController

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def looks(monkeypatch):
    """Counts the objects that are looked at in informers."""
    counts = Counter()
    get, present, held = Informer.get, Informer._present, _Index.held

    def counted_get(self, namespace, name):
        counts["objects"] += 1
        return get(self, namespace, name)

    def counted_present(self):
        for obj in present(self):
            counts["objects"] += 1
            yield obj

    def counted_held(self, value):
        found = held(self, value)
        counts["objects"] += len(found)
        return found

    monkeypatch.setattr(_Index, "held", counted_held)
    monkeypatch.setattr(Informer, "get", counted_get)
    monkeypatch.setattr(Informer, "_present", counted_present)
    return counts


def pod(name, app, *, ready="True", node="n", phase="Running", **meta):
    return {
        "metadata": {"name": name, "namespace": "team", "labels": {"app": app, "all": "yes"}, **meta},
        "spec": {"nodeName": node, "containers": []},
        "status": {
            "phase": phase, "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}],
        },
    }  # fmt: skip


def service(app):
    spec = {"selector": {"all": "yes", "app": app}, "clusterIP": "10.96.0.9", "ports": [{"port": 80}]}
    return {"metadata": {"name": app, "namespace": "team"}, "spec": spec}


def budget(app):
    selector = {"matchLabels": {"app": app}}
    return {"metadata": {"name": app, "namespace": "team"}, "spec": {"selector": selector, "minAvailable": 1}}


def replica_set(app):
    labels = {"app": app}
    template = {"metadata": {"labels": labels}, "spec": {"containers": []}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": app, "namespace": "team"}, "spec": spec}


def set_ready(obj):
    obj["status"]["conditions"][0]["status"] = "False"


async def cost(make_api, make_context, run_with, wait, looks, build, fill, event):
    api = make_api()
    fill(api)
    context = make_context(api)
    async with run_with(context, *(one(context) for one in build)):
        await wait.quiet(api)
        looks.clear()
        event(api)
        await wait.quiet(api)
        return looks["objects"], api


@pytest.fixture
def measure(make_api, make_context, run_with, wait, looks):
    async def run(build, fill, event):
        return await cost(make_api, make_context, run_with, wait, looks, build, fill, event)

    return run


@pytest.mark.parametrize(
    "build",
    [
        (EndpointSliceController,), (EndpointsController,), (DisruptionController,), (DeploymentController,),
        (lambda context: ReplicaSetController(context, REPLICA_SET),),
    ],
    ids=["slices", "endpoints", "budgets", "deployments", "sets"],
)  # fmt: skip
async def test_a_pods_event_costs_the_same_in_a_large_namespace(measure, build):
    found = []
    for size in (4, 80):

        def fill(api, size=size):
            for number in range(size):
                api.add(NODES, {"metadata": {"name": f"n{number}"}, "spec": {}})
                api.add(PODS, pod(f"p{number}", f"app{number}"))
                api.add(SERVICES, service(f"app{number}"))
                api.add(POD_DISRUPTION_BUDGETS, budget(f"app{number}"))
            api.add(NODES, {"metadata": {"name": "n"}, "spec": {}})
            api.add(PODS, pod("mine", "mine"))
            api.add(SERVICES, service("mine"))
            api.add(POD_DISRUPTION_BUDGETS, budget("mine"))

        looked, api = await measure(build, fill, lambda api: api.change(PODS, "team", "mine", set_ready))
        found.append(looked)
    assert found[0] == found[1]
    if build == (EndpointSliceController,):
        (changed,) = [
            s for s in api.all(ENDPOINT_SLICES) if s["metadata"]["labels"]["kubernetes.io/service-name"] == "mine"
        ]
        assert changed["endpoints"][0]["conditions"]["ready"] is False


async def test_a_deletion_in_a_namespace_that_ends_costs_the_same_however_much_is_left(measure):
    found = []
    for size in (4, 80):

        def fill(api, size=size):
            meta = {"name": "team", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["hold"]}
            api.add(NAMESPACES, {"metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {}})
            for number in range(size):
                api.add(PODS, pod(f"p{number}", "app", finalizers=["hold"]))
            api.add(CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "team"}})

        def event(api):
            for number in range(3):
                api.remove(PODS, "team", f"p{number}")

        looked, api = await measure((NamespaceDeletionController,), fill, event)
        found.append(looked)
        # How much is left is said once in a while, not at each deletion.
        assert sum("namespaces/team/status" in str(entry) for entry in api.log) <= 1
        assert api.get(CONFIG_MAPS, "team", "c") is not None
    assert found[0] == found[1]


def test_contents_are_what_is_there():
    contents = Contents()
    going = {"deletionTimestamp": "x", "finalizers": ["a", "b"]}
    contents.put(PODS, {"metadata": {"name": "1", "finalizers": ["a"]}})
    contents.put(PODS, {"metadata": {"name": "2", **going}})
    assert not contents.is_going(PODS)
    contents.put(PODS, {"metadata": {"name": "1", **going}})
    assert contents.is_going(PODS)
    assert contents.remaining().resources == {"pods.": 2}
    assert contents.remaining().finalizers == {"a": 2, "b": 2}
    for name in ("1", "2", "2"):
        contents.drop(PODS, {"metadata": {"name": name}})
    assert contents.remaining().empty
    assert not contents.remaining().finalizers


def node(name, ready="True"):
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": "x"}]
    return {"metadata": {"name": name}, "spec": {}, "status": {"conditions": conditions}}


async def test_a_node_that_fails_costs_the_same_among_many(measure):
    found = []
    for size in (4, 80):

        def fill(api, size=size):
            for number in range(size):
                api.add(NODES, node(f"n{number}"))
            api.add(LEASES, {"metadata": {"name": "n0", "namespace": "kube-node-lease"}, "spec": {}})

        event = lambda api: api.change(NODES, "", "n1", set_ready)  # noqa: E731  # short and local
        looked, api = await measure((NodeLifecycleController,), fill, event)
        found.append(looked)
        assert [taint["effect"] for taint in api.get(NODES, "", "n1")["spec"]["taints"]] == ["NoSchedule", "NoExecute"]
    assert found[0] == found[1]


async def test_nobody_is_evicted_while_no_node_is_well(measure):
    def fill(api):
        for number in range(3):
            api.add(NODES, node(f"n{number}", "False"))

    _, api = await measure((NodeLifecycleController,), fill, lambda api: None)
    effects = [[taint["effect"] for taint in one["spec"]["taints"]] for one in api.all(NODES)]
    assert effects == [["NoSchedule"]] * 3


async def test_pods_whose_owner_is_gone_are_collected_without_a_look_at_every_owner(measure):
    found = []
    for size in (4, 80):

        def fill(api, size=size):
            for number in range(size):
                api.add(REPLICA_SETS, replica_set(f"app{number}"))

        def event(api):
            owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": True}
            for number in range(3):
                references = [{**owner, "name": f"gone{number}", "uid": f"gone{number}"}]
                api.add(PODS, pod(f"p{number}", "app", node="", ownerReferences=references))

        looked, api = await measure((GarbageCollector,), fill, event)
        found.append(looked - size)  # the index is made once
        assert not api.all(PODS)
    assert found[0] == found[1]


async def test_a_pod_that_ends_costs_the_same_among_many_that_have(measure):
    found = []
    for size in (4, 80):

        def fill(api, size=size):
            api.add(NODES, node("n"))
            for number in range(size):
                api.add(PODS, pod(f"p{number}", "app", phase="Succeeded"))
            api.add(PODS, pod("mine", "app"))

        event = lambda api: api.change(PODS, "team", "mine", lambda obj: obj["status"].update(phase="Failed"))  # noqa: E731
        looked, _ = await measure((PodGarbageCollector,), fill, event)
        found.append(looked)
    assert found[0] == found[1]
