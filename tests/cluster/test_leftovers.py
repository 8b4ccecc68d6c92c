"""What ``up`` and ``down`` may end: the instance's own programs, and nobody who merely speaks of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.cluster import leftovers, processes
from sampan.cluster.instance import ClusterSettings, Instance
from sampan.cluster.processes import Process, is_program, is_shim, is_supervisor
from sampan.node.cgroups.tree import CgroupTree


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")
    made.state.mkdir(parents=True)
    (made.state / "containerd.toml").write_text("")
    return made


def where(instance: Instance) -> tuple[str, ...]:
    return ("--name", instance.name, "--state-root", str(instance.state_root), "--run-root", str(instance.run_root))


def started(executable: str, *arguments: str) -> Process:
    return Process(1, 0, 0, executable, arguments)


def test_the_programs_of_an_instance_are_known(instance: Instance) -> None:
    python = ("/usr/bin/python3", "-X", "frozen_modules=on", "-m")
    toml = str(instance.state / "containerd.toml")
    assert is_program(started("python3.11", *python, "sampan.cluster.control_plane", *where(instance)), instance)
    assert is_program(started("containerd", "containerd", "--config", toml), instance)
    assert is_supervisor(
        started("python3.11", "python", "-m", "sampan.cluster.supervisor", "one", str(instance.state_root), "x"),
        instance,
    )
    shim = ("-namespace", "k8s.io", "-id", "x", "-address", str(instance.containerd_socket))
    assert is_shim(started("containerd-shim-runc-v2", "/usr/bin/containerd-shim-runc-v2", *shim), instance)


def test_the_programs_of_another_instance_are_not(instance: Instance) -> None:
    other = replace(instance, cluster=ClusterSettings(name="one-2"))
    server = ("python3", "-m", "sampan.cluster.control_plane")
    assert not is_program(started("python3.11", *server, *where(other)), instance)
    assert not is_supervisor(
        started("python3", "python3", "-m", "sampan.cluster.supervisor", "one-2", str(instance.state_root)), instance
    )
    shim = ("-address", str(other.containerd_socket))
    assert not is_shim(started("containerd-shim-runc-v2", "shim", *shim), instance)


@pytest.mark.parametrize(
    ("executable", "words"),
    [
        ("vim", ("vim", "{toml}")),
        ("tail", ("containerd", "--config", "{toml}")),  # it lies about its name
        ("containerd", ("containerd", "--config", "{toml}", "config", "dump")),
        ("dash", ("sh", "-c", "containerd --config {toml}")),
        ("python3.11", ("python3", "-m", "pytest", "-m", "sampan.cluster.control_plane", "{where}")),
        ("python3.11", ("python3", "script.py", "-m", "sampan.cluster.control_plane", "{where}")),
        ("python3.11", ("python3", "-c", "pass", "-m", "sampan.cluster.control_plane", "{where}")),
        ("python3.11", ("python3", "-X", "-m", "sampan.cluster.control_plane", "{where}")),
        ("python3.11", ("python3", "-m", "sampan.cluster.control_plane", "--help", "{where}")),
        ("pgrep", ("pgrep", "-f", "python3 -m sampan.cluster.control_plane {where}")),
        ("grep", ("grep", "-r", "-address", "{socket}", "containerd-shim-runc-v2")),
    ],
)
def test_who_merely_names_them_is_not_one_of_them(instance: Instance, executable: str, words: tuple[str, ...]) -> None:
    said: list[str] = []
    for word in words:
        if word == "{where}":
            said += where(instance)
        else:
            text = word.replace("{toml}", str(instance.state / "containerd.toml"))
            text = text.replace("{socket}", str(instance.containerd_socket))
            said.append(text.replace("{where}", " ".join(where(instance))))
    process = started(executable, *said)
    assert not (is_program(process, instance) or is_supervisor(process, instance) or is_shim(process, instance))


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(running: ExitStack, *command: str, **options: object) -> subprocess.Popen[bytes]:
    """Returns when the program says that it is there, by closing its standard output or writing to it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    running.callback(process.wait)
    running.callback(process.kill)
    assert process.stdout is not None
    running.callback(process.stdout.close)
    return process  # type: ignore[no-any-return]


async def test_an_editor_a_tail_and_the_script_that_called_are_left_alone(
    instance: Instance, running: ExitStack
) -> None:
    toml = str(instance.state / "containerd.toml")
    (instance.state / "containerd.toml").write_text("first line\n")
    editor = start(running, sys.executable, "-c", "print(flush=True); import signal; signal.pause()", toml)
    tail = start(running, "tail", "-f", toml)
    script = start(running, "/bin/sh", "-c", f'echo; read -r _; : "{toml}" {" ".join(where(instance))}', stdin=-1)
    bystanders = [editor, tail, script]
    for process in bystanders:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
    await leftovers.end(instance)
    await leftovers.end_shims(instance)
    assert [process.poll() for process in bystanders] == [None] * 3
    assert script.stdin is not None
    script.stdin.close()


