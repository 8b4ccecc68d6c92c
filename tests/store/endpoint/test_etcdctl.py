"""Debian's own ``etcdctl``, unmodified, against the endpoint."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.store.archive.format import verify

pytestmark = pytest.mark.skipif(shutil.which("etcdctl") is None, reason="etcdctl is not installed (scripts/setup dev)")


class Etcdctl:
    def __init__(self, port: int) -> None:
        self._environment = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": f"127.0.0.1:{port}"}

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "etcdctl", *words, env=self._environment, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def __call__(self, *words: str, stdin: str = "", fails: bool = False) -> str:
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert bool(process.returncode) == fails, (words, out, err)
        return (err if fails else out).decode()


@pytest.fixture
async def etcdctl(client: Any) -> AsyncIterator[Etcdctl]:
    yield Etcdctl(client.port)


async def test_keys(etcdctl: Etcdctl) -> None:
    assert await etcdctl("put", "a", "1") == "OK\n"
    assert await etcdctl("put", "a", "2", "--prev-kv") == "OK\na\n1\n"
    assert await etcdctl("get", "a", "--rev=1") == "a\n1\n"
    await etcdctl("put", "b", "1")
    assert await etcdctl("get", "", "--prefix", "--keys-only") == "a\n\nb\n\n"
    assert json.loads(await etcdctl("get", "a", "-w", "json"))["kvs"][0]["mod_revision"] == 2
    assert await etcdctl("del", "a", "--prev-kv") == "1\na\n2\n"


async def test_transactions(etcdctl: Etcdctl) -> None:
    await etcdctl("put", "a", "1")
    typed = 'value("a") = "1"\n\nput a 2\nput b 1\n\nget a\n\n'
    assert (await etcdctl("txn", stdin=typed)).split() == ["SUCCESS", "OK", "OK"]
    assert (await etcdctl("txn", stdin=typed)).split() == ["FAILURE", "a", "2"]


async def test_watches(etcdctl: Etcdctl) -> None:
    await etcdctl("put", "a1", "x")
    process = await etcdctl.start("watch", "a", "--prefix", "--rev=1", "--prev-kv")
    assert process.stdout is not None
    try:
        await etcdctl("put", "a1", "y")
        await etcdctl("del", "a1")
        async with asyncio.timeout(60):
            read = [(await process.stdout.readline()).decode().strip() for _ in range(12)]
    finally:
        process.kill()
        await process.communicate()
    assert [word for word in read if word in ("PUT", "DELETE")] == ["PUT", "PUT", "DELETE"]


async def test_leases_and_locks(etcdctl: Etcdctl) -> None:
    lease = (await etcdctl("lease", "grant", "60")).split()[1]
    await etcdctl("put", "a", "1", f"--lease={lease}")
    assert "attached keys([a])" in await etcdctl("lease", "timetolive", lease, "--keys")
    assert "keepalived" in await etcdctl("lease", "keep-alive", "--once", lease)
    await etcdctl("lease", "revoke", lease)
    assert await etcdctl("get", "a") == ""
    await etcdctl("lock", "mutex", "true")


async def test_what_an_operator_asks(etcdctl: Etcdctl, tmp_path: Path, served: Any) -> None:
    await etcdctl("put", "a", "1")
    await etcdctl("endpoint", "health")
    assert "started" in await etcdctl("member", "list")
    assert json.loads(await etcdctl("endpoint", "status", "-w", "json"))[0]["Status"]["header"]["revision"] == 1
    await etcdctl("compaction", "1")
    assert "has been compacted" in await etcdctl("compaction", "0", fails=True)
    await etcdctl("defrag")
    assert "decided by certificates" in await etcdctl("auth", "enable", fails=True)


async def test_a_snapshot_that_is_saved_is_a_backup_and_no_database_of_etcd(
    etcdctl: Etcdctl, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "memory" in request.node.name:
        return
    await etcdctl("put", "a", "1")
    await etcdctl("snapshot", "save", str(tmp_path / "snapshot"))
    assert verify(tmp_path / "snapshot").records == 1
    assert "invalid database" in await etcdctl("snapshot", "status", str(tmp_path / "snapshot"), fails=True)
