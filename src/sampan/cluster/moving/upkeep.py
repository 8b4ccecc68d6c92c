"""``sampan store info|check|compact|shrink``: looks into a store that may be in use, and upkeep of one that is not."""

from __future__ import annotations

import sqlite3
from typing import Any

from sampan.api.clock import SystemClock
from sampan.cluster import supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.records import dataclass
from sampan.store.archive.sources import Snapshot
from sampan.store.protocol import FutureRevision, StoreUnavailable
from sampan.store.sqlite import SqliteStore
from sampan.store.sqlite.history import History
from sampan.store.sqlite.rows import DiskFull
from sampan.store.sqlite.shrinking import vacuum


@dataclass(frozen=True, slots=True)
class Info:
    kind: str
    identity: str
    revision: int
    oldest: int
    file_bytes: int
    free_bytes: int
    #: group and resource, how many, bytes of their values; the largest first
    kinds: tuple[tuple[str, int, int], ...]

    def data(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "identity": self.identity,
            "revision": self.revision,
            "oldest": self.oldest,
            "fileBytes": self.file_bytes,
            "freeBytes": self.free_bytes,
            "resources": [{"resource": name, "count": count, "bytes": size} for name, count, size in self.kinds],
        }


def info(instance: Instance) -> Info:
    """Raises ClusterError."""
    _require_sqlite(instance)
    try:
        with Snapshot(instance.store, history=False) as snapshot:
            kinds: dict[str, tuple[int, int]] = {}
            for record in snapshot.records(trusting=True):
                resource = "/".join(record.key.split("/")[2:4])
                count, size = kinds.get(resource, (0, 0))
                kinds[resource] = count + 1, size + len(record.value or b"")
            file_bytes, free_bytes = snapshot.room()
            extent, oldest = snapshot.extent, snapshot.compacted
    except StoreUnavailable as error:
        raise _unreadable(instance, error) from error
    ordered = sorted(((name, *sizes) for name, sizes in kinds.items()), key=lambda kind: (-kind[2], kind[0]))
    return Info("sqlite", extent.identity, extent.revision, oldest, file_bytes, free_bytes, tuple(ordered))


def problems(instance: Instance) -> list[str]:
    """What is damaged; empty is good. Raises ClusterError."""
    _require_sqlite(instance)
    try:
        with Snapshot(instance.store):  # it says what is wrong with the whole
            pass
        history = History(instance.store / "state.db")
        try:
            return history.problems()
        finally:
            history.close()
    except StoreUnavailable as error:
        raise _unreadable(instance, error) from error
    except sqlite3.Error as error:
        raise ClusterError(f"the store cannot be read: {error}", fix="restore a backup (`sampan restore`)") from error


async def compact(instance: Instance, revision: int | None) -> int:
    """Raises ClusterError. Gives the oldest revision that is left."""
    _require_stopped(instance, "compacted")
    try:
        store = await SqliteStore.open(instance.store, clock=SystemClock(), create=False)
        try:
            await store.compact(store.revision if revision is None else revision)
            return store.oldest
        finally:
            await store.close()
    except FutureRevision as error:
        raise ClusterError(str(error), fix="leave --revision out for all of its history") from error
    except StoreUnavailable as error:
        raise _unreadable(instance, error) from error


def shrink(instance: Instance) -> tuple[int, int]:
    """Raises ClusterError. Bytes before and after."""
    _require_stopped(instance, "shrunk")
    try:
        return vacuum(instance.store)
    except DiskFull as error:
        raise ClusterError(str(error), fix="make room for a second copy of it; the store is as it was") from error
    except StoreUnavailable as error:
        raise _unreadable(instance, error) from error


def _require_sqlite(instance: Instance) -> None:
    if instance.cluster.store != "sqlite":
        raise ClusterError(
            f"cluster {instance.name!r} keeps its store in etcd",
            fix=f"`{_etcdctl(instance)} endpoint status -w table` looks at that; and so `defrag`",
        )


def _etcdctl(instance: Instance) -> str:
    """With what it needs to be let in."""
    from sampan.cluster.etcd import members  # late: few clusters have it

    settings = members.settings_of(instance)
    scheme = "https" if settings.ca else "http"
    files = {"--cacert": settings.ca, "--cert": settings.cert, "--key": settings.key}
    return " ".join(
        [
            "ETCDCTL_API=3 etcdctl --endpoints",
            ",".join(f"{scheme}://{endpoint}" for endpoint in settings.endpoints),
            *(f"{option} {path}" for option, path in files.items() if path),
        ]
    )


def _require_stopped(instance: Instance, verb: str) -> None:
    _require_sqlite(instance)
    if supervisor.is_running(instance):
        raise ClusterError(
            f"cluster {instance.name!r} is running, and its store can only be {verb} by a command while it is not",
            fix=f"`{instance.command('down')}` first; or leave it: a running cluster does so by itself",
        )


def _unreadable(instance: Instance, error: StoreUnavailable) -> ClusterError:
    return ClusterError(str(error), fix=f"see `{instance.command('status')}`, or restore a backup (`sampan restore`)")
