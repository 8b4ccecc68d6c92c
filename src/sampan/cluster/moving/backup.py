"""``sampan backup``: a cluster's store at one revision, its settings and certificates, in one file.

Works while the cluster runs, and is no part of it: it reads beside the server, which notices nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sampan
from sampan.api.clock import Clock, format_time
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.cluster.moving.progress import Progress
from sampan.records import dataclass
from sampan.store.archive.etcdside import EtcdSide
from sampan.store.archive.format import ArchiveWriter
from sampan.store.archive.records import ArchiveError, Extent
from sampan.store.archive.sources import Snapshot
from sampan.store.protocol import EntryDamaged, StoreUnavailable

#: what of an instance's state is taken along beside the store
SETTINGS = ("cluster.json", "node.json")
CERTIFICATES = "pki"
_DIRECTORIES = ("registries", "manifests")
#: nothing among settings and certificates is larger
_LARGEST_FILE = 8 * 1024 * 1024
#: between two counts that are told
_TOLD_EVERY = 500


@dataclass(frozen=True, slots=True)
class Taken:
    """What is in a backup that was written."""

    path: Path
    extent: Extent
    records: int
    bytes: int


def back_up(
    instance: Instance,
    path: Path,
    *,
    clock: Clock,
    progress: Progress,
    history: bool = True,
    certificates: bool = True,
    overwrite: bool = False,
) -> Taken:
    """Of a cluster on SQLite. Raises ClusterError. No file is there under the name until it is whole."""
    with _told(instance, path, overwrite=overwrite):
        progress.step(f"Reading the store of cluster {instance.name!r}")
        with Snapshot(instance.store, history=history) as snapshot:
            extent = snapshot.extent
            manifest = _manifest(instance, extent, clock, history=history, certificates=certificates)
            progress.step(f"Writing {path} at revision {extent.revision:,}")
            with ArchiveWriter(path, manifest, overwrite=overwrite) as archive:
                for record in snapshot.records():
                    archive.add(record)
                    if archive.records % _TOLD_EVERY == 0:
                        progress.count(archive.records, extent.records)
                for name, data in _files(instance, certificates=certificates):
                    archive.add_file(name, data)
        return Taken(path, extent, archive.records, path.stat().st_size)


async def back_up_etcd(
    instance: Instance,
    path: Path,
    side: EtcdSide,
    *,
    clock: Clock,
    progress: Progress,
    certificates: bool = True,
    overwrite: bool = False,
) -> Taken:
    """Of a cluster on etcd: what is there at one revision, without history. As ``back_up``."""
    with _told(instance, path, overwrite=overwrite):
        extent = await side.extent()
        manifest = _manifest(instance, extent, clock, history=False, certificates=certificates)
        progress.step(f"Writing {path} at revision {extent.revision:,}")
        with ArchiveWriter(path, manifest, overwrite=overwrite) as archive:
            async for record in side.records(extent.revision):
                archive.add(record)
                if archive.records % _TOLD_EVERY == 0:
                    progress.count(archive.records, extent.records)
            for name, data in _files(instance, certificates=certificates):
                archive.add_file(name, data)
        return Taken(path, extent, archive.records, path.stat().st_size)


@contextmanager
def _told(instance: Instance, path: Path, *, overwrite: bool) -> Iterator[None]:
    """What goes wrong, as a ClusterError."""
    if path.is_dir():
        inside = instance.command(f"backup {path / instance.name}.backup")
        raise ClusterError(f"{path} is a directory", fix=f"name a file in it: `{inside}`")
    if path.exists() and not overwrite:
        raise ClusterError(f"{path} is there already", fix="choose another name, or add --force to replace it")
    if not path.parent.is_dir():
        raise ClusterError(f"there is no directory {path.parent}", fix=f"`mkdir -p {path.parent}`")
    try:
        yield
    except EntryDamaged as error:
        raise ClusterError(
            f"the store of cluster {instance.name!r} is damaged: {error}",
            fix=f"`{instance.command('store check')}` names all of it; delete these objects (kubectl delete --force), "
            "or back up with --no-history if they are gone by now",
        ) from error
    except (StoreUnavailable, ArchiveError) as error:
        raise ClusterError(str(error), fix=f"see `{instance.command('status')}`") from error
    except OSError as error:
        raise ClusterError(
            f"the backup was not written: {error.strerror or error}: {error.filename or path}",
            fix="make room, or choose another place; nothing of it was left",
        ) from error


def _manifest(
    instance: Instance, extent: Extent, clock: Clock, *, history: bool, certificates: bool
) -> dict[str, object]:
    return {
        "cluster": instance.name,
        "node": instance.node.name,
        "sampan": sampan.__version__,
        "taken": format_time(clock.now()),
        "history": history,
        "certificates": certificates,
        "store": store_manifest(extent),
    }


def store_manifest(extent: Extent) -> dict[str, object]:
    return {
        "kind": extent.kind,
        "identity": extent.identity,
        "revision": extent.revision,
        "oldest": extent.oldest,
        "oldestMs": extent.oldest_ms,
    }


def _files(instance: Instance, *, certificates: bool) -> Iterator[tuple[str, bytes]]:
    """Files that another program changes under our hands are theirs to keep whole: they are renamed into place."""
    directories = (*_DIRECTORIES, CERTIFICATES) if certificates else _DIRECTORIES
    below = (path for name in directories for path in sorted((instance.state / name).rglob("*")))
    for path in (*(instance.state / name for name in SETTINGS), *below):
        try:
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST_FILE:
                yield str(path.relative_to(instance.state)), path.read_bytes()
        except FileNotFoundError:  # renewed just now: its successor is listed under its own name
            continue
