"""Since when a PersistentVolume is in its phase: when it was made or the phase changed, unless one knows better."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.registry import registry
from sampan.server.kinds.phases import PhaseTimes

NOW, EARLIER, OTHER = "2026-11-21T12:00:00Z", "2026-11-21T11:00:00Z", "2026-11-21T11:30:00Z"


@pytest.mark.parametrize(
    ("status", "since"),
    [
        ({"phase": "Bound", "lastPhaseTransitionTime": EARLIER}, NOW),
        ({"phase": "Bound"}, NOW),
        ({"phase": "Bound", "lastPhaseTransitionTime": OTHER}, OTHER),
        ({"phase": "Pending"}, EARLIER),
        ({"phase": "Pending", "lastPhaseTransitionTime": OTHER}, OTHER),
    ],
)
async def test_a_new_phase_begins_now(status: dict[str, Any], since: str) -> None:
    hook = PhaseTimes(FixedClock(datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)))
    old = {"status": {"phase": "Pending", "lastPhaseTransitionTime": EARLIER}}
    new = {"status": dict(status)}
    await hook.before_update(new, old, dry_run=False)
    assert new["status"]["lastPhaseTransitionTime"] == since


def test_the_first_phase_begins_when_the_volume_is_made() -> None:
    kind = registry().by_resource("", "v1", "persistentvolumes")
    assert kind is not None
    volume: dict[str, Any] = {"metadata": {"creationTimestamp": EARLIER}, "spec": {}}
    kind.prepare_create(volume)
    assert volume["status"] == {"phase": "Pending", "lastPhaseTransitionTime": EARLIER}
