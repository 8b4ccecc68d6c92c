"""Images out of files of this machine: what ``sampan image build`` does.

Reads the machine's files and asks its dynamic loader which libraries a program needs; the image itself is made by
``sampan.node.images.build``, which is pure.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sampan.cluster.errors import ClusterError
from sampan.node.images.build import File, ImageConfig, build_image
from sampan.records import dataclass

_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_USER = re.compile(r"\d+(:\d+)?")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What goes into an image. ``binaries`` and ``files`` are ``/source`` or ``/source:/inside``; ``links``
    ``/inside:target``; ``env`` ``NAME=value``; ``entrypoint`` and ``cmd`` are split as a shell splits."""

    tag: str
    binaries: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: str = ""
    cmd: str = ""
    user: str = ""
    workdir: str = "/"


def build(recipe: Recipe) -> bytes:
    """The image's archive. The same files give the same bytes. Raises ClusterError naming what is not there."""
    layer: dict[str, File] = {"tmp/": File(mode=0o1777), "etc/": File(mode=0o755)}
    for text in recipe.binaries:
        source, inside = _pair(text)
        if source.is_dir():
            raise ClusterError(f"{source} is a directory, not a program", fix="put it into the image with --file")
        if not source.is_file():
            raise ClusterError(f"program {source} does not exist", fix="install its package first")
        layer[inside] = _read(source)
        for library in _libraries(source):
            layer[str(library)] = _read(library)
    for text in recipe.files:
        source, inside = _pair(text)
        layer.update(_tree(source, inside))
    for text in recipe.links:
        inside, _, target = text.partition(":")
        if not target or not inside.startswith("/"):
            raise ClusterError(f"link {text!r} is not valid", fix="write it like /bin/sh:busybox")
        layer[inside] = File(link=target, mode=0o777)
    if not (recipe.binaries or recipe.files):
        raise ClusterError("nothing to put into the image", fix="give a --binary or a --file")
    if recipe.user and not _USER.fullmatch(recipe.user):
        raise ClusterError(f"user {recipe.user!r} is not valid", fix="write it like 1000 or 1000:1000")
    for text in recipe.env:
        if not text.partition("=")[1] or text.startswith("="):
            raise ClusterError(f"environment variable {text!r} is not valid", fix="write it like NAME=value")
    config = ImageConfig(
        entrypoint=_split("entrypoint", recipe.entrypoint),
        cmd=_split("cmd", recipe.cmd),
        env=(_PATH, *recipe.env),
        user=recipe.user,
        working_dir=recipe.workdir,
    )
    return build_image(recipe.tag, [{path.lstrip("/"): file for path, file in sorted(layer.items())}], config)


def _split(option: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ClusterError(f"{option} {text!r} is not valid: {error}", fix="close the quotes") from error


def _pair(text: str) -> tuple[Path, str]:
    source, _, inside = text.partition(":")
    if not source or not (inside or source).startswith("/"):
        raise ClusterError(f"{text!r} does not say where it goes in the image", fix="write it like /path:/path/inside")
    return Path(source), inside or source


def _read(path: Path) -> File:
    return File(path.read_bytes(), mode=path.stat().st_mode & 0o7777)


def _tree(source: Path, inside: str) -> Iterator[tuple[str, File]]:
    if source.is_file():
        yield inside, _read(source)
    elif source.is_dir():
        for path in sorted(source.rglob("*")):
            name = f"{inside.rstrip('/')}/{path.relative_to(source)}"
            if path.is_symlink():
                yield name, File(link=str(path.readlink()), mode=0o777)
            elif path.is_file():
                yield name, _read(path)
    else:
        raise ClusterError(f"{source} does not exist", fix="give a file or a directory of this machine")


def _libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader that a program needs, as ldd(1) tells; none for a static one."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return [Path(path) for path in _LIBRARY.findall(said.stdout)]
