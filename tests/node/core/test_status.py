from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.pods.state import PodState
from sampan.node.pods.status import Facts, Waiting, plan_status_patch, render_status

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(policy: str = "Always", **spec: Any) -> Any:
    return {
        "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 2},
        "spec": {"restartPolicy": policy, "containers": [{"name": "main", "image": "demo"}], **spec},
        "status": {},
    }


def observed(*containers: Any) -> PodState:
    box = runtime.Sandbox("s", "p", "u", "d", 0, True, NOW, ips=("10.0.0.1",))
    state = PodState({"s": box})
    for item in containers:
        state.put(item, "s")
    return state


def container(state: Any, code: int = 0, name: str = "main", attempt: int = 0) -> runtime.Container:
    return runtime.Container(
        id=f"{name}{attempt}", name=name, attempt=attempt, state=state, exit_code=code, image="demo:1",
        created_at=NOW.replace(minute=attempt), started_at=NOW, finished_at=NOW if state == "exited" else None,
    )  # fmt: skip


def status(pod_: Any, state: PodState, **facts: Any) -> Any:
    return render_status(pod_, state, Facts(now=NOW, host_ips=("192.0.2.1",), start_time=NOW, **facts))


def conditions(rendered: Any) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item.get("reason", "")) for item in rendered["conditions"]}


@pytest.mark.parametrize(
    ("policy", "state", "code", "phase"),
    [
        ("Always", "running", 0, "Running"),
        ("Always", "exited", 1, "Running"),
        ("OnFailure", "exited", 1, "Running"),
        ("OnFailure", "exited", 0, "Succeeded"),
        ("Never", "exited", 0, "Succeeded"),
        ("Never", "exited", 1, "Failed"),
        ("Always", "created", 0, "Pending"),
    ],
)
def test_phases(policy: str, state: str, code: int, phase: str) -> None:
    assert status(pod(policy), observed(container(state, code)))["phase"] == phase


@pytest.mark.parametrize("waiting", [{"web": Waiting("ErrImagePull", "not found")}, {}])
def test_a_pod_of_which_one_container_has_never_run_is_pending_though_another_runs(waiting: Any) -> None:
    two = pod(containers=[{"name": "main", "image": "demo"}, {"name": "web", "image": "absent"}])
    assert status(two, observed(container("running")), waiting=waiting)["phase"] == "Pending"
    both = observed(container("running"), container("exited", 1, name="web"))
    assert status(two, both, waiting=waiting)["phase"] == "Running"


def test_a_pod_without_containers_yet_is_being_created() -> None:
    rendered = status(pod(), PodState())
    assert rendered["phase"] == "Pending"
    assert rendered["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(rendered)["PodReadyToStartContainers"] == ("False", "")
    assert conditions(rendered)["Ready"] == ("False", "ContainersNotReady")
    ready = next(item for item in rendered["conditions"] if item["type"] == "Ready")
    assert ready["message"] == "containers with unready status: [main]"
    assert ready["observedGeneration"] == rendered["observedGeneration"] == 2


def test_init_containers_hold_the_others_back() -> None:
    waiting = status(pod(initContainers=[{"name": "one", "image": "i"}]), observed())
    assert waiting["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = next(item for item in waiting["conditions"] if item["type"] == "Initialized")
    assert initialized["reason"] == "ContainersNotInitialized"
    assert initialized["message"] == "containers with incomplete status: [one]"


def test_a_waiting_restart_keeps_the_last_state() -> None:
    reason = Waiting("CrashLoopBackOff", "back-off")
    rendered = status(pod(), observed(container("exited", 7)), waiting={"main": reason})
    [entry] = rendered["containerStatuses"]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 7
    assert rendered["phase"] == "Running"


def test_a_running_container_shows_how_its_predecessor_ended() -> None:
    rendered = status(pod(), observed(container("exited", 3), container("running", attempt=1)))
    [entry] = rendered["containerStatuses"]
    assert entry["restartCount"] == 1
    assert entry["lastState"]["terminated"]["exitCode"] == 3
    assert entry["containerID"] == "containerd://main1"


def test_readiness_gates_hold_the_pod_but_not_its_containers() -> None:
    gated = pod(readinessGates=[{"conditionType": "example.com/ok"}])
    up = container("running")
    rendered = status(gated, observed(up), ready=frozenset({up.id}), started=frozenset({up.id}))
    assert conditions(rendered)["ContainersReady"] == ("True", "")
    assert conditions(rendered)["Ready"] == ("False", "ReadinessGatesNotReady")
    gated["status"] = {"conditions": [{"type": "example.com/ok", "status": "True"}]}
    rendered = status(gated, observed(up), ready=frozenset({up.id}), started=frozenset({up.id}))
    assert conditions(rendered)["Ready"] == ("True", "")
    assert conditions(rendered)["example.com/ok"] == ("True", "")


def test_a_transition_time_changes_with_the_status_only() -> None:
    before = pod()
    before["status"] = {
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
    }
    rendered = status(before, observed())
    ready = next(item for item in rendered["conditions"] if item["type"] == "Ready")
    assert ready["lastTransitionTime"] == "2020-01-01T00:00:00Z"


def test_a_killed_pod_ends_as_failed_when_a_container_failed() -> None:
    assert status(pod(), observed(container("exited", 137)), terminal=True)["phase"] == "Failed"
    assert status(pod(), observed(container("exited", 0)), terminal=True)["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("codes", "states"),
    [
        ([0, 1], {"first": "terminated", "second": "terminated", "third": "waiting", "main": "waiting"}),
        ([0, 0, 0], {"first": "terminated", "second": "terminated", "third": "terminated", "main": "terminated"}),
        ([], {"first": "terminated", "second": "waiting", "third": "waiting", "main": "waiting"}),
    ],
)
def test_of_a_pod_that_ended_before_its_containers_turn_they_are_waiting_still(
    codes: list[int], states: dict[str, str]
) -> None:
    names = ("first", "second", "third")
    made = pod("Never", initContainers=[{"name": name} for name in names])
    for _ in range(2):  # what was told before changes nothing
        ended = [container("exited", code, name) for name, code in zip(names, codes, strict=False)]
        rendered = status(made, observed(*ended), terminal=True, failure=("Failed", "x") if not codes else None)
        listed = [*rendered["initContainerStatuses"], *rendered["containerStatuses"]]
        made["status"] = {**rendered, "phase": "Pending"}
    assert {each["name"]: next(iter(each["state"])) for each in listed} == states
    waiting = [each["state"]["waiting"] for each in listed if "waiting" in each["state"]]
    assert all(each == {"reason": "PodInitializing"} for each in waiting)


def test_the_patch_holds_only_what_changed_and_removes_old_addresses() -> None:
    old = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "podIP": "10.0.0.1", "message": "x"}
    new = {"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}], "podIP": "10.0.0.2"}
    assert plan_status_patch(old, new) == {
        "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
        "podIP": "10.0.0.2",
        "message": None,
    }
    assert plan_status_patch(new, new) == {}


def test_a_condition_loses_its_reason_when_it_becomes_true() -> None:
    old = {"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]}
    new = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert plan_status_patch(old, new) == {"conditions": [{"type": "Ready", "status": "True", "reason": None}]}


def test_a_probe_time_that_the_api_writes_as_null_is_no_difference():
    new = {"conditions": [{"type": "Ready", "status": "True"}]}
    stored = {"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}]}
    assert plan_status_patch(stored, new) == {}
