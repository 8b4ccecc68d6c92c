"""The scenes of the requirements: all pods of a subject are created at once, and live as long as its tests run."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import storage_scene
from e2e_harness import Cluster, Kubectl, eventually
from e2e_scenes import Scene


@pytest.fixture(scope="package")
def storage(cluster: Cluster) -> Iterator[Scene]:
    name = f"storage-{secrets.token_hex(3)}"
    other = f"{name}-other"
    kubectl, elsewhere = (Kubectl(Path(shutil.which("kubectl") or "kubectl"), cluster, each) for each in (name, other))
    try:
        for each in (name, other):
            kubectl("create", "namespace", each)
        eventually(lambda: kubectl.run("get", "serviceaccount", "default", check=False).returncode == 0)
        Scene(elsewhere, [storage_scene.secret("data", {"data-1": "of another namespace"})])
        yield Scene(kubectl, storage_scene.objects())
    finally:
        kubectl.run("delete", "namespace", name, other, "--wait=false", check=False)
