"""Whether a program still lives: it is judged by its signs of life, not by being a process.

``Pulse`` is pure: it is told what was seen at each look and says when the program hangs. A look that itself came late
says more of the machine than of the program and does not count, so that nothing healthy is ended because the machine
was asleep, stopped or overloaded.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sampan.records import dataclass

#: Between two looks.
LOOK_SECONDS: Final = 1.0
#: A look that came later than this after the one before does not count.
LATE_SECONDS: Final = 1.5
#: Looks in a row that may see a program stopped (SIGSTOP, a debugger) …
STOPPED_LOOKS: Final = 2
#: … and without a sign of life, once it has given one …
SILENT_LOOKS: Final = 6
#: … or, for one that has to be asked …
UNANSWERED_LOOKS: Final = 30
#: … and before it has given any since its start.
START_LOOKS: Final = 120

#: For containerd, which gives no signs by itself: how often it is asked, and how long it may take.
ASK_LOOKS: Final = 5
ASK_SECONDS: Final = 5.0

#: HTTP/2's connection preface and an empty SETTINGS frame (RFC 9113, 3.4): any gRPC server answers with its own.
_HTTP2_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


@dataclass(slots=True)
class Pulse:
    """The looks at one life of a program. ``sign``: anything that changes while the program lives."""

    silent_looks: int = SILENT_LOOKS
    _sign: object = None
    _silent: int = 0
    _stopped: int = 0

    def look(self, sign: object, *, stopped: bool) -> str:
        """Why it is to be replaced; "": it is not. ``sign`` None: it has given none yet."""
        self._stopped = self._stopped + 1 if stopped else 0
        if sign != self._sign:
            self._sign, self._silent = sign, 0
        else:
            self._silent += 1
        if self._stopped >= STOPPED_LOOKS:
            return "it was stopped"
        if self._silent >= (START_LOOKS if self._sign is None else self.silent_looks):
            return "it gave no sign of life"
        return ""


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Stopped by a signal or a debugger (proc(5), stat)."""
    try:
        return (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


async def answers_http2(socket: Path) -> bool:
    """Whether a gRPC server at this socket says hello within ``ASK_SECONDS``."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(_HTTP2_HELLO)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
