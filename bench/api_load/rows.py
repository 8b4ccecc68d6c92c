"""The rows of ``bench/api.py``: each prepares what it needs and can be run alone.

A row that has a bare peer is followed by it, under the same generator; ``bare`` holds the peers.
"""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api_load import bare, generator, measure, wrk
from api_load.generator import Job, Step
from api_load.measure import Latency, Row
from api_load.sampan_server import SampanServer
from api_load.target import LISTED, NAMESPACE, Subject, Target
from api_load.watchers import Burst, Watchers

MERGE = "application/merge-patch+json"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
LISTED_CONFIG_MAPS = f"/api/v1/namespaces/{LISTED}/configmaps"
LISTED_PODS = f"/api/v1/namespaces/{LISTED}/pods"
LISTED_POD_COUNT, LABELLED_COUNT = 3000, 1500


@dataclass
class Run:
    """One pass over the rows on one server. ``server`` is None where it is somebody else's."""

    subject: Subject
    identity: str
    folder: Path
    server: SampanServer | None = None
    #: the bare parts too: they belong to the machine, so one run of several has them
    bare: bool = True
    connections: int = 32
    seconds: float = 3.0
    watchers: int = 200
    many_watchers: int = 1000
    many_pods: int = 30_000
    store: str = "sqlite"
    _done: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def user(self) -> Target:
        """Who asks, unless wrk does."""
        return self.subject.user if self.identity == "certificate" else self.subject.account

    def fresh(self) -> str:
        """A prefix of names that no earlier row or run has used."""
        return f"b{int(time.time()):x}-{next(self._numbers)}-"

    def drive(self, name: str, what: str, *steps: Step, **settings: Any) -> Row:
        settings = {"connections": self.connections, "seconds": self.seconds, **settings}
        job = Job(steps=steps, warm_up=f"{CONFIG_MAPS}?limit=1", **settings)
        row = generator.run(self.user, name, what, job)
        row.generator += f", {self.identity}"
        return row

    def wrk(self, name: str, what: str, path: str, connections: int | None = None) -> Iterator[Row]:
        if wrk.available():
            connections = connections or self.connections
            row = wrk.run(self.subject.account, name, what, path, connections=connections, seconds=self.seconds)
            row.generator += ", token"
            yield row

    def fill(self, path: str, body: str, count: int, first: int = 0) -> None:
        """Makes objects with ``{n}`` in their names, unmeasured; those that are there stay."""
        key = f"{path} {body} {count} {first}"
        if key not in self._done:
            self._done.add(key)
            fill(self.subject.admin, path, body, count, first)


def fill(admin: Target, path: str, body: str, count: int, first: int = 0) -> None:
    job = Job(steps=(Step("POST", path, body),), seconds=3600, count=count, first=first)
    row = generator.run(admin, "fill", "fill", job)
    if row.failed and " 409 " not in row.notes[0]:
        raise RuntimeError(f"{row.failed} of {count} objects could not be made: {row.notes[0]}")


# -- the objects ---------------------------------------------------------------------------------------------------


def config_map(name: str, *, label: str = "", size: int = 0) -> str:
    metadata: dict[str, Any] = {"name": name}
    if label:
        metadata["labels"] = {"app": label}
    return json.dumps({"metadata": metadata, "data": {"key": "value" + "x" * size}})


def pod(name: str) -> str:
    """About 1.5 kB once it is stored: with labels, resources, probes and the volume of its account's token."""
    container = {
        "name": "web", "image": "registry.example.com/team/web:1.27.3",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
    }  # fmt: skip
    labels = {"app": "web", "pod-template-hash": "5d4f8c7b9"}
    return json.dumps({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}})


def small_pod(prefix: str) -> str:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80}]}
    spec = {"serviceAccountName": "bench", "automountServiceAccountToken": False, "containers": [container]}
    return json.dumps({"metadata": {"name": f"{prefix}{{n}}", "labels": {"app": "x"}}, "spec": spec})


# -- reads and writes ----------------------------------------------------------------------------------------------


def get(run: Run) -> Iterator[Row]:
    path, what = f"{CONFIG_MAPS}/one-0", "GET a ConfigMap"
    run.fill(CONFIG_MAPS, config_map("one-{n}"), 1)
    yield run.drive("get", what, Step("GET", path))
    yield from run.wrk("get-wrk", what, path)
    if not run.bare or not bare.HTTPTOOLS:
        return
    body = json.dumps(run.subject.admin.call("GET", path), separators=(",", ":")).encode()
    with bare.echo(run.folder, body) as (target, _):
        job = Job(steps=(Step("GET", path),), connections=run.connections, seconds=run.seconds, warm_up=path)
        yield generator.run(target, "bare-get", "httptools + TLS echo", job)
        if wrk.available():
            yield wrk.run(
                target, "bare-get-wrk", "httptools + TLS echo", path, connections=run.connections, seconds=run.seconds
            )


