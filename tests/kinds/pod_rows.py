"""What the table shows of a pod in each state that upstream's printer tells from the others (printPod)."""

from __future__ import annotations

from typing import Any

from kind_harness import Row

_WIDE = ["<none>", "<none>", "<none>", "<none>"]
_TEN_MINUTES_AGO = "2026-11-21T11:50:00Z"


def _row(what: str, status: dict[str, Any], ready: str, shown: str, restarts: str = "0", **more: Any) -> Row:
    wide = more.pop("wide", _WIDE)
    change = {"status": status, **more}
    return Row(what, change, ["a", ready, shown, restarts, "60m", *wide])


def _container(name: str = "c", restarts: int = 0, *, ready: bool = False, **state: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    return found


def _status(*containers: dict[str, Any], phase: str = "Running", **more: Any) -> dict[str, Any]:
    return {"phase": phase, "containerStatuses": list(containers), **more}


_SIDECAR = {"name": "s", "image": "i", "restartPolicy": "Always"}
_INIT = {"name": "i", "image": "i"}
_READY = [{"type": "Ready", "status": "True"}]
_ENDED = {"lastState": {"terminated": {"exitCode": 1, "finishedAt": _TEN_MINUTES_AGO}}}

ROWS = [
    _row("new", {"phase": "Pending"}, "0/1", "Pending"),
    _row("gated", {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}, "0/1", "SchedulingGated"),
    _row("with a reason", {"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
    _row("running", _status(_container(ready=True, running={})), "1/1", "Running"),
    _row("running and not ready", _status(_container(running={})), "0/1", "Running"),
    _row("waiting", _status(_container(waiting={"reason": "ImagePullBackOff"}), phase="Pending"), "0/1",
         "ImagePullBackOff"),
    _row("waiting for nothing", _status(_container(waiting={}), phase="Pending"), "0/1", "Pending"),
    _row("ended", _status(_container(terminated={"exitCode": 0, "reason": "Completed"}), phase="Succeeded"), "0/1",
         "Completed"),
    _row("ended by a code", _status(_container(terminated={"exitCode": 3}), phase="Failed"), "0/1", "ExitCode:3"),
    _row("ended by a signal", _status(_container(terminated={"exitCode": 137, "signal": 9}), phase="Failed"), "0/1",
         "Signal:9"),
    _row("restarted", _status(_container(ready=True, restarts=4, running={})), "1/1", "Running", "4"),
    _row("restarted lately", _status({**_container(ready=True, restarts=4, running={}), **_ENDED}), "1/1", "Running",
         "4 (10m ago)"),
    _row("one ended, one runs, ready", _status(
        _container("c", terminated={"exitCode": 0, "reason": "Completed"}), _container("d", ready=True, running={}),
        conditions=_READY), "1/1", "Running"),
    _row("one ended, one runs, not ready", _status(
        _container("c", terminated={"exitCode": 0, "reason": "Completed"}), _container("d", ready=True, running={})),
        "1/1", "NotReady"),
    _row("the first of init containers", {"phase": "Pending", "initContainerStatuses": [
        _container("i", waiting={"reason": "PodInitializing"})]}, "0/1", "Init:0/2",
        **{"spec.initContainers": [_INIT, {**_INIT, "name": "j"}]}),
    _row("the second of init containers", {"phase": "Pending", "initContainerStatuses": [
        _container("i", terminated={"exitCode": 0}), _container("j", running={})]}, "0/1", "Init:1/2",
        **{"spec.initContainers": [_INIT, {**_INIT, "name": "j"}]}),
    _row("an init container that waits", {"phase": "Pending", "initContainerStatuses": [
        {**_container("i", restarts=2, waiting={"reason": "CrashLoopBackOff"}), **_ENDED}]}, "0/1",
        "Init:CrashLoopBackOff", "2 (10m ago)", **{"spec.initContainers": [_INIT]}),
    _row("an init container that failed", {"phase": "Pending", "initContainerStatuses": [
        _container("i", terminated={"exitCode": 1, "reason": "Error"})]}, "0/1", "Init:Error",
        **{"spec.initContainers": [_INIT]}),
    _row("an init container that failed by a code", {"phase": "Pending", "initContainerStatuses": [
        _container("i", terminated={"exitCode": 2})]}, "0/1", "Init:ExitCode:2", **{"spec.initContainers": [_INIT]}),
    _row("an init container that failed by a signal", {"phase": "Pending", "initContainerStatuses": [
        _container("i", terminated={"exitCode": 143, "signal": 15})]}, "0/1", "Init:Signal:15",
        **{"spec.initContainers": [_INIT]}),
    _row("a sidecar that runs", _status(_container(ready=True, running={}), initContainerStatuses=[
        {**_container("s", restarts=1, ready=True, running={}), "started": True}]), "2/2", "Running", "1",
        **{"spec.initContainers": [_SIDECAR]}),
    _row("a sidecar that starts", {"phase": "Pending", "initContainerStatuses": [
        {**_container("s", running={}), "started": False}]}, "0/2", "Init:0/1", **{"spec.initContainers": [_SIDECAR]}),
    _row("a sidecar that crashed in an initialized pod", _status(
        _container(ready=True, running={}),
        initContainerStatuses=[_container("s", waiting={"reason": "CrashLoopBackOff"})],
        conditions=[{"type": "Initialized", "status": "True"}]), "1/2", "Init:CrashLoopBackOff",
        **{"spec.initContainers": [_SIDECAR]}),
    _row("going", _status(_container(ready=True, running={})), "1/1", "Terminating",
         **{"metadata.deletionTimestamp": "2026-11-21T12:00:00Z"}),
    _row("going, ended already", _status(_container(terminated={"exitCode": 0, "reason": "Completed"}),
                                         phase="Succeeded"), "0/1", "Completed",
         **{"metadata.deletionTimestamp": "2026-11-21T12:00:00Z"}),
    _row("going from a node that is lost", {**_status(_container(ready=True, running={})), "reason": "NodeLost"},
         "1/1", "Unknown", **{"metadata.deletionTimestamp": "2026-11-21T12:00:00Z"}),
    _row("on a node", {"phase": "Pending", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}],
                       "nominatedNodeName": "n2"}, "0/1", "Pending", wide=["10.0.0.2", "n1", "n2", "<none>"],
         **{"spec.nodeName": "n1"}),
    _row("with readiness gates", {"phase": "Pending", "conditions": [{"type": "a.io/x", "status": "True"}]}, "0/1",
         "Pending", wide=["<none>", "<none>", "<none>", "1/2"],
         **{"spec.readinessGates": [{"conditionType": "a.io/x"}, {"conditionType": "a.io/y"}]}),
]  # fmt: skip