def program(root: Path, words: str) -> dict[str, str]:
    """An environment in which ``python -m sampan.cluster.control_plane`` is these words of Python."""
    package = root / "fake" / "sampan" / "cluster"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "control_plane.py").write_text(words)
    return {**os.environ, "PYTHONPATH": str(root / "fake")}


async def test_a_program_of_the_instance_is_ended_with_what_it_started(
    instance: Instance, running: ExitStack, tmp_path: Path
) -> None:
    words = "import subprocess; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
    ours = (sys.executable, "-X", "frozen_modules=on", "-m", "sampan.cluster.control_plane", *where(instance))
    process = start(running, *ours, env=program(tmp_path, words))
    assert process.stdout is not None
    child = int(await asyncio.to_thread(process.stdout.readline))
    await leftovers.end(instance)
    assert process.wait() == -signal.SIGKILL
    assert processes.look(child) is None


async def test_what_runs_in_pods_whose_shims_are_gone_is_ended_and_nobody_elses(
    instance: Instance, running: ExitStack, tmp_path: Path
) -> None:
    """By the cgroup of the instance's pods: nothing else tells whose it is."""
    ours, others = start(running, "sleep", "600"), start(running, "sleep", "600")
    for name, process in (("sampan-one", ours), ("sampan-one-2", others)):
        pod = tmp_path / "cgroup" / "memory" / name / "burstable" / "pod1" / "container"
        pod.mkdir(parents=True)
        (pod / "cgroup.procs").write_text(f"{process.pid}\n{os.getpid()}\n")  # who asks is spared, wherever he is
    await leftovers.end_containers(instance, CgroupTree(tmp_path / "cgroup"))
    assert (ours.wait(), others.poll()) == (-signal.SIGKILL, None)


async def test_what_was_started_in_a_pod_while_it_was_ended_is_ended_too(
    instance: Instance, running: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "GONE_SECONDS", 60.0)  # no matter of speed
    started = [start(running, "sleep", "600") for _ in range(3)]
    there: set[int] = set()

    class Growing(CgroupTree):
        """Each time that somebody looks, one more is there."""

        def processes(self, path: str) -> set[int]:
            there.update(each.pid for each in started[len(there) : len(there) + 1])
            return set(there)

    await leftovers.end_containers(instance, Growing())
    assert [each.poll() for each in started] == [-signal.SIGKILL] * 3


async def test_a_program_of_the_instance_that_runs_the_command_is_spared(instance: Instance, tmp_path: Path) -> None:
    """A command never ends itself by ending who called it."""
    words = (
        "import subprocess, sys\n"
        "code = 'import asyncio, sys; from pathlib import Path; from sampan.cluster import leftovers, instance as i;'\n"
        "code += 'one = i.Instance(i.ClusterSettings(name=\"one\"), Path(sys.argv[1]), Path(sys.argv[2]));'\n"
        "code += 'asyncio.run(leftovers.end(one))'\n"
        f"env = {{'PYTHONPATH': {str(Path(processes.__file__).parents[2])!r}}}\n"
        "done = subprocess.run([sys.executable, '-c', code, sys.argv[4], sys.argv[6]], env=env)\n"
        "print('still here', done.returncode, flush=True)\n"
    )
    ours = (sys.executable, "-m", "sampan.cluster.control_plane", *where(instance))
    done = await asyncio.to_thread(
        subprocess.run, ours, env=program(tmp_path, words), stdout=subprocess.PIPE, check=False
    )
    assert done.stdout == b"still here 0\n"


async def test_a_process_that_has_the_number_of_a_dead_one_gets_no_signal(running: ExitStack) -> None:
    process = start(running, "sleep", "600")
    seen = processes.look(process.pid)
    assert seen is not None
    leftovers.kill(replace(seen, started=seen.started - 1))
    leftovers.kill(seen, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM


def test_what_is_below_a_shim_belongs_to_the_next_containerd(instance: Instance) -> None:
    shim = Process(2, 1, 0, "containerd-shim-runc-v2", ("shim", "-address", str(instance.containerd_socket)))
    there = [shim, Process(3, 2, 0, "pause", ()), Process(4, 1, 0, "ip", ()), Process(5, 4, 0, "nft", ())]
    found = processes.below(1, there, lambda process: is_shim(process, instance))
    assert [process.pid for process in found] == [4, 5]
