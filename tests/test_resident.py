"""What a process gives back of the code that its start ran, and that it goes on as before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from sampan.resident import LOOK_SECONDS, plan_range, stay_small

_PROGRAM = """
import asyncio, hashlib, json, sqlite3, ssl, zlib
import orjson
from sampan import resident

def work():
    database = sqlite3.connect(":memory:")
    database.execute("create table t (v)")
    database.executemany("insert into t values (?)", [(n,) for n in range(1000)])
    ssl.create_default_context()
    text = orjson.dumps({"sum": database.execute("select sum(v) from t").fetchone()[0]})
    return zlib.crc32(text), hashlib.sha256(text).hexdigest(), asyncio.run(asyncio.sleep(0, "slept"))

def pages_of_files():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssFile"))

first = work()
before = pages_of_files()
forgotten = resident.forget_code()
after = pages_of_files()
again = [(resident.forget_code() > 0, work()) for _ in range(3)]
print(json.dumps([forgotten, before, after, [each == (True, first) for each in again]]))
"""


@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="asks the loader of a 64-bit Linux")
def test_code_that_only_the_start_ran_leaves_and_is_back_when_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    forgotten, before_kib, after_kib, works = json.loads(done.stdout)
    assert forgotten > 0
    assert after_kib < before_kib * 0.8
    assert works == [True, True, True]


@pytest.mark.parametrize(
    ("base", "address", "size", "expected"),
    [
        (0x1000, 0x0, 0x2000, (0x1000, 0x2000)),
        (0x1000, 0x10, 0x2000, (0x2000, 0x1000)),  # it begins within a page of the segment before it
        (0x1000, 0x0, 0x2FFF, (0x1000, 0x2000)),  # it ends within a page of the next one
        (0x1000, 0x10, 0x100, (0x2000, 0)),
        (0x1000, 0x10, 0x1000, (0x2000, 0)),
    ],
)
def test_only_whole_pages_of_a_segment_leave(base: int, address: int, size: int, expected: tuple[int, int]) -> None:
    assert plan_range(base, address, size, 0x1000) == expected


def test_a_process_at_rest_forgets_again_and_one_at_work_keeps_its_code() -> None:
    used, due, forgotten = [0.0], [], []

    def call_later(seconds: float, look: Callable[[], None]) -> None:
        assert seconds == LOOK_SECONDS
        due.append(look)

    stay_small(call_later, forget=lambda: forgotten.append(used[0]), used_seconds=lambda: used[0])
    for seconds in (0.1, 0.2, 15.0, 0.3, 0.0):
        used[0] += seconds
        due.pop()()
    assert forgotten == pytest.approx([0.1, 0.3, 15.6, 15.6])
    assert len(due) == 1
