"""An image's files as a directory of this machine, read-only: for volumes of type ``image``.

CRI has no call for it before containerd 2.1; containerd's own tool makes a view of the image's last layer, which is
kept (``containerd.io/gc.root``) until it is removed by name, whatever becomes of the image. Synchronous, for threads.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import orjson

from sampan.api.faults import cause

_SECONDS = 60.0
_FLAGS = "ro,nosuid,nodev,noexec"
_THERE, _NOT_THERE = "already exists", "not found"


class SnapshotError(Exception):
    """What the tool said, in its last line."""


class ImageMounts:
    """Every method is idempotent, and raises SnapshotError."""

    def __init__(self, address: str) -> None:
        self._address = address

    def mount(self, key: str, image_id: str, target: Path) -> None:
        """``image_id``: the digest of its configuration, as CRI has it. ``key``: by which the view is removed."""
        layers = self._layers(image_id)
        if not layers:
            raise SnapshotError("the image has no layers")
        self._call("snapshots", "view", key, chain_id(layers), unless=_THERE)
        self._call("snapshots", "label", key, "containerd.io/gc.root=image-volume")
        kind, source, options = parse_mount(self._call("snapshots", "mounts", str(target), key))
        mount_read_only(kind, source, options, target)

    def forget(self, key: str) -> None:
        """The view; what was mounted of it is off already."""
        self._call("snapshots", "remove", key, unless=_NOT_THERE)

    def _layers(self, image_id: str) -> list[str]:
        try:
            config = orjson.loads(self._call("content", "get", image_id))
            return [str(each) for each in config["rootfs"]["diff_ids"]]
        except (ValueError, KeyError, TypeError):
            raise SnapshotError("the image's configuration cannot be read") from None

    def _call(self, *words: str, unless: str = "") -> str:
        try:
            return _run("ctr", "--address", self._address, "--namespace", "k8s.io", *words)
        except SnapshotError as error:
            if unless and unless in str(error):
                return ""
            raise


def mount_read_only(kind: str, source: str, options: Sequence[str], target: Path) -> None:
    """Nobody can write to it by a mount of it with other flags. The only layer of an image is a directory, which its
    bind mount alone would protect: it becomes an overlay, above the empty ``target``. Raises SnapshotError."""
    if kind == "bind":
        kind, folder, options = "overlay", str(target.parent), [f"lowerdir={source}:{target.name}"]
    else:
        folder, options = _shortened(options)
    _run("mount", "-t", kind, "-o", ",".join([*options, _FLAGS]), source, str(target), folder=folder)


def chain_id(layers: Sequence[str]) -> str:
    """The name of the snapshot with these layers in it (image specification, ChainID). Pure."""
    found = layers[0]
    for layer in layers[1:]:
        found = "sha256:" + hashlib.sha256(f"{found} {layer}".encode()).hexdigest()
    return found


def parse_mount(said: str) -> tuple[str, str, list[str]]:
    """Type, source and options of ``mount -t overlay overlay /target -o a,b``. Pure. Raises SnapshotError."""
    words = shlex.split(said.strip())
    if len(words) != 7 or words[:2] != ["mount", "-t"] or words[5] != "-o":
        raise SnapshotError("containerd names no mount of the image")
    return words[2], words[3], [option for option in words[6].split(",") if option not in ("ro", "rw")]


def _shortened(options: Sequence[str]) -> tuple[str, list[str]]:
    """The kernel takes a page of options: layers are named from the directory that all of them are in."""
    layers = next((option for option in options if option.startswith("lowerdir=")), "").removeprefix("lowerdir=")
    if not layers:
        return "/", list(options)
    folder = os.path.commonpath([os.path.dirname(path) for path in layers.split(":")])  # noqa: PTH120 (strings)
    short = ":".join(os.path.relpath(path, folder) for path in layers.split(":"))
    return folder, [f"lowerdir={short}" if option.startswith("lowerdir=") else option for option in options]


def _run(*words: str, folder: str = "/") -> str:
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SnapshotError(f"{words[0]} did not end within {_SECONDS:g} seconds") from None
    except OSError as error:
        raise SnapshotError(f"{words[0]} cannot be started: {cause(error)}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise SnapshotError(said[-1].removeprefix("ctr: ") if said else f"{words[0]} ended with {done.returncode}")
    return done.stdout.decode(errors="replace")
