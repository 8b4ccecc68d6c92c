"""The processes of this machine, and which of them are programs of an instance.

Read by ``leftovers``, which ends what it finds here: so a process is known by the program that it runs and by the exact
words it was started with, never by a word that merely stands somewhere in its command line. An editor with the
instance's configuration open, a ``tail`` of its log and the script that called ``sampan`` are nobody's leftovers.

``is_program`` and ``is_shim`` are pure.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from sampan.cluster.instance import Instance
from sampan.records import dataclass

PROC = Path("/proc")
_PYTHON = re.compile(r"python(\d+(\.\d+)*)?")
_SUPERVISOR = "sampan.cluster.supervisor"
#: Options of the interpreter that take the next word as their value (python(1)).
_WITH_VALUE = frozenset({"-X", "-W", "--check-hash-based-pycs"})


@dataclass(frozen=True, slots=True)
class Process:
    """``executable`` is the file name of what it runs; ``started`` its start in clock ticks since the boot (proc(5)).

    A pid is used again one day, a pid with its start is not.
    """

    pid: int
    parent: int
    started: int
    executable: str
    arguments: tuple[str, ...]


def is_supervisor(process: Process, instance: Instance) -> bool:
    program = _python_module(process)
    return program is not None and program[:3] == (_SUPERVISOR, instance.name, str(instance.state_root))


def is_program(process: Process, instance: Instance) -> bool:
    """Whether it is one of the supervisor's children: a Python program of ours, its containerd, registry, member
    of etcd or proxy of Ingresses."""
    if process.executable == "containerd":
        return process.arguments[1:] == ("--config", str(instance.state / "containerd.toml"))
    if process.executable == "docker-registry":
        return process.arguments[1:] == ("serve", str(instance.state / "registry" / "config.yml"))
    if process.arguments[1:] == ("--config-file", str(instance.state / "etcd" / "etcd.json")):
        return True  # etcd, under whatever name it is installed
    if process.executable == "haproxy":
        return ("-f", str(instance.edge / "conf" / "haproxy.cfg")) in zip(
            process.arguments, process.arguments[1:], strict=False
        )
    program = _python_module(process)
    return (
        program is not None
        and program[0].startswith("sampan.")
        and program[1:5] == ("--name", instance.name, "--state-root", str(instance.state_root))
    )


def is_shim(process: Process, instance: Instance) -> bool:
    """Whether it is a shim that the instance's containerd started, which holds a container."""
    if not process.executable.startswith("containerd-shim"):
        return False
    options = list(zip(process.arguments[1:], process.arguments[2:], strict=False))
    return ("-address", str(instance.containerd_socket)) in options


def _python_module(process: Process) -> tuple[str, ...] | None:
    """What ``python -m`` was told: the module and its arguments. None: it is no Python, or it runs something else."""
    if not _PYTHON.fullmatch(process.executable):
        return None
    words = iter(process.arguments[1:])
    for word in words:
        if word == "-m":
            return tuple(words) or None
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-") or word in ("-", "-c"):
            return None
    return None


def running(proc: Path = PROC) -> Iterator[Process]:
    """Every process but this one. Those that end meanwhile, and zombies, are left out."""
    for directory in proc.glob("[0-9]*"):
        process = look(int(directory.name), proc)
        if process is not None and process.pid != os.getpid():
            yield process


def look(pid: int, proc: Path = PROC) -> Process | None:
    """The process with this number; None: there is none, or it is a zombie, or a thread of the kernel."""
    directory = proc / str(pid)
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The command's name may hold anything, parentheses too: what follows the last one is numbers.
        state, parent, *rest = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if state == "Z":
            return None
        words = (directory / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        # " (deleted)" is added when the file was replaced, by an upgrade for one.
        name = (directory / "exe").readlink().name.removesuffix(" (deleted)")
        return Process(pid, int(parent), int(rest[17]), name, tuple(words[:-1]))
    return None


def below(pid: int, all_of_them: list[Process], leave: Callable[[Process], bool]) -> list[Process]:
    """The children of a process, their children and so on, but for those to ``leave`` and what is below them."""
    found: list[Process] = []
    parents = {pid}
    while parents:
        children = [process for process in all_of_them if process.parent in parents and not leave(process)]
        found += children
        parents = {child.pid for child in children}
    return found


def ancestors(pid: int, proc: Path = PROC) -> set[int]:
    """The process that started this one, the one that started that, and so on to the first."""
    found: set[int] = set()
    process = look(pid, proc)
    while process is not None and process.parent not in found and process.parent > 0:
        found.add(process.parent)
        process = look(process.parent, proc)
    return found
