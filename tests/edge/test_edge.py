"""The whole edge on a fake API with the real program: objects in, requests served, Events and addresses back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from edge_lab import ADDRESS, HTTP, HTTPS, Lab, ask, connected, lab
from ingress_world import backend, endpoint_slice, ingress, path, rule, service, tls_secret
from test_ingress_table import _shown

from sampan.api.clock import SystemClock
from sampan.api.resources import ENDPOINT_SLICES, EVENTS, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.edge import waiting
from sampan.edge.config import EdgeConfig
from sampan.edge.edge import Edge, pause_seconds
from sampan.edge.haproxy import program, runtime
from sampan.edge.ingress.source import IngressSource
from sampan.edge.waiting import wanted

CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "sampan", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
    "spec": {"controller": "sampan.io/ingress"},
}


def config(place: Path) -> EdgeConfig:
    return EdgeConfig(
        place / "edge", place / "run", place / "ingress.log", "test", "node1", "192.0.2.1", HTTP, HTTPS, ADDRESS
    )


@contextlib.asynccontextmanager
async def edge(api: Any, place: Path) -> AsyncIterator[None]:
    client = Client(api)
    informers = InformerFactory(client)
    source = IngressSource(client, informers, config(place), SystemClock())
    running = Edge(config(place), [source], SystemClock(), lambda: True)
    jobs = [tasks.detach(informers.run(), "informers"), tasks.detach(running.run(), "edge")]
    try:
        yield
    finally:
        await tasks.cancel_and_wait(*jobs)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    while not await condition():  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.01)


async def backend_of(host: str) -> str:
    try:
        answer = await ask(host, "/")
    except OSError:
        return ""
    return str(answer.got["backend"]) if answer.status == 200 else str(answer.status)


def serve(api: Any, name: str, *endpoints: Any) -> None:
    api.add(SERVICES, service(name))
    for each in endpoint_slice(name, *endpoints):
        each["metadata"] |= {"namespace": "default", "name": f"{name}-x"}
        api.add(ENDPOINT_SLICES, each)


@pytest.fixture
async def made(api: Any) -> AsyncIterator[Lab]:
    async with lab() as back_ends:
        api.add(INGRESS_CLASSES, CLASS)
        yield back_ends


def told(api: Any, name: str) -> dict[str, str]:
    return {
        event["reason"]: event["message"] for event in api.all(EVENTS) if event["involvedObject"].get("name") == name
    }


async def test_objects_are_served_told_and_followed(api: Any, made: Lab, tmp_path: Path) -> None:
    serve(api, "web", await made.backend("one"))
    tls = [{"hosts": ["web.io"], "secretName": "web"}]
    api.add(INGRESSES, ingress("web", rule("web.io", path("/", "web")), tls=tls, annotations={"ssl-redirect": "false"}))
    async with edge(api, tmp_path):
        await until(lambda: _is("web.io", "one"))

        async def status() -> object:
            stored = api.get(INGRESSES, "default", "web").get("status", {}).get("loadBalancer", {}).get("ingress")
            ports = [{"port": HTTP, "protocol": "TCP"}, {"port": HTTPS, "protocol": "TCP"}]
            return stored == [{"ip": "192.0.2.1", "ports": ports}]

        await until(status)

        async def events() -> object:
            reasons = told(api, "web")
            return "no Secret default/web" in reasons.get("SecretNotFound", "") and str(HTTP) in reasons.get(
                "Served", ""
            )

        await until(events)
        before = await runtime.pid_of(tmp_path / "run" / "admin.sock")
        # An endpoint instead of another is told to the program that runs.
        two = await made.backend("two")
        moved = endpoint_slice("web", two)[0]
        api.change(
            ENDPOINT_SLICES,
            "default",
            "web-x",
            lambda obj: obj.update(ports=moved["ports"], endpoints=moved["endpoints"]),
        )
        await until(lambda: _is("web.io", "two"))
        assert await runtime.pid_of(tmp_path / "run" / "admin.sock") == before
        # A certificate comes, and is followed by its name.
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": "default"}}
        api.add(SECRETS, secret | tls_secret("first"))
        await until(lambda: _certificate("first"))
        api.change(SECRETS, "default", "web", lambda obj: obj.update(tls_secret("second")))
        await until(lambda: _certificate("second"))
        api.remove(INGRESSES, "default", "web")
        await until(_nobody_listens)
    assert program.running(tmp_path / "edge" / "conf") == []


async def _is(host: str, name: str) -> bool:
    return await backend_of(host) == name


async def _certificate(name: str) -> bool:
    try:
        async with connected(HTTPS, tls="web.io") as connection:
            return await _shown(connection) == name
    except OSError:
        return False


async def _nobody_listens() -> bool:
    try:
        async with connected():
            return False
    except OSError:
        return True


async def test_what_belongs_to_another_class_is_left_to_it(api: Any, made: Lab, tmp_path: Path) -> None:
    api.add(INGRESS_CLASSES, CLASS | {"metadata": {"name": "other"}, "spec": {"controller": "else.io/ingress"}})
    serve(api, "web", await made.backend("one"))
    for name, spec in (
        ("mine", {}),
        ("other", {"ingressClassName": "other"}),
        ("nobody", {"ingressClassName": "nginx"}),
    ):
        obj = ingress(name, rule(f"{name}.io", path("/", "web")))
        obj["spec"] |= spec
        api.add(INGRESSES, obj)
    async with edge(api, tmp_path):
        await until(lambda: _is("mine.io", "one"))
        assert (await backend_of("other.io"), await backend_of("nobody.io")) == ("404", "404")

        async def events() -> object:
            return "NoSuchClass" in told(api, "nobody")

        await until(events)
        assert told(api, "other") == {}
        # The class is handed over while all runs.
        api.change(INGRESS_CLASSES, "", "other", lambda obj: obj.update(spec={"controller": "sampan.io/ingress"}))
        await until(lambda: _is("other.io", "one"))


async def test_without_the_program_the_ingress_is_told_how_to_get_it(
    api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "_SEARCHED", str(tmp_path))
    api.add(INGRESS_CLASSES, CLASS)
    api.add(INGRESSES, ingress("web", rule("", path("/", "web")), default=backend("web")))
    async with edge(api, tmp_path):

        async def events() -> object:
            return "apt-get install haproxy" in told(api, "web").get("ProxyMissing", "")

        await until(events)


async def test_nothing_is_there_before_somebody_wants_an_ingress(api: Any, tmp_path: Path) -> None:
    waiting = asyncio.create_task(wanted(Client(api), [INGRESSES], tmp_path))
    await asyncio.sleep(0)
    assert not waiting.done()
    api.add(INGRESSES, ingress("web", rule("web.io", path("/", "web"))))
    await waiting


def test_a_definition_that_comes_soon_after_the_cluster_is_seen_soon() -> None:
    waits = list(itertools.islice(waiting._absences(), 62))
    assert (waits[0], sum(waits[:60]), waits[60:]) == (1.0, 60.0, [10.0, 10.0])


def test_who_changes_rules_without_end_fills_the_machine_with_no_programs() -> None:
    assert [pause_seconds(leaving) for leaving in (0, 4, 5, 7, 50)] == [0.3, 0.3, 0.6, 2.4, 30.0]


@pytest.mark.logs_errors("the proxy's configuration")
async def test_a_full_disk_is_told_and_what_runs_goes_on(api: Any, made: Lab, tmp_path: Path) -> None:
    serve(api, "web", await made.backend("one"))
    api.add(INGRESSES, ingress("web", rule("web.io", path("/", "web"))))
    write = program.Program._write

    def full(self: program.Program, rendered: object) -> None:
        raise OSError(errno.ENOSPC, "full", str(self.directory))

    async with edge(api, tmp_path):
        await until(lambda: is_served("web.io"))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(program.Program, "_write", full)
            api.add(INGRESSES, ingress("more", rule("more.io", path("/", "web"))))
            await until(lambda: has_event(api, "more", "ProxyMissing"))
            assert "no space left on device" in told(api, "more")["ProxyMissing"]
            assert await backend_of("web.io") == "one"
        assert program.Program._write is write


async def is_served(host: str) -> bool:
    return await backend_of(host) == "one"


async def has_event(api: Any, name: str, reason: str) -> bool:
    return reason in told(api, name)
