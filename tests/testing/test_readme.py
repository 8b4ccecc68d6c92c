"""What the README shows of the fixtures is a test that passes, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.timeout(300)  # pytest compiles the whole package anew for whoever has it as a plug-in, once
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_example_of_the_readme_passes_with_no_other_setting(tmp_path: Path, mode: str) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    (tmp_path / "test_example.py").write_text(block)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--asyncio-mode={mode}", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
