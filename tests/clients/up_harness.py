"""The command ``sampan`` for tests of ``sampan up --simulate``: as somebody who is not root, with a home of his own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sampan.testing import free

NOBODY = 65534


class Sampan:
    """The command, as a user with a home of his own; who may read what root may, should Python be root's."""

    def __init__(self, home: Path) -> None:
        self.home, self.kubeconfig = home, home / "kubeconfig"
        rights = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--clear-groups"]
        self._as_nobody = [shutil.which("setpriv") or "", f"--reuid={NOBODY}", f"--regid={NOBODY}", *rights]

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        code = "import sys; sys.argv[0] = 'sampan'; from sampan.cli.entry import main; main()"
        return [*(self._as_nobody if os.geteuid() == 0 else []), sys.executable, "-c", code, *arguments]

    def _environment(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **own, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments), env=self._environment(), capture_output=True, text=True, check=False, timeout=200
        )

    @contextmanager
    def started(self, *arguments: str) -> Iterator[None]:
        """A command that goes on until it is told to end, and ends well then."""
        with (self.home / f"{arguments[0]}.log").open("w+") as log:
            process = subprocess.Popen(self._command(arguments), env=self._environment(), stdout=log, stderr=log)
            try:
                yield
                process.terminate()
                code = process.wait(100)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            assert code == 0, log.read()

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def nobodys(home: Path) -> Iterator[Sampan]:
    """Whose cluster ``sim`` is gone at the end, with every file of it."""
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv, to be somebody who is not root")
        for folder in (home, *home.parents[:2]):
            folder.chmod(0o755)
        os.chown(home, NOBODY, NOBODY)
    made = Sampan(home)
    yield made
    made.run("down", "--purge", "--name", "sim")
    left = [str(path) for path in (home / ".local").rglob("*") if path.is_file()]
    assert left == []


def own_ports() -> list[str]:
    """Arguments for the ports of ``sim``, of this run alone: clusters of root are not seen by others."""
    words = free.arguments(free.instance("sim"))
    pairs = zip(words[::2], words[1::2], strict=True)
    return [word for pair in pairs if pair[0] != "--name" for word in pair]
