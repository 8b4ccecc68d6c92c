"""One cluster for the tests of unmodified clients: in a process of its own, on simulated nodes; no root, no containers.

Tests share it and keep apart by namespace, and by the names of what has none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_harness import GADGETS, HELMS, KUBECTLS, PROGRAMS, Program, Served, cluster, eventually
from kubernetes import config as official_config
from kubernetes.client import CustomObjectsApi
from requirement_room import namespace_of_its_own

_LIMIT = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other people's programs use other people's processor time, and warn of their own dependencies."""
    for item in items:
        if item.nodeid.startswith("tests/clients/") and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_LIMIT))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with cluster(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="session")
def official(served: Served) -> Iterator[Any]:
    """A client of the official library, for what tests prepare and look at."""
    client = official_config.new_client_from_config(str(served.kubeconfig))
    yield client
    client.rest_client.pool_manager.clear()
    client.close()


def _program(name: str) -> Path:
    path = PROGRAMS / name
    if not path.exists():
        pytest.fail(f"{name} is not there: run scripts/setup dev")
    return path


@pytest.fixture
def namespace(served: Served) -> Iterator[str]:
    """A namespace of the test's own, in which pods can be made."""
    name = f"t-{secrets.token_hex(3)}"
    with namespace_of_its_own(served.kubeconfig, name):
        yield name


@pytest.fixture
def kubectl(served: Served, namespace: str) -> Program:
    """The newest kubectl, in the test's namespace."""
    return Program(_program("kubectl-1.37"), served, ("--namespace", namespace))


@pytest.fixture(params=KUBECTLS)
def each_kubectl(request: pytest.FixtureRequest, served: Served, namespace: str) -> Program:
    return Program(_program(f"kubectl-{request.param}"), served, ("--namespace", namespace))


@pytest.fixture(params=HELMS)
def each_helm(request: pytest.FixtureRequest, served: Served, namespace: str) -> Program:
    return Program(_program(f"helm-{request.param}"), served, ("--namespace", namespace))


@pytest.fixture
def helm(served: Served, namespace: str) -> Program:
    """The newest Helm, in the test's namespace."""
    return Program(_program("helm-4"), served, ("--namespace", namespace))


@pytest.fixture(scope="session")
def gadgets(official: Any) -> None:
    """The kind Gadget of ``clients.example.com/v1``, served (``charts`` and the operator bring kinds of their own)."""
    definitions = CustomObjectsApi(official)
    where = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    made = definitions.create_cluster_custom_object(*where, GADGETS)
    name = made["metadata"]["name"]

    def established() -> bool:
        status = definitions.get_cluster_custom_object(*where, name).get("status") or {}
        conditions = status.get("conditions") or ()
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    eventually(established)
