"""The demonstration of several machines, which takes minutes, at least begins: it is made of the tests' own parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_it_finds_the_parts_that_it_is_made_of() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo_cluster.py", "--help"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
