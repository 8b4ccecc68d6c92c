"""Debian's Prometheus, which reads an exporter whose series a test sets."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

LIMIT_SECONDS = 60.0


class Exporter:
    """``text``: what it exposes."""

    def __init__(self) -> None:
        self.text = ""
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        return web.Response(text=self.text)


class PrometheusServer:
    def __init__(self, folder: Path, exporter: Exporter) -> None:
        self._folder, self._exporter = folder, exporter
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {
                    "job_name": "test",
                    "honor_labels": True,
                    "static_configs": [{"targets": [f"127.0.0.1:{self._exporter.port}"]}],
                }
            ],
        }
        path = self._folder / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        self._process = await asyncio.create_subprocess_exec(
            "prometheus", f"--config.file={path}", f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def has(self, query: str) -> None:
        """Returns when the query gives something."""
        async with asyncio.timeout(LIMIT_SECONDS), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
                        found = await answer.json()
                        if found.get("data", {}).get("result"):
                            return
                except aiohttp.ClientError:
                    pass  # it starts
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def exporter() -> AsyncIterator[Exporter]:
    made = Exporter()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def prometheus(tmp_path: Path, exporter: Exporter) -> AsyncIterator[PrometheusServer]:
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus: run scripts/setup dev")
    made = PrometheusServer(tmp_path, exporter)
    await made.start()
    yield made
    await made.stop()
