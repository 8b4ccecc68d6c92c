"""Small programs of others that know credentials: asked on standard input, answered on standard output.

Used for the kubelet's credential providers and for docker's credential helpers. One event loop. A program that hangs,
says too much or fails ends as an error within the time it was given, with all that it started; what it said on
standard output is never shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from sampan.api.faults import cause

_ANSWER_BYTES = 1 << 20
_SHOWN_CHARACTERS = 200
_GONE_SECONDS = 5.0
#: set for our own programs, which trust nobody but the cluster's CA; for others they would be a trap
_OURS_ALONE = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONFAULTHANDLER", "OPENBLAS_NUM_THREADS")


class HelperError(Exception):
    """Why there is no answer, with the program's name."""


async def ask(
    program: Sequence[str], said: bytes, *, seconds: float, environment: Mapping[str, str] | None = None
) -> bytes:
    """Raises HelperError."""
    name = os.path.basename(program[0])  # noqa: PTH119 (a name in PATH, or a path)
    inherited = {key: value for key, value in os.environ.items() if key not in _OURS_ALONE}
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**inherited, **(environment or {})}, cwd="/", start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise HelperError(f"{name} cannot be started: {cause(error)}") from error
    try:
        async with asyncio.timeout(seconds):
            answer, complaint = await _talk(process, said, name)
            code = await process.wait()
    except TimeoutError:
        raise HelperError(f"{name} did not answer within {seconds:g} seconds") from None
    finally:
        # What it started is of its group, and may hold the pipes open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await gone(process)
    if code:
        words = complaint.decode(errors="replace").strip().splitlines()
        told = f": {words[-1][:_SHOWN_CHARACTERS]}" if words else ""
        raise HelperError(f"{name} failed with exit code {code}{told}")
    return answer


async def gone(process: asyncio.subprocess.Process) -> None:
    """Until a process that was killed is gone. asyncio sees its end only when its output was read to the end; that of a
    child which left its group may never come."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GONE_SECONDS):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(1 << 16):
                    pass
            await process.wait()


async def _talk(process: asyncio.subprocess.Process, said: bytes, name: str) -> tuple[bytes, bytes]:
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(_read(process.stdout))
            complaint = group.create_task(_read(process.stderr))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it does not care what is asked
                process.stdin.write(said)
                await process.stdin.drain()
            process.stdin.close()
    except* _TooMuchError:
        raise HelperError(f"{name} said more than {_ANSWER_BYTES >> 20} MiB") from None
    return answer.result(), complaint.result()


class _TooMuchError(Exception):
    """More than is taken."""


async def _read(stream: asyncio.StreamReader) -> bytes:
    content = bytearray()
    while piece := await stream.read(1 << 16):
        content += piece
        if len(content) > _ANSWER_BYTES:
            raise _TooMuchError
    return bytes(content)
