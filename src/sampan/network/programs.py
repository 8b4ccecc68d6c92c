"""Programs of the machine by which the network is told what to do (nft, iptables, ipvsadm, ip): how they are run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sampan.api.faults import cause
from sampan.records import dataclass


class NotRun(Exception):
    """It could not be started, or did not end in time and was killed. The message names it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """``code`` 0: done. ``said``: what it wrote to its standard error."""

    code: int
    out: str
    said: str


async def run(
    command: Sequence[str], *, package: str, prefix: Sequence[str] = (), text: str = "", seconds: float
) -> Ended:
    """``text`` is its standard input; ``package`` has the program; ``prefix`` puts it into a network namespace.

    Raises NotRun.
    """
    name = command[0]
    # What tells errors apart are the C library's phrases, which are only stable in its own language.
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        with _stdin(text) as stdin:
            process = await asyncio.create_subprocess_exec(
                *prefix,
                *command,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
    except OSError as error:
        raise NotRun(
            f"{name} cannot be run: {cause(error)}; is {package} installed? (apt-get install -y {package})"
        ) from error
    try:
        async with asyncio.timeout(seconds):
            out, said = await process.communicate()
    except TimeoutError:
        raise NotRun(f"{name} did not finish within {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    return Ended(process.returncode or 0, out.decode(), said.decode(errors="replace"))


@contextmanager
def _stdin(text: str) -> Iterator[int]:
    """A file in memory, for the time in which the program is started. A pipe breaks when the program ends before it has
    read, as those do that only list: asyncio overlooks that, uvloop raises RuntimeError."""
    if not text:
        yield asyncio.subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("input"), "w+b") as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()
