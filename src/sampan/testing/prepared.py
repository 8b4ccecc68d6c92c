"""A prepared cluster in a process of its own, of which each test gets a copy by fork.

The process has a whole cluster without a socket, with what the tests' author wants to be there. Who connects to its
Unix socket gets a copy of the process, which listens at a port of its own, says so in one line of JSON, and ends with
the connection. Pages are shared until they are written to, so a copy costs milliseconds. ``Prepared`` starts it
(``python -m sampan.testing.prepared``) and speaks to it; it ends when its standard input does.

Concurrency: one event loop. It forks between two callbacks, when no thread of its works.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sampan.api.errors import NotFound
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.client.kubeconfig import Connection, KubeConfig
from sampan.node.shapes import Shapes, of_count, parse

_LOOKS, _LOOK_SECONDS = 600, 0.05
_ENDED = "the prepared cluster ended; what it said:\n"


class Prepared:
    """For the process that runs the tests. ``with Prepared(...) as prepared``: inside, copies can be made."""

    def __init__(self, directory: Path, *, nodes: int = 1, shapes: str = "", manifests: Iterable[Obj] = ()) -> None:
        """``shapes``: as in a file of ``sampan up --simulate``. ``manifests``, made in this order, every copy has."""
        self._directory = directory
        self._options = {"nodes": nodes, "shapes": shapes, "manifests": list(manifests)}
        self._process: subprocess.Popen[str] | None = None
        #: what the last copy had used when it listened
        self.processor_seconds = 0.0

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sampan.testing.prepared", str(self._directory), json.dumps(self._options)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self.__exit__(None, None, None)
            raise RuntimeError(_ENDED + (self._directory / "log").read_text()[-4000:])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def copy(self, kubeconfig: Path) -> socket.socket:
        """A copy, and the file that leads to it; it ends when what is given is closed."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._directory / "fork.sock"))
            with connection.makefile("r") as lines:
                said = lines.readline()
            if not said:
                raise RuntimeError(_ENDED + (self._directory / "log").read_text()[-4000:])
            told = json.loads(said)
            self.processor_seconds = told["processorSeconds"]
            pki = self._directory / "state" / "testing" / "pki"
            access = Connection(
                told["url"],
                ca_pem=(pki / "ca.crt").read_bytes(),
                client_certificate_pem=(pki / "admin.crt").read_bytes(),
                client_key_pem=(pki / "admin.key").read_bytes(),
            )
            KubeConfig.build("sampan-testing", "admin", access).write(kubeconfig)
        except BaseException:
            connection.close()
            raise
        return connection


class _Loop(asyncio.SelectorEventLoop):
    def renew(self) -> None:
        """In a copy of the process: nothing that its parent listens to is listened to here, and no thread is there."""
        asyncio._set_running_loop(self)  # it knows itself by the number of the process
        self._selector: selectors.BaseSelector
        self._selector.close()  # asyncio's own, shared with the parent until now
        self._selector = selectors.DefaultSelector()
        # asyncio has no public way to give a loop another pipe for its own wake-ups; typeshed knows none of these.
        self._ssock.close()  # type: ignore[attr-defined]
        self._csock.close()  # type: ignore[attr-defined]
        self._internal_fds -= 1  # type: ignore[attr-defined]
        self._make_self_pipe()  # type: ignore[attr-defined]
        self._default_executor = None


async def _serve(directory: Path, options: Mapping[str, Any], loop: _Loop) -> None:
    from sampan.testing.cluster import Cluster

    shapes: Shapes = parse(options["shapes"]) if options["shapes"] else of_count(options["nodes"], "node")
    with socket.socket() as held:  # all copies have the nodes' APIs at this port
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("0.0.0.0", 0))
        port = held.getsockname()[1]
        async with Cluster(directory, shapes=shapes, listen=False, openapi=True, node_api_port=port) as cluster:
            for obj in options["manifests"]:
                await _create(cluster, obj)
            await cluster.client.raw("GET", "/openapi/v3")  # made once, for all
            cluster.prepare_to_listen()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
            gc.collect()
            gc.freeze()
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(directory / "fork.sock"))
                listening.listen(64)
                loop.add_reader(listening, _fork, listening, cluster, loop)
                sys.stdout.write("ready\n")
                sys.stdout.flush()
                ended = asyncio.Event()
                loop.add_reader(sys.stdin, ended.set)
                await ended.wait()
                loop.remove_reader(sys.stdin)
                loop.remove_reader(listening)


def _fork(listening: socket.socket, cluster: Any, loop: _Loop) -> None:
    connection, _ = listening.accept()
    if os.fork():
        connection.close()
        return
    listening.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    loop.renew()
    task = loop.create_task(_live(connection, cluster, loop))
    task.add_done_callback(lambda done: os._exit(0 if done.exception() is None else 1))


async def _live(connection: socket.socket, cluster: Any, loop: _Loop) -> None:
    """The life of a copy; its end leaves all that is its parent's."""
    try:
        connection.setblocking(False)
        await cluster.listen()
        told = {"url": cluster.url, "processorSeconds": time.process_time()}
        await loop.sock_sendall(connection, json.dumps(told).encode() + b"\n")
        while await loop.sock_recv(connection, 1024):
            pass
    except BaseException as error:
        sys.stderr.write(f"ERROR a copy ended: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
        raise


async def _create(cluster: Any, obj: Obj) -> None:
    group, _, version = obj["apiVersion"].rpartition("/")
    found = await _find(cluster, group, version, obj["kind"])
    namespace = obj["metadata"].get("namespace") or "default"
    await cluster.client.raw("POST", found.path(namespace if found.namespaced else None), body=obj)


async def _find(cluster: Any, group: str, version: str, kind: str) -> Resource:
    """A definition that was just made is served in a moment. Raises LookupError when it is not."""
    where = f"/apis/{group}/{version}" if group else f"/api/{version}"
    for _ in range(_LOOKS):
        with contextlib.suppress(NotFound):
            for each in (await cluster.client.raw("GET", where))["resources"]:
                if each["kind"] == kind and "/" not in each["name"]:
                    return Resource(group, version, each["name"], kind, namespaced=each["namespaced"])
        await asyncio.sleep(_LOOK_SECONDS)
    raise LookupError(f"{where} has no {kind}")


def main() -> None:
    directory, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    with asyncio.Runner(loop_factory=_Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, _Loop)
        runner.run(_serve(directory, options, loop))


if __name__ == "__main__":
    main()
