"""Which process runs which tests, where several run them (tests/conftest.py)."""

from __future__ import annotations

from types import ModuleType

import pytest

E2E, CLIENTS, UNIT = "tests/e2e/test_a.py", "tests/clients/test_b.py", "tests/api/test_c.py"
MACHINES = "tests/machines/test_d.py"


@pytest.fixture
def rules(request: pytest.FixtureRequest) -> ModuleType:
    found = request.config.pluginmanager.get_plugin(str(request.config.rootpath / "tests" / "conftest.py"))
    assert isinstance(found, ModuleType)
    return found


def test_a_file_is_a_unit_and_so_is_a_folder_of_requirements(rules: ModuleType) -> None:
    assert rules.unit_of(f"{E2E}::TestX::test_y[a::b/c]") == E2E
    assert rules.unit_of("tests/e2e/requirements/test_pods.py::test_a") == "tests/e2e/requirements"
    assert rules.unit_of("tests/e2e/requirements/storage/test_pods.py::test_a") == "tests/e2e/requirements/storage"


def test_real_clusters_begin_first_and_the_longest_before_the_others(rules: ModuleType) -> None:
    units = [UNIT, MACHINES, CLIENTS, E2E, "tests/e2e/requirements", "tests/clients/test_helm.py"]
    assert sorted(units, key=rules.rank) == [
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
def test_a_process_takes_what_it_prefers_and_then_what_there_is(
    rules: ModuleType, process: int, order: list[str]
) -> None:
    units, taken = [CLIENTS, UNIT, MACHINES, E2E], []
    while units:
        taken.append(rules.next_unit(units, process))
        units.remove(taken[-1])
    assert taken == order


def test_each_name_of_what_begins_first_is_there(rules: ModuleType, request: pytest.FixtureRequest) -> None:
    tests = request.config.rootpath / "tests"
    assert [name for name in rules._LONG if not (tests / name).exists()] == []
