"""What is asked of running containers, and what starts them again: all pods wait for their back-offs beside each other.

What must not be restarted is judged after others beside it were, for what they were asked in the same way.
"""

from __future__ import annotations

import sys
import sysconfig
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from requirement_room import WAITS, Obj, Room, condition, container, is_ready, pod, restarts, status_of, terminated

EARLY = True
PORT = 8080
#: a web server whose ``/healthz`` is well for two seconds
SICKENS = f"mkdir /www; echo ok >/www/healthz; (sleep 2; rm /www/healthz) & exec httpd -f -p {PORT} -h /www"
STAYS_WELL = f"mkdir /www; echo ok >/www/healthz; exec httpd -f -p {PORT} -h /www"
HEALTH: Obj = {"httpGet": {"path": "/healthz", "port": PORT}}
#: of grpc.health.v1: ``SERVING`` to whatever is asked
GRPC_SERVER = f"""
import concurrent.futures, grpc
handler = grpc.unary_unary_rpc_method_handler(lambda request, context: bytes([8, 1]))
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {{"Check": handler}})])
server.add_insecure_port("0.0.0.0:{PORT}")
server.start()
server.wait_for_termination()
"""
#: fails, then ends well, then runs: it counts its starts in a volume
COUNTS = """
echo >>/count/starts; starts=$(wc -l </count/starts)
[ $starts -eq 1 ] && exit 1
[ $starts -eq 2 ] && exit 0
trap 'exit 0' TERM; sleep 3600 & wait
"""
DELAY_SECONDS = 3


def asked(action: Obj, **more: Any) -> Obj:
    """Every second, and one failure is enough."""
    return {**action, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 1, **more}


def alive(name: str, script: str, probe: Obj, **more: Any) -> Obj:
    return pod(name, container(script, livenessProbe=probe, **more), restartPolicy="Always")


def counting(name: str, policy: str) -> Obj:
    counts = container(COUNTS, volumeMounts=[{"name": "count", "mountPath": "/count"}])
    return pod(name, counts, restartPolicy=policy, volumes=[{"name": "count", "emptyDir": {}}])


def with_machines_python(name: str, script: str, **more: Any) -> Obj:
    """The Python that runs these tests, with what is installed for it, in a container."""
    python, packages = Path(sys.executable).resolve(), sysconfig.get_path("platlib")
    wanted = (sys.base_prefix, packages, "/lib", "/lib64", "/usr/lib")
    paths = [path for path in dict.fromkeys(wanted) if Path(path).is_dir()]
    mounts = [{"name": f"v{n}", "mountPath": path, "readOnly": True} for n, path in enumerate(paths)]
    volumes = [{"name": f"v{n}", "hostPath": {"path": path}} for n, path in enumerate(paths)]
    runs = container(
        "", command=[str(python), "-c", script], env=[{"name": "PYTHONPATH", "value": packages}], volumeMounts=mounts,
        **more,
    )  # fmt: skip
    return pod(name, runs, restartPolicy="Always", volumes=volumes)


#: time enough for any program to begin
BEGINS = {"startupProbe": {"periodSeconds": 1, "failureThreshold": 100, "timeoutSeconds": 10}}


def begins(action: Obj) -> Obj:
    return {"startupProbe": {**action, **BEGINS["startupProbe"]}}


FILE: Obj = {"exec": {"command": ["cat", "/tmp/health"]}}
SOCKET: Obj = {"tcpSocket": {"port": PORT}}
GRPC: Obj = {"grpc": {"port": PORT}}
SICK = ("http-restarted", "exec-restarted", "grpc-restarted", "again-and-again")
WELL = ("http-well", "exec-well", "tcp-well", "grpc-well")
PODS = (
    counting("exits-always", "Always"),
    counting("exits-on-failure", "OnFailure"),
    counting("exits-never", "Never"),
    alive("again-and-again", SICKENS, asked(HEALTH), **begins(SOCKET)),
    alive("http-restarted", SICKENS, asked(HEALTH), **begins(SOCKET)),
    alive("exec-restarted", f"touch /tmp/health; (sleep 2; rm /tmp/health) & {WAITS}", asked(FILE)),
    alive("grpc-restarted", WAITS, asked({"grpc": {"port": 2333}})),
    alive("http-well", STAYS_WELL, asked(HEALTH), **begins(HEALTH)),
    alive("exec-well", f"touch /tmp/health; {WAITS}", asked(FILE), **begins(FILE)),
    alive("tcp-well", SICKENS, asked(SOCKET), **begins(SOCKET)),
    with_machines_python("grpc-well", GRPC_SERVER, livenessProbe=asked(GRPC), **begins(GRPC)),
    pod(
        "delayed", container(STAYS_WELL, readinessProbe=asked(HEALTH, initialDelaySeconds=DELAY_SECONDS)),
        restartPolicy="Always",
    ),
    pod("never-ready", container(readinessProbe=asked({"exec": {"command": ["false"]}})), restartPolicy="Always"),
)  # fmt: skip


