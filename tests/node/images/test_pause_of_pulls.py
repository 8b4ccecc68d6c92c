"""The pause after a pull that failed, at its very end."""

from __future__ import annotations

import pytest

from sampan.node.images import pulls


def test_a_pause_that_is_over_but_for_less_than_a_clock_tells_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it would else ask again and again at one moment of virtual time."""
    pause = pulls.PullBackoff()
    monkeypatch.setattr(pulls, "_now", lambda: 100.0)
    seconds = pause.failed("uid", "app:1", "no")
    monkeypatch.setattr(pulls, "_now", lambda: 100.0 + seconds - 1e-7)
    assert pause.left("uid", "app:1") == (0.0, "no")
    monkeypatch.setattr(pulls, "_now", lambda: 100.0 + seconds - 1)
    assert pause.left("uid", "app:1") == (1.0, "no")
