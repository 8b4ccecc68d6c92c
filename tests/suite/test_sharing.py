"""Which process runs which tests, where several run them."""

from __future__ import annotations

import pytest
import suite_sharing

E2E, CLIENTS, UNIT = "tests/e2e/test_a.py", "tests/clients/test_b.py", "tests/api/test_c.py"
MACHINES = "tests/machines/test_d.py"


def test_a_file_is_a_unit_and_so_is_a_folder_of_requirements() -> None:
    assert suite_sharing.unit_of(f"{E2E}::TestX::test_y[a::b/c]") == E2E
    assert suite_sharing.unit_of("tests/e2e/requirements/test_pods.py::test_a") == "tests/e2e/requirements"
    assert (
        suite_sharing.unit_of("tests/e2e/requirements/storage/test_pods.py::test_a") == "tests/e2e/requirements/storage"
    )


def test_real_clusters_begin_first_and_the_longest_before_the_others() -> None:
    units = [UNIT, MACHINES, CLIENTS, E2E, "tests/e2e/requirements", "tests/clients/test_helm.py"]
    assert sorted(units, key=suite_sharing.rank) == [
        "tests/e2e/requirements", E2E, "tests/clients/test_helm.py", CLIENTS, MACHINES, UNIT,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("process", "order"),
    [
        (0, [E2E, MACHINES, CLIENTS, UNIT]),
        (1, [MACHINES, E2E, CLIENTS, UNIT]),
        (2, [CLIENTS, UNIT, E2E, MACHINES]),
        (3, [UNIT, CLIENTS, E2E, MACHINES]),
    ],
)
def test_a_process_takes_what_it_prefers_and_then_what_there_is(process: int, order: list[str]) -> None:
    units, taken = [CLIENTS, UNIT, MACHINES, E2E], []
    while units:
        taken.append(suite_sharing.next_unit(units, process))
        units.remove(taken[-1])
    assert taken == order


def test_each_name_of_what_begins_first_is_there(request: pytest.FixtureRequest) -> None:
    tests = request.config.rootpath / "tests"
    assert [name for name in suite_sharing._LONG if not (tests / name).exists()] == []
