"""wrk as the load generator of reads: written in C, it decodes nothing. It knows no client certificates, so: tokens."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from api_load import measure
from api_load.measure import Latency, Row
from api_load.target import Target

_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"count":%d,"micros":%d,"failed":%d,"p50":%d,"p99":%d}\\n', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def available() -> bool:
    return shutil.which("wrk") is not None


def run(target: Target, name: str, what: str, path: str, *, connections: int, seconds: float) -> Row:
    """GETs of one path, with the target's token."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s"]
    command += ["-H", "Accept: application/json"]
    if target.token:
        command += ["-H", f"Authorization: Bearer {target.token}"]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "report.lua"
        script.write_text(_REPORT)
        used, cpu, began = _children(), measure.cpu_seconds(target.pids), time.perf_counter()
        done = subprocess.run(
            [*command, "-s", str(script), f"{target.url}{path}"], capture_output=True, text=True, check=True
        )
        cpu, used, wall = measure.cpu_seconds(target.pids) - cpu, _children() - used, time.perf_counter() - began
    found = json.loads(done.stdout.partition("RESULT ")[2])
    return Row(
        name=name, what=what, count=found["count"], seconds=min(found["micros"] / 1e6, wall), failed=found["failed"],
        cpu=cpu if target.pids else None, client_cpu=used, latency=Latency(found["p50"] / 1000, found["p99"] / 1000),
        generator=f"wrk, {connections} conn.", server=target.name,
    )  # fmt: skip


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
