"""The pytest plugin (docs/testing.md): clusters for tests, of one simulated node or as ``@pytest.mark.sampan`` says.

    sampan_cluster      asynchronous tests: a fresh cluster on the test's own event loop (needs pytest-asyncio)
    sampan_kubeconfig   any program: the kubeconfig of a copy of a prepared cluster, in a process of its own
    sampan_virtual      a cluster in virtual time; the test runs in a copy of its own

``@pytest.mark.sampan(nodes=3)`` asks for more nodes of the first two, ``shapes="..."`` for those of a file of
``sampan up --simulate``.
``sampan_manifests`` and ``sampan_virtual_prepared`` are there to be overridden: what they prepare is prepared once a
session. Loaded by pytest through the entry point of the package; imports the cluster only when a test asks for it.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from sampan.testing.cluster import Cluster
    from sampan.testing.prepared import Prepared
    from sampan.testing.virtual_cluster import VirtualCluster

    async_fixture = pytest.fixture
else:
    try:  # in every mode of pytest-asyncio, not in "auto" alone
        from pytest_asyncio import fixture as async_fixture
    except ImportError:
        from pytest import fixture as async_fixture

#: clusters by the nodes that they have
MakePrepared = Callable[[int, str], "Prepared"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sampan(nodes=1, shapes=''): the simulated nodes of the test's cluster")


def _asked(request: pytest.FixtureRequest) -> tuple[int, str]:
    marker = request.node.get_closest_marker("sampan")
    given: Mapping[str, Any] = marker.kwargs if marker is not None else {}
    nodes, shapes = given.get("nodes", 1), given.get("shapes", "")
    wrong = (marker is not None and marker.args) or given.keys() - {"nodes", "shapes"} or len(given) > 1
    if wrong or type(nodes) is not int or not isinstance(shapes, str):
        pytest.fail("@pytest.mark.sampan takes nodes=NUMBER or shapes=TEXT", pytrace=False)
    _check(nodes, shapes)
    return nodes, shapes


@lru_cache
def _check(nodes: int, shapes: str) -> None:
    """Here, where it is told in a line, and not in the process that makes the cluster."""
    from sampan.node.shapes import ShapeError, of_count, parse

    try:
        parse(shapes) if shapes else of_count(nodes)
    except ShapeError as error:
        pytest.fail(f"@pytest.mark.sampan: {error}", pytrace=False)


@async_fixture
async def sampan_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A fresh cluster, on the test's own event loop (needs pytest-asyncio)."""
    from sampan.node.shapes import parse
    from sampan.testing.cluster import Cluster

    nodes, shapes = _asked(request)
    async with Cluster(tmp_path / "cluster", nodes=nodes, shapes=parse(shapes) if shapes else None) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sampan_manifests() -> list[dict[str, Any]]:
    """What is there in the clusters of ``sampan_kubeconfig``, in this order: override it."""
    return []


@pytest.fixture(scope="session")
def _sampan_prepared(
    tmp_path_factory: pytest.TempPathFactory, sampan_manifests: list[dict[str, Any]]
) -> Iterator[MakePrepared]:
    made: dict[tuple[int, str], Prepared] = {}
    with ExitStack() as stack:

        def prepared(nodes: int, shapes: str) -> Prepared:
            from sampan.testing.prepared import Prepared

            if (nodes, shapes) not in made:
                directory = tmp_path_factory.mktemp("sampan")
                one = Prepared(directory, nodes=nodes, shapes=shapes, manifests=sampan_manifests)
                made[nodes, shapes] = stack.enter_context(one)
            return made[nodes, shapes]

        yield prepared


@pytest.fixture
def sampan_kubeconfig(request: pytest.FixtureRequest, tmp_path: Path, _sampan_prepared: MakePrepared) -> Iterator[Path]:
    """The kubeconfig of a cluster of the test's own, in another process: for kubectl, operators and any client."""
    path = tmp_path / "kubeconfig"
    with _sampan_prepared(*_asked(request)).copy(path):
        yield path


@pytest.fixture(scope="session")
def sampan_virtual_prepared() -> Iterator[VirtualCluster]:
    """What ``sampan_virtual`` is a copy of: override it to prepare more, or another cluster."""
    from sampan.testing.virtual_cluster import VirtualCluster

    with VirtualCluster() as cluster:
        yield cluster


@pytest.fixture
def sampan_virtual(request: pytest.FixtureRequest, sampan_virtual_prepared: VirtualCluster) -> VirtualCluster:
    """A cluster in virtual time. The test runs in a process of its own: what it changes nobody else sees."""
    if asyncio.iscoroutinefunction(request.function):
        pytest.fail("a test with sampan_virtual cannot be asynchronous: cluster.run(...) runs what is", pytrace=False)
    if request.node.get_closest_marker("sampan") is not None:
        pytest.fail(
            "@pytest.mark.sampan says nothing to sampan_virtual: override sampan_virtual_prepared", pytrace=False
        )
    return sampan_virtual_prepared


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    if "sampan_virtual" not in pyfuncitem.fixturenames:
        return None
    cluster = cast("VirtualCluster", pyfuncitem.funcargs["sampan_virtual"])
    names = pyfuncitem._fixtureinfo.argnames  # as pytest's own call of a test does
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    outcome, text = cluster.fork(lambda copy: _outcome(pyfuncitem.obj, arguments))
    if outcome == "skipped":
        pytest.skip(text)
    if outcome == "failed":
        pytest.fail(text, pytrace=False)
    return True


def _outcome(test: Callable[..., object], arguments: Mapping[str, Any]) -> tuple[str, str]:
    try:
        test(**arguments)
    except pytest.skip.Exception as skipped:
        return "skipped", str(skipped)
    except (Exception, pytest.fail.Exception):
        return "failed", traceback.format_exc()
    return "passed", ""
