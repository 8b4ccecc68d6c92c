from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.node import runtime
from sampan.node.pods import spec
from sampan.node.pods.planner import Inputs, plan_pod
from sampan.node.pods.state import HASH_ANNOTATION, RESTART_COUNT_ANNOTATION, PodState

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(policy: str = "Always", init: Any = (), containers: Any = ("main",), **extra: Any) -> Any:
    return {
        "metadata": {"name": "p", "namespace": "d", "uid": "u"},
        "spec": {
            "restartPolicy": policy,
            "initContainers": [item if isinstance(item, dict) else {"name": item, "image": "i"} for item in init],
            "containers": [item if isinstance(item, dict) else {"name": item, "image": "i"} for item in containers],
            **extra,
        },
    }


def sandbox(ready: bool = True, attempt: int = 0) -> runtime.Sandbox:
    return runtime.Sandbox(f"s{attempt}", "p", "u", "d", attempt, ready, NOW, ips=("10.0.0.1",))


def container(name: str, state: Any, code: int = 0, attempt: int = 0, ended: float = 0, **extra: Any) -> Any:
    return runtime.Container(
        id=f"{name}-{attempt}", name=name, attempt=attempt, state=state, created_at=NOW + timedelta(seconds=attempt),
        sandbox_id=extra.pop("sandbox_id", "s0"), exit_code=code, started_at=NOW,
        finished_at=NOW - timedelta(seconds=ended) if state == "exited" else None,
        annotations={
            HASH_ANNOTATION: spec.container_hash({"name": name, "image": extra.pop("image", "i")}),
            RESTART_COUNT_ANNOTATION: str(attempt),
        },
    )  # fmt: skip


def state(*containers: Any, sandboxes: Any = None) -> PodState:
    made = PodState({item.id: item for item in (sandboxes or [sandbox()])})
    for item in containers:
        made.put(item)
    return made


def plan(pod_: Any, state_: PodState, **inputs: Any) -> Any:
    return plan_pod(pod_, state_, Inputs(now=NOW, **inputs))


def test_a_new_pod_gets_a_sandbox_first() -> None:
    result = plan(pod(), PodState())
    assert result.create_sandbox and result.sandbox_attempt == 0 and not result.start


def test_containers_start_when_the_sandbox_is_ready() -> None:
    result = plan(pod(containers=("a", "b")), state())
    assert [start.name for start in result.start] == ["a", "b"]


def test_a_dead_sandbox_is_replaced_unless_nothing_may_run_again() -> None:
    dead = [sandbox(ready=False)]
    assert plan(pod(), state(container("main", "exited", 1), sandboxes=dead)).sandbox_attempt == 1
    assert plan(pod("Never"), state(container("main", "exited", 1), sandboxes=dead)).finished
    assert plan(pod("OnFailure"), state(container("main", "exited", 0), sandboxes=dead)).finished


