"""Commands at the socket of a running HAProxy: one connection a batch, answers bounded.

Raises ProgramGone: nobody answers there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

ANSWER_SECONDS = 5.0
_MOST_BYTES = 4 * 1024 * 1024
#: One line may hold so many commands: HAProxy reads a line into a buffer of 16 KiB.
_LINE_BYTES = 8 * 1024


class ProgramGone(Exception):
    """The program does not answer at its socket."""


async def ask(path: Path, command: str) -> str:
    """The answer to one command, or to several with semicolons between them; a payload may follow ("<<")."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(command.encode() + b"\n")
                await writer.drain()
                found = bytearray()
                while len(found) < _MOST_BYTES and (more := await reader.read(65536)):
                    found += more
                return found.decode(errors="replace")
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise ProgramGone(str(path)) from error


async def tell(path: Path, commands: Iterable[str]) -> list[str]:
    """Gives commands in order; what was answered with words, for HAProxy answers well done with none."""
    answers: list[str] = []
    for line in _lines(commands):
        answer = await ask(path, line)
        answers += [text for text in map(str.strip, answer.splitlines()) if text and not _is_news(text)]
    return answers


def _is_news(text: str) -> bool:
    """What it says of a change that it made."""
    return text.startswith(("IP changed from", "no need to change", "port changed from", "nothing changed")) or (
        "changed from" in text
    )


def _lines(commands: Iterable[str]) -> Iterable[str]:
    line = ""
    for command in commands:
        if line and len(line) + len(command) > _LINE_BYTES:
            yield line
            line = ""
        line = f"{line}; {command}" if line else command
    if line:
        yield line


async def replace_certificate(path: Path, file: str, pem: str) -> str:
    """ "" when it is shown from now on; else what the program said."""
    answer = await ask(path, f"set ssl cert {file} <<\n{pem}\n")
    if "transaction created" not in answer.lower() and "transaction updated" not in answer.lower():
        return answer.strip() or "no answer"
    answer = await ask(path, f"commit ssl cert {file}")
    if "success" in answer.lower():
        return ""
    await ask(path, f"abort ssl cert {file}")
    return answer.strip() or "no answer"


async def pid_of(path: Path) -> int | None:
    """Of the program that answers there; None: nobody does."""
    try:
        answer = await ask(path, "show info")
    except ProgramGone:
        return None
    for line in answer.splitlines():
        if line.startswith("Pid:"):
            return int(line.partition(":")[2])
    return None
