"""Where logs lie: ``<root>/<namespace>_<pod>_<uid>/<container>/<restart>.log``, upstream's layout. Pure."""

from __future__ import annotations

from pathlib import Path


def pod_log_directory(root: Path, namespace: str, pod: str, uid: str) -> Path:
    return root / f"{namespace}_{pod}_{uid}"


def container_log(root: Path, namespace: str, pod: str, uid: str, container: str, restart: int) -> Path:
    return pod_log_directory(root, namespace, pod, uid) / container / f"{restart}.log"
