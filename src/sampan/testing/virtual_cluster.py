"""A whole cluster in virtual time, driven by plain calls: API server, controllers, scheduler and simulated nodes.

    with VirtualCluster(nodes=3, seed=7) as cluster:
        cluster.create(DEPLOYMENTS, manifest)
        cluster.run_until(lambda: cluster.get(DEPLOYMENTS, "web")["status"].get("readyReplicas") == 3)
        cluster.ail("node-0", "silent")
        cluster.advance(600)

Its time stands still between calls: nothing happens that nobody asked for. One seed gives one course of events, byte
for byte (``trace``), on every machine; another seed gives another order. Time of day begins at ``START``. It needs no
socket, no thread and no loop of the caller's: an asynchronous test cannot use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import inspect
import math
import os
import pickle
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, cast

from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.node.hollow import Fault
from sampan.node.shapes import Shapes
from sampan.node.simulated import SimulatedRuntime
from sampan.store.protocol import Change
from sampan.testing.cluster import Cluster
from sampan.testing.virtual import VirtualLoop

T = TypeVar("T")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: lines of the trace that are kept
TRACE_LINES: Final = 100_000
#: how long ``run_until`` waits, in virtual time, when nobody says
PATIENCE_SECONDS: Final = 3600.0
#: moments are whole ones of these, however many timers came at one
_GRAIN_DIGITS: Final = 5


class ForkFailed(Exception):
    """What was to happen in a copy of a cluster raised an error; its text is the traceback."""


class VirtualCluster:
    """Invariant: outside of its methods its loop does not run."""

    def __init__(self, *, nodes: int = 1, shapes: Shapes | None = None, seed: int = 0, start: datetime = START) -> None:
        self._loop = VirtualLoop(seed)
        self._loop.at_rest = self._loop.stop
        self._timeline = VirtualTimeline(start)
        self._home = tempfile.TemporaryDirectory(prefix="sampan-virtual-")
        self._cluster = Cluster(
            Path(self._home.name),
            nodes=nodes, shapes=shapes, clock=self._timeline, seed=seed, listen=False, reproducible=True,
        )  # fmt: skip
        #: one line for each change of an object: moment, revision, what was done, its key, a hash of its value
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self._digest = hashlib.sha256()
        self._stop_recording: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        try:
            self.run(self._cluster.__aenter__())
        except BaseException:
            self._close()
            raise
        store = self._cluster.server.store
        assert store is not None
        self._stop_recording = store.add_listener("/registry/", self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_recording()
        try:
            self.run(self._cluster.__aexit__(kind, error, traceback))
        finally:
            self._close()

    def _close(self) -> None:
        self._loop.at_rest = None
        with asyncio.Runner(loop_factory=lambda: self._loop):
            pass  # ends what is left, and the loop
        self._home.cleanup()

    # Time.

    @property
    def now(self) -> datetime:
        return self.run(_now(self._timeline))

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._loop.time()

    def run(self, work: Awaitable[T]) -> T:
        """What ``work`` gives; as much time passes as it takes. Raises RuntimeError when it waits for what will never
        happen."""
        task = asyncio.ensure_future(work, loop=self._loop)
        task.add_done_callback(lambda done: self._loop.stop())
        self._loop.horizon = math.inf
        while not task.done():
            self._loop.rests_for = math.inf
            self._loop.run_forever()
            if not task.done() and self._loop.rests_for is None:
                task.cancel()
                self._loop.run_forever()
                raise RuntimeError("it waits for what will never happen")
        return task.result()

    def advance(self, seconds: float) -> None:
        """All that is to happen within so many seconds happens."""
        self._run_to(round(self._loop.time() + seconds, _GRAIN_DIGITS) + 10**-_GRAIN_DIGITS / 2)

    def step(self) -> bool:
        """To the next moment at which anything is to happen. False: nothing ever will."""
        self._run_to(self._loop.time())
        if self._loop.rests_for is None:
            return False
        self._run_to(self._loop.time() + self._loop.rests_for)
        return True

    def run_until(self, condition: Callable[[], object], *, within: float = PATIENCE_SECONDS) -> None:
        """Until ``condition()`` holds, which is looked at after each moment; it may be a coroutine function. Raises
        TimeoutError when it did not within so many seconds."""
        end = self._loop.time() + within
        while not self._holds(condition):
            if self._loop.time() >= end or not self.step():
                raise TimeoutError(f"it did not come true within {within:g} s of virtual time")

    def _holds(self, condition: Callable[[], object]) -> bool:
        found = condition()
        return bool(self.run(found) if inspect.isawaitable(found) else found)

    def _run_to(self, moment: float) -> None:
        self._loop.horizon = max(moment, self._loop.time())
        self._loop.run_forever()

    # Objects, as the administrator.

    @property
    def client(self) -> Client:
        """For ``run``: ``cluster.run(cluster.client.get(PODS, "p", "default"))``."""
        return self._cluster.client

    def client_for(self, user: str, groups: tuple[str, ...] = ()) -> Client:
        return self._cluster.client_for(user, groups)

    def create(self, resource: Resource, obj: Obj) -> Obj:
        return self.run(self.client.create(resource, obj))

    def get(self, resource: Resource, name: str, namespace: str | None = "default") -> Obj:
        """Raises NotFound."""
        return self.run(self.client.get(resource, name, namespace if resource.namespaced else None))

    def list(self, resource: Resource, namespace: str | None = None) -> list[Obj]:
        return cast(list[Obj], self.run(self.client.list(resource, namespace))["items"])

    def patch(self, resource: Resource, name: str, patch: Obj, namespace: str | None = "default") -> Obj:
        return self.run(self.client.patch(resource, name, patch, namespace if resource.namespaced else None))

    def delete(self, resource: Resource, name: str, namespace: str | None = "default") -> None:
        self.run(self.client.delete(resource, name, namespace if resource.namespaced else None))

    # Nodes.

    @property
    def runtimes(self) -> Mapping[str, SimulatedRuntime]:
        """What containers do, by the name of their node."""
        return self._cluster.runtimes

    def ail(self, node: str, fault: Fault | None) -> None:
        """As ``Cluster.ail``; what comes of it comes with time."""
        self._cluster.ail(node, fault)

    # Courses of events.

    @property
    def trace_digest(self) -> str:
        """Of every line that there ever was."""
        return self._digest.hexdigest()

    def _record(self, change: Change) -> None:
        entry = change.entry
        done = "delete" if entry is None else "update" if change.previous is not None else "create"
        value = hashlib.sha256(entry.value).hexdigest()[:16] if entry is not None else "-"
        line = f"{self._loop.time():.6f} {change.revision} {done} {change.key} {value}"
        self.trace.append(line)
        self._digest.update(f"{line}\n".encode())

    def fork(self, work: Callable[[Self], T]) -> T:
        """What ``work`` gives in a copy of this cluster (a process of its own, made in milliseconds); here nothing has
        happened. The result is pickled. Raises ForkFailed with the error's traceback."""
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # what is there is not looked at again, and so stays shared
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _answer(writing, lambda: work(self))
        os.close(writing)
        gc.unfreeze()
        with os.fdopen(reading, "rb") as pipe:
            data = pipe.read()
        os.waitpid(child, 0)
        if not data:
            raise ForkFailed("the copy ended without a word")
        good, value = pickle.loads(data)
        if not good:
            raise ForkFailed(value)
        return cast(T, value)


def _answer(descriptor: int, work: Callable[[], object]) -> None:
    """Ends this process: nothing of what its parent had open is closed or cleaned up here."""
    try:
        try:
            data = pickle.dumps((True, work()))
        except BaseException:  # whatever it was, the parent is told
            data = pickle.dumps((False, traceback.format_exc()))
        with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
            pipe.write(data)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


async def _now(timeline: VirtualTimeline) -> datetime:
    return timeline.now()


__all__ = ["START", "ForkFailed", "VirtualCluster"]
