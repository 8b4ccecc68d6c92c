"""One cluster of two machines for the tests of this folder: they share it and keep apart by namespace."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator

import pytest
from e2e_harness import Kubectl, eventually
from machines_lab import (
    SINGLE,
    Machines,
    running,
    skip_where_there_can_be_none,
)
from suite_sweep import sweep


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/machines/"):
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """m1 with the control plane, m2 with a node alone; both take pods, in both families, IPv4 first. m3 is no node."""
    skip_where_there_can_be_none()
    sweep()
    with running(Machines(tmp_path_factory.mktemp("machines"), spare=1), "dual") as made:
        yield made


@pytest.fixture(scope="module")
def ipv6_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A cluster of one machine that has IPv6 alone."""
    skip_where_there_can_be_none()
    with running(Machines(tmp_path_factory.mktemp("ipv6"), count=1, kind=SINGLE), "ipv6") as made:
        yield made


@pytest.fixture
def kubectl(machines: Machines) -> Iterator[Kubectl]:
    """kubectl on m1, in a namespace of the test's own."""
    made = machines.cluster.kubectl(f"t-{secrets.token_hex(3)}")
    made("create", "namespace", made.namespace)
    eventually(lambda: made.run("get", "serviceaccount", "default", check=False).returncode == 0)
    yield made
    with contextlib.suppress(subprocess.TimeoutExpired):
        made.run("delete", "namespace", made.namespace, "--wait=false", check=False)
