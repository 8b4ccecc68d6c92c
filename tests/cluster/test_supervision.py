"""The supervisor with small shell programs as its children: starting again, stopping in order, telling of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from sampan.cluster import lifeline, pulse, running, supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.heartbeat import health_file
from sampan.cluster.instance import ClusterSettings, Instance
from sampan.cluster.locks import changing
from sampan.cluster.logfiles import bound_log, old_log, open_log
from sampan.cluster.pulse import Pulse
from sampan.cluster.running import describe_exit
from sampan.cluster.supervisor import Program, Supervisor, hold_lock, is_running, restart_delay_seconds
from sampan.cluster.up import process_status

LOOK_SECONDS = 0.005


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")
    made.save()
    yield made
    _kill_what_names(tmp_path)  # a child outlives a supervisor that a failed test has left


def _kill_what_names(folder: Path) -> None:
    """The shells of this test: nobody else's command line has the test's own folder in it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"/bin/sh" and any(os.fsencode(folder) in word for word in words):
                os.kill(int(process.name), signal.SIGKILL)


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


# Logs


def test_a_large_log_is_put_aside_and_its_writer_goes_on_in_the_empty_one(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    descriptor = open_log(log)
    for words in (b"short", b" and longer", b"new"):
        os.write(descriptor, words)
        bound_log(log, 10)
    os.close(descriptor)
    assert (log.read_bytes(), old_log(log).read_bytes()) == (b"new", b"short and longer")


def test_of_a_log_that_grew_far_beyond_its_limit_the_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"begin" + b"." * 100_000 + b"end")
    bound_log(log, 1000)
    kept = old_log(log).read_bytes()
    assert (len(kept), kept[-3:], log.stat().st_size) == (2000, b"end", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1"]


def test_a_log_is_emptied_though_there_is_no_room_to_keep_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"." * 2000)

    def no_room(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", no_room)
    with pytest.raises(OSError, match="No space"):
        bound_log(log, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["x.log"] and log.stat().st_size == 0


async def test_the_log_of_a_running_child_stays_bounded(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "LOOK_SECONDS", LOOK_SECONDS)
    lines = "i=0; while [ $i -lt 100 ]; do echo a line of the log; i=$((i+1)); done"
    waits = f"while [ ! -e {tmp_path}/more ]; do sleep 0.01; done"
    script = f"{lines}; touch {tmp_path}/written; {waits}; echo the last; exec sleep 60"
    running_one = asyncio.create_task(Supervisor(instance, [shell("child", script)], log_limit_bytes=1000).run())
    log = instance.logs / "child.log"
    await until(lambda: (tmp_path / "written").exists())
    # It may have been emptied while it was written: what came after that is then all there is.
    await until(lambda: log.stat().st_size <= 1000)
    (tmp_path / "more").touch()
    await until(lambda: log.read_bytes().endswith(b"the last\n"))
    assert log.stat().st_size <= 1000 + len(b"the last\n")
    assert b"\na line of the log\n" in old_log(log).read_bytes()
    assert process_status(instance)["child"]["restarts"] == 0
    await stop(running_one)


# Programs that hang


def test_one_that_beats_is_never_replaced() -> None:
    beat = Pulse()
    assert {beat.look(number, stopped=False) for number in range(1000)} == {""}


def test_one_that_beat_and_is_silent_is_replaced_after_some_looks() -> None:
    beat = Pulse()
    said = [beat.look(7, stopped=False) for _ in range(pulse.SILENT_LOOKS + 1)]
    assert said == [""] * pulse.SILENT_LOOKS + ["it gave no sign of life"]


def test_one_that_has_not_beaten_yet_is_given_time_to_start() -> None:
    beat = Pulse()
    said = [beat.look(None, stopped=False) for _ in range(pulse.START_LOOKS)]
    assert said == [""] * (pulse.START_LOOKS - 1) + ["it gave no sign of life"]
    assert pulse.START_LOOKS > 10 * pulse.SILENT_LOOKS


def test_one_that_is_stopped_is_replaced_and_one_that_goes_on_is_not() -> None:
    beat = Pulse()
    assert [beat.look(number, stopped=number % 2 == 0) for number in range(6)] == [""] * 6
    assert [beat.look(number, stopped=True) for number in (10, 11)] == ["", "it was stopped"]


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LOOK_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr(pulse, "LATE_SECONDS", 3600.0)  # for a busy machine: every look counts


async def test_a_stopped_child_is_replaced_alone(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    children = [shell("stopped", "exec sleep 60"), shell("other", "exec sleep 60")]
    running_one = asyncio.create_task(Supervisor(instance, children).run())
    await until(
        lambda: all(each["pid"] for each in process_status(instance).values()) and len(process_status(instance)) == 2
    )
    before = process_status(instance)
    assert before["stopped"]["pid"] is not None
    os.kill(before["stopped"]["pid"], signal.SIGSTOP)
    await until(lambda: process_status(instance)["stopped"]["pid"] not in (None, before["stopped"]["pid"]))
    after = process_status(instance)
    assert after["stopped"]["lastExit"] == "signal SIGKILL: it was stopped"
    assert after["other"] == before["other"]
    await stop(running_one)


async def test_a_child_that_no_longer_beats_is_ended_with_its_last_words(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    path = health_file(instance, "child")
    path.parent.mkdir(parents=True)
    # Its first life beats until it is told to hang; the second one beats on.
    say = f'echo \'{{"pid": \'$$\', "components": 0, "failed": []}}\' > {path}'
    script = f"while [ ! -e {tmp_path}/hang ]; do {say}; sleep 0.003; done; touch {tmp_path}/hung; exec sleep 60"
    running_one = asyncio.create_task(Supervisor(instance, [shell("child", script, beats=True)]).run())
    await until(path.exists)
    (tmp_path / "hang").touch()
    await until((tmp_path / "hung").exists)
    (tmp_path / "hang").unlink()
    await until(lambda: process_status(instance)["child"]["restarts"] == 1)
    assert process_status(instance)["child"]["lastExit"] == "signal SIGABRT: it gave no sign of life"
    await stop(running_one)


async def test_a_grpc_server_is_known_by_its_hello_and_one_that_hangs_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "ASK_SECONDS", 0.05)

    ended = asyncio.Semaphore(0)

    async def end(writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        ended.release()

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(33)
        writer.write(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        await end(writer)

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await end(writer)

    for answer, lives in ((hello, True), (silence, False)):
        async with await asyncio.start_unix_server(answer, tmp_path / answer.__name__):
            assert await pulse.answers_http2(tmp_path / answer.__name__) is lives
            await ended.acquire()
    assert not await pulse.answers_http2(tmp_path / "nobody")


# The supervisor's own death


def python(name: str, instance: Instance, script: str) -> Program:
    """A program that is known as one of the instance's by its command line."""
    package = instance.state / "modules" / "sampan"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / f"{name}.py").write_text(script)
    where = ("--name", instance.name, "--state-root", str(instance.state_root))
    argv = (sys.executable, "-S", "-m", f"sampan.{name}", *where)
    return Program(name, argv, environment={"PYTHONPATH": str(package.parent)}, stop_seconds=5)


@contextlib.contextmanager
def left_running(instance: Instance, program: Program) -> Iterator[int]:
    """As a killed supervisor leaves it; its pid."""
    process = subprocess.Popen(program.argv, env={**os.environ, **program.environment})
    try:
        entry = {"pid": process.pid, "restarts": 3, "startedAt": "2026-11-28T01:02:03Z", "lastExit": "exit code 3"}
        instance.run.mkdir(parents=True)
        status = {"supervisor": 1, "stopping": False, "processes": {program.name: entry}}
        instance.status_file.write_bytes(orjson.dumps(status))
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def test_what_a_killed_supervisor_left_running_is_adopted_with_its_history(instance: Instance) -> None:
    child = python("child", instance, "import time\ntime.sleep(60)")
    with left_running(instance, child) as pid:
        before = process_status(instance)["child"]
        await until(lambda: running.find(instance, child.argv) is not None)
        second = asyncio.create_task(Supervisor(instance, [child]).run())
        await until(lambda: process_status(instance, of=os.getpid()).get("child") is not None)
        assert process_status(instance)["child"] == before
        # It is watched as a child of its own would be.
        os.kill(pid, signal.SIGKILL)
        await until(lambda: process_status(instance)["child"]["restarts"] == 4)
        await until(lambda: process_status(instance)["child"]["pid"] not in (None, pid))
        assert process_status(instance)["child"]["lastExit"] == "its end was not seen by this supervisor"
        await stop(second)
    assert running.find(instance, child.argv) is None


async def test_an_adopted_program_that_is_asked_for_its_signs_of_life_has_as_long_for_them_as_one_that_was_started(
    instance: Instance, tmp_path: Path
) -> None:
    child = python("child", instance, "import time\ntime.sleep(60)")
    asked = dataclasses.replace(child, grpc_socket=tmp_path / "socket")
    with left_running(instance, asked):
        await until(lambda: running.find(instance, asked.argv) is not None)
        second = Supervisor(instance, [asked])
        second._recall()
        (adopted,) = second.children
    assert adopted.process is not None
    verdicts = [adopted.pulse.look(1, stopped=False) for _ in range(pulse.UNANSWERED_LOOKS + 1)]
    assert verdicts == [""] * pulse.UNANSWERED_LOOKS + ["it gave no sign of life"]


async def test_an_adopted_program_is_stopped_in_its_time(instance: Instance, tmp_path: Path) -> None:
    ignores = f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('{tmp_path}/there', 'w')"
    child = dataclasses.replace(python("child", instance, f"{ignores}\ntime.sleep(60)"), stop_seconds=0.05)
    with left_running(instance, child):
        await until((tmp_path / "there").exists)
        second = asyncio.create_task(Supervisor(instance, [child]).run())
        await until(lambda: process_status(instance, of=os.getpid()).get("child") is not None)
        await stop(second)
        assert running.find(instance, child.argv) is None


async def test_damaged_words_of_a_supervisor_before_are_no_hindrance(instance: Instance) -> None:
    child = python("child", instance, "import time\ntime.sleep(60)")
    with left_running(instance, child) as pid:
        await until(lambda: running.find(instance, child.argv) is not None)
        for damaged in ('{"processes": 3}', "{", f'{{"processes": {{"child": {{"pid": {pid}, "startedAt": 7}}}}}}'):
            instance.status_file.write_text(damaged)
            made = Supervisor(instance, [child])
            made._recall()
            assert (made.children[0].pid, made.children[0].restarts) == (pid, 0)


class Supervisors:
    """Stand-ins for supervisors: they write the status file, and end as told."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.program = python("cluster", instance, "")
        package = instance.state / "modules" / "sampan" / "cluster"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "supervisor.py").write_text(
            "import os, sys, time\n"
            f"with open({str(instance.state / 'starts')!r}, 'a') as log: log.write(os.environ['MARK'] + '\\n')\n"
            "time.sleep(60)\n"
        )
        (instance.state / "modules" / "sampan" / "cluster.py").unlink()

    def start(self) -> subprocess.Popen[bytes]:
        where = (self.instance.name, str(self.instance.state_root), str(self.instance.run_root))
        argv = (sys.executable, "-S", "-m", "sampan.cluster.supervisor", *where)
        environment = {
            "PYTHONPATH": str(self.instance.state / "modules"),
            "MARK": "as it was",
            "PATH": os.environ["PATH"],
        }
        return subprocess.Popen(argv, env=environment)

    def starts(self) -> list[str]:
        path = self.instance.state / "starts"
        return path.read_text().splitlines() if path.exists() else []

    def tell(self, *, stopping: bool) -> None:
        self.instance.run.mkdir(parents=True, exist_ok=True)
        self.instance.status_file.write_bytes(orjson.dumps({"supervisor": 0, "stopping": stopping}))


@pytest.fixture
def supervisors(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisors]:
    monkeypatch.setattr(lifeline, "GRACE_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr(lifeline, "LOOK_SECONDS", LOOK_SECONDS)
    instance.run_root.mkdir()
    made = Supervisors(instance)
    yield made
    while (left := lifeline.find_supervisor(instance)) is not None:
        os.kill(left.pid, signal.SIGKILL)


async def test_a_dead_supervisor_is_started_again_by_its_programs_as_it_was_started(
    instance: Instance, supervisors: Supervisors
) -> None:
    first = supervisors.start()
    await until(lambda: len(supervisors.starts()) == 1)
    holding = asyncio.create_task(lifeline.hold(instance))
    await asyncio.sleep(0)
    await until(lambda: bool(holding.get_stack()) and lifeline.find_supervisor(instance) is not None)
    await asyncio.sleep(0)
    first.kill()
    first.wait()
    await until(lambda: supervisors.starts() == ["as it was"] * 2)
    await until(lambda: lifeline.find_supervisor(instance) is not None)
    holding.cancel()
    await asyncio.wait([holding])


@pytest.mark.parametrize("why", ["down was asked for", "up or down is at work"])
async def test_no_supervisor_is_started_while_it_is_not_to_be(
    instance: Instance, supervisors: Supervisors, why: str
) -> None:
    first = supervisors.start()
    await until(lambda: len(supervisors.starts()) == 1)
    looked: list[bool] = []
    holding = asyncio.create_task(lifeline.hold(instance))
    await asyncio.sleep(0)
    supervisors.tell(stopping=why == "down was asked for")
    async with changing(instance, Silent()) if why != "down was asked for" else contextlib.nullcontext():
        first.kill()
        first.wait()
        with pytest.MonkeyPatch.context() as patch:
            find = lifeline.find_supervisor
            patch.setattr(lifeline, "find_supervisor", lambda of: looked.append(True) or find(of))
            await until(lambda: len(looked) >= 4)  # several times it could have been started
        assert supervisors.starts() == ["as it was"]
    holding.cancel()
    await asyncio.wait([holding])


class Silent:
    def step(self, text: str) -> None: ...


@pytest.mark.parametrize("module", ["control_plane", "node_process", "dns_process", "stop_pods"])
def test_a_program_whose_settings_are_damaged_says_so_without_a_traceback(instance: Instance, module: str) -> None:
    instance.cluster_file.write_text("{")
    where = ("--name", instance.name, "--state-root", str(instance.state_root), "--run-root", str(instance.run_root))
    done = subprocess.run(
        [sys.executable, "-m", f"sampan.cluster.{module}", *where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "cluster.json is damaged" in done.stderr and "Traceback" not in done.stderr
