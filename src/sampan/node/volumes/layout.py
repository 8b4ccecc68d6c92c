"""Where the volumes of pods lie on disk: upstream's layout below the kubelet's root. Pure, but for
``directories``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

SUBPATHS = "volume-subpaths"


class BadUid(ValueError):
    """A pod UID that is not one path component."""


def pod_directory(root: Path, uid: str) -> Path:
    if not uid or uid in (".", "..") or "/" in uid or "\0" in uid:
        raise BadUid(f'pod uid "{uid}" cannot be a directory name')
    return root / "pods" / uid


def volume_directory(root: Path, uid: str, plugin: str, name: str) -> Path:
    """``<root>/pods/<uid>/volumes/kubernetes.io~<type>/<name>``."""
    return pod_directory(root, uid) / "volumes" / plugin / name


def records(root: Path, uid: str) -> Path:
    """Where the pod's volumes are recorded."""
    return pod_directory(root, uid) / "volume-records"


def record(root: Path, uid: str, name: str) -> Path:
    return records(root, uid) / f"{name}.json"


def staged(root: Path) -> Path:
    """Where volumes are that several pods may use, a directory each."""
    return root / "volumes"


def subpath_target(root: Path, uid: str, volume: str, container: str, index: int) -> Path:
    """Where a subPath is bound, one for each mount of each container."""
    return pod_directory(root, uid) / SUBPATHS / volume / container / str(index)


def directories(folder: Path) -> Iterable[Path]:
    """Those in it, in order; links are none."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
