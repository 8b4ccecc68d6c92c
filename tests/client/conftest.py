"""Fixtures: the fake API server and virtual time."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sampan.client.client import Client


def _load(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fake_api.py"))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


fake_api = _load("sampan_tests_fake_api")


@pytest.fixture(params=["view", "watch"])
def api(request):
    return fake_api.FakeApi(in_process=request.param == "view")


@pytest.fixture
def new_fake_api():
    return fake_api.FakeApi


@pytest.fixture
def remote_api():
    return fake_api.FakeApi(in_process=False)


@pytest.fixture
def client(api):
    return Client(api)


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time stands still, and jumps to the next timer whenever nothing else is ready: in-memory tests only."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = 0.0
        select = self._selector.select

        def jump(timeout: float | None = None):
            events = select(0)
            if not events and timeout:
                self._offset += timeout
            return events

        self._selector.select = jump

    def time(self) -> float:
        return self._offset


@pytest.fixture
def virtual():
    """Runs a coroutine under virtual time."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(coroutine)

    return run
