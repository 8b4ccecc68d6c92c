"""Fixtures: the fake API server, and controllers running over it until nothing moves."""

import asyncio
import functools
import importlib.util
import random
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan.api.clock import FixedClock
from sampan.api.resources import PODS
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import VirtualTimeline
from sampan.controllers.context import Context, ControllersConfig


def _load(name, path):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


fake_api = _load("sampan_tests_fake_api", Path(__file__).parent.parent / "client" / "fake_api.py")

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def clock():
    return FixedClock(NOW)


@pytest.fixture(params=["view", "watch"])
def api(request):
    return fake_api.FakeApi(in_process=request.param == "view")


@pytest.fixture
def make_api():
    return fake_api.FakeApi


@pytest.fixture
def make_context(clock):
    def make(api, clock=clock, **config):
        """``clock`` and the options of controllers, where a test has its own."""
        client = Client(api)
        rng = random.Random(1)
        return Context(
            InformerFactory(client, random=rng), lambda name: client, clock, rng, ControllersConfig(**config)
        )

    return make


@pytest.fixture
def virtual_clock():
    """Makes a clock that follows the time of a virtual loop, which runs when it is called."""
    return lambda: VirtualTimeline(NOW)


@pytest.fixture
def context(api, make_context):
    return make_context(api)


async def until(condition, turns=3000):
    """Lets the loop turn until the condition holds."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


async def quiet(api, turns=60):
    """Lets the loop turn until nothing has been written for some turns."""
    seen, calm = -1, 0
    while calm < turns:
        calm = calm + 1 if api.revision == seen else 0
        seen = api.revision
        await asyncio.sleep(0)


@pytest.fixture
def wait():
    class Wait:
        pass

    helper = Wait()
    helper.until, helper.quiet = until, quiet
    return helper


@asynccontextmanager
async def run(context, *controllers):
    work = [asyncio.ensure_future(context.informers.run())]
    work += [asyncio.ensure_future(controller.run()) for controller in controllers]
    await context.informers.synced()
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            assert isinstance(result, asyncio.CancelledError), result


@pytest.fixture
def run_with():
    """``async with run_with(context, controller, ...)``: they and the context's informers run."""
    return run


@pytest.fixture
def running(context):
    """``run_with`` for the test's own context."""
    return functools.partial(run, context)


@pytest.fixture
def set_pods(api):
    """Makes every pod what a node would report."""

    def set_all(ready=True, only=lambda pod: True):
        for pod in api.all(PODS):
            if not only(pod):
                continue
            condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
            meta = pod["metadata"]

            def edit(obj, condition=condition):
                obj.setdefault("status", {}).update(phase="Running", conditions=[condition], podIP="10.244.0.7")
                obj.setdefault("spec", {})["nodeName"] = "n1"

            api.change(PODS, meta["namespace"], meta["name"], edit)

    return set_all
