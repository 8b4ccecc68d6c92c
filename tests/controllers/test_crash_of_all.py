"""The whole manager, killed again and again while 40 objects of mixed kinds come, change and go: the end is exact.

Time is virtual and everything is decided by a seed. A life of the manager ends at a random moment: after some writes
of its own, in the middle of whatever it does, or after some seconds. Nodes and users never pause.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import suite_samples

from sampan.api.clock import format_time
from sampan.api.resources import (
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    LEASES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from sampan.client.client import Client
from sampan.client.timeline import Timeline
from sampan.controllers.daemonset import facts as daemons
from sampan.controllers.manager import run_controllers
from sampan.testing import virtual

pytestmark = pytest.mark.timeout(120)

Obj = dict[str, Any]
LONG_AGO = "2026-01-01T00:00:00Z"
NAMES = ("n0", "n1", "n2")
#: how many of each: 40 objects
KINDS: dict[Resource, int] = {
    DEPLOYMENTS: 6, REPLICA_SETS: 4, REPLICATION_CONTROLLERS: 4, DAEMON_SETS: 4, STATEFUL_SETS: 6, JOBS: 6,
    CRON_JOBS: 4, SERVICES: 3, POD_DISRUPTION_BUDGETS: 3,
}  # fmt: skip
OF_PODS = (DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, DAEMON_SETS, STATEFUL_SETS)
#: all of them kill it 300 times
SEEDS, LIVES = suite_samples.of(12, 4), 25


def manifest(resource: Resource, name: str) -> Obj:
    """Each third of the objects is selected by one Service and one budget."""
    tier = name[-1:] if resource in (SERVICES, POD_DISRUPTION_BUDGETS) else str(int(name[-1]) % 3)
    labels = {"app": name, "tier": tier}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}
    spec: Obj = {"selector": {"matchLabels": {"app": name}}, "template": template, "replicas": 3}
    if resource is DEPLOYMENTS:
        rolling = {"maxSurge": 1, "maxUnavailable": 1}
        spec |= {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}, "progressDeadlineSeconds": 600}
    elif resource is REPLICATION_CONTROLLERS:
        spec["selector"] = {"app": name}
    elif resource is DAEMON_SETS:
        spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    elif resource is STATEFUL_SETS:
        policy = "Parallel" if name.endswith(("1", "3")) else "OrderedReady"
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        spec |= {"serviceName": "s", "podManagementPolicy": policy, "updateStrategy": rolling}
    elif resource is JOBS:
        spec = _job(spec["selector"], template, "Indexed" if name.endswith(("1", "3")) else "NonIndexed", 3)
    elif resource is CRON_JOBS:
        job = {"metadata": {}, "spec": _job(None, template, "NonIndexed", 1)}
        spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": job}
        spec |= {"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1, "suspend": False}
    elif resource is SERVICES:
        spec = {"selector": {"tier": tier}, "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]}
        spec |= {"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"]}
    elif resource is POD_DISRUPTION_BUDGETS:
        spec = {"selector": {"matchLabels": {"tier": tier}}, "minAvailable": 1}
    if resource in OF_PODS:
        spec["revisionHistoryLimit"] = 10
    return {"metadata": {"name": name, "namespace": "default", "generation": 1}, "spec": spec}


def _job(selector: Obj | None, template: Obj, mode: str, completions: int) -> Obj:
    template["spec"]["restartPolicy"] = "Never"
    spec: Obj = {"template": template, "parallelism": 2, "completions": completions, "backoffLimit": 100}
    return spec | {"completionMode": mode} | ({"selector": selector} if selector else {})


class World:
    """The API, what nodes and users do with it, and what should be there at the end."""

    def __init__(self, api: Any, clock: Timeline, seed: int) -> None:
        self.api, self.clock, self.client, self.chance = api, clock, Client(api), random.Random(seed)
        for name in NAMES:
            ready = [{"type": "Ready", "status": "True", "lastHeartbeatTime": LONG_AGO}]
            api.add(NODES, {"metadata": {"name": name, "labels": {}}, "spec": {}, "status": {"conditions": ready}})
            api.add(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": "0"}})
        #: (replicas, image) by kind and name
        self.wanted: dict[tuple[Resource, str], tuple[int, str]] = {}
        #: pods of a Job that succeeded
        self.succeeded: Counter[str] = Counter()
        self.left = [(kind, f"{kind.kind.lower()}-{n}") for kind, number in KINDS.items() for n in range(number)]
        self.chance.shuffle(self.left)
        #: whether they go on making changes
        self.users = True
        self._addresses = 0

    async def live(self) -> None:
        """Nodes and users, until cancelled."""
        while True:
            await self.clock.sleep(self.chance.uniform(0.1, 4.0))
            if self.users and self.chance.random() < 0.4:
                await self.user()
            self.nodes(0.3)

    async def heartbeats(self) -> None:
        """Of all nodes, until cancelled; and the API's own clock."""
        while True:
            now = str(self.clock.monotonic())
            for name in NAMES:
                self.api.change(LEASES, "kube-node-lease", name, lambda obj, now=now: obj["spec"].update(renewTime=now))
            for _ in range(10):
                self.api.now = format_time(self.clock.now())
                await self.clock.sleep(1)

    async def user(self) -> None:
        """One object comes, changes or goes."""
        if self.left and (not self.wanted or self.chance.random() < 0.6):
            resource, name = self.left.pop()
            self.wanted[resource, name] = (3, "v1")
            self.api.add(resource, manifest(resource, name))
            return
        resource, name = self.chance.choice(list(self.wanted))
        if self.chance.random() < 0.15:
            del self.wanted[resource, name]
            policy = self.chance.choice(["Background", "Foreground"])
            await self.client.delete(resource, name, "default", propagation=policy)
            return
        if resource not in OF_PODS:
            return
        changed = (self.chance.randint(0, 4), self.chance.choice(["v1", "v2", "v3"]))
        if resource in (REPLICA_SETS, REPLICATION_CONTROLLERS):
            changed = (changed[0], "v1")  # their pods are never replaced
        self.wanted[resource, name] = changed

        def edit(obj: Obj) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = changed[1]
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

    async def step(self, manager: Manager) -> bool:
        """Nodes do all that they can, and a life of the manager. Whether anything was done but telling of nodes."""
        before, written = self.api.revision, len(self.api.log)
        self.nodes(1.0)
        moved = self.api.revision != before
        await manager.life(float("inf"), 20.0)
        return moved or any(plural != "events" for _, plural, _ in self.api.log[written:])

    def _running(self, pod: Obj) -> None:
        self._addresses += 1
        address = f"10.244.{self._addresses // 250}.{self._addresses % 250}"
        pod["spec"]["nodeName"] = daemons.target_node(pod) or self.chance.choice(NAMES)
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}
        pod["status"] = {"phase": "Running", "conditions": [ready], "podIP": address}

    def suspend(self) -> None:
        """No CronJob starts anything any longer."""
        for each in self.api.all(CRON_JOBS):
            self.api.change(
                CRON_JOBS, "default", each["metadata"]["name"], lambda obj: obj["spec"].update(suspend=True)
            )

    def all_of(self, resource: Resource, owner: Obj) -> Iterator[Obj]:
        for each in self.api.all(resource):
            if each["metadata"].get("ownerReferences", [{}])[0].get("uid") == owner["metadata"]["uid"]:
                yield each

    def check(self) -> None:
        assert not self.left and {kind for kind, _ in self.wanted} == set(KINDS), "there is something to check"
        free = {
            (kind, each["metadata"]["name"])
            for kind in KINDS
            for each in self.api.all(kind)
            if not each["metadata"].get("ownerReferences")
        }
        assert free == set(self.wanted)
        living = {each["metadata"]["uid"] for kind in KINDS for each in self.api.all(kind)}
        for kind in (PODS, REPLICA_SETS, JOBS, CONTROLLER_REVISIONS, ENDPOINT_SLICES):
            for each in self.api.all(kind):
                owners = each["metadata"].get("ownerReferences") or []
                if kind in KINDS and not owners:
                    continue
                [owner] = owners
                assert owner["uid"] in living, f"{each['metadata']['name']} is an orphan"
        for (kind, name), (replicas, image) in self.wanted.items():
            obj = self.api.get(kind, "default", name)
            if kind in OF_PODS:
                self._check_pods(kind, obj, replicas, image)
            elif kind is JOBS:
                self._check_job(obj, 3)
            elif kind is CRON_JOBS:
                self._check_cron_job(obj)
            elif kind is SERVICES:
                self._check_service(obj)
            else:
                ready = self._of_tier(obj["spec"]["selector"]["matchLabels"]["tier"])
                assert obj["status"]["currentHealthy"] == len(ready), name
                assert obj["status"]["disruptionsAllowed"] == max(0, len(ready) - 1), name

    def _check_pods(self, kind: Resource, obj: Obj, replicas: int, image: str) -> None:
        name, status = obj["metadata"]["name"], obj["status"]
        owners = list(self.all_of(REPLICA_SETS, obj)) if kind is DEPLOYMENTS else [obj]
        pods = [pod for owner in owners for pod in self.all_of(PODS, owner)]
        assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [image] * len(pods), name
        if kind is DAEMON_SETS:
            assert sorted(pod["spec"]["nodeName"] for pod in pods) == list(NAMES)
            assert status["numberReady"] == status["updatedNumberScheduled"] == len(NAMES)
            return
        assert len(pods) == replicas, name
        assert status.get("readyReplicas", 0) == status.get("replicas", 0) == replicas, name
        if kind is STATEFUL_SETS:
            assert sorted(pod["metadata"]["name"] for pod in pods) == [f"{name}-{n}" for n in range(replicas)]

    def _check_job(self, job: Obj, completions: int) -> None:
        status = job["status"]
        assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
        assert status["succeeded"] == completions == self.succeeded[job["metadata"]["uid"]]
        assert (status.get("failed", 0), status["uncountedTerminatedPods"]) == (0, {})
        if job["spec"]["completionMode"] == "Indexed":
            assert status["completedIndexes"] == "0-2"
        assert not any(pod["metadata"].get("finalizers") for pod in self.all_of(PODS, job))

    def _check_cron_job(self, cron: Obj) -> None:
        jobs = list(self.all_of(JOBS, cron))
        assert len(jobs) == 2, "as many are kept as the limit of its history says"
        for job in jobs:
            self._check_job(job, 1)
        times = [job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] for job in jobs]
        assert len(set(times)) == 2
        assert not cron["status"].get("active")
        assert cron["status"]["lastScheduleTime"] == max(times)

    def _check_service(self, service: Obj) -> None:
        held = [
            endpoint["addresses"][0]
            for each in self.all_of(ENDPOINT_SLICES, service)
            for endpoint in each["endpoints"]
            if endpoint["conditions"]["ready"]
        ]
        ready = self._of_tier(service["spec"]["selector"]["tier"])
        assert sorted(held) == sorted(pod["status"]["podIP"] for pod in ready)

    def _of_tier(self, tier: str) -> list[Obj]:
        running = [pod for pod in self.api.all(PODS) if pod["status"]["phase"] == "Running"]
        return [pod for pod in running if pod["metadata"]["labels"].get("tier") == tier]


