"""What runs of the tests left that were killed: clusters, network namespaces, processes. Each tells whose it is.

Instances and namespaces carry the number of the process that made them in their name, programs in their environment;
that it was a process of tests it noted (``mark``), for a person may call a cluster ``e2e-dev`` too. When that process
is no more, nobody needs them. ``suite_run`` sweeps before the tests and after them, and
so does whoever makes a cluster: ``python tests/suite/suite_sweep.py`` does it by hand. Nothing of a run that goes on is
touched, nor a cluster of any other name.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Container, Iterable
from pathlib import Path

SAMPAN = Path(sys.executable).parent / "sampan"
NETNS = Path("/run/netns")
#: a file for each process that ran tests, until nothing of it is left; as lasting as what it tells of
NOTES = Path("/var/lib/sampan-tests")
_ROOTS = (Path("/var/lib/sampan"), Path("/run/sampan"))

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
#: of clusters on this machine, and on several: those have the machine's number after the process's; the last is the
#: demonstration's
KINDS = ("e2e", "pur", "kil", "adm", "kco", "reb", "second-cluster-of-tests")
KINDS_OF_MACHINES = ("mch", "mcs", "mco", "mcr", "mct", "mcu", "mcd")
_INSTANCE = re.compile(rf"(?:{'|'.join(KINDS)})-([{DIGITS}]+)|(?:{'|'.join(KINDS_OF_MACHINES)})-([{DIGITS}]+)-\d+")
#: namespaces of the tests of the network
_SPACE = re.compile(r"(?:splab|smtu|spt|sproutes|dark)(\d+)(?![\d]).*")

#: a limit against one that hangs in the kernel
_END_SECONDS = 10.0
_MARK = "SAMPAN_TESTS_PROCESS"


def own_name(kind: str, pid: int) -> str:
    """``e2e-2ab7``: nine characters at most, since an instance may have ten."""
    text = ""
    while pid:
        pid, digit = divmod(pid, len(DIGITS))
        text = DIGITS[digit] + text
    return f"{kind}-{text}"


def maker_of(name: str) -> int | None:
    """The process that made the instance or namespace of this name; ``None``: it is none of the tests'."""
    if match := _INSTANCE.fullmatch(name):
        text = match[1] or match[2]
        return None if text.startswith("0") else int(text, len(DIGITS))
    match = _SPACE.fullmatch(name)
    return int(match[1]) if match else None


def mark() -> None:
    """What this process makes or starts from now on is known as its own, however far it goes from it."""
    os.environ[_MARK] = str(os.getpid())
    with contextlib.suppress(OSError):  # who may not write there may make no cluster either
        NOTES.mkdir(mode=0o700, exist_ok=True)
        (NOTES / str(os.getpid())).touch()


def noted() -> set[int]:
    """Processes that ran tests."""
    with contextlib.suppress(OSError):
        return {int(path.name) for path in NOTES.iterdir() if path.name.isdigit()}
    return set()


def lives(pid: int) -> bool:
    """What has ended and was not waited for lives no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def left(names: Iterable[str], known: Container[int], alive: Callable[[int], bool] = lives) -> list[str]:
    """Of these names those whose maker ran tests (``known``) and is no more."""
    makers = {name: maker_of(name) for name in names}
    return sorted(name for name, pid in makers.items() if pid is not None and pid in known and not alive(pid))


def left_processes(alive: Callable[[int], bool] = lives) -> list[int]:
    """Programs whose marking process is no more."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to read
            entries = (directory / "environ").read_bytes().split(b"\0")
            marks = [entry.partition(b"=")[2] for entry in entries if entry.startswith(_MARK.encode() + b"=")]
            if marks and marks[-1].isdigit() and not alive(int(marks[-1])):
                found.append(int(directory.name))
    return found


def purge(name: str) -> None:
    """An instance, in its network if that is there still."""
    inside = ("nsenter", f"--net={NETNS / name}") if (NETNS / name).exists() else ()
    with contextlib.suppress(subprocess.TimeoutExpired):  # the others are to go all the same
        subprocess.run(
            [*inside, SAMPAN, "down", "--name", name, "--purge"], capture_output=True, check=False, timeout=240
        )


def end(pid: int) -> None:
    """Kills it, and returns once it is gone: what it held is free then."""
    with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to end
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], _END_SECONDS)
        finally:
            os.close(handle)


def _names() -> list[str]:
    return [path.name for root in _ROOTS if root.is_dir() for path in root.iterdir()]


def _spaces() -> list[str]:
    return [path.name for path in NETNS.iterdir()] if NETNS.is_dir() else []


def sweep() -> list[str]:
    """Removes what was left, and names it. Clusters in order first, then what is at work all the same."""
    known = noted()
    names, spaces = left(dict.fromkeys(_names()), known), left(_spaces(), known)
    for name in names:
        purge(name)
    processes = left_processes()
    for pid in processes:
        end(pid)
    for name in spaces:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    _forget(known)
    return [*names, *(f"namespace {name}" for name in spaces), *(f"process {pid}" for pid in processes)]


def _forget(known: set[int]) -> None:
    """Of whom nothing is left: what could not be removed is tried by the next."""
    remain = {maker_of(name) for name in (*_names(), *_spaces())}
    for pid in known:
        if pid not in remain and not lives(pid):
            (NOTES / str(pid)).unlink(missing_ok=True)


if __name__ == "__main__":
    for swept in sweep():
        print(f"removed what a killed run left: {swept}")
