"""Which process runs which tests, where several run them by pytest-xdist: units of work go to who prefers them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

#: What begins first, wherever several processes run tests: files that wait for long, before the others of their kind.
_LONG = (
    "e2e/requirements", "e2e/test_kubectl_objects.py", "e2e/test_kill_components.py", "e2e/test_kubectl_running.py",
    "e2e/test_rollouts.py", "e2e/test_reboot.py", "e2e/test_survival.py", "e2e/test_cron_jobs.py", "e2e/test_purge.py",
    "e2e/test_jobs.py", "e2e/test_claims.py", "clients/test_kubectl_objects.py", "clients/test_kubectl_releases.py",
    "clients/test_helm.py", "controllers/test_crash_of_all.py",
)  # fmt: skip
#: Which kinds of tests a process prefers, by its number: two have clusters of real programs, of one machine or of
#: several (more at a time wait for each other's processors longer than their limits), one the cluster of the clients.
#: They wait more than they compute. Whoever has none of its own left takes what there is.
_PREFERRED = (
    ("e2e", "machines", "clients", ""), ("machines", "e2e", "clients", ""), ("clients", "", "e2e", "machines"),
)  # fmt: skip
_OTHERS = ("", "clients", "e2e", "machines")


def unit_of(nodeid: str) -> str:
    """What one process runs in a row: a file; of the requirements of a node a folder, for its pods start together."""
    file = nodeid.partition("::")[0]
    return file.rpartition("/")[0] if file.startswith("tests/e2e/requirements/") else file


def _kind(unit: str) -> str:
    """By the cluster that it needs; "": none."""
    folder = unit.removeprefix("tests/").partition("/")[0]
    return folder if folder in _OTHERS else ""


def rank(unit: str) -> tuple[int, int]:
    """The order in which units begin."""
    name = unit.removeprefix("tests/")
    return ("e2e", "clients", "machines", "").index(_kind(unit)), _LONG.index(name) if name in _LONG else len(_LONG)


def next_unit(units: Iterable[str], process: int) -> str:
    """The first that the process of this number prefers; there is one."""
    preferred = _PREFERRED[process] if process < len(_PREFERRED) else _OTHERS
    return min(units, key=lambda unit: preferred.index(_kind(unit)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {unit: rank(unit) for unit in {unit_of(item.nodeid) for item in items}}
    items.sort(key=lambda item: ranks[unit_of(item.nodeid)])


class _Indexed(list[str]):
    """A list that finds an entry at once: the scheduler looks up each of some ten thousand."""

    def __init__(self, values: Iterable[str]) -> None:
        super().__init__(values)
        self._places = {value: place for place, value in enumerate(self)}

    def index(self, value: str, *bounds: Any) -> int:
        return self._places[value]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Where several processes run tests: units go to those that prefer them.

    By the node id, for markers do not reach the scheduler (pytest-xdist 3.8 under pytest 9.2 loses its groups).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Preferring(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

        def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
            super().add_node_collection(node, collection)
            if node in self.registered_collections:
                self.registered_collections[node] = _Indexed(collection)

        def _assign_work_unit(self, node: Any) -> None:
            process = int(node.gateway.id.removeprefix("gw"))
            self.workqueue.move_to_end(next_unit(self.workqueue, process), last=False)
            super()._assign_work_unit(node)

    return Preferring(config, log)
