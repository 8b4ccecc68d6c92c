"""Two schedulers: whatever becomes of the leader, another takes over within 20 s and never do two bind pods."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import suite_samples
from election_world import Process, Schedule, run, schedules

from sampan.api.errors import AlreadyExists
from sampan.api.resources import NODES, PODS, SERVICE_ACCOUNTS
from sampan.client.client import Client
from sampan.client.leaderelection import Term
from sampan.scheduler.scheduler import run_scheduler

pytestmark = pytest.mark.timeout(120)

#: each test goes through so many schedules, over one API server
EACH = 5


async def schedule(process: Process, term: Term, client_for: Callable[[str], Client]) -> None:
    await run_scheduler(client_for("system:kube-scheduler"), clock=process.timeline, random=random.Random(1))


class Schedulers(Schedule):
    """Each pod wants a node."""

    user, work = "system:kube-scheduler", schedule

    async def prepare(self) -> None:
        account = {
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {"name": "default", "namespace": "default"},
        }
        room = {"cpu": "64", "memory": "64Gi", "pods": "1000"}
        node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "one"}, "status": {"allocatable": room}}
        try:
            await self.admin.create(SERVICE_ACCOUNTS, account)
            await self.admin.create(NODES, node)
        except AlreadyExists:  # of an earlier schedule
            return
        await self.admin.patch(NODES, "one", {"spec": {"taints": None}})

    async def make(self, name: str) -> None:
        meta = {"name": name, "namespace": "default"}
        spec = {"containers": [{"name": "c", "image": "any"}], "automountServiceAccountToken": False}
        await self.admin.create(PODS, {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec})

    async def is_done(self, name: str) -> bool:
        return bool((await self.admin.get(PODS, name, "default"))["spec"].get("nodeName"))


@pytest.mark.parametrize("first", range(1000, 1000 + suite_samples.of(80, 30), EACH))
def test_another_takes_over_within_twenty_seconds_and_never_do_two_bind(first: int) -> None:
    run(schedules(Schedulers, range(first, first + EACH)))
