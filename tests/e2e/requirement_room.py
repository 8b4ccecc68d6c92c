"""A namespace with all that a module of requirements looks at: made at once, followed by one watch.

A test takes what it needs out of it: ``room.until("name", condition)`` reads the watch on until the pod is so. All pods
start beside each other, however few a test looks at, and nothing is asked twice. What was seen of a pod stays in
``room.seen``: what must never be is judged by that.
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import websocket
from e2e_harness import DEMO_IMAGE, Cluster

from sampan.client.http import ssl_context
from sampan.client.kubeconfig import KubeConfig

Obj = dict[str, Any]
#: against hangs, however busy the machine is
LIMIT_SECONDS = 180.0
#: the server closes a connection that nobody uses, a while later
IDLE_SECONDS = 20.0
#: where collections are that these tests write: below /api/v1, or below a group's version
_COLLECTIONS = {
    "ConfigMap": "configmaps", "Secret": "secrets", "Pod": "pods", "Service": "services", "PodTemplate": "podtemplates",
    "Lease": "leases",
}  # fmt: skip
_FINAL = ("Succeeded", "Failed")


class Refused(Exception):
    """The API server's answer of 400 or more."""

    def __init__(self, code: int, body: Any) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.message: str = body.get("message", "") if isinstance(body, dict) else str(body)
        self.reason: str = body.get("reason", "") if isinstance(body, dict) else ""


class RequirementApi:
    """The API server as plain requests, by the administrator; one connection, which lives on."""

    def __init__(self, kubeconfig: Path) -> None:
        connection = KubeConfig.load(kubeconfig).connection()
        self.server = urlsplit(connection.server)
        self.tls: ssl.SSLContext = ssl_context(connection)
        self._connection = self.connect()
        self._used = time.monotonic()

    def connect(self, timeout: float = LIMIT_SECONDS) -> http.client.HTTPSConnection:
        host, port = self.server.hostname or "", self.server.port
        return http.client.HTTPSConnection(host, port, context=self.tls, timeout=timeout)

    def close(self) -> None:
        self._connection.close()

    def __call__(self, method: str, path: str, body: Any = None, *, kind: str = "", **query: Any) -> Any:
        """An object, or text. ``kind``: of a patch (``merge``, ``json`` ...). Raises Refused."""
        headers = {"Content-Type": f"application/{kind}-patch+json" if kind else "application/json"}
        if query:
            path += "?" + urlencode(query)
        sent = None if body is None else json.dumps(body)
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connection.close()
        self._used = time.monotonic()
        self._connection.request(method, path, sent, headers)
        answer = self._connection.getresponse()
        said = answer.read()
        json_type = answer.headers.get_content_type() == "application/json"
        found = json.loads(said) if json_type else said.decode(errors="replace")
        if answer.status >= 400:
            raise Refused(answer.status, found)
        return found

    def patch(self, path: str, change: Any, kind: str = "merge") -> Any:
        return self("PATCH", path, change, kind=kind)

    def lines(self, path: str, **query: Any) -> Generator[str, None, None]:
        """Of an answer without end, as they come: a watch, a log that is followed. To be closed."""
        connection = self.connect()
        try:
            connection.request("GET", f"{path}?{urlencode(query)}")
            with connection.getresponse() as answer:
                assert answer.status == 200, answer.read()
                while line := answer.readline():
                    yield line.decode(errors="replace")
        finally:
            connection.close()

    def dial(self, path: str, protocol: str) -> websocket.WebSocket:
        made: websocket.WebSocket = websocket.create_connection(
            f"wss://{self.server.netloc}{path}", LIMIT_SECONDS, subprotocols=[protocol], sslopt={"context": self.tls}
        )
        return made


