"""Takes memory that a process no longer uses out of what it holds: free pages, and compiled code, as the kernel would
when memory is short.

Starting runs nearly all of the libraries once: the relocations, tables and initialisers of the interpreter and of each
extension module, some 20 MiB in a process that then needs a quarter of them. Those pages stay mapped until somebody
asks for them back. Each later use maps 64 KiB around it, so what something rare has used once stays as well: the
long-lived processes ask again from time to time while they are at rest (``stay_small``). What is needed after all is
mapped again on its next use, from the page cache (microseconds). What this process has written is never touched.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    PyDLL,
    Structure,
    c_char_p,
    c_int,
    c_size_t,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from mmap import PAGESIZE
from typing import Any

# elf.h, madvise(2)
_LOADED = 1
_WRITABLE = 2
_MADV_DONTNEED = 4

#: Between two looks; forgetting takes 2 ms.
LOOK_SECONDS = 20.0
#: Processor time between two looks: more, and the process is at work and keeps its code.
_AT_WORK_SECONDS = 1.0


class _Segment(Structure):
    """A program header (``Elf64_Phdr``)."""

    _fields_ = (
        ("type", c_uint32), ("flags", c_uint32), ("offset", c_uint64), ("address", c_uint64), ("physical", c_uint64),
        ("file_bytes", c_uint64), ("bytes", c_uint64), ("align", c_uint64),
    )  # fmt: skip


class _Object(Structure):
    """A program or library in memory: the beginning of ``dl_phdr_info``."""

    _fields_ = (("base", c_uint64), ("name", c_char_p), ("segments", POINTER(_Segment)), ("count", c_uint16))


_Visit = CFUNCTYPE(c_int, POINTER(_Object), c_size_t, c_void_p)


def plan_range(base: int, address: int, size: int, page: int) -> tuple[int, int]:
    """The whole pages of a segment, as start and length; one that it shares with another is left alone. Pure."""
    first = -(-(base + address) // page) * page
    return first, max((base + address + size) // page * page - first, 0)


def forget_code() -> int:
    """How many bytes of code and constants, of libraries and interpreter, may leave; 0: not on this system."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return 0
    # Without letting go of the interpreter's lock, and inside the loader's: no library comes or goes meanwhile.
    libc = PyDLL(None)
    walk = getattr(libc, "dl_iterate_phdr", None)
    if walk is None:
        return 0
    libc.madvise.argtypes = (c_void_p, c_size_t, c_int)
    forgotten = 0

    def visit(found: Any, _size: int, _data: Any) -> int:
        nonlocal forgotten
        one = found.contents
        if one.name and one.name.startswith(b"linux-"):  # the kernel's own, of no file
            return 0
        for segment in one.segments[: one.count]:
            # What the loader has relocated lies in writable segments, though some of it is protected afterwards.
            if segment.type == _LOADED and not segment.flags & _WRITABLE:
                start, size = plan_range(one.base, segment.address, segment.file_bytes, PAGESIZE)
                if size and libc.madvise(start, size, _MADV_DONTNEED) == 0:
                    forgotten += size
        return 0

    walk(_Visit(visit), None)
    return forgotten


def trim() -> None:
    """Gives the C library's free pages back to the system. Takes milliseconds, tens of them where hundreds of MiB are
    in small pieces; other threads go on meanwhile."""
    found = getattr(CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
    if found is not None:
        found(0)


def stay_small(
    call_later: Callable[[float, Callable[[], None]], object],
    *,
    forget: Callable[[], object] = forget_code,
    used_seconds: Callable[[], float] = time.process_time,
) -> None:
    """From now on, forgets code at each look that finds the process at rest. ``call_later``: the event loop's;
    ``used_seconds``: processor time of the process so far."""
    seen = used_seconds()

    def look() -> None:
        nonlocal seen
        used, seen = used_seconds() - seen, used_seconds()
        if used < _AT_WORK_SECONDS:
            forget()
        call_later(LOOK_SECONDS, look)

    call_later(LOOK_SECONDS, look)
