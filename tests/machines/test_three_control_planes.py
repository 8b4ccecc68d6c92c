"""Three control planes with a member of etcd each, and workers: what dies is not missed by those who retry.

``SAMPAN_WORKERS`` says how many workers (1), ``SAMPAN_CONTROL`` how many control planes (3; with 1, what concerns
several is skipped); with ``SAMPAN_LONG=1`` also what takes minutes: a worker that dies, a volume that is back with it.
Requirement shown here: "[sig-node] NodeLease", and StatefulSet's "should perform ...
recreate", as far as machines that die show them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import evidence
import pytest
from e2e_harness import DEMO_IMAGE, Kubectl, eventually
from e2e_manifests import pod
from load import Caller, Writer, running
from machines_lab import (
    Machine,
    Machines,
    pods_run,
    reaches,
    skip_where_there_can_be_none,
)
from suite_sweep import sweep

WORKERS = int(os.environ.get("SAMPAN_WORKERS", "1"))
LONG = os.environ.get("SAMPAN_LONG") == "1"
#: Three seconds on a quiet machine; this one may have other things to do.
LONGEST_GAP = 3.0 * float(os.environ.get("SAMPAN_TEST_PATIENCE", "3"))
CONTROL = int(os.environ.get("SAMPAN_CONTROL", "3"))
SERVE = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"
long = pytest.mark.skipif(not LONG, reason="takes minutes: SAMPAN_LONG=1")
several = pytest.mark.skipif(CONTROL < 3, reason="one of three control planes dies or leaves: SAMPAN_CONTROL=3")
log = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """The first are control planes, the others workers."""
    skip_where_there_can_be_none()
    sweep()
    lab = Machines(tmp_path_factory.mktemp("three"), CONTROL + WORKERS, kind="mct")
    try:
        lab.wire()
        lab.init(CONTROL)
        yield lab
    finally:
        left = lab.close()
    assert not left, "a purge left:\n" + "\n".join(left)


@pytest.fixture
def kubectl(made: Machines) -> Iterator[Kubectl]:
    """At m2's server when m1 is away."""
    run = made.cluster.kubectl("default")
    yield run
    for kind in ("statefulset", "deployment", "service", "pod", "configmap"):
        with contextlib.suppress(AssertionError):
            run("delete", kind, "--all", "--wait=false", "--grace-period=0", "--force")


def servers(made: Machines) -> list[str]:
    return [made.server(machine) for machine in made.each[:CONTROL]]


def ready(kubectl: Kubectl) -> dict[str, str]:
    rows = kubectl("get", "nodes", "--no-headers").splitlines()
    return {row.split()[0]: row.split()[1] for row in rows}


def at(made: Machines, machine: Machine) -> tuple[str, ...]:
    """Words for kubectl: ask this control plane's server."""
    return ("--server", made.server(machine))


def test_every_server_answers_for_the_whole_cluster(made: Machines, kubectl: Kubectl) -> None:
    wanted = {machine.node_name: "Ready" for machine in made.each}
    eventually(lambda: ready(kubectl) == wanted)
    found = kubectl.json("get", "endpointslice", "kubernetes")
    addresses = sorted(address for endpoint in found["endpoints"] for address in endpoint["addresses"])
    assert addresses == [machine.ipv4 for machine in made.each[:CONTROL]]
    worker = made[CONTROL + 1]
    kubectl("apply", "-f", "-", stdin=pod("far", f"echo said; {SERVE}", f"nodeName: {worker.node_name}"))
    pods_run(kubectl, ["far"])
    for machine in made.each[:CONTROL]:
        assert kubectl(*at(made, machine), "logs", "far") == "said\n"
        assert kubectl(*at(made, machine), "exec", "far", "--", "echo", "here") == "here\n"
    kubectl("expose", "pod", "far", "--port=80", "--target-port=8080")
    assert reaches(kubectl, "far", "http://far.default.svc.cluster.local") == "far\n"


