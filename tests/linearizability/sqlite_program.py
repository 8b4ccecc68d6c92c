"""A SQLite store in a process of its own, to be killed: a line of JSON in, a line of JSON out, many at a time."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sampan.api.clock import SystemClock
from sampan.store.protocol import Change, Entry, RevisionConflict, StoreError
from sampan.store.sqlite import SqliteStore


def shown(entry: Entry | None) -> Any:
    return None if entry is None else [entry.key, entry.value.decode(), entry.revision, entry.created]


def change(each: Change) -> Any:
    return [each.key, each.revision, shown(each.entry), shown(each.previous)]


async def answer(store: SqliteStore, ask: Any) -> Any:
    match ask["do"]:
        case "get":
            return shown(await store.get(ask["key"]))
        case "commit":
            value = ask["value"]
            return await store.commit(ask["key"], ask["expected"], None if value is None else value.encode())
        case "changes":
            found = await store.changes("/", ask["after"], store.revision, 500)
            return [change(each) for each in found]
        case _:
            return store.revision


async def main(path: Path) -> None:
    store = await SqliteStore.open(path, clock=SystemClock())
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def serve(ask: Any) -> None:
        try:
            said: dict[str, Any] = {"ok": await answer(store, ask)}
        except RevisionConflict as conflict:
            said = {"conflict": conflict.actual}
        except StoreError as error:
            said = {"error": str(error)}
        sys.stdout.write(json.dumps({"id": ask["id"], **said}) + "\n")
        sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        while line := await reader.readline():
            group.create_task(serve(json.loads(line)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
