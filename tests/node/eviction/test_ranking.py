"""Which pod goes first, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.types import Obj
from sampan.node.eviction.limits import exceeded, has_limits
from sampan.node.eviction.pressure import Observation
from sampan.node.eviction.ranking import rank
from sampan.node.eviction.usage import ContainerUsage, DiskUsage, PodUsage
from sampan.node.eviction.words import node_was_low
from sampan.node.thresholds import parse_thresholds

MI = 1 << 20


def pod(name: str, *, priority: int = 0, volumes: Any = (), **resources: Obj) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "d", "uid": name},
        "spec": {
            "priority": priority,
            "containers": [{"name": "main", "resources": resources}],
            "volumes": list(volumes),
        },
    }


def uses(
    memory: int = 0, *, root: int = 0, logs: int = 0, volumes: dict[str, int] | None = None, tasks: int = 0
) -> PodUsage:
    container = ContainerUsage(memory, DiskUsage(root, root), DiskUsage(logs, logs))
    return PodUsage(
        {"main": container}, {name: DiskUsage(n, n) for name, n in (volumes or {}).items()}, processes=tasks
    )


def order(signal: Any, pods: list[Obj], usage: dict[str, PodUsage], *, dedicated: bool = False) -> list[str]:
    return [each["metadata"]["name"] for each in rank(signal, pods, usage, dedicated_image_fs=dedicated)]


def test_who_uses_more_than_he_asked_for_goes_before_who_does_not_whatever_their_priority() -> None:
    """Guaranteed pods, and Burstable ones within their requests, go last."""
    asked = pod("within", requests={"memory": "100Mi"})
    greedy = pod("greedy", priority=1000)
    more = pod("more", requests={"memory": "10Mi"})
    usage = {"within": uses(100 * MI), "greedy": uses(1 * MI), "more": uses(50 * MI)}
    assert order("memory.available", [asked, greedy, more], usage) == ["more", "greedy", "within"]


def test_among_equals_the_one_furthest_above_its_request_goes_first() -> None:
    pods = [pod("big", requests={"memory": "90Mi"}), pod("small", requests={"memory": "1Mi"})]
    assert order("memory.available", pods, {"big": uses(100 * MI), "small": uses(20 * MI)}) == ["small", "big"]


def test_what_cannot_be_measured_goes_first() -> None:
    assert order("memory.available", [pod("a"), pod("b", priority=9)], {"a": uses(MI)}) == ["b", "a"]


def test_of_processes_priority_decides_and_then_their_number() -> None:
    pods = [pod("low", priority=-1), pod("many"), pod("few")]
    assert order("pid.available", pods, {"low": uses(tasks=1), "many": uses(tasks=9), "few": uses(tasks=2)}) == [
        "low", "many", "few",
    ]  # fmt: skip


def test_disk_is_what_lies_on_the_file_system_that_is_short() -> None:
    pods = [pod("layers"), pod("logs"), pod("scratch")]
    usage = {"layers": uses(root=50), "logs": uses(logs=20), "scratch": uses(volumes={"v": 30})}
    assert order("nodefs.available", pods, usage) == ["layers", "scratch", "logs"]
    assert order("nodefs.available", pods, usage, dedicated=True)[0] == "scratch"
    assert order("imagefs.inodesFree", pods, usage, dedicated=True)[0] == "layers"


_PODS = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(0, 5), st.one_of(st.none(), st.integers(0, 10))), min_size=1, max_size=8
)


@given(_PODS, st.randoms())
def test_no_order_of_the_input_changes_who_goes_first(drawn: list[tuple[int, int, int | None]], random: Any) -> None:
    pods = [
        pod(f"p{n}", priority=priority, requests={"memory": str(asked)}) for n, (priority, asked, _) in enumerate(drawn)
    ]
    usage = {f"p{n}": uses(used) for n, (_, _, used) in enumerate(drawn) if used is not None}
    shuffled = pods[:]
    random.shuffle(shuffled)

    def meaning(each: Obj) -> tuple[int, int, int | None]:
        return drawn[int(each["metadata"]["name"][1:])]

    first, again = rank("memory.available", pods, usage)[0], rank("memory.available", shuffled, usage)[0]
    assert _class(meaning(first)) == _class(meaning(again))
    # Nobody who keeps to what he asked for goes while somebody does not.
    if any(used is not None and used > asked for _, asked, used in drawn):
        _, asked, used = meaning(first)
        assert used is None or used > asked


def _class(drawn: tuple[int, int, int | None]) -> tuple[Any, ...]:
    priority, asked, used = drawn
    return (used is None, priority) if used is None else (False, used > asked, priority, used - asked)


def test_the_message_names_the_threshold_what_is_left_and_who_used_more() -> None:
    seen = {"memory.available": Observation(90 * MI, 1 << 30)}
    due = parse_thresholds({"memory.available": "100Mi"})
    message = node_was_low("memory", pod("p", requests={"memory": "10Mi"}), uses(64 * MI), due, seen)
    assert message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. "
        "Container main was using 64Mi, request is 10Mi, has larger consumption of memory. "
    )
    assert node_was_low("memory", pod("p"), None, due, {}) == "The node was low on resource: memory. "


def test_the_message_of_a_pod_that_asks_as_a_whole_names_the_pod_too() -> None:
    whole = pod("p")
    whole["spec"]["resources"] = {"requests": {"memory": "1Gi"}}
    message = node_was_low("memory", whole, uses(64 * MI), (), {})
    assert "Pod p was using 64Mi, request is 1Gi, has larger consumption of memory. " in message


def test_inodes_are_plain_numbers() -> None:
    seen = {"nodefs.inodesFree": Observation(16183, 1_000_000)}
    message = node_was_low("inodes", pod("p"), uses(), parse_thresholds({"nodefs.inodesFree": "20k"}), seen)
    assert message == "The node was low on resource: inodes. Threshold quantity: 20000, available: 16183. "


SCRATCH = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}


@pytest.mark.parametrize(
    ("given_pod", "usage", "message"),
    [
        (pod("p", volumes=[SCRATCH]), uses(volumes={"v": MI + 1}),
         'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
        (pod("p", volumes=[SCRATCH]), uses(volumes={"v": MI}), None),
        (pod("p", volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}}]),
         uses(volumes={"v": 9 * MI}), None),
        (pod("p", volumes=[{"name": "v", "emptyDir": {}}], limits={"ephemeral-storage": "2Mi"}),
         uses(root=MI, volumes={"v": MI + 1}),
         "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "),
        (pod("p", limits={"ephemeral-storage": "2Mi"}), uses(root=MI, logs=MI), None),
        (pod("p", limits={"memory": "2Mi"}), uses(root=9 * MI), None),
    ],
)  # fmt: skip
def test_a_pod_is_held_to_what_it_said_of_the_disk(given_pod: Obj, usage: PodUsage, message: str | None) -> None:
    assert exceeded(given_pod, usage) == message


def test_one_container_is_held_to_its_own_limit_though_the_pod_has_more() -> None:
    made = pod("p", limits={"ephemeral-storage": "2Mi"})
    made["spec"]["containers"].append({"name": "other", "resources": {"limits": {"ephemeral-storage": "8Mi"}}})
    used = uses(root=2 * MI, logs=1)
    assert exceeded(made, used) == 'Container main exceeded its local ephemeral storage limit "2Mi". '
    # Where layers lie elsewhere only logs are on the node's disk.
    assert exceeded(made, used, dedicated_image_fs=True) is None


def test_only_pods_with_a_limit_are_measured_each_time() -> None:
    assert has_limits(pod("p", volumes=[SCRATCH]))
    assert has_limits(pod("p", limits={"ephemeral-storage": "1Gi"}))
    assert not has_limits(pod("p", volumes=[{"name": "v", "emptyDir": {}}], limits={"memory": "1Gi"}))
