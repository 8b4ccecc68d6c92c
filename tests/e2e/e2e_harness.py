"""The cluster and kubectl as objects, and waiting: what end-to-end tests are written with.

A cluster stands beside any other of the machine: its own name, directories, and ports and ranges that are free. The
name carries the number of the process that runs the tests, so that two runs can go on at once, and what a killed one
left behind is known by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite_sweep import SAMPAN, own_name

from sampan.testing import free

NAME = own_name("e2e", os.getpid())
NEEDS = ("containerd", "runc", "nft", "ip", "kubectl", "busybox")
#: By SPDY, for a kubectl of before 1.34 may drop over WebSockets what a command says before all streams are made
#: (kubernetes pull request 131203).
WEBSOCKETS = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS"
DEMO_IMAGE = "docker.io/sampan/e2e:1"


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    home: Path
    name: str = NAME
    #: added to the environment of every command, and so of the cluster's processes
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        own = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home), "NO_COLOR": "1"}
        return {**os.environ, **own, WEBSOCKETS: "false", **self.extra}

    def sampan(self, *arguments: str, check: bool = True, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [SAMPAN, *arguments], capture_output=True, text=True, env=self.env, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"sampan {arguments}: {done.stdout}{done.stderr}"
        return done


def up(made: Cluster) -> None:
    """Other runs of these tests may take what was found free before this one has it."""
    for _ in range(3):
        done = made.sampan("up", *free.arguments(free.instance(made.name)), "--timeout", "90", check=False)
        if "belongs to cluster" not in done.stderr:
            break
    assert done.returncode == 0, done.stdout + done.stderr


def files_on_loop_devices() -> list[str]:
    """Those that loop devices of this machine show now, whoever made them."""
    found = []
    for shown in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # let go of meanwhile
            found.append(shown.read_text().strip())
    return found


def build_demo_image(made: Cluster) -> None:
    """Busybox with its applets: the image that the tests' pods run."""
    busybox = shutil.which("busybox")
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = [part for applet in applets if applet != "busybox" for part in ("--link", f"/bin/{applet}:busybox")]
    made.sampan("image", "build", "--name", made.name, "-t", DEMO_IMAGE, "--binary", f"{busybox}:/bin/busybox", *links)


#: A line at error level, as the processes write it, and what Python writes of an exception that nobody caught.
_FAULTY = re.compile(r"^(\d{4}-\d\d-\d\d [\d:,]+ [EC] .*|Traceback \(most recent call last\):)$", re.MULTILINE)
#: what ends a traceback
_RAISED = re.compile(r"^\S.*", re.MULTILINE)


def faults_in_logs(name: str, expected: Sequence[str] = ()) -> list[str]:
    """Lines at error level that an instance's processes wrote; ``expected``: what they may hold."""
    found = []
    for log in sorted((Path("/var/lib/sampan") / name / "logs").glob("*.log*")):
        text = log.read_text(errors="replace")
        for match in _FAULTY.finditer(text):
            # A traceback belongs to the line before it, unless it stands alone.
            before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
            line, belongs = match[0], _FAULTY.match(before) is not None
            if line.startswith("Traceback"):
                raised = _RAISED.search(text, match.end() + 1)
                line = before if belongs else f"{line} {raised[0] if raised else ''}"
            if not any(part in line for part in expected):
                found.append(f"{log.name}: {line}")
    return list(dict.fromkeys(found))


class Kubectl:
    """A kubectl program with the cluster's kubeconfig and a namespace."""

    def __init__(self, program: Path, made: Cluster, namespace: str) -> None:
        self.program, self.cluster, self.namespace = program, made, namespace

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, "--namespace", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.cluster.env,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        return self.run(*arguments, stdin=stdin, timeout=timeout).stdout

    def fails(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Runs what must fail; returns what it said."""
        done = self.run(*arguments, stdin=stdin, check=False, timeout=timeout)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} should have failed:\n{done.stdout}"
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, "--namespace", self.namespace, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"env": self.cluster.env, **options},
        )


def described(kubectl: Kubectl, *what: str, says: Sequence[str]) -> str:
    """What ``kubectl describe`` shows once all of ``says`` is there: Events are written after what they tell of."""

    text = ""

    def missing() -> list[str]:
        nonlocal text
        text = kubectl("describe", *what)
        return [words for words in says if words not in text]

    try:
        eventually(lambda: not missing())
    except AssertionError as error:
        raise AssertionError(f"{missing()} is not in\n{text}") from error
    return text


def eventually(condition: Callable[[], Any], *, seconds: float = 90, every: float = 0.1) -> Any:
    """The first true value of a condition. Fails with its last value after ``seconds``. Half of the time nobody asks,
    and less often the longer it lasts: a program that is started anew and anew would take its processor from what it
    waits for."""
    began = time.monotonic()
    deadline = began + seconds
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        now = time.monotonic()
        assert now < deadline, f"not within {seconds} s; last seen: {value!r}"
        time.sleep(min(max(every, now - asked, (now - began) / 8), 1.0))
