"""The program: started, replaced without a lost connection, watched, ended. Effects only.

A new process takes the listening sockets of the old one over, which ends what it has and goes. One that refuses its
configuration ends at once, and the old one stays. The program is in a session of its own: it goes on when the process
that keeps it is killed, and the next keeper finds it by its socket and replaces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

from sampan.api.faults import fault
from sampan.edge.haproxy import runtime
from sampan.edge.haproxy.render import Rendered
from sampan.records import dataclass

START_SECONDS = 20.0
END_SECONDS = 3.0
_LOOK_SECONDS = 0.01
_LOG_BYTES = 8 * 1024 * 1024
_MOST_FAULT_BYTES = 64 * 1024
_SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AT_LINE = re.compile(r"\[[^\]\s]*haproxy\.cfg:(\d+)\]\s*(?::\s*)?(.*)")


class ProgramMissing(Exception):
    """HAProxy is not installed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the program said to a configuration; ``lines`` with their numbers, from 1, in the order of the lines."""

    text: str
    lines: tuple[tuple[int, str], ...] = ()


def find() -> str:
    """Raises ProgramMissing."""
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:{_SEARCHED}")
    if found is None:
        raise ProgramMissing
    return found


class Program:
    """``directory``: of the configuration, made 0700; ``run``: of the sockets; ``log``: what it prints, bounded."""

    def __init__(self, directory: Path, run: Path, log: Path) -> None:
        self.directory, self.run, self.log = directory, run, log
        self._process: asyncio.subprocess.Process | None = None
        self._pid: int | None = None
        #: those that were replaced and still end what they had
        self._leaving: list[asyncio.subprocess.Process] = []

    @property
    def files(self) -> Path:
        """What ``Settings.files`` is to be."""
        return self.directory / "conf"

    @property
    def socket(self) -> Path:
        return self.run / "admin.sock"

    @property
    def pid(self) -> int | None:
        return self._pid

    @property
    def leaving(self) -> int:
        """How many that this process started and replaced still end what they had."""
        return sum(process.returncode is None for process in self._leaving)

    async def start(self, rendered: Rendered) -> Refusal | None:
        """Starts it, or replaces the one that runs. None: it serves the configuration. Raises ProgramMissing."""
        program = find()
        await asyncio.to_thread(self._write, rendered)
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = await runtime.pid_of(self.socket)
        # One that hangs has its ports with the new one, and its connections would wait for nobody.
        hung = set() if before is not None else set(await asyncio.to_thread(running, self.files))
        words = [program, "-db", "-f", str(self.files / "haproxy.cfg")]
        if before is not None:
            words += ["-x", str(self.socket), "-sf", str(before)]
        said = self.directory / "said.txt"
        log = await asyncio.to_thread(self._open_log)
        try:
            with said.open("wb") as errors:
                process = await asyncio.create_subprocess_exec(
                    *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=errors, cwd="/", start_new_session=True
                )
        finally:
            os.close(log)
        if not await self._serves(process):
            return _refusal(await asyncio.to_thread(_read, said))
        self._leaving = [each for each in self._leaving if each.returncode is None]
        for pid in hung - {each.pid for each in self._leaving}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None and self._process.pid in hung:
            await self._process.wait()
        if self._process is not None:
            self._leaving.append(self._process)
        self._process, self._pid = process, process.pid
        return None

    async def _serves(self, process: asyncio.subprocess.Process) -> bool:
        """Waits until it answers at the socket, and then for the old one's being told to go."""
        ended = asyncio.ensure_future(process.wait())
        try:
            async with asyncio.timeout(START_SECONDS):
                while not ended.done():
                    if await runtime.pid_of(self.socket) == process.pid:
                        return True
                    await asyncio.wait([ended], timeout=_LOOK_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        finally:
            ended.cancel()
        return False

    async def answers(self) -> bool:
        """Whether one runs, whoever started it."""
        return await runtime.pid_of(self.socket) is not None

    async def ended(self) -> None:
        """Returns when the program that serves has ended, by itself or by anybody."""
        process = self._process
        if process is None:
            return
        await process.wait()
        if self._process is process:
            self._process = self._pid = None

    async def end(self) -> None:
        """Ends it, and those that still end what they had, at once."""
        pids = await asyncio.to_thread(running, self.files)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    while pids := await asyncio.to_thread(running, self.files):  # noqa: ASYNC110 (other processes)
                        await asyncio.sleep(_LOOK_SECONDS)
            if not pids:
                break
        for process in (*self._leaving, *filter(None, (self._process,))):
            await process.wait()
        self._process = self._pid = None
        self._leaving = []
        self.socket.unlink(missing_ok=True)

    async def tell(self, commands: list[str]) -> list[str]:
        """What it says, beyond that it was done. Raises ProgramGone."""
        return await runtime.tell(self.socket, commands)

    async def replace_certificate(self, file: str, pem: str) -> str:
        """ "" when it is shown from now on. Raises ProgramGone."""
        return await runtime.replace_certificate(self.socket, file, pem)

    async def bound_log(self) -> None:
        await asyncio.to_thread(_bound, self.log)

    def _write(self, rendered: Rendered) -> None:
        """All files are read while the program starts, and never again."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        fresh = self.directory / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        (self.directory / "empty").mkdir(exist_ok=True)
        for name, text in (*rendered.files.items(), *rendered.certificates.items()):
            (fresh / name).write_text(text)
        (fresh / "haproxy.cfg").write_text(rendered.text()[0])
        shutil.rmtree(self.files, ignore_errors=True)
        fresh.rename(self.files)

    def _open_log(self) -> int:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def running(files: Path) -> list[int]:
    """The processes of the program that were started with these files."""
    found = []
    wanted = f"{files}/haproxy.cfg"
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "exe").readlink().name.startswith("haproxy"):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if wanted in words:
                    found.append(int(entry.name))
    return found


def _bound(log: Path) -> None:
    """Above the limit the older half of what it holds goes aside, as ``.1``."""
    try:
        if log.stat().st_size > _LOG_BYTES:
            old = log.with_suffix(".log.1")
            with log.open("rb+") as file, old.open("wb") as kept:
                shutil.copyfileobj(file, kept)
                file.truncate(0)
    except OSError:
        log.touch(exist_ok=True)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_FAULT_BYTES).decode(errors="replace")
    except OSError as error:
        return fault(error, "read")


def _refusal(text: str) -> Refusal:
    lines = tuple((int(found[1]), found[2].strip()) for line in text.splitlines() if (found := _AT_LINE.search(line)))
    alerts = [line.partition(":")[2].strip() for line in text.splitlines() if "[ALERT]" in line]
    return Refusal("; ".join(alerts)[:1000] or "the program ended", lines)
