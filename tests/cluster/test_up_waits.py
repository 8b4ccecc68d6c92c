"""What ``up`` waits for: the node agent of this start, or the one that it found running."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from sampan.cluster import probe, up
from sampan.cluster.instance import Instance
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings

SAID = "2026-01-01T10:00:00Z"


@pytest.mark.parametrize(
    ("node", "ready"),
    [
        ({"pid": 7, "startedAt": "2026-01-01T09:00:00Z"}, True),  # adopted, an hour after it started
        ({"pid": 7, "startedAt": "2026-01-01T10:00:00Z"}, True),
        ({"pid": 7, "startedAt": "2026-01-01T10:00:01Z"}, False),  # this one has not said anything yet
        ({"pid": 7, "startedAt": None}, True),  # adopted, and nobody wrote down when it started
        ({"pid": None, "startedAt": "2026-01-01T09:00:00Z"}, False),  # it does not run just now
        (None, False),
    ],
)
def test_the_agent_that_runs_has_to_have_said_that_it_is_ready(
    node: dict[str, object] | None, ready: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": SAID}
    monkeypatch.setattr(probe, "get", lambda instance, path: {"status": {"conditions": [condition]}})
    instance = Instance(
        ClusterSettings("waits"), tmp_path / "state", tmp_path / "run", node=NodeSettings("n", address="192.0.2.1")
    )
    instance.run.mkdir(parents=True)
    children = {} if node is None else {"node": {"restarts": 0, "lastExit": "", **node}}
    instance.status_file.write_bytes(orjson.dumps({"supervisor": 5, "stopping": False, "processes": children}))
    assert up.node_is_ready(instance, 5) is ready
    assert not up.node_is_ready(instance, 6), "another supervisor wrote that"
