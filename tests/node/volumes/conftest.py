"""A volume manager on a temporary directory, with the API replaced by dicts."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import FixedClock
from sampan.api.errors import not_found
from sampan.api.types import Obj
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.mount import DirectoryMounter
from sampan.node.volumes.tokens import Token

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class DictSource:
    config_maps: dict[str, Obj] = field(default_factory=dict)
    secrets: dict[str, Obj] = field(default_factory=dict)
    claims: dict[str, Obj] = field(default_factory=dict)
    volumes: dict[str, Obj] = field(default_factory=dict)
    bundles: dict[str, Obj] = field(default_factory=dict)

    def _get(self, table: dict[str, Obj], plural: str, name: str) -> Obj:
        if name not in table:
            raise not_found(plural, name)
        return table[name]

    async def get_config_map(self, namespace: str, name: str) -> Obj:
        return self._get(self.config_maps, "configmaps", name)

    async def get_secret(self, namespace: str, name: str) -> Obj:
        return self._get(self.secrets, "secrets", name)

    async def get_persistent_volume_claim(self, namespace: str, name: str) -> Obj:
        return self._get(self.claims, "persistentvolumeclaims", name)

    async def get_persistent_volume(self, name: str) -> Obj:
        return self._get(self.volumes, "persistentvolumes", name)

    async def get_trust_bundle(self, name: str) -> Obj:
        return self._get(self.bundles, "clustertrustbundles", name)

    async def list_trust_bundles(self, signer: str) -> list[Obj]:
        return [bundle for bundle in self.bundles.values() if bundle["spec"].get("signerName") == signer]


@dataclass
class CountingTokens:
    clock: FixedClock
    issued: int = 0

    async def token(self, pod: Obj, audiences: tuple[str, ...], expiration_seconds: int) -> Token:
        self.issued += 1
        return Token(f"token-{self.issued}", self.clock.now() + timedelta(seconds=expiration_seconds * 0.8))

    def forget_pod(self, uid: str) -> None:
        pass


@dataclass
class World:
    root: Path
    source: DictSource
    tokens: CountingTokens
    clock: FixedClock
    mounter: DirectoryMounter
    manager: VolumeManager

    async def mount(self, *volumes: Obj, **spec: Any) -> dict[str, Path]:
        mounted = await self.manager.mount_pod(pod(*volumes, **spec))
        return {name: volume.host_path for name, volume in mounted.items()}

    def add_config_map(self, name: str, **data: str) -> None:
        self.source.config_maps[name] = {"metadata": {"name": name}, "data": data}

    def add_secret(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
        self.source.secrets[name] = {"metadata": {"name": name}, "data": encoded}


def pod(*volumes: Obj, **spec: Any) -> Obj:
    meta = {"name": "web", "namespace": "ns", "uid": "u1", "labels": {"app": "web"}}
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}], "volumes": list(volumes), **spec}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = FixedClock(NOW)
    source, tokens, mounter = DictSource(), CountingTokens(clock), DirectoryMounter()
    root = tmp_path / "kubelet"
    manager = VolumeManager(root, source, tokens, clock, mounter=mounter)
    return World(root, source, tokens, clock, mounter, manager)
