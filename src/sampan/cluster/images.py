"""The images of the node: what ``sampan image`` does, and the pause image that every pod needs.

All through ``ctr`` in the namespace that CRI uses, so that it works while the node agent is down.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sampan.cluster import containerd
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance
from sampan.node.images import local

#: host[:port]/path/name[:tag][@digest], after the distribution project's grammar of references.
_NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-fA-F]+)?"
)
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    digest: str
    size_bytes: int

    @property
    def short_id(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]


async def list_images(instance: Instance) -> list[Image]:
    """Images by name, sorted; the bare digests that containerd lists besides are left out."""
    said = await containerd.ctr(instance, "images", "list")
    found: list[Image] = []
    for line in said.splitlines()[1:]:
        image = parse_line(line)
        if image is not None:
            found.append(image)
    return sorted(found, key=lambda image: image.name)


def parse_line(line: str) -> Image | None:
    """A line of ``ctr images list``. None: not a name that a person gave. ``-`` for the size: a content is missing."""
    name, _type, digest, amount, unit, *_ = line.split()
    if "@" in name or name.startswith("sha256:"):
        return None
    return Image(name, digest, int(float(amount) * _UNITS[unit]) if unit in _UNITS else 0)


async def import_archive(instance: Instance, archive: Path) -> list[str]:
    return await containerd.import_image(instance, archive)


async def import_bytes(instance: Instance, data: bytes) -> list[str]:
    with tempfile.NamedTemporaryFile(suffix=".tar", dir=instance.state) as file:
        file.write(data)
        file.flush()
        return await containerd.import_image(instance, Path(file.name))


async def pull(instance: Instance, image: str) -> str:
    """Pulls and returns the full reference. Raises ClusterError with the registry's reason."""
    reference = full_reference(image)
    await containerd.ctr(instance, "images", "pull", "--hosts-dir", str(instance.state / "registries"), reference)
    return reference


async def remove(instance: Instance, image: str) -> None:
    reference = full_reference(image)
    if reference not in {found.name for found in await list_images(instance)}:
        raise ClusterError(f"image {image!r} is not on this node", fix="`sampan image list` shows those that are")
    await containerd.ctr(instance, "images", "remove", "--sync", reference)


def full_reference(image: str) -> str:
    """``redis`` → ``docker.io/library/redis:latest``: the name containerd keeps it under (distribution reference).

    Raises ClusterError for what is no image name.
    """
    if not _REFERENCE.fullmatch(image):
        raise ClusterError(
            f"image name {image!r} is not valid", fix="write it like redis:7 or registry.example/team/app:1"
        )
    first, slash, rest = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{first}/{rest}"
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"


async def ensure_pause(instance: Instance) -> None:
    """Builds and imports the pause image unless it is there."""
    if any(image.name == local.PAUSE_IMAGE for image in await list_images(instance)):
        return
    await import_bytes(instance, local.pause_image())
