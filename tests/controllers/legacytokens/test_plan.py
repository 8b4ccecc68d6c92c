"""Which tokens in Secrets are marked invalid, and which go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.controllers.legacytokens.plan import INVALID_SINCE, LAST_USED, plan, times

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
LONG_AGO = "2025-06-14"
ACCOUNT: dict[str, Any] = {
    "metadata": {"name": "robot", "namespace": "ns", "uid": "u1"},
    "secrets": [{"name": "other"}, {"name": "token"}],
}


def secret(made: str = "2024-01-01T00:00:00Z", kind: str = "kubernetes.io/service-account-token", **labels: str) -> Any:
    names = {"used": LAST_USED, "invalid": INVALID_SINCE}
    metadata = {
        "name": "token",
        "namespace": "ns",
        "creationTimestamp": made,
        "labels": {names[key]: value for key, value in labels.items()},
        "annotations": {"kubernetes.io/service-account.name": "robot", "kubernetes.io/service-account.uid": "u1"},
    }
    return {"metadata": metadata, "type": kind}


def decide(found: Any, account: Any = ACCOUNT, mounted: tuple[str, ...] = ()) -> str | None:
    since = times(NOW, "2024-01-01", YEAR)
    assert since is not None
    return plan(found, account, mounted, since)


@pytest.mark.parametrize("since", ["9999-12-31", "9999-01-01", "2026-06-14"])
def test_what_was_noted_for_too_short_a_time_says_nothing(since: str) -> None:
    """Not even where the day that somebody wrote there has none after it."""
    assert times(NOW, since, YEAR) is None


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (secret(), "mark"),
        (secret(used=LONG_AGO), "mark"),
        (secret(used="2025-06-15"), None),  # the day itself still counts
        (secret(used="2026-06-15"), None),
        (secret(used="yesterday"), None),
        (secret(used=""), None),
        (secret(made="2025-06-15T12:00:00Z"), None),
        (secret(made="2025-06-15T11:59:59Z"), "mark"),
        (secret(invalid=LONG_AGO), "delete"),
        (secret(invalid="2025-06-15"), None),
        (secret(invalid="2026-06-15"), None),
        (secret(invalid="nonsense"), "mark"),
        (secret(invalid="2024-1-1"), "mark"),
        (secret(invalid=LONG_AGO, used="2026-06-01"), None),
        (secret(kind="Opaque"), None),
    ],
)
def test_an_unused_token_is_marked_and_a_year_later_deleted(found: Any, action: str | None) -> None:
    assert decide(found) == action


def test_a_token_that_a_pod_mounts_stays() -> None:
    assert decide(secret(), mounted=("token",)) is None


@pytest.mark.parametrize(
    "account",
    [
        None,
        {**ACCOUNT, "secrets": [{"name": "other"}]},
        {**ACCOUNT, "secrets": None},
        {**ACCOUNT, "metadata": {**ACCOUNT["metadata"], "uid": "made anew"}},
    ],
)
def test_a_token_that_was_made_by_hand_stays(account: Any) -> None:
    assert decide(secret(), account) is None


def test_a_token_on_its_way_out_is_left_alone() -> None:
    found = secret()
    found["metadata"]["deletionTimestamp"] = "2026-06-15T11:00:00Z"
    assert decide(found) is None


def test_nothing_is_old_before_uses_were_written_down_for_a_year() -> None:
    assert times(datetime(2026, 1, 1, 23, tzinfo=UTC), "2025-01-01", YEAR) is None
    assert times(datetime(2026, 1, 2, tzinfo=UTC), "2025-01-01", YEAR) is not None
    with pytest.raises(ValueError, match="no day"):
        times(NOW, "since ever", YEAR)
