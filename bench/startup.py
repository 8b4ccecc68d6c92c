"""Measures how much time and memory the programs of an instance take to start: ``python bench/startup.py``.

First what importing each program costs, then the API server with its store from ``exec`` to an answering ``/readyz``,
on an empty store and on the one it left behind. CPU seconds say the same on a busy machine; wall time does not. Compile
first (``python -m compileall src``), or the first run measures the compiler.
"""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from sampan.cluster.supervisor import LEAN_ENVIRONMENT

_PROGRAMS = {
    "sampan.cli.main": "sampan (the command line)",
    "sampan.cluster.up": "what `sampan up` loads",
    "sampan.cluster.supervisor": "supervisor",
    "sampan.cluster.control_plane": "server",
    "sampan.scheduler.scheduler": "scheduler (in the server)",
    "sampan.cluster.node_process": "node",
}
_LEAN = ("sampan.cluster.control_plane", "sampan.scheduler.scheduler", "sampan.cluster.node_process")
_IMPORT = (
    "import time, sys; import {0}; import resource;"
    "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(sys.modules))"
)
_SERVE = """
import asyncio, sys, uvloop
from pathlib import Path
from sampan.cluster import footprint
import sampan.cluster.control_plane
from sampan.server.app import Server
from sampan.server.config import ServerConfig
async def main():
    folder = Path(sys.argv[1])
    config = ServerConfig(bind_address="127.0.0.1", port=0, data_dir=folder, store="sqlite", openapi=False,
        tls_cert=folder / "tls.crt", tls_key=folder / "tls.key")
    async with Server(config) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        footprint.settle()
        print("settled", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
footprint.start_quickly()
uvloop.run(main())
"""


def measure_import(module: str, repeat: int) -> tuple[float, float, int]:
    """(CPU seconds, MiB, modules) of the best of a few runs."""
    environment = {**os.environ, **(LEAN_ENVIRONMENT if module in _LEAN else {})}
    command = [sys.executable, "-X", "frozen_modules=on", "-c", _IMPORT.format(module)]
    runs = []
    for _ in range(repeat):
        words = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        runs.append((float(words[0]), float(words[1]), int(words[2])))
    return min(runs)


def make_certificate(folder: Path) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost "
        f"-keyout {folder}/tls.key -out {folder}/tls.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)


def measure_server(folder: Path) -> tuple[float, float, float, float]:
    """(wall seconds, CPU seconds, MiB when ready, MiB at rest) of a server until ``/readyz`` says ok."""
    context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
    context.check_hostname = False
    began = time.perf_counter()
    command = [sys.executable, "-X", "frozen_modules=on", "-c", _SERVE, str(folder)]
    process = subprocess.Popen(
        command, env={**os.environ, **LEAN_ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    url = process.stdout.readline().strip()
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", context=context):
                break
        except urllib.error.URLError:
            if process.poll() is not None:
                raise
    wall, cpu, ready = time.perf_counter() - began, _cpu_seconds(process.pid), _resident_mib(process.pid)
    process.stdin.write("rest\n")
    process.stdin.flush()
    process.stdout.readline()
    rest = _resident_mib(process.pid)
    process.communicate("stop\n")
    return wall, cpu, ready, rest


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(f"{'imports':<34}{'CPU s':>8}{'MiB':>8}{'modules':>9}")
    for module, name in _PROGRAMS.items():
        cpu, mib, modules = measure_import(module, options.repeat)
        print(f"{name:<34}{cpu:>8.2f}{mib:>8.0f}{modules:>9}")
    print(f"{'server, exec to /readyz':<34}{'CPU s':>8}{'MiB':>8}{'wall s':>9}{'at rest':>9}")
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(Path(folder))
        for name in ("empty store", "second start"):
            wall, cpu, ready, rest = measure_server(Path(folder))
            print(f"{name:<34}{cpu:>8.2f}{ready:>8.0f}{wall:>9.2f}{rest:>9.0f}")


if __name__ == "__main__":
    main()