class Room:
    """A namespace and what happens to its pods."""

    def __init__(self, api: RequirementApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        #: the newest of each pod that is there, and all that was seen of each, with the kind of news it was
        self.pods: dict[str, Obj] = {}
        self.seen: defaultdict[str, list[tuple[str, Obj]]] = defaultdict(list)
        self._connection: http.client.HTTPSConnection | None = None
        self._stream: http.client.HTTPResponse | None = None

    def path(self, collection: str = "pods", name: str = "", subresource: str = "", group: str = "") -> str:
        root = f"/apis/{group}" if group else "/api/v1"
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}/namespaces/{self.namespace}/{collection}{rest}"

    def create(self, obj: Mapping[str, Any]) -> Obj:
        group = obj["apiVersion"] if "/" in obj["apiVersion"] else ""
        made: Obj = self.api("POST", self.path(_COLLECTIONS[obj["kind"]], group=group), obj)
        return made

    def get(self, name: str) -> Obj:
        found: Obj = self.api("GET", self.path(name=name))
        return found

    def delete(self, name: str, **query: Any) -> None:
        self.api("DELETE", self.path(name=name), **query)

    def log(self, name: str, container: str = "main", **query: Any) -> str:
        text: str = self.api("GET", self.path(name=name, subresource="log"), container=container, **query)
        return text

    def logs(self, name: str, text: str, container: str = "main") -> None:
        """Returns once the container has printed it."""
        lines = self.api.lines(self.path(name=name, subresource="log"), container=container, follow="true")
        with closing(lines):
            assert any(text in line for line in lines), f"{name} ended without having printed {text}"

    def run(self, name: str, *command: str, container: str = "main") -> dict[int, bytes]:
        """Runs a command in a container, over a WebSocket: what it wrote, by channel (1: output, 3: how it ended)."""
        query = urlencode({"container": container, "stdout": 1, "stderr": 1, "command": command}, doseq=True)
        opened = self.api.dial(f"{self.path(name=name, subresource='exec')}?{query}", "v4.channel.k8s.io")
        said: defaultdict[int, bytes] = defaultdict(bytes)
        while frame := opened.recv():
            body = frame if isinstance(frame, bytes) else frame.encode()
            said[body[0]] += body[1:]
        opened.shutdown()  # the server has closed; ``close`` would leave the socket open then
        return said

    def events(self, name: str) -> list[Obj]:
        found: list[Obj] = self.api("GET", self.path("events"), fieldSelector=f"involvedObject.name={name}")["items"]
        return found

    def until(self, name: str, condition: Callable[[Obj], Any], seconds: float = LIMIT_SECONDS) -> Obj:
        """The pod, once it is so; a state that has passed by again counts."""
        for _, pod in self.seen[name]:
            if condition(pod):
                return pod
        return self._follow(lambda _, pod: pod["metadata"]["name"] == name and condition(pod), name, seconds)

    def gone(self, name: str) -> Obj:
        """What the pod was last."""
        for kind, pod in self.seen[name]:
            if kind == "DELETED":
                return pod
        return self._follow(lambda kind, pod: kind == "DELETED" and pod["metadata"]["name"] == name, name)

    def ended(self, name: str) -> Obj:
        return self.until(name, lambda pod: pod["status"].get("phase") in _FINAL)

    def ready(self, name: str) -> Obj:
        return self.until(name, is_ready)

    def _follow(self, wanted: Callable[[str, Obj], Any], name: str, seconds: float = LIMIT_SECONDS) -> Obj:
        deadline = time.monotonic() + seconds
        while True:
            kind, pod = self._next(deadline, name)
            if wanted(kind, pod):
                return pod

    def _next(self, deadline: float, name: str) -> tuple[str, Obj]:
        if self._stream is None:
            self.watch()
        assert self._stream is not None and self._connection is not None and self._connection.sock is not None
        self._connection.sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            line = self._stream.readline()
        except TimeoutError:
            self.close()
            raise AssertionError(f"pod {name} did not become so in time; last seen: {self.pods.get(name)}") from None
        assert line, "the watch ended"
        event = json.loads(line)
        kind, pod = event["type"], event["object"]
        assert kind != "ERROR", pod
        self.seen[pod["metadata"]["name"]].append((kind, pod))
        if kind == "DELETED":
            self.pods.pop(pod["metadata"]["name"], None)
        else:
            self.pods[pod["metadata"]["name"]] = pod
        return kind, pod

    def watch(self) -> None:
        """From what is there now."""
        self._connection = self.api.connect()
        self._connection.request("GET", self.path() + "?watch=1")
        self._stream = self._connection.getresponse()

    def close(self) -> None:
        if self._stream is not None and self._connection is not None:
            self._stream.close()
            self._connection.close()
        self._connection = self._stream = None


@contextmanager
def open_room(made: Cluster, speak: Callable[[Path], RequirementApi] = RequirementApi) -> Iterator[Room]:
    """A namespace of its own, in which pods can be made; it is deleted, and nobody waits for that. ``speak``: makes
    what speaks to the API server of the kubeconfig."""
    api = speak(made.kubeconfig)
    room = Room(api, f"r-{secrets.token_hex(3)}")
    api("POST", "/api/v1/namespaces", {"metadata": {"name": room.namespace}})
    try:
        room.watch()
        _wait_for_account(api, room.namespace)
        yield room
    finally:
        room.close()
        api("DELETE", f"/api/v1/namespaces/{room.namespace}")
        api.close()


