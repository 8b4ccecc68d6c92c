"""What two looks at a node say of what it uses."""

from __future__ import annotations

import pytest

from sampan.api.humanize import go_duration
from sampan.api.nodes.endpoint import agent_address, agent_port
from sampan.api.nodes.usage import Looks, NodeUsage, Point, Rate

WEB = ("ns", "web")


def look(time: float, node: int = 0, **containers: Point) -> NodeUsage:
    return NodeUsage(Point(time, node, 1000), {WEB: containers} if containers else {})


def test_a_rate_is_what_was_used_between_two_looks() -> None:
    looks = Looks().next(look(100, 0, app=Point(100, 5_000_000_000, 10)))
    assert (looks.node(), looks.pod(WEB), looks.incomplete) == (None, None, True)
    looks = looks.next(look(110, 20_000_000_000, app=Point(110, 7_500_000_000, 20)))
    assert looks.node() == Rate(110, 10, 2_000_000_000, 1000)
    assert looks.pod(WEB) == {"app": Rate(110, 10, 250_000_000, 20)}
    assert not looks.incomplete


def test_a_pod_is_not_known_before_all_its_containers_are() -> None:
    looks = Looks().next(look(100, app=Point(100, 0, 1)))
    looks = looks.next(look(110, app=Point(110, 0, 1), more=Point(110, 0, 1)))
    assert looks.pod(WEB) is None
    assert looks.incomplete
    looks = looks.next(look(120, app=Point(120, 0, 1), more=Point(120, 0, 1)))
    assert set(looks.pod(WEB) or ()) == {"app", "more"}


@pytest.mark.parametrize(
    "restarted",
    [
        pytest.param(Point(110, 4_999_999_999, 1), id="it counts from the beginning"),
        pytest.param(Point(110, 9_000_000_000, 1, started=105), id="it says when it started"),
    ],
)
def test_a_container_that_was_restarted_is_new(restarted: Point) -> None:
    looks = Looks().next(look(100, app=Point(100, 5_000_000_000, 1, started=50)))
    looks = looks.next(look(110, app=restarted))
    assert looks.pod(WEB) is None


def test_looks_at_the_same_measurement_keep_the_earlier_one() -> None:
    looks = Looks().next(look(100, 0)).next(look(110, 10_000_000_000)).next(look(110.1, 10_100_000_000))
    found = looks.node()
    assert found is not None
    assert (found.window_seconds, found.nano_cores) == (pytest.approx(10.1), 1_000_000_000)


def test_what_is_gone_is_forgotten() -> None:
    looks = Looks().next(look(100, app=Point(100, 0, 1))).next(look(110, app=Point(110, 0, 1))).next(look(120))
    assert looks.pod(WEB) is None
    assert not looks.earlier.pods


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (15.063, "15.063s"),
        (10.0, "10s"),
        (10.5, "10.5s"),
        (60, "1m0s"),
        (3725.5, "1h2m5.5s"),
    ],
)
def test_windows_are_written_as_go_writes_durations(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_a_node_says_where_its_agent_answers() -> None:
    addresses = [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]
    node = {"status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 1234}}}}
    assert (agent_address(node), agent_port(node)) == ("10.0.0.1", 1234)
    assert (agent_address({}), agent_port({})) == ("", 10250)
    assert agent_port({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}}}) == 0
