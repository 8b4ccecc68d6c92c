from __future__ import annotations

from pathlib import Path
from typing import get_args

from sampan.node.pods import events, phases
from sampan.node.pods.record import Phase

PAGE = Path(__file__).parents[3] / "docs/pod-life-cycle.md"


def test_the_page_is_what_the_table_prints() -> None:
    assert phases.render() in PAGE.read_text()


def test_every_phase_and_event_has_its_words() -> None:
    assert set(phases.PHASES) == set(phases.ALLOWED) == set(get_args(Phase))
    assert set(phases.EVENTS) == set(get_args(events.Event))


def test_every_phase_is_reached_and_only_gone_is_the_end() -> None:
    assert {row.target for row in phases.TRANSITIONS} == set(get_args(Phase)) - {"adopting"}
    assert {row.source for row in phases.TRANSITIONS} == set(get_args(Phase)) - {"gone"}
