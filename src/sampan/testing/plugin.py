"""The pytest plugin: fixtures ``sampan_cluster`` (async, for one test) and ``sampan_kubeconfig`` (for any program).

Loaded by pytest through the entry point of the package; imports the cluster only when a test asks for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sampan.testing.cluster import Cluster

    async_fixture = pytest.fixture
else:
    try:  # in every mode of pytest-asyncio, not in "auto" alone
        from pytest_asyncio import fixture as async_fixture
    except ImportError:
        from pytest import fixture as async_fixture


@async_fixture
async def sampan_cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A fresh cluster with one simulated node, on the test's own event loop (needs pytest-asyncio)."""
    from sampan.testing.cluster import Cluster

    async with Cluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def sampan_kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of a fresh cluster that runs in a thread of its own: for kubectl and blocking clients."""
    started: Future[tuple[Path, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        from sampan.testing.cluster import Cluster

        stop = asyncio.Event()
        async with Cluster(tmp_path / "cluster") as cluster:
            started.set_result((cluster.kubeconfig(), asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="sampan cluster")
    thread.start()
    path, loop, stop = started.result()
    yield path
    loop.call_soon_threadsafe(stop.set)
    thread.join()
