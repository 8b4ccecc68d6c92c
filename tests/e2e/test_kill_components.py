"""Each part of a cluster is killed, stopped or made to fail while an application serves through a Service by its name.

The others go on, the broken one comes back by itself, and nothing is started again that was healthy. How long each took
is printed; it is held to five seconds where the machine has nothing else to do.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import Cluster, Kubectl, build_demo_image, eventually, faults_in_logs, own_name, up
from e2e_manifests import pod, web
from test_rollouts import Load

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

#: A machine that does other work is allowed to be slower.
BACK_SECONDS = 5.0
#: What processes say of the faults that these tests make.
STRUCK = ("failed; it is started again",)
PROCESSES = ("server", "node", "dns")
WEB = "web.default.svc.cluster.local"
NAME = own_name("kil", os.getpid())


class Parts:
    """The cluster's processes and components, as the files in /run tell of them."""

    def __init__(self, name: str, faults: Path) -> None:
        self.run = Path("/run/sampan") / name
        self.faults = faults

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.run / "status.json").read_text()))

    def processes(self) -> dict[str, tuple[int | None, int]]:
        """Pid and restarts of each."""
        return {name: (each["pid"], each["restarts"]) for name, each in self.status()["processes"].items()}

    def supervisor(self) -> int:
        return int(self.status()["supervisor"])

    def failures(self) -> dict[str, int]:
        """Of components that have failed and run again, by ``process/component``; -1: waits to be started again."""
        found: dict[str, int] = {}
        for process in PROCESSES:
            for each in json.loads((self.run / "health" / f"{process}.json").read_text())["failed"]:
                found[f"{process}/{each['name']}"] = each["failures"] if each["running"] else -1
        return found

    def components(self) -> set[str]:
        """That live just now, and are to live for ever."""
        alive = self.faults / "alive"
        return {
            f"{process.name}/{each.name.replace('%', '/')}" for process in alive.iterdir() for each in process.iterdir()
        }

    def strike(self, component: str) -> None:
        process, _, name = component.partition("/")
        (self.faults / process).mkdir(parents=True, exist_ok=True)
        (self.faults / process / name.replace("/", "%")).touch()


@pytest.fixture(scope="module")
def own(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Parts]]:
    """A cluster of this module's own, whose components can be made to fail."""
    home = tmp_path_factory.mktemp("killed")
    here = Path(__file__).parent / "faults"
    environment = {
        "SAMPAN_TEST_FAULTS": str(home / "faults"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(here), os.environ.get("PYTHONPATH", "")))),
    }
    made = dataclasses.replace(cluster, kubeconfig=home / "kubeconfig", home=home, name=NAME, extra=environment)
    try:
        up(made)
        build_demo_image(made)
        yield made, Parts(NAME, home / "faults")
    finally:
        if keep := os.environ.get("SAMPAN_KEEP_LOGS"):
            subprocess.run(["cp", "-r", f"/var/lib/sampan/{NAME}/logs", f"{keep}/killed"], check=False)
        faults = faults_in_logs(NAME, STRUCK)
        made.sampan("down", "--name", NAME, "--purge")
    assert not faults, "the cluster's processes logged at error level:\n" + "\n".join(faults)


