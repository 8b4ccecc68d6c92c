"""Managers and schedulers as processes of their own: killed, stopped, told to end; and beside others' elections."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from election_programs import Api, api
from kubernetes import config as official_config
from kubernetes.client import CoordinationV1Api
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.resources import LEASES, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.leaderelection import ElectionConfig, LeaderElector, Term

pytestmark = pytest.mark.timeout(150)  # programs start, and leases run out in real time

SYSTEM = "kube-system"


def holder(lease: Obj) -> str:
    return str(lease["spec"].get("holderIdentity") or "")


async def until_led(made: Api, lease: str, *, other_than: str = "") -> str:
    found = await made.until(LEASES, SYSTEM, lease, lambda each: holder(each) not in ("", other_than))
    return holder(found)


async def account(made: Api, namespace: str) -> None:
    """Somebody manages: a namespace gets its account."""
    await made.admin.create(NAMESPACES, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}})
    await made.until(SERVICE_ACCOUNTS, namespace, "default", lambda each: True)


async def test_managers_take_over_from_one_that_is_killed_and_from_one_that_stands_still(tmp_path: Path) -> None:
    """Each controller writes as its own account, the program itself with upstream's role and no more."""
    async with api(tmp_path) as made:
        first = await made.start("controller-manager")
        one = await until_led(made, "kube-controller-manager")
        await account(made, "n1")
        second = await made.start("controller-manager")
        third = await made.start("controller-manager")
        await account(made, "n2")
        assert holder(await made.admin.get(LEASES, "kube-controller-manager", SYSTEM)) == one
        first.kill()
        two = await until_led(made, "kube-controller-manager", other_than=one)
        await account(made, "n3")
        leader = await who_leads(two, second, third)
        leader.send_signal(signal.SIGSTOP)
        three = await until_led(made, "kube-controller-manager", other_than=two)
        await account(made, "n4")
        leader.send_signal(signal.SIGCONT)
        assert await leader.wait() == 1
        assert leader.stderr is not None
        assert "leaderelection lost" in (await leader.stderr.read()).decode()
        assert holder(await made.admin.get(LEASES, "kube-controller-manager", SYSTEM)) == three
        # Told to end, it gives the lease back.
        last = third if leader is second else second
        last.terminate()
        assert await last.wait() == 0
        lease = await made.admin.get(LEASES, "kube-controller-manager", SYSTEM)
        assert (holder(lease), lease["spec"]["leaseTransitions"]) == ("", 2)


async def who_leads(identity: str, *programs: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
    """The program that says of itself that it leads under this name."""

    async def says_so(program: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
        assert program.stderr is not None
        while f"{identity} leads by lease" not in (line := (await program.stderr.readline()).decode()):
            assert line, "it ended"
        return program

    asked = [asyncio.ensure_future(says_so(program)) for program in programs]
    done, others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    await tasks.cancel_and_wait(*others)
    return done.pop().result()


async def test_a_scheduler_takes_over_from_one_that_is_killed(tmp_path: Path) -> None:
    async with api(tmp_path) as made:
        meta = {"name": "default", "namespace": "default"}
        await made.admin.create(SERVICE_ACCOUNTS, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta})
        room = {"cpu": "8", "memory": "8Gi", "pods": "100"}
        node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "one"}, "status": {"allocatable": room}}
        await made.admin.create(NODES, node)
        await made.admin.patch(NODES, "one", {"spec": {"taints": None}})

        async def bound(name: str) -> None:
            spec = {"containers": [{"name": "c", "image": "any"}], "automountServiceAccountToken": False}
            pod = {
                "kind": "Pod",
                "apiVersion": "v1",
                "metadata": {"name": name, "namespace": "default"},
                "spec": spec,
            }
            await made.admin.create(PODS, pod)
            await made.until(PODS, "default", name, lambda each: bool(each["spec"].get("nodeName")))

        first = await made.start("scheduler")
        one = await until_led(made, "kube-scheduler")
        await bound("p1")
        await made.start("scheduler")
        first.kill()
        await until_led(made, "kube-scheduler", other_than=one)
        await bound("p2")


class Theirs:
    """The official Python library's candidate, in a thread."""

    def __init__(self, kubeconfig: Path, lease: str) -> None:
        official_config.load_kube_config(str(kubeconfig))
        self.leads, self.ends = threading.Event(), threading.Event()
        lock = LeaseLock(lease, SYSTEM, "theirs")
        config = electionconfig.Config(lock, 4, 3, 1, self._lead, self.stopped)
        self._election: Any = leaderelection.LeaderElection(config)
        self._thread = threading.Thread(target=self._election.run, name="their election")
        self._api: CoordinationV1Api = lock.api_instance

    def _lead(self) -> None:
        self.leads.set()
        self.ends.wait()
        raise RuntimeError("it has had enough")

    def stopped(self) -> None:
        self.leads.clear()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.ends.set()
        self._thread.join()
        self._api.api_client.rest_client.pool_manager.clear()


@pytest.mark.logs_errors("onstarted_leading raised an exception")
async def test_candidates_of_the_official_library_and_ours_wait_for_each_other(tmp_path: Path) -> None:
    async with api(tmp_path) as made:
        client = Client(HttpTransport(made.connection()))
        config = ElectionConfig(SYSTEM, "shared", "ours", 4, 3, 1)
        leading = asyncio.Event()

        async def lead(term: Term) -> None:
            leading.set()
            try:
                await tasks.forever()
            finally:
                leading.clear()

        def ours() -> asyncio.Task[None]:
            return asyncio.ensure_future(LeaderElector(client, config, SystemClock(), SystemRandom()).run(lead))

        async def renewals(of: str, number: int) -> None:
            seen: set[str] = set()

            def counted(lease: Obj) -> bool:
                if holder(lease) == of:
                    seen.add(lease["spec"]["renewTime"])
                return len(seen) > number

            await made.until(LEASES, SYSTEM, "shared", counted)

        task = ours()
        await leading.wait()
        theirs = await asyncio.to_thread(Theirs, made.kubeconfig(), "shared")
        theirs.start()
        try:
            await renewals("ours", 6)
            assert leading.is_set() and not theirs.leads.is_set()
            await tasks.cancel_and_wait(task)
            await asyncio.to_thread(theirs.leads.wait)
            task = ours()
            await renewals("theirs", 6)
            assert theirs.leads.is_set() and not leading.is_set()
        finally:
            await asyncio.to_thread(theirs.end)
        # It gave nothing back: the lease has to run out.
        await leading.wait()
        await tasks.cancel_and_wait(task)
        await client.close()