@pytest.fixture(scope="module")
def restarted(room: Room) -> dict[str, Obj]:
    """The sick, each started again."""
    return {name: room.until(name, lambda p: restarts(p) >= 1) for name in SICK}


def test_what_fails_its_liveness_probe_is_restarted(restarted: dict[str, Obj]) -> None:
    """Probing container should be restarted with a /healthz http liveness probe [NodeConformance]; Probing container
    should be restarted with a exec "cat /tmp/health" liveness probe [NodeConformance]; Probing container should be
    restarted with a GRPC liveness probe [NodeConformance]"""
    assert all(restarts(found) == 1 for found in restarted.values())


def test_what_is_well_is_not_restarted(room: Room, restarted: dict[str, Obj]) -> None:
    """Probing container should *not* be restarted with a /healthz http liveness probe [NodeConformance]; Probing
    container should *not* be restarted with a exec "cat /tmp/health" liveness probe [NodeConformance]; Probing
    container should *not* be restarted with a tcp:8080 liveness probe [NodeConformance]; Probing container should *not*
    be restarted with a GRPC liveness probe [NodeConformance]"""
    for name in WELL:
        room.ready(name)
    assert {name: restarts(room.get(name)) for name in WELL} == dict.fromkeys(WELL, 0)
    assert {name: status_of(room.get(name))["started"] for name in WELL} == dict.fromkeys(WELL, True)


def test_the_count_of_restarts_only_grows(room: Room, restarted: dict[str, Obj]) -> None:
    """Probing container should have monotonically increasing restart count [NodeConformance]"""
    room.until("again-and-again", lambda p: restarts(p) >= 2)
    counts = [restarts(seen) for _, seen in room.seen["again-and-again"]]
    assert counts == sorted(counts) and set(counts) == {0, 1, 2}


def test_nothing_is_ready_before_its_delay(room: Room) -> None:
    """Probing container with readiness probe should not be ready before initial delay and never restart
    [NodeConformance]"""
    found = room.ready("delayed")
    begun = status_of(found)["state"]["running"]["startedAt"]
    became = condition(found, "Ready")["lastTransitionTime"]
    delay = datetime.fromisoformat(became) - datetime.fromisoformat(begun)
    assert delay.total_seconds() >= DELAY_SECONDS
    assert restarts(room.get("delayed")) == 0


def test_what_fails_its_readiness_probe_is_never_ready_and_not_restarted(room: Room, restarted: dict[str, Obj]) -> None:
    """Probing container with readiness probe that fails should never be ready and never restart [NodeConformance]"""
    found = room.get("never-ready")
    assert status_of(found)["state"]["running"] and not is_ready(found)
    assert not any(is_ready(seen) or restarts(seen) for _, seen in room.seen["never-ready"])


def test_a_container_that_exits_is_started_again_as_its_policy_says(room: Room) -> None:
    """Container Runtime blackbox test when starting a container that exits should run with the expected status
    [NodeConformance]"""
    never = room.ended("exits-never")
    assert (never["status"]["phase"], restarts(never), terminated(never)["exitCode"]) == ("Failed", 0, 1)
    on_failure = room.ended("exits-on-failure")
    assert (on_failure["status"]["phase"], restarts(on_failure)) == ("Succeeded", 1)
    always = room.until("exits-always", lambda p: is_ready(p) and restarts(p) == 2)
    assert always["status"]["phase"] == "Running" and "running" in status_of(always)["state"]