@pytest.fixture
def service(made: Machines, kubectl: Kubectl) -> Iterator[str]:
    """The URL of a Service on the worker, as the outside calls it."""
    name = made[CONTROL + 1].node_name
    kubectl("apply", "-f", "-", stdin=pod("web", SERVE, f"nodeName: {name}"))
    pods_run(kubectl, ["web"])
    kubectl("expose", "pod", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    port = kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    url = f"http://{made[CONTROL + 1].ipv4}:{port}"
    said = ""

    def reached() -> bool:
        nonlocal said
        said = fetched(made.outside, url)
        return said == "web\n"

    try:
        eventually(reached)
    except AssertionError as error:
        found = evidence.of_service(kubectl, servers(made), made[CONTROL + 1], port)
        raise AssertionError(f"{url} gives {said!r}: {error}\n{found}") from error
    yield url


def fetched(machine: Machine, url: str) -> str:
    try:
        with machine.inside(), urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError as error:
        return str(error)


@several
@pytest.mark.parametrize("dies", ["m1", "m2's etcd", "m3's server"])
def test_the_api_is_back_within_seconds_and_services_never_stop(
    made: Machines, kubectl: Kubectl, service: str, dies: str
) -> None:
    writer = Writer(made.cluster.kubeconfig, servers(made), "default")
    caller = Caller(service)
    machine = made[int(dies[1])]
    with running(made.outside, writer, caller):
        eventually(lambda: len(writer.seen.written) > 20)
        if dies == "m1":
            made.lose(machine)
        else:
            made.kill(machine, dies.split()[-1])
        before = len(writer.seen.written)
        eventually(lambda: len(writer.seen.written) > before + 50)
    log.info("%s: API away for %.2f s, Service for %.2f s", dies, writer.seen.gap, caller.seen.gap)
    log.info("%s", writer.seen.faults)
    assert writer.seen.gap < LONGEST_GAP, writer.seen.faults
    assert caller.seen.faults == []
    assert caller.seen.answers > 20
    if dies == "m1":
        made.bring_back(machine)
    # Nothing that was acknowledged is missing, at whichever server one asks.
    for each in made.each[:CONTROL]:
        listed = eventually(
            lambda each=each: kubectl.run(*at(made, each), "get", "cm", "-o", "name", check=False).stdout
        )
        assert not {f"configmap/{name}" for name in writer.seen.written} - set(listed.split())
    eventually(lambda: set(ready(kubectl).values()) == {"Ready"})


@pytest.mark.parametrize("dies", ["node", "containerd"])
def test_what_runs_a_workers_containers_is_killed_and_they_go_on(
    made: Machines, kubectl: Kubectl, service: str, dies: str
) -> None:
    """The Service's only pod is on that worker, and it starts pods again afterwards."""
    worker = made[CONTROL + 1]
    was = kubectl.json("get", "pod", "web")["status"]["containerStatuses"][0]
    before = made.pid(worker, dies)
    writer, caller = Writer(made.cluster.kubeconfig, servers(made), "default"), Caller(service)
    with running(made.outside, writer, caller):
        eventually(lambda: caller.seen.answers > 20)
        made.kill(worker, dies)
        eventually(lambda: made.pid(worker, dies) not in (0, before))
        kubectl("apply", "-f", "-", stdin=pod("after", SERVE, f"nodeName: {worker.node_name}"))
        pods_run(kubectl, ["after"])
        assert kubectl("exec", "after", "--", "hostname") == "after\n"
    log.info("%s: API away for %.2f s, Service for %.2f s", dies, writer.seen.gap, caller.seen.gap)
    assert caller.seen.faults == []
    assert writer.seen.faults == []
    # The node says so at its next look at the runtime: its pods may run before that.
    eventually(lambda: ready(kubectl)[worker.node_name] == "Ready")
    found = kubectl.json("get", "pod", "web")["status"]["containerStatuses"][0]
    assert (found["containerID"], found["restartCount"]) == (was["containerID"], was["restartCount"])


@several
def test_a_control_plane_leaves_and_another_takes_its_place(made: Machines, kubectl: Kubectl) -> None:
    m3 = made[3]
    said = m3.sampan("reset", "--force", "--name", m3.name).stdout
    assert "Left to do" not in said
    assert "m3" not in ready(kubectl)
    assert len(_members(made[1])) == 2
    made.add_control_plane(m3)
    assert len(_members(made[1])) == CONTROL
    eventually(lambda: ready(kubectl).get("m3") == "Ready")


def _members(machine: Machine) -> list[str]:
    pki = Path("/var/lib/sampan") / machine.name / "pki"
    done = machine.run(
        "env", "ETCDCTL_API=3", "etcdctl", f"--cacert={pki}/etcd/ca.crt", f"--cert={pki}/apiserver-etcd-client.crt",
        f"--key={pki}/apiserver-etcd-client.key", "member", "list",
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if "started" in line]


STATEFUL = f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: c
          image: {DEMO_IMAGE}
          command: [sh, -c, "cat /data/x || (echo first > /data/x); sleep 3600"]
          volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
    - metadata: {{name: data}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"""
STATELESS = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: w}}}}
  template:
    metadata: {{labels: {{app: w}}}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
        - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}}
      topologySpreadConstraints:
        - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway,
           labelSelector: {{matchLabels: {{app: w}}}}}}
      containers: [{{name: c, image: {DEMO_IMAGE}, command: [sh, -c, "{SERVE}"]}}]
"""


@long
@pytest.mark.skipif(WORKERS < 2, reason="pods need somewhere to go: SAMPAN_WORKERS=2")
def test_pods_of_a_worker_that_dies_are_replaced_and_a_volumes_data_is_back_with_its_node(
    made: Machines, kubectl: Kubectl
) -> None:
    kubectl("apply", "-f", "-", stdin=f"{STATELESS}\n---\n{STATEFUL}")
    kubectl("rollout", "status", "deployment/web", "statefulset/db", "--timeout=90s")
    name = kubectl("get", "pod", "db-0", "-o", "jsonpath={.spec.nodeName}")
    machine = made[int(name[1:])]
    made.lose(machine)
    eventually(lambda: ready(kubectl)[name] == "NotReady", seconds=120)
    row = "jsonpath={range .items[*]}{.spec.nodeName} {.status.phase}{'\\n'}{end}"

    def replaced() -> bool:
        lines = kubectl("get", "pods", "-l", "app=w", "-o", row).splitlines()
        return sum(line.endswith("Running") and not line.startswith(name) for line in lines) >= 2

    eventually(replaced, seconds=120)
    made.bring_back(machine)
    eventually(lambda: ready(kubectl)[name] == "Ready")
    eventually(
        lambda: kubectl.run("exec", "db-0", "--", "cat", "/data/x", check=False).stdout == "first\n", seconds=120
    )
