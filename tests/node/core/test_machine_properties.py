"""Ten thousand random lives of pods: the pure machine over the simulated runtime, with crashes after any step.

Operations end in any order, fail before or after their effect, or are lost with the agent; containers and sandboxes
die, probes fail, the pod is changed, deleted, forced. What must hold is asked after every step.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.pods import events, operations, phases, render, spec
from sampan.node.pods.machine import PodMachine
from sampan.node.pods.resizing import Verdict
from sampan.node.pods.state import HASH_ANNOTATION, RESTART_COUNT_ANNOTATION, PodState, observe
from sampan.node.pods.status import Facts, render_status
from sampan.node.simulated import SimulatedRuntime

CONFIG = NodeConfig(node_name="n", addresses=("192.0.2.1",))
LIVES, LIVES_A_TEST = 10_000, 250

HOOK = {"exec": {"command": ["hook"]}}
SIDECAR = {"name": "proxy", "image": "i", "restartPolicy": "Always"}
SHAPES: list[dict[str, Any]] = [
    {"containers": [{"name": "a", "image": "i"}]},
    {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]},
    {"containers": [{"name": "a", "image": "i"}], "initContainers": [{"name": "one", "image": "i"}, SIDECAR]},
    {"containers": [{"name": "a", "image": "i", "lifecycle": {"postStart": HOOK, "preStop": HOOK}},
                    {"name": "b", "image": "i"}], "initContainers": [SIDECAR]},
    {"containers": [{"name": "a", "image": "i"}], "activeDeadlineSeconds": 60,
     "initContainers": [SIDECAR, {"name": "one", "image": "i"}, {**SIDECAR, "name": "mesh"}]},
    {"containers": [{"name": "a", "image": "i", "restartPolicy": "Never", "restartPolicyRules": [
        {"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]}]},
]  # fmt: skip
#: What only a living pod may ask for.
STARTS = (operations.RunSandbox, operations.StartContainer, operations.PullImage, operations.MountVolumes)

RESTART = "RestartContainer"
#: The result of a start in a sandbox that has died meanwhile.
BROKEN = object()


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.moment += timedelta(microseconds=1)  # so that creations have an order
        return self.moment


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine of the simulated runtime, which only ever lets others run."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            return done.value


class Life:
    """One pod, its machine, the runtime, and what the API would show."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.runtime = SimulatedRuntime(self.clock)
        self.image = self.runtime.add_image("i")
        shape = self.random.choice(SHAPES)
        policy = self.random.choice(["Always", "OnFailure", "Never"])
        self.pod: Any = {
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 1},
            "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 20, **shape},
            "status": {"phase": "Pending"},
        }
        self.gone = False
        #: of each container: how often one of its name was begun before
        self.begun_before: dict[str, int] = {}
        self.starts: Counter[str] = Counter()
        self.notices: list[str] = []
        self.phases: list[str] = []
        self.deleted_at: datetime | None = None
        self.begin()

    # The agent.

    def begin(self) -> None:
        """An agent begins, with what is there."""
        seen = drive(observe(self.runtime, "u")) if self.random.random() < 0.5 else None
        self.pending: list[operations.Operation] = []
        self.cancelled: set[operations.Key] = set()
        #: Of operations that have done their work and not answered yet.
        self.results: dict[operations.Key, Any] = {}
        self.machine = PodMachine(self.pod, self.clock.now(), seen)
        self.phases = ["adopting"]
        self.tell(events.TimePassed())
        if self.gone:
            self.tell(events.ObjectGone(self.pod))

    def tell(self, event: events.Event) -> None:
        for instruction in self.machine.handle(event, self.clock.now()):
            if isinstance(instruction, operations.Cancel):
                assert instruction.key in {operation.key for operation in self.pending}
                self.cancelled.add(instruction.key)
            elif isinstance(instruction, operations.Operation):
                self.asked(instruction)
        if self.machine.phase != self.phases[-1]:
            self.phases.append(self.machine.phase)
        running = {item.id for item in self.machine.record.state.running()} - self.machine.record.held
        if not self.machine.record.probes.started.issuperset(running) and self.random.random() < 0.7:
            self.tell(replace(self.machine.record.probes, started=frozenset(running), ready=frozenset(running)))

    def asked(self, operation: operations.Operation) -> None:
        """One a key, and none that the phase does not allow."""
        assert operation.key not in {other.key for other in self.pending}, operation
        assert phases.is_allowed(self.machine.phase, operation)
        assert self.machine.phase == "live" or not isinstance(operation, STARTS)
        if isinstance(operation, operations.StartContainer):
            self.may_start(operation)
        if isinstance(operation, operations.RunSandbox):
            assert not any(isinstance(other, operations.StartContainer) for other in self.pending)
        self.pending.append(operation)

    def may_start(self, operation: operations.StartContainer) -> None:
        """Nothing of that name runs, and init containers come first and are complete."""
        state: PodState = self.machine.record.state
        last = state.latest(operation.subject)
        assert last is None or last.state != "running"
        begun = any(
            (known := state.latest(main["name"])) is not None and known.sandbox_id == state.latest_sandbox.id  # type: ignore[union-attr]
            for main in spec.containers(self.pod, "main")
        ) or any(isinstance(other, operations.StartContainer) and other.sort == "main" for other in self.pending)
        if operation.sort == "main" and not begun:
            for container in spec.containers(self.pod, "init"):
                known = state.latest(container["name"])
                assert known is not None
                sidecar = spec.is_sidecar("init", container)
                assert known.state == ("running" if sidecar else "exited") and known.exit_code == 0

    # The world.

    def end_operation(self, *, smooth: bool = False) -> None:
        """One of what is under way does its work, or gives its answer: which may be old by then."""
        operation = self.random.choice(self.pending)
        chance = 1.0 if smooth else self.random.random()
        key = operation.key
        if key in self.cancelled:
            if self.random.random() < 0.5:
                self.work(operation)
            self.answer(operation, events.Cancelled(operation))
        elif chance < 0.08 and key not in self.results:
            self.answer(operation, events.Failed(operation, "Broken", "broken"))
        elif chance < 0.13:
            self.work(operation)
            self.answer(operation, events.Failed(operation, "Broken", "its answer was lost"))
        elif chance < 0.3:
            self.work(operation)
        elif (result := self.work(operation)) is BROKEN:
            self.answer(operation, events.Failed(operation, "RunContainerError", "its sandbox is dead"))
        else:
            self.answer(operation, events.Done(operation, result))

    def work(self, operation: operations.Operation) -> Any:
        if operation.key not in self.results:
            self.results[operation.key] = self.effect(operation)
        return self.results[operation.key]

    def answer(self, operation: operations.Operation, event: events.Event) -> None:
        self.pending.remove(operation)
        self.cancelled.discard(operation.key)
        self.results.pop(operation.key, None)
        self.tell(event)

    def effect(self, operation: operations.Operation) -> Any:
        """What an operation does to the runtime and the API; an error is a fault of the machine."""
        match operation:
            case operations.Observe():
                return drive(observe(self.runtime, "u"))
            case operations.Look(subject=subject):
                return self.look(subject)
            case operations.RunSandbox(attempt=attempt):
                assert not [item for item in self.sandboxes() if item.ready], "two sandboxes"
                config = render.sandbox_config(self.pod, CONFIG, render.HostDns(), attempt, "")
                return self.look(drive(self.runtime.run_sandbox(config)))
            case operations.StartContainer():
                return self.start(operation)
            case operations.StopContainer(subject=subject):
                drive(self.runtime.stop_container(subject, 1))
                return self.look(subject)
            case operations.StopSandbox(subject=subject):
                drive(self.runtime.stop_sandbox(subject))
                return self.look(subject)
            case operations.RemoveSandbox(subject=subject):
                drive(self.runtime.remove_sandbox(subject))
            case operations.RemoveContainer(subject=subject):
                drive(self.runtime.remove_container(subject))
            case operations.WeighResize():
                return self.random.choice([None, None, Verdict("Deferred", "later"), Verdict("Infeasible", "never")])
            case operations.ResizePod(containers=containers):
                return self.resize(set(containers))
            case operations.RunHook():
                return self.random.random() < 0.7
            case operations.DeleteObject():
                self.gone = True
            case operations.UnmountVolumes() | operations.RemoveCgroup():
                assert not self.running() and not [item for item in self.sandboxes() if item.ready], "still of use"
        return None

    def resize(self, container_ids: set[str]) -> Any:
        if self.random.random() < 0.2:
            return events.Resized(error="refused")
        if not container_ids <= {item.id for item in drive(self.runtime.list_containers())}:
            return BROKEN
        return events.Resized(frozenset(container_ids))

    def start(self, operation: operations.StartContainer) -> Any:
        sandbox = self.machine.record.state.ready_sandbox
        if sandbox is None:
            return BROKEN
        assert operation.subject not in self.running(), "started twice"
        container = spec.find_container(self.pod, operation.subject)
        assert container is not None
        config = render.container_config(
            self.pod, container[1], render.ContainerInputs(
                attempt=operation.attempt, image=runtime.Image(self.image, (), (), 1), environment={}, command=(),
                args=(), mounts=(),
            ),
        )  # fmt: skip
        assert {HASH_ANNOTATION, RESTART_COUNT_ANNOTATION} <= config.annotations.keys()
        try:
            identity = drive(
                self.runtime.create_container(
                    sandbox.id, config, render.sandbox_config(self.pod, CONFIG, render.HostDns(), 0, "")
                )
            )
            self.begun_before[identity] = self.starts[operation.subject]
            self.starts[operation.subject] += 1
            drive(self.runtime.start_container(identity))
        except runtime.RuntimeCallError as error:
            assert "reserve" not in str(error), error
            return BROKEN
        return replace(self.look(identity), sandbox_id=sandbox.id)

    def look(self, identity: str) -> Any:
        for read in (self.runtime.sandbox_status, self.runtime.container_status):
            try:
                return drive(read(identity))
            except runtime.RuntimeNotFound:
                pass
        return None

    def sandboxes(self) -> list[runtime.Sandbox]:
        found: list[runtime.Sandbox] = drive(self.runtime.list_sandboxes())
        return found

    def running(self) -> list[str]:
        found = drive(self.runtime.list_containers())
        return [item.name for item in found if item.state == "running"]

    def step(self) -> None:
        """Something happens."""
        chance = self.random.random()
        if self.pending and chance < 0.6:
            self.end_operation()
        elif chance < 0.68:
            self.container_dies()
        elif chance < 0.72 and self.notices:
            self.tell(events.RuntimeEnded(self.notices.pop(self.random.randrange(len(self.notices)))))
        elif chance < 0.74:
            for sandbox in self.sandboxes():
                if sandbox.ready:
                    self.runtime.kill_sandbox(sandbox.id)
                    self.notices.append(sandbox.id)
        elif chance < 0.78:
            ids = frozenset(item.id for item in self.machine.record.state.running() if self.random.random() < 0.3)
            self.tell(replace(self.machine.record.probes, failed_liveness=ids))
        elif chance < 0.88:
            self.clock.moment += timedelta(seconds=self.random.choice([0.1, 1, 5, 11, 30]))
            self.tell(events.TimePassed())
        elif chance < 0.92:
            self.change()
        elif chance < 0.95:
            self.delete()
        elif chance < 0.97:
            self.tell(events.ViewDoubted())
        else:
            self.crash()

    def container_dies(self) -> None:
        alive = [item for item in drive(self.runtime.list_containers()) if item.state == "running"]
        if alive:
            victim = self.random.choice(alive)
            self.runtime.exit_container(victim.id, self.random.choice([0, 0, 1, 3]))
            self.notices.append(victim.id)

    def change(self) -> None:
        if self.gone:
            return
        containers = [
            {
                **item,
                "image": self.random.choice(["i", "i", "j"]),
                "resources": {"limits": {"cpu": self.random.choice(["1", "2"])}},
                "resizePolicy": [
                    {"resourceName": "cpu", "restartPolicy": self.random.choice(["NotRequired", RESTART])}
                ],
            }
            for item in self.pod["spec"]["containers"]
        ]
        self.pod = {**self.pod, "spec": {**self.pod["spec"], "containers": containers}}
        self.tell(events.PodChanged(self.pod))

    def delete(self) -> None:
        if self.gone:
            return
        grace = self.random.choice([20, 5, 0])
        meta = {
            **self.pod["metadata"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": grace,
        }
        self.pod = {**self.pod, "metadata": meta}
        if grace == 0:
            self.gone = True
            self.tell(events.ObjectGone(self.pod))
        else:
            self.tell(events.PodChanged(self.pod))

    def crash(self) -> None:
        """The agent ends; what was under way happened, or did not."""
        for operation in self.pending:
            if self.random.random() < 0.5 and not isinstance(operation, operations.Observe):
                self.work(operation)
        self.begin()

    def publish(self) -> None:
        """The status reaches the API; it never goes back."""
        record = self.machine.record
        if not record.viewed or self.gone:
            return
        facts = Facts(
            now=self.clock.now(), host_ips=("192.0.2.1",), start_time=record.start_time, waiting=record.waiting,
            ready=record.probes.ready, started=record.probes.started, terminal=record.terminal, failure=record.failure,
            resources=record.applied, allocated=record.allocated,
        )  # fmt: skip
        before, after = self.pod["status"], render_status(self.pod, record.state, facts)
        check_forward(before, after)
        for shown in (*(after.get("initContainerStatuses") or ()), *(after.get("containerStatuses") or ())):
            if "running" in shown["state"]:
                identity = shown["containerID"].partition("://")[2]
                assert shown["restartCount"] == self.begun_before[identity], shown
        self.pod = {**self.pod, "status": after}
        self.tell(events.StatusSent(record.serial))

    def finish(self) -> None:
        """From here everything goes well, and somebody deletes the pod: nothing may be left of it."""
        if not self.gone:
            meta = {
                **self.pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5,
            }  # fmt: skip
            self.pod = {**self.pod, "metadata": meta}
            self.tell(events.PodChanged(self.pod))
        for _ in range(300):
            if self.machine.phase == "gone":
                break
            if self.gone and not self.machine.record.object_gone:
                self.tell(events.ObjectGone(self.pod))
            elif self.pending:
                self.end_operation(smooth=True)
            else:
                self.publish()
                if self.pending:
                    continue
                due = self.machine.due
                assert due is not None or self.machine.phase == "gone" or self.gone, "it waits for nothing"
                self.clock.moment = max(due or self.clock.moment, self.clock.moment)
                self.tell(events.TimePassed())
        assert self.machine.phase == "gone", self.machine.record
        assert not self.sandboxes() and not drive(self.runtime.list_containers())


def check_forward(before: Any, after: Any) -> None:
    if spec.is_terminal(before.get("phase", "")):
        assert after["phase"] == before["phase"]
    for field in ("initContainerStatuses", "containerStatuses"):
        old = {item["name"]: item for item in before.get(field) or ()}
        for new in after.get(field) or ():
            known = old.get(new["name"])
            if known is None:
                continue
            assert new["restartCount"] >= known["restartCount"], (known, new)
            if "terminated" in known["state"] and "running" in new["state"]:
                assert known["state"]["terminated"].get("containerID") != new["containerID"]


@pytest.mark.parametrize("first", range(0, LIVES, LIVES_A_TEST))
def test_no_container_starts_twice_none_is_left_and_the_status_never_goes_back(first: int) -> None:
    for seed in range(first, first + LIVES_A_TEST):
        life = Life(seed)
        try:
            for _ in range(life.random.randrange(4, 30)):
                life.step()
                if life.random.random() < 0.3:
                    life.publish()
            life.finish()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
