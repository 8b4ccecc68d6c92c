"""What every ``Runtime`` does, simulated or real."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest

from sampan.node import runtime


async def running_container(bench: Any, name: str = "pod") -> tuple[str, str, runtime.SandboxConfig]:
    sandbox = bench.sandbox(name)
    sandbox_id = await bench.runtime.run_sandbox(sandbox)
    container_id = await bench.runtime.create_container(sandbox_id, bench.container(sandbox), sandbox)
    await bench.runtime.start_container(container_id)
    return sandbox_id, container_id, sandbox


async def test_a_sandbox_is_ready_with_an_address_and_is_found_by_label(bench: Any) -> None:
    sandbox = bench.sandbox()
    sandbox_id = await bench.runtime.run_sandbox(sandbox)
    status = await bench.runtime.sandbox_status(sandbox_id)
    assert status.ready and len(status.ips) == 1
    assert (status.name, status.uid, status.namespace, status.attempt) == ("pod", "uid-pod", "contract", 0)
    assert status.annotations["note"] == "kept"
    [listed] = await bench.runtime.list_sandboxes({runtime.POD_UID_LABEL: "uid-pod"})
    assert listed.id == sandbox_id
    assert await bench.runtime.list_sandboxes({runtime.POD_UID_LABEL: "other"}) == []


async def test_a_stopped_sandbox_is_not_ready_and_stopping_again_is_success(bench: Any) -> None:
    sandbox_id, container_id, _ = await running_container(bench)
    await bench.runtime.stop_sandbox(sandbox_id)
    await bench.runtime.stop_sandbox(sandbox_id)
    assert not (await bench.runtime.sandbox_status(sandbox_id)).ready
    assert (await bench.runtime.container_status(container_id)).state == "exited"
    await bench.runtime.remove_sandbox(sandbox_id)
    await bench.runtime.remove_sandbox(sandbox_id)
    with pytest.raises(runtime.RuntimeNotFound):
        await bench.runtime.sandbox_status(sandbox_id)
    assert await bench.runtime.list_containers() == []


async def test_a_container_goes_through_its_states(bench: Any) -> None:
    sandbox = bench.sandbox()
    sandbox_id = await bench.runtime.run_sandbox(sandbox)
    container_id = await bench.runtime.create_container(sandbox_id, bench.container(sandbox), sandbox)
    assert (await bench.runtime.container_status(container_id)).state == "created"
    await bench.runtime.start_container(container_id)
    status = await bench.runtime.container_status(container_id)
    assert status.state == "running" and status.started_at is not None and status.finished_at is None
    assert status.annotations["io.kubernetes.container.restartCount"] == "0"
    [listed] = await bench.runtime.list_containers({runtime.CONTAINER_NAME_LABEL: "main"})
    assert (listed.id, listed.sandbox_id, listed.state) == (container_id, sandbox_id, "running")
    await bench.runtime.stop_container(container_id, 0)
    await bench.runtime.stop_container(container_id, 0)
    status = await bench.runtime.container_status(container_id)
    assert status.state == "exited" and status.exit_code == 137 and status.finished_at is not None
    await bench.runtime.remove_container(container_id)
    await bench.runtime.remove_container(container_id)
    with pytest.raises(runtime.RuntimeNotFound):
        await bench.runtime.container_status(container_id)


async def test_a_container_is_asked_to_end_by_the_signal_that_was_named(bench: Any) -> None:
    sandbox = bench.sandbox()
    sandbox_id = await bench.runtime.run_sandbox(sandbox)
    script = "trap 'exit 7' USR1; while :; do sleep 0.1; done"
    config = replace(bench.container(sandbox), command=("sh", "-c", script), stop_signal="SIGUSR1")
    container_id = await bench.runtime.create_container(sandbox_id, config, sandbox)
    await bench.runtime.start_container(container_id)
    if bench.real:
        await caught_signals(bench, container_id, signal.SIGUSR1)
    await bench.runtime.stop_container(container_id, 30, "SIGUSR1")
    status = await bench.runtime.container_status(container_id)
    assert status.state == "exited" and status.exit_code == (7 if bench.real else 143)
    await bench.runtime.stop_container(container_id, 30, "SIGUSR1")


async def test_a_container_that_ignores_its_signal_is_killed_when_its_time_is_up(bench: Any) -> None:
    _, container_id, _ = await running_container(bench)
    await bench.runtime.stop_container(container_id, 1, "SIGRTMIN+3")
    status = await bench.runtime.container_status(container_id)
    assert status.state == "exited" and status.exit_code == (137 if bench.real else 143)


async def test_a_runtime_that_does_not_say_what_it_can_do_can_do_nothing(bench: Any) -> None:
    features = await bench.runtime.features()
    assert features.of("nobody-heard-of-it") == runtime.HandlerFeatures()
    if not bench.real:
        assert features == runtime.Features()


async def caught_signals(bench: Any, container_id: str, number: int) -> None:
    """Waits until the container's first process has a handler for the signal."""
    while True:
        answer = await bench.runtime.exec_sync(container_id, ["cat", "/proc/1/status"], 5)
        found = [line.split()[1] for line in answer.stdout.decode().splitlines() if line.startswith("SigCgt:")]
        if found and int(found[0], 16) >> (number - 1) & 1:
            return
        await asyncio.sleep(0.02)


