"""Everything that owns pods at once, killed again and again while objects come, change and go: the end is exact."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sampan.api.resources import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from sampan.client.client import Client
from sampan.controllers.daemonset import facts as daemons
from sampan.controllers.daemonset.controller import DaemonSetController
from sampan.controllers.deployment.controller import DeploymentController
from sampan.controllers.garbagecollector.controller import GarbageCollector
from sampan.controllers.job.controller import JobController
from sampan.controllers.replicaset.adapters import REPLICA_SET
from sampan.controllers.replicaset.controller import ReplicaSetController
from sampan.controllers.statefulset.controller import StatefulSetController
from sampan.testing import virtual

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]
LONG_AGO = "2026-01-01T00:00:00Z"
NAMES = ("n0", "n1", "n2")
KINDS: tuple[Resource, ...] = (DEPLOYMENTS, DAEMON_SETS, STATEFUL_SETS, JOBS)
OF_EACH = 10


def workload(resource: Resource, name: str) -> Obj:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}
    spec: Obj = {"selector": {"matchLabels": labels}, "template": template, "revisionHistoryLimit": 10}
    if resource is JOBS:
        template["spec"]["restartPolicy"] = "Never"
        spec |= {"parallelism": 2, "completions": 3, "backoffLimit": 100, "completionMode": "NonIndexed"}
    else:
        spec["replicas"] = 3
    if resource is DEPLOYMENTS:
        rolling = {"maxSurge": 1, "maxUnavailable": 1}
        spec |= {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}, "progressDeadlineSeconds": 600}
    if resource is DAEMON_SETS:
        spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    if resource is STATEFUL_SETS:
        policy = "Parallel" if name.endswith(("1", "3")) else "OrderedReady"
        rolling = {"partition": 0}
        spec |= {
            "serviceName": "s", "podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        }  # fmt: skip
    return {"metadata": {"name": name, "namespace": "default", "generation": 1}, "spec": spec}


class World:
    """The API, what nodes and users do with it, and what should be there at the end."""

    def __init__(self, api: Any, seed: int) -> None:
        self.api, self.client, self.chance = api, Client(api), random.Random(seed)
        for name in NAMES:
            api.add(NODES, {"metadata": {"name": name, "labels": {}}, "spec": {}})
        #: (replicas, image) by kind and name
        self.wanted: dict[tuple[Resource, str], tuple[int, str]] = {}
        #: pods of a Job that succeeded
        self.succeeded: Counter[str] = Counter()
        self.left = [(resource, f"{resource.kind.lower()}-{n}") for n in range(OF_EACH) for resource in KINDS]
        self.chance.shuffle(self.left)

    async def user(self) -> None:
        """One object comes, changes or goes."""
        if self.left and (not self.wanted or self.chance.random() < 0.6):
            resource, name = self.left.pop()
            self.wanted[resource, name] = (3, "v1")
            self.api.add(resource, workload(resource, name))
            return
        resource, name = self.chance.choice(list(self.wanted))
        if self.chance.random() < 0.15:
            del self.wanted[resource, name]
            await self.client.delete(
                resource, name, "default", propagation=self.chance.choice(["Background", "Foreground"])
            )
            return
        if resource is JOBS:
            return
        changed = (self.chance.randint(0, 4), self.chance.choice(["v1", "v2", "v3"]))
        self.wanted[resource, name] = changed

        def edit(obj: Obj) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = changed[1]
            if resource is not DAEMON_SETS:
                obj["spec"]["replicas"] = changed[0]

        self.api.change(resource, "default", name, edit)

    def nodes(self, often: float) -> None:
        """Some pods make a step: bound and running, ended, gone."""
        for pod in self.api.all(PODS):
            if self.chance.random() >= often:
                continue
            name, meta = pod["metadata"]["name"], pod["metadata"]
            if "deletionTimestamp" in meta:
                if "deletionGracePeriodSeconds" in meta:
                    self.api.change(PODS, "default", name, _ended)
            elif not pod.get("status", {}).get("phase"):
                self.api.change(PODS, "default", name, self._running)
            elif pod["status"]["phase"] == "Running" and meta["ownerReferences"][0]["kind"] == "Job":
                self.succeeded[meta["ownerReferences"][0]["uid"]] += 1
                self.api.change(PODS, "default", name, lambda obj: obj.update(status={"phase": "Succeeded"}))

    def _running(self, pod: Obj) -> None:
        pod["spec"]["nodeName"] = daemons.target_node(pod) or self.chance.choice(NAMES)
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}
        pod["status"] = {"phase": "Running", "conditions": [ready]}

    def all_of(self, resource: Resource, owner: Obj) -> Iterator[Obj]:
        for each in self.api.all(resource):
            if each["metadata"].get("ownerReferences", [{}])[0].get("uid") == owner["metadata"]["uid"]:
                yield each

    def check(self) -> None:
        assert not self.left and {kind for kind, _ in self.wanted} == set(KINDS), "there is something to check"
        assert {(kind, each["metadata"]["name"]) for kind in KINDS for each in self.api.all(kind)} == set(self.wanted)
        living = {each["metadata"]["uid"] for kind in (*KINDS, REPLICA_SETS) for each in self.api.all(kind)}
        for kind in (PODS, REPLICA_SETS, CONTROLLER_REVISIONS):
            for each in self.api.all(kind):
                [owner] = each["metadata"]["ownerReferences"]
                assert owner["uid"] in living, f"{each['metadata']['name']} is an orphan"
        for (kind, name), (replicas, image) in self.wanted.items():
            obj = self.api.get(kind, "default", name)
            if kind is JOBS:
                self._check_job(obj)
                continue
            owners = list(self.all_of(REPLICA_SETS, obj)) if kind is DEPLOYMENTS else [obj]
            pods = [pod for owner in owners for pod in self.all_of(PODS, owner)]
            assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [image] * len(pods), name
            if kind is DAEMON_SETS:
                assert sorted(pod["spec"]["nodeName"] for pod in pods) == list(NAMES)
                assert obj["status"]["numberReady"] == len(NAMES)
                continue
            assert len(pods) == replicas, name
            assert obj["status"].get("readyReplicas", 0) == replicas
            if kind is STATEFUL_SETS:
                assert sorted(pod["metadata"]["name"] for pod in pods) == [f"{name}-{n}" for n in range(replicas)]

    def _check_job(self, job: Obj) -> None:
        status = job["status"]
        assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
        assert status["succeeded"] == 3 == self.succeeded[job["metadata"]["uid"]]
        assert (status.get("failed", 0), status["uncountedTerminatedPods"]) == (0, {})
        assert not any(pod["metadata"].get("finalizers") for pod in self.all_of(PODS, job))


def _ended(pod: Obj) -> None:
    del pod["metadata"]["deletionGracePeriodSeconds"]
    pod["status"]["phase"] = "Failed"


def controllers(context: Any) -> list[Any]:
    return [
        DeploymentController(context),
        ReplicaSetController(context, REPLICA_SET),
        DaemonSetController(context),
        StatefulSetController(context),
        JobController(context),
        GarbageCollector(context),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_end_is_exact_however_often_all_controllers_are_killed(
    make_api: Any, make_context: Any, run_with: Callable[..., Any], wait: Any, seed: int
) -> None:
    """100 lives of all controllers, each ended after some writes, wherever they were; 40 objects of mixed kinds come,
    change and go meanwhile."""

    async def scenario() -> None:
        api = make_api()
        world = World(api, seed)
        for _ in range(100):
            limit = len(api.log) + world.chance.randint(1, 12)
            await world.user()
            context = make_context(api)
            async with run_with(context, *controllers(context)):
                calm = 0
                while len(api.log) < limit and calm < 40:
                    before = api.revision
                    await wait.quiet(api, turns=1)
                    calm = calm + 1 if api.revision == before else 0
            world.nodes(0.3)
        context = make_context(api)
        async with run_with(context, *controllers(context)):
            before = -1
            while before != api.revision:
                before = api.revision
                world.nodes(1.0)
                await wait.quiet(api)
        world.check()

    virtual.run(scenario())