@pytest.fixture(scope="module")
def kubectl(own: tuple[Cluster, Parts]) -> Kubectl:
    """With an application that serves, and a pod that asks for it by name."""
    admin = Kubectl(Path("kubectl"), own[0], "default")
    eventually(lambda: admin.run("get", "serviceaccount", "default", check=False).returncode == 0)
    admin("apply", "-f", "-", stdin=web(replicas=2))
    admin("apply", "-f", "-", stdin=pod("client"))
    admin("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    admin("wait", "pod/client", "--for=condition=Ready", "--timeout=90s")
    return admin


@pytest.fixture
def parts(own: tuple[Cluster, Parts]) -> Parts:
    return own[1]


@contextmanager
def serving(kubectl: Kubectl, *, by_name: bool = True) -> Iterator[None]:
    """Inside, the application is asked all the time: from the machine by address, from a pod by name."""
    address = kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    kubectl("exec", "client", "--", "sh", "-c", "rm -f /stop /log")
    get = f"wget -qO- http://{address}/ >/dev/null 2>&1"
    if by_name:  # a static busybox finds names by its nslookup alone
        get = f"nslookup {WEB} 2>&1 | grep -q {address} && {get}"
    loop = f"while [ ! -e /stop ]; do {get} && echo ok || echo failed; sleep 0.05; done; echo ended"
    kubectl("exec", "client", "--", "sh", "-c", f"({loop}) >/log 2>&1 </dev/null &")
    before = containers(kubectl)
    with Load(f"http://{address}/", threads=2) as load:
        eventually(lambda: load.answered > 5)
        yield
        eventually(lambda: kubectl.run("exec", "client", "--", "touch", "/stop", check=False).returncode == 0)
        eventually(lambda: "ended" in kubectl("exec", "client", "--", "cat", "/log"))
    assert load.failures == []
    assert set(kubectl("exec", "client", "--", "cat", "/log").split()) == {"ok", "ended"}
    assert containers(kubectl) == before


def containers(kubectl: Kubectl) -> dict[str, tuple[str, int]]:
    return {
        each["metadata"]["name"]: (each["status"]["containerStatuses"][0]["containerID"],
                                   each["status"]["containerStatuses"][0]["restartCount"])
        for each in kubectl.json("get", "pods")["items"]
        if each["metadata"]["name"].startswith(("web-", "client"))
    }  # fmt: skip


def back_within(what: str, condition: Callable[[], Any]) -> None:
    began = time.monotonic()
    eventually(condition, every=0.02)
    took = time.monotonic() - began
    sys.stderr.write(f"\n{what}: back after {took:.2f} s (load {os.getloadavg()[0]:.1f})\n")
    assert_quick(took)


def assert_quick(took: float) -> None:
    if os.getloadavg()[0] <= (os.cpu_count() or 1) / 2:
        assert took < BACK_SECONDS


def works(kubectl: Kubectl, program: str) -> Callable[[], bool]:
    """Whether the program does its work."""

    def succeeds(*arguments: str) -> bool:
        return kubectl.run(*arguments, check=False, timeout=20).returncode == 0

    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    questions = {
        "server": ("get", "--raw", "/readyz"),
        "node": ("get", "--raw", f"/api/v1/nodes/{node}/proxy/healthz"),
        "containerd": ("exec", "client", "--", "true"),
        "dns": ("exec", "client", "--", "nslookup", WEB),
    }
    return lambda: succeeds(*questions[program])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("program", ["server", "node", "dns", "containerd"])
def test_a_program_comes_back_alone(kubectl: Kubectl, parts: Parts, program: str, number: signal.Signals) -> None:
    works_again = works(kubectl, program)
    before = parts.processes()
    pid, restarts = before[program]
    assert pid is not None
    # While DNS itself is away no name is found.
    with serving(kubectl, by_name=program != "dns"):
        os.kill(pid, number)
        back_within(
            f"{program} {number.name}",
            lambda: parts.processes()[program][0] not in (None, pid) and works_again(),
        )
    after = parts.processes()
    assert after.pop(program)[1] == restarts + 1
    before.pop(program)
    assert after == before


def test_a_dead_supervisor_is_replaced_by_its_programs_and_adopts_them(
    own: tuple[Cluster, Parts], kubectl: Kubectl, parts: Parts
) -> None:
    before, first = parts.processes(), parts.supervisor()
    with serving(kubectl):
        os.kill(first, signal.SIGKILL)
        back_within("supervisor", lambda: parts.supervisor() != first and parts.processes() == before)
    # The new one watches over them.
    pid, restarts = before["dns"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: parts.processes()["dns"][1] == restarts + 1 and parts.processes()["dns"][0] not in (None, pid))
    eventually(lambda: own[0].sampan("status", "--name", NAME, check=False).returncode == 0)


#: Others are made anew with these. The scheduler comes first: of Events of one kind a node has so many and no more.
ABOVE_OTHERS = ("server/scheduler", "server/controllers", "node/node")
#: While it is away nobody finds a name.
NAMES = "dns/server"


def test_every_component_fails_alone_and_says_so(own: tuple[Cluster, Parts], kubectl: Kubectl, parts: Parts) -> None:
    processes, all_of_them = parts.processes(), parts.components()
    known = parts.failures()
    assert {"server/deployment-controller", "node/node-agent/relist", NAMES, *ABOVE_OTHERS} <= all_of_them
    above = [each for each in sorted(all_of_them) if any(other.startswith(f"{each}/") for other in all_of_them)]
    with serving(kubectl):
        for component in (*ABOVE_OTHERS, *(each for each in above if each not in ABOVE_OTHERS)):
            strike_each(parts, [component])
        # Whatever they consist of runs again.
        eventually(lambda: all_of_them <= parts.components())
        eventually(lambda: "scheduler failed and is started again" in kubectl("get", "events", "-o", "yaml"))
        strike_each(parts, sorted(all_of_them - {*above, *ABOVE_OTHERS, NAMES}))
        # They do their work: what is asked for now is done.
        kubectl("create", "deployment", "later", "--image=docker.io/sampan/e2e:1", "--", "sleep", "3600")
        kubectl("rollout", "status", "deployment/later", "--timeout=90s", timeout=100)
    with serving(kubectl, by_name=False):
        strike_each(parts, [NAMES])
    assert parts.processes() == processes
    assert {name: count for name, count in parts.failures().items() if count > known.get(name, 0) + 1} == {}
    said = own[0].sampan("status", "--name", NAME).stdout
    assert "scheduler: failed 1 times" in said and "runs again" in said
    metrics = kubectl("get", "--raw", "/metrics")
    assert 'sampan_component_failures_total{component="scheduler"} 1.0' in metrics
    kubectl("delete", "deployment", "later")


def strike_each(parts: Parts, components: Sequence[str]) -> None:
    """Makes each fail once, of each process one at a time. They run again, and none has failed besides."""
    known = parts.failures()
    away: dict[str, float] = {}
    took: dict[str, float] = {}

    def look() -> None:
        now, failures = time.monotonic(), parts.failures()
        for each in components:
            count, before = failures.get(each, 0), known.get(each, 0)
            if count != before:
                away.setdefault(each, now)
            if count == before + 1:
                took.setdefault(each, now - away[each])

    def are_in(which: Mapping[str, float], group: Sequence[str]) -> bool:
        look()
        return which.keys() >= set(group)

    of_each = ([name for name in components if name.startswith(f"{process}/")] for process in PROCESSES)
    for side_by_side in itertools.zip_longest(*of_each):
        group = [each for each in side_by_side if each is not None]
        for each in group:
            parts.strike(each)
        eventually(partial(are_in, away, group), every=0.02)
    eventually(partial(are_in, took, components), every=0.02)
    last = max(took, key=lambda each: took[each])
    sys.stderr.write(f"\n{len(took)} components failed; {last} was away longest: {took[last]:.2f} s\n")
    assert_quick(took[last])
    assert {name: count for name, count in parts.failures().items() if name not in took}.items() <= known.items()


def test_controllers_that_fail_amid_their_work_do_it_once(kubectl: Kubectl, parts: Parts) -> None:
    names = ("deployment-controller", "replicaset-controller", "scheduler", "endpointslice-controller")
    kubectl("create", "deployment", "many", "--image=docker.io/sampan/e2e:1", "--", "sleep", "3600")
    for replicas in (2, 5, 3, 8):
        kubectl("scale", "deployment/many", f"--replicas={replicas}")
        for name in names:
            parts.strike(f"server/{name}")
    kubectl("rollout", "status", "deployment/many", "--timeout=120s", timeout=130)

    def settled() -> bool:
        pods = [
            each for each in kubectl.json("get", "pods", "-l", "app=many")["items"]
            if "deletionTimestamp" not in each["metadata"]
        ]  # fmt: skip
        sets = kubectl.json("get", "rs", "-l", "app=many")["items"]
        return len(pods) == 8 and len(sets) == 1 and all(each["status"]["phase"] == "Running" for each in pods)

    eventually(settled)
    kubectl("delete", "deployment", "many")