async def test_one_name_and_attempt_exist_once(bench: Any) -> None:
    sandbox_id, _, sandbox = await running_container(bench)
    with pytest.raises(runtime.RuntimeCallError):
        await bench.runtime.create_container(sandbox_id, bench.container(sandbox), sandbox)
    await bench.runtime.create_container(sandbox_id, bench.container(sandbox, attempt=1), sandbox)


async def test_an_exit_is_announced_when_the_status_says_so(bench: Any) -> None:
    connected = asyncio.Event()
    states: asyncio.Queue[str] = asyncio.Queue()
    stopped: set[str] = set()

    async def follow() -> None:
        async with aclosing(bench.runtime.events()) as events:
            async for event in events:
                if event.type == "lost":
                    connected.set()
                elif event.container_id in stopped:
                    states.put_nowait((await bench.runtime.container_status(event.container_id)).state)

    follower = asyncio.create_task(follow())
    try:
        await asyncio.wait_for(connected.wait(), 15)
        # A real subscription begins a moment after it was asked for: what stops before is not announced.
        for number in range(10):
            _, container_id, _ = await running_container(bench, f"pod-{number}")
            stopped.add(container_id)
            await bench.runtime.stop_container(container_id, 0)
            with suppress(TimeoutError):
                assert await asyncio.wait_for(states.get(), 2) == "exited"
                return
        pytest.fail("no exit was announced")
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def test_the_death_of_a_sandbox_is_announced_when_the_status_says_so(bench: Any) -> None:
    connected = asyncio.Event()
    announced: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()

    async def follow() -> None:
        async with aclosing(bench.runtime.events()) as events:
            async for event in events:
                if event.type == "lost":
                    connected.set()
                elif event.container_id in killed:
                    status = await bench.runtime.sandbox_status(event.container_id)
                    announced.put_nowait((event.container_id, status.ready))

    killed: set[str] = set()
    follower = asyncio.create_task(follow())
    try:
        await asyncio.wait_for(connected.wait(), 15)
        # As above: what dies before a real subscription has begun is not announced.
        for number in range(10):
            sandbox_id, container_id, _ = await running_container(bench, f"pod-{number}")
            killed.add(sandbox_id)
            await bench.kill_sandbox(sandbox_id)
            with suppress(TimeoutError):
                assert await asyncio.wait_for(announced.get(), 5) == (sandbox_id, False)
                assert (await bench.runtime.container_status(container_id)).state == "running"
                return
        pytest.fail("no death was announced")
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def test_unknown_ids_are_not_found(bench: Any) -> None:
    for call in (bench.runtime.container_status, bench.runtime.sandbox_status):
        with pytest.raises(runtime.RuntimeNotFound):
            await call("0" * 64)
    await bench.runtime.stop_container("0" * 64, 0)
    await bench.runtime.remove_container("0" * 64)


async def test_exec_runs_in_a_running_container_only(bench: Any) -> None:
    _, container_id, _ = await running_container(bench)
    assert (await bench.runtime.exec_sync(container_id, ["true"], 5)).exit_code == 0
    await bench.runtime.stop_container(container_id, 0)
    with pytest.raises(runtime.RuntimeCallError):
        await bench.runtime.exec_sync(container_id, ["true"], 5)


async def test_images_are_listed_and_an_absent_one_is_none(bench: Any) -> None:
    image = await bench.runtime.image_status(bench.image)
    assert image is not None and bench.image in image.tags and image.size_bytes > 0
    assert image.id in {item.id for item in await bench.runtime.list_images()}
    assert (await bench.runtime.image_status(image.id)).id == image.id
    assert await bench.runtime.image_status("sampan.local/absent:1") is None


async def test_the_runtime_is_ready(bench: Any) -> None:
    assert (await bench.runtime.version()).name
    conditions = {item.type: item.status for item in await bench.runtime.conditions()}
    assert conditions["RuntimeReady"] and conditions["NetworkReady"]
