"""Which store an API server stands on, as its configuration says. Used by ``app``."""

from __future__ import annotations

from collections.abc import Callable

from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Store, StoreError
from sampan.store.sqlite import SqliteStore


async def open_store(config: ServerConfig, on_fatal: Callable[[StoreError], None]) -> Store:
    """``on_fatal`` is told when it can write no more. Raises StoreUnavailable, ValueError."""
    match config.store:
        case "memory":
            return MemoryStore(clock=config.clock)
        case "sqlite":
            if config.data_dir is None:
                raise ValueError("the sqlite store needs a data directory")
            return await SqliteStore.open(config.data_dir / "store", clock=config.clock, on_fatal=on_fatal)
        case "etcd":
            return await _open_etcd(config, on_fatal)
    raise ValueError(f"this build has no {config.store} store")


async def _open_etcd(config: ServerConfig, on_fatal: Callable[[StoreError], None]) -> Store:
    from sampan.store.etcd.settings import EtcdSettings  # late: few clusters have it
    from sampan.store.etcd.store import EtcdStore

    settings = EtcdSettings(
        endpoints=config.etcd_endpoints,
        prefix=config.etcd_prefix.rstrip("/"),
        strip="/registry",
        ca=config.etcd_ca,
        cert=config.etcd_cert,
        key=config.etcd_key,
    )
    return await EtcdStore.open(settings, clock=config.clock, on_fatal=on_fatal)