class EarlyRooms:
    """Of the modules that say ``EARLY``: their pods wait for most of their time, and do so beside all other tests of
    their folder, which one process runs (tests/conftest.py). Whoever takes a room closes it."""

    def __init__(self, made: Cluster, modules: Collection[ModuleType]) -> None:
        self._cluster = made
        self._waiting = [module for module in modules if getattr(module, "EARLY", False)]
        self._open: dict[str, tuple[Room, ExitStack]] = {}

    def begin(self, folder: Path) -> None:
        """Opens those of this folder that are not open yet."""
        for module in [each for each in self._waiting if Path(str(each.__file__)).parent == folder]:
            self._waiting.remove(module)
            stack = ExitStack()
            self._open[module.__name__] = stack.enter_context(open_room(self._cluster)), stack
            fill(self._open[module.__name__][0], module)

    def take(self, module: ModuleType) -> tuple[Room | None, ExitStack]:
        return self._open.pop(module.__name__, (None, ExitStack()))

    def close(self) -> None:
        for _, stack in self._open.values():
            stack.close()


@pytest.fixture(scope="session")
def early_rooms(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[EarlyRooms]:
    modules = {item.module for item in request.session.items if isinstance(item, pytest.Function)}
    with closing(EarlyRooms(cluster, modules)) as rooms:
        yield rooms


@pytest.fixture(scope="module")
def room(
    cluster: Cluster,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    early_rooms: EarlyRooms,
) -> Iterator[Room]:
    """With all that the module's ``PREPARED`` says, in its order, and beside each other what ``PODS`` says. Before that
    ``prepare`` of the module gets the cluster ready (images), after it ``populate`` adds what depends on the rest."""
    module = request.module
    early_rooms.begin(request.path.parent)
    made, stack = early_rooms.take(module)
    with stack:
        if prepare := getattr(module, "prepare", None):
            prepare(cluster, tmp_path_factory.mktemp("room"))
        if made is None:
            made = stack.enter_context(open_room(cluster))
            fill(made, module)
        if populate := getattr(module, "populate", None):
            populate(made)
        yield made


def fill(made: Room, module: ModuleType) -> None:
    for obj in (*getattr(module, "PREPARED", ()), *getattr(module, "PODS", ())):
        made.create(obj)


@contextmanager
def namespace_of_its_own(kubeconfig: Path, name: str) -> Iterator[None]:
    """In which pods can be made. It is deleted, and nobody waits for that, nor for a server that is not there then."""
    with closing(RequirementApi(kubeconfig)) as api:
        api("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        _wait_for_account(api, name)
    try:
        yield
    finally:
        with suppress(Refused, OSError, http.client.HTTPException), closing(RequirementApi(kubeconfig)) as api:
            api("DELETE", f"/api/v1/namespaces/{name}")


def _wait_for_account(api: RequirementApi, namespace: str) -> None:
    """Without its ServiceAccount no pod is taken."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            api("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except Refused:
            assert time.monotonic() < deadline, "the namespace got no ServiceAccount"
            time.sleep(0.02)
        else:
            return


#: runs until it is told to end, and then ends at once
WAITS = "trap 'exit 0' TERM; sleep 3600 & wait"


def container(script: str = WAITS, name: str = "main", **more: Any) -> Obj:
    """One that runs a script of the shell; ``command`` None in ``more``: what the image says."""
    command = {"command": ["sh", "-c", script]}
    return {"name": name, "image": DEMO_IMAGE, "imagePullPolicy": "IfNotPresent", **command, **more}


def pod(name: str, *containers: Obj, labels: Mapping[str, str] | None = None, **spec: Any) -> Obj:
    """One that ends at once when it is told to, and that nothing starts again, unless ``spec`` says so."""
    defaults: Obj = {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"name": name, **(labels or {})}},
        "spec": {**defaults, **spec, "containers": list(containers or (container(),))},
    }  # fmt: skip


def config_map(name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def condition(pod: Mapping[str, Any], kind: str) -> Obj:
    found: Obj = next((c for c in pod["status"].get("conditions", ()) if c["type"] == kind), {})
    return found


def is_ready(pod: Mapping[str, Any]) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def status_of(pod: Mapping[str, Any], name: str = "main") -> Obj:
    """Of a container, of whatever kind; ``{}`` before it has one."""
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    statuses = [each for kind in kinds for each in pod["status"].get(kind, ())]
    found: Obj = next((each for each in statuses if each["name"] == name), {})
    return found


def terminated(pod: Mapping[str, Any], name: str = "main") -> Obj:
    """How the container ended; ``{}`` if it did not."""
    found: Obj = status_of(pod, name).get("state", {}).get("terminated", {})
    return found


def restarts(pod: Mapping[str, Any], name: str = "main") -> int:
    count: int = status_of(pod, name).get("restartCount", 0)
    return count


def runs(pod: Mapping[str, Any], name: str = "main") -> bool:
    return "running" in status_of(pod, name).get("state", {})