def _ended(pod: Obj) -> None:
    del pod["metadata"]["deletionGracePeriodSeconds"]
    pod["status"]["phase"] = "Failed"


class Manager:
    def __init__(self, api: Any, clock: Timeline, seed: int) -> None:
        self._api, self._clock, self._seed = api, clock, seed

    async def life(self, writes: float, seconds: float) -> None:
        """Ends, wherever it is, after so many writes or seconds."""
        enough = asyncio.Event()
        limit = len(self._api.log) + writes

        def written(*call: str) -> None:
            if len(self._api.log) >= limit:
                enough.set()

        self._api.on_write = written
        work = asyncio.ensure_future(
            run_controllers(Client(self._api), clock=self._clock, random=random.Random(self._seed))
        )
        await self._clock.wait(enough, seconds)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled(), work.exception()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_end_is_exact_however_often_the_manager_is_killed(
    make_api: Any, virtual_clock: Callable[[], Timeline], seed: int
) -> None:
    """25 lives of the manager for each seed, among 40 objects of nine kinds."""

    async def scenario() -> None:
        api, clock = make_api(), virtual_clock()
        world, manager = World(api, clock, seed), Manager(api, clock, seed)
        beating, living = asyncio.ensure_future(world.heartbeats()), asyncio.ensure_future(world.live())
        for _ in range(LIVES):
            if world.chance.random() < 0.7:
                await manager.life(world.chance.randint(1, 40), 30.0)
            else:
                await manager.life(float("inf"), world.chance.uniform(0.0, 30.0))
        while world.left:
            await world.user()
        world.users = False
        await manager.life(float("inf"), 200.0)
        living.cancel()
        await asyncio.wait([living])
        world.suspend()
        while await world.step(manager):
            pass
        beating.cancel()
        await asyncio.wait([beating])
        world.check()

    virtual.run(scenario())
