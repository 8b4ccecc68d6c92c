"""The supervisor with small shell programs as its children: starting again, stopping in order, telling of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from sampan.cluster import supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance
from sampan.cluster.supervisor import Program, Supervisor, describe_exit, hold_lock, is_running, restart_delay_seconds
from sampan.cluster.up import process_status

LOOK_SECONDS = 0.005


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")
    made.save()
    return made


def shell(name: str, script: str, **options: object) -> Program:
    return Program(name, ("/bin/sh", "-c", script), **options)  # type: ignore[arg-type]  # passed on as given


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(LOOK_SECONDS)


async def stop(running: asyncio.Task[None]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await running


async def test_a_child_that_ends_is_started_again_and_its_end_is_told(instance: Instance, tmp_path: Path) -> None:
    script = f"test -e {tmp_path}/second && exec sleep 60; touch {tmp_path}/second; exit 3"
    running = asyncio.create_task(Supervisor(instance, [shell("child", script)]).run())
    await until(lambda: process_status(instance).get("child", {}).get("restarts") == 1)
    await until(lambda: process_status(instance)["child"]["pid"] is not None)
    assert process_status(instance)["child"]["lastExit"] == "exit code 3"
    await stop(running)


async def test_children_stop_in_reverse_order_and_what_comes_after_runs(instance: Instance, tmp_path: Path) -> None:
    def child(name: str, **options: object) -> Program:
        script = f"trap 'echo {name} >> {tmp_path}/order; exit 0' TERM; touch {tmp_path}/{name}; sleep 60 & wait"
        return shell(name, script, **options)

    after = ("/bin/sh", "-c", f"echo after >> {tmp_path}/order")
    running = asyncio.create_task(Supervisor(instance, [child("a"), child("b", after=after)]).run())
    await until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    await stop(running)
    assert (tmp_path / "order").read_text().split() == ["b", "after", "a"]
    status = orjson.loads(instance.status_file.read_bytes())
    assert status["stopping"] is True


async def test_what_comes_after_a_child_runs_though_the_child_was_down(instance: Instance, tmp_path: Path) -> None:
    after = ("/bin/sh", "-c", f"touch {tmp_path}/after")
    running = asyncio.create_task(Supervisor(instance, [shell("child", "exit 1", after=after)]).run())
    # From the second end in a row it waits before it starts again: that is when it is stopped.
    await until(lambda: process_status(instance).get("child", {}).get("restarts", 0) >= 3)
    await stop(running)
    assert (tmp_path / "after").exists()


async def test_a_child_that_ignores_sigterm_is_killed_after_its_time(instance: Instance, tmp_path: Path) -> None:
    script = f"trap '' TERM; touch {tmp_path}/there; while :; do sleep 60; done"
    running = asyncio.create_task(Supervisor(instance, [shell("child", script, stop_seconds=0.1)]).run())
    await until((tmp_path / "there").exists)
    await stop(running)
    assert process_status(instance)["child"]["lastExit"] == "signal SIGKILL"


async def test_a_program_that_cannot_be_started_is_tried_again_and_told(instance: Instance) -> None:
    running = asyncio.create_task(Supervisor(instance, [Program("child", ("/nowhere/program",))]).run())
    await until(lambda: "cannot be started" in process_status(instance).get("child", {}).get("lastExit", ""))
    await stop(running)


async def test_a_wiped_run_directory_does_not_end_the_children(instance: Instance) -> None:
    running = asyncio.create_task(Supervisor(instance, [shell("child", "exec sleep 60")]).run())
    await until(lambda: process_status(instance).get("child", {}).get("pid") is not None)
    pid = process_status(instance)["child"]["pid"]
    instance.status_file.unlink()
    instance.run.rmdir()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: process_status(instance).get("child", {}).get("restarts") == 1)
    assert not running.done()
    await stop(running)


def test_starts_in_a_row_come_more_slowly_and_a_steady_run_forgets_them() -> None:
    assert [restart_delay_seconds(ends, 0.1) for ends in range(6)] == [0.0, 0.2, 1.0, 2.0, 5.0, 5.0]
    assert restart_delay_seconds(5, supervisor.STEADY_SECONDS + 1) == 0.0


def test_ends_are_told_in_words() -> None:
    assert (describe_exit(0), describe_exit(-9)) == ("exit code 0", "signal SIGKILL")


def test_a_second_supervisor_is_refused(instance: Instance) -> None:
    assert not is_running(instance)
    held = hold_lock(instance)
    assert is_running(instance)
    with pytest.raises(ClusterError, match="already running"):
        hold_lock(instance)
    os.close(held)
    assert not is_running(instance)


def test_the_status_of_an_earlier_supervisor_is_not_taken_for_this_ones(instance: Instance) -> None:
    instance.run.mkdir(parents=True)
    child = {"pid": None, "restarts": 9, "startedAt": None, "lastExit": "signal SIGKILL"}
    instance.status_file.write_bytes(orjson.dumps({"supervisor": 41, "processes": {"server": child}}))
    assert process_status(instance, of=42) == {}
    assert process_status(instance, of=41)["server"]["restarts"] == 9


def test_a_large_log_is_put_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_LIMIT_BYTES", 10)
    log = tmp_path / "logs" / "x.log"
    for words in (b"short", b"longer than ten", b"new"):
        descriptor = supervisor.open_log(log)
        os.write(descriptor, words)
        os.close(descriptor)
    assert (log.read_bytes(), log.with_suffix(".log.1").read_bytes()) == (b"new", b"shortlonger than ten")