def get_one(run: Run) -> Iterator[Row]:
    run.fill(CONFIG_MAPS, config_map("one-{n}"), 1)
    yield run.drive("get-one", "GET, one connection", Step("GET", f"{CONFIG_MAPS}/one-0"), connections=1)


def create(run: Run) -> Iterator[Row]:
    yield run.drive("create", "create a ConfigMap", Step("POST", CONFIG_MAPS, config_map(run.fresh() + "{n}")))


def create_one(run: Run) -> Iterator[Row]:
    step = Step("POST", CONFIG_MAPS, config_map(run.fresh() + "{n}"))
    yield run.drive("create-one", "create, one connection", step, connections=1)


def patch(run: Run) -> Iterator[Row]:
    run.fill(CONFIG_MAPS, config_map("patched-{n}"), 1000)
    stamp = run.fresh()
    step = Step("PATCH", f"{CONFIG_MAPS}/patched-{{n}}", f'{{"data":{{"key":"{stamp}{{n}}"}}}}', MERGE)
    yield run.drive("patch", "merge patch a ConfigMap", step, modulo=1000)


def delete(run: Run) -> Iterator[Row]:
    prefix, count = run.fresh(), int(run.seconds * 4000)
    run.fill(CONFIG_MAPS, config_map(prefix + "{n}"), count)
    yield run.drive("delete", "delete a ConfigMap", Step("DELETE", f"{CONFIG_MAPS}/{prefix}{{n}}"), count=count)


def create_pod(run: Run) -> Iterator[Row]:
    yield run.drive("create-pod", "create a Pod", Step("POST", PODS, small_pod(run.fresh())))


def list_pods(run: Run) -> Iterator[Row]:
    run.fill(LISTED_PODS, pod("listed-{n}"), LISTED_POD_COUNT)
    what = "LIST 3,000 pods"
    yield run.drive("list-pods", what, Step("GET", LISTED_PODS), connections=1)
    yield from run.wrk("list-pods-wrk", what, LISTED_PODS, connections=1)
    stamp = run.fresh()
    body = f'{{"metadata":{{"labels":{{"change":"{stamp}{{n}}"}}}}}}'
    change = Step("PATCH", f"{LISTED_PODS}/listed-{{n}}", body, MERGE, measured=False)
    steps = change, Step("GET", LISTED_PODS)
    yield run.drive("list-pods-changed", "... after each change", *steps, connections=1, modulo=LISTED_POD_COUNT)


