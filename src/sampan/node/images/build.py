"""Container images built in pure Python: an OCI image layout in one tar, ready for ``ctr images import``.

Used for the pause and demo images, which are made of this machine's own static programs, because no registry may be
reachable. Pure: the same input gives the same bytes. It does not read Dockerfiles and never runs anything.
"""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import field

import orjson

from sampan.api.types import Obj
from sampan.records import dataclass

_MEDIA = "application/vnd.oci.image."
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True)
class File:
    """One entry of a layer. ``link`` makes it a symbolic link; ``mode`` of a path ending in "/" is a directory's."""

    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of the OCI image configuration that matters here."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Sequence[str] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    exposed_ports: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def go_architecture(machine: str | None = None) -> str:
    """This machine's architecture in Go's words (amd64, arm64), as images and node labels have it."""
    machine = machine or platform.machine()
    return _MACHINES.get(machine, machine)


def build_image(
    name: str, layers: Sequence[Mapping[str, File]], config: ImageConfig, architecture: str | None = None
) -> bytes:
    """The tar of an image called ``name`` (``docker.io/library/demo:1``); each layer maps paths to files."""
    blobs: dict[str, bytes] = {}
    layer_tars = [_layer(files) for files in layers]
    layer_descriptors = [_blob(blobs, tar, "layer.v1.tar") for tar in layer_tars]
    settings: Obj = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Env": list(config.env),
        "User": config.user,
        "WorkingDir": config.working_dir,
        "StopSignal": config.stop_signal,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Labels": dict(config.labels),
    }
    image: Obj = {
        "architecture": architecture or go_architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {key: value for key, value in settings.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [descriptor["digest"] for descriptor in layer_descriptors]},
    }
    manifest: Obj = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}manifest.v1+json",
        "config": _blob(blobs, orjson.dumps(image), "config.v1+json"),
        "layers": layer_descriptors,
    }
    descriptor = _blob(blobs, orjson.dumps(manifest), "manifest.v1+json")
    descriptor["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "manifests": [descriptor]}
    entries = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": orjson.dumps(index)}
    entries |= {f"blobs/sha256/{digest}": content for digest, content in sorted(blobs.items())}
    return _layer({path: File(content) for path, content in entries.items()})


def _blob(blobs: dict[str, bytes], content: bytes, kind: str) -> Obj:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": _MEDIA + kind, "digest": f"sha256:{digest}", "size": len(content)}


def _layer(files: Mapping[str, File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _with_parents(files):
            file = files.get(path, File(mode=0o755))
            info = tarfile.TarInfo(path.rstrip("/"))
            info.mode, info.uid, info.gid = file.mode, file.uid, file.gid
            if path.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif file.link:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
            else:
                info.size = len(file.content)
            tar.addfile(info, io.BytesIO(file.content) if info.size else None)
    return buffer.getvalue()


def _with_parents(files: Mapping[str, File]) -> list[str]:
    """All paths in order, with the directories that lead to them (``a/``) in front."""
    paths = set(files)
    for path in files:
        parts = path.rstrip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            paths.add("/".join(parts[:depth]) + "/")
    return sorted(paths)
