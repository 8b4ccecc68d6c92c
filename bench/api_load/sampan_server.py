"""Starts ``serve.py`` as a subprocess, as the supervisor starts an instance's server, and speaks with it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from api_load import measure
from api_load.target import Subject, Target, make_certificates, prepare
from sampan.cluster.supervisor import LEAN_ENVIRONMENT


class SampanServer:
    """``with SampanServer(folder) as server``: runs until the block ends. The folder may hold an earlier state."""

    def __init__(self, folder: Path, store: str = "sqlite", profile: str = "", disabled: str = "") -> None:
        self.folder = folder
        self._arguments = [str(folder), store, profile, disabled]
        #: from exec to an answering /readyz
        self.start_seconds = 0.0
        self.start_cpu = 0.0

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / "ca.crt").exists():
            make_certificates(self.folder)
        command = [
            sys.executable,
            "-X",
            "frozen_modules=on",
            str(Path(__file__).with_name("serve.py")),
            *self._arguments,
        ]
        began = time.perf_counter()
        self._process = subprocess.Popen(
            command, env={**os.environ, **LEAN_ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address: tuple[str, int] = tuple(self._read())
        self._wait_ready()
        self.start_seconds, self.start_cpu = time.perf_counter() - began, measure.cpu_seconds([self.pid])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._process.communicate("stop\n", timeout=60)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def subject(self) -> Subject:
        admin = self._as("admin")
        return prepare(admin, self._as("user"))

    def ask(self, command: str) -> Any:
        if self._process.stdin is None:
            raise RuntimeError("no pipe")
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._read()

    def _as(self, stem: str) -> Target:
        certificate = (str(self.folder / f"{stem}.crt"), str(self.folder / f"{stem}.key"))
        return Target("sampan", self.address, (self.pid,), certificate)

    def _read(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        return json.loads(line)

    def _wait_ready(self) -> None:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.check_hostname = False
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        while True:
            try:
                with opener.open(f"https://{self.address[0]}:{self.address[1]}/readyz"):
                    return
            except urllib.error.URLError:
                if self._process.poll() is not None:
                    raise
                time.sleep(0.005)