def list_label(run: Run) -> Iterator[Row]:
    run.fill(LISTED_CONFIG_MAPS, config_map("listed-{n}", label="listed"), LABELLED_COUNT)
    run.fill(LISTED_CONFIG_MAPS, config_map("other-{n}", label="other"), LABELLED_COUNT)
    run.fill(LISTED_CONFIG_MAPS, config_map("few-{n}", label="few"), LABELLED_COUNT // 10)
    for name, label, what in (
        ("list-label", "listed", "LIST 1,500 ConfigMaps by label"),
        ("list-label-few", "few", "... 150 by label"),
    ):
        path = f"{LISTED_CONFIG_MAPS}?labelSelector=app%3D{label}"
        yield run.drive(name, what, Step("GET", path))
        yield from run.wrk(f"{name}-wrk", what, path)


# -- watches -------------------------------------------------------------------------------------------------------


class Changes:
    """Changes of ConfigMaps whose events are of about 1.1 kB, some at the same moment."""

    def __init__(self, run: Run, at_once: int) -> None:
        run.fill(CONFIG_MAPS, config_map("watched-{n}"), 20)
        self.at_once = at_once
        self._target = run.user
        self._burst = Burst(run.user, at_once)
        self._stamp = run.fresh()
        self._numbers = itertools.count()

    def send(self) -> None:
        number = next(self._numbers)
        body = f'{{"data":{{"key":"{self._stamp}{number:06}{"x" * 750}"}}}}'
        names = [f"{CONFIG_MAPS}/watched-{n}" for n in range(self.at_once)]
        self._burst.send([self._target.request("PATCH", name, body, MERGE) for name in names])

    def close(self) -> None:
        self._burst.close()


def watch(run: Run) -> Iterator[Row]:
    alone = {at_once: _writes_alone(run, at_once) for at_once in (1, 20)}
    path = f"{CONFIG_MAPS}?watch=1&resourceVersion={_revision(run)}&timeoutSeconds=3000"
    with Watchers() as watchers:
        watchers.open(run.user, path, run.watchers)
        for at_once, name, what in (
            (1, "watch", f"event to {run.watchers} watchers"),
            (20, "watch-burst", "... 20 changes at once"),
        ):
            changes = Changes(run, at_once)
            row = _fan_out(run.subject.pids, watchers, run.watchers, at_once, run.seconds, changes.send)
            changes.close()
            row.name, row.what, row.server = name, what, run.subject.name
            row.generator = f"uvloop, {run.watchers} watches, {run.identity}"
            row.extra["of which µs for the write"] = alone[at_once] * 1e6 / run.watchers
            yield row
    if not run.bare:
        return
    event = b'{"type":"MODIFIED","object":%s}\n' % (b"x" * 1058 + b"}")
    framed = b"%x\r\n%s\r\n" % (len(event), event)
    with bare.push(run.folder, framed) as (target, pipe), Watchers() as watchers:
        watchers.open(target, "/", run.watchers)
        for at_once, name in ((1, "bare-watch"), (20, "bare-watch-burst")):
            row = _fan_out(
                target.pids,
                watchers,
                run.watchers,
                at_once,
                run.seconds,
                functools.partial(pipe.send, at_once),
            )
            row.name, row.what, row.server = name, f"TLS write of {at_once} × 1.1 kB", "bare"
            row.generator = f"uvloop, {run.watchers} connections"
            yield row


def _fan_out(
    pids: tuple[int, ...], watchers: Watchers, how_many: int, at_once: int, seconds: float, send: Callable[[], None]
) -> Row:
    """Sends when all have the last; the latency is from the send to the last watcher."""
    before, size, _, used = watchers.counts()
    latencies, changes = [], 0
    started, cpu = time.perf_counter(), measure.cpu_seconds(pids)
    while (sent := time.perf_counter()) < started + seconds:
        send()
        changes += at_once
        watchers.wait(before + changes * how_many)
        latencies.append(time.perf_counter() - sent)
    elapsed, cpu = time.perf_counter() - started, measure.cpu_seconds(pids) - cpu
    events, received, lost, used_now = watchers.counts()
    row = Row(
        name="", what="", count=events - before, seconds=elapsed, cpu=cpu if pids else None,
        client_cpu=used_now - used, failed=lost, latency=Latency.of(latencies),
    )  # fmt: skip
    row.extra["kB each"] = (received - size) / max(row.count, 1) / 1000
    return row


def _writes_alone(run: Run, at_once: int) -> float:
    """CPU seconds of one change that nobody watches."""
    changes, count = Changes(run, at_once), 0
    deadline, cpu = time.perf_counter() + min(run.seconds, 1), measure.cpu_seconds(run.subject.pids)
    while time.perf_counter() < deadline:
        changes.send()
        count += at_once
    changes.close()
    return (measure.cpu_seconds(run.subject.pids) - cpu) / count


def _revision(run: Run) -> str:
    return str(run.subject.admin.call("GET", f"{CONFIG_MAPS}?limit=1")["metadata"]["resourceVersion"])


def watch_memory(run: Run) -> Iterator[Row]:
    run.fill(CONFIG_MAPS, config_map("watched-{n}"), 20)
    pids, many = run.subject.pids, run.many_watchers
    time.sleep(5 if run.server is not None else 0)  # the server gives memory back a moment after its start
    before = measure.resident_mib(pids)
    with Watchers() as watchers:
        path = f"{CONFIG_MAPS}?watch=1&resourceVersion={_revision(run)}&timeoutSeconds=3000"
        watchers.open(run.user, path, many)
        opened = measure.resident_mib(pids)
        changes = Changes(run, 1)
        row = _fan_out(pids, watchers, many, 1, run.seconds, changes.send)
        changes.close()
        held = measure.resident_mib(pids)
    row.name, row.what, row.server = "watch-memory", f"{many:,} watchers held", run.subject.name
    row.generator = f"uvloop, {many} watches, {run.identity}"
    row.extra |= {"MiB more when open": opened - before, "MiB more after events": held - before}
    yield row


# -- start and memory: only of a server that is ours to start --------------------------------------------------------


def start(run: Run) -> Iterator[Row]:
    if run.server is None:
        return
    empty, full = [], []
    for number in range(3):
        with SampanServer(run.folder / f"empty-{number}", run.store) as server:
            empty.append((server.start_seconds, server.start_cpu, measure.resident_mib([server.pid])))
    yield _start_row("start", "start to /readyz, empty", sorted(empty))
    folder = _full_folder(run)
    for _ in range(3):
        with SampanServer(folder, run.store) as server:
            full.append((server.start_seconds, server.start_cpu, measure.resident_mib([server.pid])))
    yield _start_row("start-full", f"... with {run.many_pods:,} pods", sorted(full))


def _start_row(name: str, what: str, runs: list[tuple[float, float, float]]) -> Row:
    (seconds, cpu, mib), (worst, _, _) = runs[0], runs[-1]
    row = Row(name=name, what=what, count=1, seconds=seconds, cpu=cpu, latency=Latency(seconds * 1000, worst * 1000))
    row.extra["MiB when ready"] = mib
    row.notes.append("best and worst of 3")
    return row


def memory(run: Run) -> Iterator[Row]:
    if run.server is None:
        return
    with SampanServer(_full_folder(run), run.store) as server:
        subject, pids = server.subject(), (server.pid,)
        own = Run(subject, run.identity, run.folder, server, connections=run.connections, seconds=run.seconds)
        time.sleep(6)
        rest = measure.resident_mib(pids)
        measure.wait_until_idle(pids)
        listing = own.drive("memory", "", Step("GET", LISTED_PODS), connections=4, seconds=60, count=12)
        prefix = own.fresh()
        fill(subject.admin, PODS, small_pod(prefix), 5000)
        own.drive("memory", "", Step("DELETE", f"{PODS}/{prefix}{{n}}?gracePeriodSeconds=0"), seconds=60, count=5000)
        loaded = measure.resident_mib(pids)
        time.sleep(15)
        after = measure.resident_mib(pids)
        peak = int(Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    listing.what = f"LIST all {run.many_pods:,} pods, 4 at once"
    listing.extra |= {"MiB at rest": rest, "at the end of load": loaded, "peak": peak, "15 s later": after}
    listing.notes.append("load: 12 such lists, 5,000 pods made and deleted")
    yield listing


def _full_folder(run: Run) -> Path:
    folder = run.folder / "full"
    if "full" not in run._done:
        run._done.add("full")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with SampanServer(folder, run.store) as server:
            fill(server.subject().admin, LISTED_PODS, pod("listed-{n}"), run.many_pods)
    return folder


def in_process(run: Run) -> Iterator[Row]:
    """What a component of the server's own process pays; the peer of a request with its TLS and HTTP."""
    if run.server is None:
        return
    for what, count, seconds, cpu in run.server.ask("in-process"):
        yield Row(name="in-process", what=what, count=count, seconds=seconds, cpu=cpu, generator="in the server")


def bare_sqlite(run: Run) -> Iterator[Row]:
    if run.bare:
        yield from bare.sqlite(run.folder)


ROWS: dict[str, tuple[Callable[[Run], Iterator[Row]], str]] = {
    "get": (get, "GET a ConfigMap: by the identity, by wrk with a token; then the bare httptools + TLS echo"),
    "get-one": (get_one, "the same on one connection: latency"),
    "create": (create, "create a ConfigMap"),
    "create-one": (create_one, "the same on one connection: latency"),
    "patch": (patch, "merge patches over 1,000 ConfigMaps"),
    "delete": (delete, "delete a ConfigMap"),
    "create-pod": (create_pod, "create a Pod, without its token's volume"),
    "list-pods": (
        list_pods,
        "LIST 3,000 pods on one connection: repeated, then each after a change (which is not counted)",
    ),
    "list-label": (list_label, "LIST of 3,150 ConfigMaps the 1,500, and the 150, that carry a label"),
    "watch": (watch, "a change to all watchers, one at a time and 20 at once; then bare TLS writes of as much"),
    "watch-memory": (watch_memory, "resident memory of many watchers"),
    "in-process": (in_process, "GET and create from a component of the server's process"),
    "bare-sqlite": (bare_sqlite, "SQLite alone, durable"),
    "start": (start, "exec to an answering /readyz: empty, and with many pods"),
    "memory": (memory, "resident memory with many pods: at rest, under load, after load"),
}
