"""``--controllers``: which run, by upstream's rules and names."""

import pytest

from sampan.controllers.manager import CONTROLLERS
from sampan.controllers.selection import (
    ALIASES,
    UPSTREAM,
    UnknownControllers,
    asked_in_vain,
    check,
    disabled,
    is_enabled,
)

OFF = ("bootstrap-signer-controller", "token-cleaner-controller")
JOB, TOKENS = "job-controller", "token-cleaner-controller"


@pytest.mark.parametrize(
    ("patterns", "job", "tokens"),
    [
        (["*"], True, False),
        (["*", "-job-controller"], False, False),
        (["-job-controller", "*"], False, False),
        (["*", "token-cleaner-controller"], True, True),
        (["job-controller"], True, False),
        (["-job-controller"], False, False),
        ([], False, False),
        # The first that names it counts.
        (["job-controller", "-job-controller", "*"], True, False),
        (["-job-controller", "job-controller", "*"], False, False),
        (["*", "-token-cleaner-controller", "tokencleaner"], True, False),
        # Old names.
        (["*", "-job", "tokencleaner"], False, True),
        (["job", "-job-controller"], True, False),
    ],
)
def test_the_first_pattern_that_names_a_controller_decides_and_else_the_star(patterns, job, tokens):
    assert (is_enabled(JOB, patterns), is_enabled(TOKENS, patterns)) == (job, tokens)
    off = disabled(patterns, CONTROLLERS)
    assert (JOB not in off, TOKENS not in off) == (job, tokens)


def test_all_run_by_default_but_two():
    assert disabled(["*"], CONTROLLERS) == set(OFF)
    assert not disabled(["*", "bootstrapsigner", "tokencleaner"], CONTROLLERS)
    assert disabled([], CONTROLLERS) == set(CONTROLLERS)


def test_what_is_not_known_is_named_as_it_was_written():
    with pytest.raises(UnknownControllers) as refused:
        check(["*", "-jobs", "cron", "job"], CONTROLLERS)
    assert str(refused.value) == (
        '"jobs" is not in the list of known controllers; "cron" is not in the list of known controllers'
    )
    with pytest.raises(UnknownControllers):
        disabled(["--job"], CONTROLLERS)


def test_upstreams_names_are_known_whether_or_not_the_controller_is_here():
    check([*UPSTREAM, *ALIASES, *(f"-{name}" for name in ALIASES)], [])
    assert asked_in_vain(["*", "-route", "route", "job"], CONTROLLERS) == ["node-route-controller"]


def test_what_is_off_by_default_is_there():
    assert set(OFF) <= UPSTREAM & set(CONTROLLERS)
