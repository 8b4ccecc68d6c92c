from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.cluster import probe
from sampan.cluster.instance import Instance
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings


@pytest.mark.parametrize(("began", "ready"), [(None, True), ("10:00:00.9", True), ("10:00:01.0", False)])
def test_what_a_node_reported_before_it_was_started_does_not_make_it_ready(
    began: str | None, ready: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T10:00:00Z"}
    monkeypatch.setattr(probe, "get", lambda instance, path: {"status": {"conditions": [condition]}})
    node = NodeSettings("n", address="192.0.2.1")
    instance = Instance(ClusterSettings("probe"), tmp_path, tmp_path, node=node)
    since = None if began is None else datetime.fromisoformat(f"2026-01-01T{began}").replace(tzinfo=UTC)
    assert probe.node_condition(instance, since)[0] is ready


def test_what_a_node_is_short_of_is_told_beside_its_being_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conditions = [
        {"type": "MemoryPressure", "status": "False", "message": "kubelet has sufficient memory available"},
        {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"},
        {"type": "Ready", "status": "True", "message": "kubelet is posting ready status"},
    ]
    monkeypatch.setattr(probe, "get", lambda instance, path: {"status": {"conditions": conditions}})
    instance = Instance(ClusterSettings("probe"), tmp_path, tmp_path, node=NodeSettings("n", address="192.0.2.1"))
    assert probe.node_condition(instance) == (
        True, "kubelet is posting ready status, but it has DiskPressure (docs/node.md)",
    )  # fmt: skip


def test_a_socket_that_a_killed_program_left_is_nobody_who_listens(tmp_path: Path) -> None:
    """``up`` after ``down``: the file of the former containerd is there before the new one listens."""
    path = tmp_path / "s"
    assert not probe.is_listening(path)
    with socket.socket(socket.AF_UNIX) as former:
        former.bind(str(path))
        former.listen()
        assert probe.is_listening(path)
    assert path.exists()
    assert not probe.is_listening(path)
