"""The same conformance cases through the real program: each at a port of its own, all at once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from edge_lab import ADDRESS, Answer, Lab, connected, lab
from tests.edge.gateway.case import Ask, Case
from tests.edge.gateway.cases import CASES
from tests.edge.gateway.test_conformance_http import listener_of, world_of

from sampan.edge.model import Backend, Listener, Plane, Route, VirtualHost

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")

FIRST_PORT = 19000


async def test_the_program_does_what_the_cases_say() -> None:
    async with lab() as here:
        ports = {case.name: FIRST_PORT + number for number, case in enumerate(CASES)}
        listeners = [await _placed(case, ports[case.name], here) for case in CASES]
        problems = await here.plane.apply(Plane(tuple(listeners)))
        assert problems == []
        wrong = [found for case in CASES async for found in _wrong(case, ports[case.name])]
        assert wrong == []


async def _placed(case: Case, port: int, here: Lab) -> Listener:
    """The case's listener at an address of the test's, with servers of its own."""
    found = listener_of(world_of(case), case.listener)
    hosts = [
        VirtualHost(host.name, tuple([await _served(route, port, here) for route in host.routes]), host.deep)
        for host in found.hosts
    ]
    return dataclasses.replace(found, name=f"{found.name}-{port}", port=port, address=ADDRESS, hosts=tuple(hosts))


async def _served(route: Route, port: int, here: Lab) -> Route:
    shares = [dataclasses.replace(each, backend=await _backend(each.backend, port, here)) for each in route.backends]
    return dataclasses.replace(route, name=f"{route.name}/{port}", backends=tuple(shares))


async def _backend(backend: Backend | None, port: int, here: Lab) -> Backend | None:
    if backend is None:
        return None
    endpoints = [await here.backend(each.address) for each in backend.endpoints]
    return dataclasses.replace(backend, name=f"{backend.name}/{port}", endpoints=tuple(endpoints))


async def _wrong(case: Case, port: int) -> Any:
    for ask in case.asks:
        async with connected(port) as connection:
            host, _, rest = ask.url.partition("/")
            answer = await connection.ask(host, f"/{rest}", ask.method, ask.headers)
        for fault in _faults(ask, answer, port):
            yield f"{case.name}: {ask.method} {ask.url} {ask.headers or ''}: {fault}"


def _faults(ask: Ask, answer: Answer, port: int) -> Iterator[str]:
    expected = ask.expected if isinstance(ask.expected, int) else 200
    if answer.status != expected:
        yield f"status {answer.status}, not {expected}"
        return
    if ask.location:
        wanted = ask.location.format(port=f":{port}")
        if answer.headers.get("location") != wanted:
            yield f"location {answer.headers.get('location')}, not {wanted}"
    for name, value in ask.answers.items():
        if answer.headers.get(name, "") != value:
            yield f"{name} {answer.headers.get(name)}, not {value!r}"
    if expected != 200 or ask.method == "HEAD":
        return
    got = answer.got
    if got["backend"] != ask.expected:
        yield f"back end {got['backend']}, not {ask.expected}"
    if ask.path and got["path"] != ask.path:
        yield f"path {got['path']}, not {ask.path}"
    if ask.host and got["host"] != ask.host:
        yield f"host {got['host']}, not {ask.host}"
    for name, value in ask.gets.items():
        if got["headers"].get(name, "").replace(", ", ",") != value:
            yield f"the back end gets {name} {got['headers'].get(name)}, not {value}"
    for name in ask.lacks:
        if name in got["headers"]:
            yield f"the back end gets {name}"
