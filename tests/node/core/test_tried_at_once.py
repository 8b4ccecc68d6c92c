from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.node.pods import events
from sampan.node.pods.absorb import absorb
from sampan.node.pods.record import PodRecord
from sampan.node.pods.status import Waiting

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(**meta: Any) -> Any:
    return {"metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 1, **meta}, "spec": {}}


@pytest.mark.parametrize(
    ("reason", "meta", "at_once"),
    [
        ("CreateContainerConfigError", {"annotations": {"a": "b"}}, True),
        ("CreateContainerConfigError", {"labels": {"a": "b"}}, True),
        ("CreateContainerConfigError", {"generation": 2}, True),
        ("CreateContainerConfigError", {"resourceVersion": "2"}, False),  # such as a change of its status
        ("ImagePullBackOff", {"annotations": {"a": "b"}}, False),
    ],
)
def test_what_could_not_be_configured_is_tried_at_once_when_its_pod_changes(
    reason: str, meta: dict[str, Any], at_once: bool
) -> None:
    record = PodRecord(pod(), NOW)
    record.waiting["main"] = Waiting(reason)
    record.not_before["main"] = NOW + timedelta(seconds=10)
    absorb(record, events.PodChanged(pod(**meta)), NOW)
    assert ("main" not in record.not_before) == at_once
