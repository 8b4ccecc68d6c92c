"""The embedded default store: one SQLite file (docs/architecture.md, section 4).

``database`` and ``history`` alone speak SQL, ``writer`` is the one thread that writes, ``store`` decides commits and
answers callers.
"""

from sampan.store.sqlite.files import StoreCorrupt, StoreForeign, StoreLocked, StoreMissing
from sampan.store.sqlite.store import Retention, SqliteStore

__all__ = ["Retention", "SqliteStore", "StoreCorrupt", "StoreForeign", "StoreLocked", "StoreMissing"]
