"""One real cluster for all end-to-end tests: made by ``sampan up``, driven by real programs, purged at the end.

It stands beside any other cluster of the machine, other runs of these tests included. Tests share it and keep apart by
namespace. They wait for the real world, so they carry longer timeouts than unit tests.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_harness import (
    NAME,
    NEEDS,
    Cluster,
    Kubectl,
    build_demo_image,
    faults_in_logs,
    up,
)
from kubernetes import config as official_config
from requirement_room import namespace_of_its_own
from suite_sweep import sweep


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/e2e/"):
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster of this run's own."""
    missing = [program for program in NEEDS if shutil.which(program) is None]
    if os.geteuid() != 0:
        pytest.skip("needs root: containers, cgroups and nftables")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: run scripts/setup dev")
    home = tmp_path_factory.mktemp("home")
    made = Cluster(home / "kubeconfig", home)
    sweep()
    try:
        up(made)
        build_demo_image(made)
        yield made
    finally:
        logs = Path("/var/lib/sampan") / NAME / "logs"
        keep = os.environ.get("SAMPAN_KEEP_LOGS")
        if keep and logs.is_dir():
            shutil.copytree(logs, keep, dirs_exist_ok=True)
        faults = faults_in_logs(NAME)
        made.sampan("down", "--name", NAME, "--purge")
    assert not faults, "the cluster's processes logged at error level:\n" + "\n".join(faults)


@pytest.fixture
def official_client(cluster: Cluster) -> Iterator[Callable[[], Any]]:
    """Makes clients of the official library, whose connections end with the test: the library leaves them open."""
    made: list[Any] = []

    def make() -> Any:
        made.append(official_config.new_client_from_config(str(cluster.kubeconfig)))
        return made[-1]

    yield make
    for each in made:
        each.rest_client.pool_manager.clear()
        each.close()


@pytest.fixture(scope="session", params=["machine", "1.20"])
def kubectl_program(request: pytest.FixtureRequest) -> Path:
    if request.param == "1.20":
        return Path(__file__).parents[2] / ".venv" / "programs" / "kubectl-1.20"
    return Path(shutil.which("kubectl") or "kubectl")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t-{secrets.token_hex(3)}"
    with namespace_of_its_own(cluster.kubeconfig, name):
        yield name


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str) -> Kubectl:
    """The machine's kubectl in a fresh namespace."""
    return Kubectl(Path(shutil.which("kubectl") or "kubectl"), cluster, namespace)


@pytest.fixture
def each_kubectl(cluster: Cluster, namespace: str, kubectl_program: Path) -> Kubectl:
    """Each kubectl there is (the machine's, 1.20) in a fresh namespace."""
    return Kubectl(kubectl_program, cluster, namespace)
