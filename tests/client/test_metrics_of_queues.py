"""What is told of work queues and of requests, under the reference's names."""

import asyncio

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.transport import Call
from sampan.client.controller import Controller, Result
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.metrics import Counter, Distribution, Gauge, Registry, current, use
from sampan.metrics.counting import MOST_SERIES
from sampan.metrics.text import text


def shown(registry):
    lines = text(registry.copy()()).decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_a_controllers_queue_is_told_under_upstreams_names(virtual):
    async def run():
        registry = Registry({"job-controller": "job"})
        at_it = asyncio.Event()

        async def sync(key):
            if key == "slow":
                at_it.set()
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(0.5)
            return Result(30.0) if key == "again" else None

        with use(registry):
            controller = Controller("job-controller", sync, workers=1)
        work = asyncio.ensure_future(controller.run())
        for key in ("one", "one", "again"):
            controller.enqueue(key)
        await asyncio.sleep(2)
        found = shown(registry)
        assert found['workqueue_adds_total{name="job"}'] == "2.0"
        assert found['workqueue_retries_total{name="job"}'] == "1.0"
        assert found['workqueue_depth{name="job"}'] == "0.0"
        assert found['workqueue_work_duration_seconds_count{name="job"}'] == "2.0"
        assert found['workqueue_work_duration_seconds_sum{name="job"}'] == "1.0"
        # The second waited for the first.
        assert found['workqueue_queue_duration_seconds_sum{name="job"}'] == "0.5"
        assert found['workqueue_queue_duration_seconds_bucket{le="1.0",name="job"}'] == "2.0"
        controller.enqueue("slow")
        await at_it.wait()
        controller.enqueue("waits")
        await asyncio.sleep(10)
        found = shown(registry)
        assert found['workqueue_unfinished_work_seconds{name="job"}'] == "10.0"
        assert found['workqueue_longest_running_processor_seconds{name="job"}'] == "10.0"
        assert found['workqueue_depth{name="job"}'] == "1.0"
        work.cancel()
        await asyncio.wait([work])

    virtual(run())


def test_a_controller_that_starts_anew_counts_on(virtual):
    async def run():
        registry = Registry()

        async def sync(key):
            return None

        for life in range(3):
            with use(registry):
                controller = Controller("c", sync)
            work = asyncio.ensure_future(controller.run())
            controller.enqueue("key")
            await asyncio.sleep(1)
            assert shown(registry)['workqueue_adds_total{name="c"}'] == f"{life + 1}.0"
            work.cancel()
            await asyncio.wait([work])
        assert not registry._looks

    virtual(run())


async def test_requests_are_counted_by_code_method_and_host():
    registry = Registry()
    with use(registry):
        transport = HttpTransport(Connection("http://127.0.0.1:1"))
    with pytest.raises(ServiceUnavailable):
        await transport.call(Call("GET", "/version"))
    await transport.close()
    assert shown(registry)['rest_client_requests_total{code="<error>",host="127.0.0.1:1",method="GET"}'] == "1.0"


def test_programs_of_one_process_do_not_mix():
    one, two = Registry(), Registry()
    for registry, times in ((one, 1), (two, 2)):
        with use(registry):
            for _ in range(times):
                current().of("things", lambda: Counter("things", "Things.")).add()
    assert shown(one)["things_total"] == "1.0" and shown(two)["things_total"] == "2.0"


@pytest.mark.parametrize("kind", ["counter", "gauge", "distribution"])
def test_series_have_a_bound(kind):
    source = {
        "counter": Counter("n", "N.", ("l",)),
        "gauge": Gauge("n", "N.", ("l",)),
        "distribution": Distribution("n", "N.", (1,), ("l",)),
    }[kind]
    for number in range(MOST_SERIES + 100):
        label = str(number)
        if isinstance(source, Counter):
            source.add(label)
        elif isinstance(source, Gauge):
            source.set(1, label)
        else:
            source.observe(1, label)
    assert len(source.family().values) <= MOST_SERIES + 1