def test_restart_policies() -> None:
    for policy, code, restarts in (
        ("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True),
        ("Never", 0, False), ("Never", 1, False),
    ):  # fmt: skip
        result = plan(pod(policy), state(container("main", "exited", code)))
        assert bool(result.start) is restarts, (policy, code)
        assert result.finished is not restarts


def test_a_container_rule_restarts_on_its_exit_codes() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    ruled = pod("Never", containers=[{"name": "main", "image": "i", "restartPolicyRules": rules}])
    assert plan(ruled, state(container("main", "exited", 42))).start
    assert plan(ruled, state(container("main", "exited", 1))).finished


def test_the_next_start_has_the_next_number() -> None:
    assert plan(pod(), state(container("main", "exited", 1, attempt=4))).start[0].attempt == 5


def test_a_crashing_container_waits_for_its_delay() -> None:
    crashed = state(container("main", "exited", 1, ended=3))
    waiting = plan(pod(), crashed, delays={"main": 10.0})
    assert waiting.backing_off == {"main": 7.0} and waiting.requeue_after == 7.0 and not waiting.start
    assert not waiting.finished
    assert plan(pod(), state(container("main", "exited", 1, ended=11)), delays={"main": 10.0}).start


def test_init_containers_one_after_another() -> None:
    both = pod(init=("one", "two"))
    assert [s.name for s in plan(both, state()).start] == ["one"]
    assert plan(both, state(container("one", "running"))).start == []
    assert [s.name for s in plan(both, state(container("one", "exited"))).start] == ["two"]
    done = state(container("one", "exited"), container("two", "exited"))
    assert [s.name for s in plan(both, done).start] == ["main"]


def test_a_failed_init_container_ends_a_never_pod_and_is_retried_otherwise() -> None:
    failed = state(container("one", "exited", 1))
    assert plan(pod("Never", init=("one",)), failed).finished
    assert [s.name for s in plan(pod("Always", init=("one",)), failed).start] == ["one"]


def test_init_containers_run_again_in_a_new_sandbox() -> None:
    old = [sandbox(ready=False), sandbox(attempt=1)]
    again = plan(pod(init=("one",)), state(container("one", "exited"), container("main", "exited"), sandboxes=old))
    assert [s.name for s in again.start] == ["one"]


def test_a_sidecar_must_have_started_before_the_next() -> None:
    sidecar = {"name": "proxy", "image": "i", "restartPolicy": "Always"}
    both = pod(init=[sidecar])
    up = container("proxy", "running")
    assert [s.name for s in plan(both, state()).start] == ["proxy"]
    assert plan(both, state(up)).start == []
    assert [s.name for s in plan(both, state(up), started=frozenset({up.id})).start] == ["main"]
    crashed = plan(both, state(container("proxy", "exited", 1), container("main", "running")))
    assert [s.name for s in crashed.start] == ["proxy"]


def test_a_pod_is_finished_although_its_sidecar_runs() -> None:
    sidecar = {"name": "proxy", "image": "i", "restartPolicy": "Always"}
    up = container("proxy", "running")
    job = plan(pod("Never", init=[sidecar]), state(up, container("main", "exited")), started=frozenset({up.id}))
    assert job.finished


def test_a_sidecar_that_has_ended_does_not_begin_again_in_a_finished_pod() -> None:
    sidecar = {"name": "proxy", "image": "i", "restartPolicy": "Always"}
    for code in (0, 1):
        down = container("proxy", "exited", code)
        for delays in ({}, {"proxy": 300.0}):
            job = plan(pod("Never", init=[sidecar]), state(down, container("main", "exited")), delays=delays)
            assert job.finished and not job.start and not job.backing_off


def test_what_is_just_being_started_is_not_started_again_and_keeps_the_pod() -> None:
    both = plan(pod("Never", containers=("a", "b")), state(), starting=frozenset({"a", "b"}))
    assert not both.start and not both.finished
    again = plan(pod("Never"), state(container("main", "exited", 1)), starting=frozenset({"main"}))
    assert not again.start and not again.finished


def test_a_container_of_unknown_state_is_killed_before_it_starts_again() -> None:
    for policy in ("Always", "Never"):
        result = plan(pod(policy), state(container("main", "unknown")))
        assert result.kill[0].reason == "unknown" and not result.start and not result.finished


def test_probe_failures_and_changed_images_kill_and_restart() -> None:
    up = container("main", "running")
    dead = plan(pod(), state(up), failed_liveness=frozenset({up.id}))
    assert dead.kill[0].message == "Container main failed liveness probe, will be restarted"
    assert not dead.start, "the next plan starts it, after its back-off"
    never = plan(pod("Never"), state(up), failed_startup=frozenset({up.id}))
    assert never.kill[0].message == "Container main failed startup probe" and not never.start
    old = container("main", "running", image="old")
    assert plan(pod("Never"), state(old)).kill[0].reason == "changed"
    ended = state(container("main", "exited", image="old"))
    assert plan(pod("Never"), ended, replace=frozenset({"main"})).start, "whatever the policy"
    assert plan(pod("Never"), ended).finished


def test_ephemeral_containers_start_once() -> None:
    debug = pod(ephemeralContainers=[{"name": "debug", "image": "i"}])
    up = container("main", "running")
    assert [s.name for s in plan(debug, state(up)).start] == ["debug"]
    assert plan(debug, state(up, container("debug", "exited"))).start == []


STATES = st.sampled_from(["created", "running", "exited"])


@given(
    policy=st.sampled_from(["Always", "OnFailure", "Never"]),
    entries=st.lists(st.tuples(st.sampled_from(["one", "main", "b"]), STATES, st.integers(0, 2)), max_size=6),
    ready=st.booleans(),
)
def test_a_plan_is_safe(policy: str, entries: Any, ready: bool) -> None:
    """Never starts what runs and is not killed, nothing without a sandbox, numbers never repeat."""
    items = [container(name, phase, code, attempt=i) for i, (name, phase, code) in enumerate(entries)]
    made = state(*items, sandboxes=[sandbox(ready=ready)])
    result = plan(pod(policy, init=("one",), containers=("main", "b")), made)
    if not ready:
        assert not result.start
    killed = {kill.name for kill in result.kill}
    for start in result.start:
        last = made.latest(start.name)
        assert last is None or last.state != "running" or start.name in killed
        assert last is None or start.attempt > last.attempt
    assert not (result.finished and result.start)
