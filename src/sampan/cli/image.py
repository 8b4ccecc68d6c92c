"""``sampan image``: the images on this machine's node, no registry needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance

app = Group("The node's images: list, import, pull, remove, build.")


@app.command("ls", hidden=True)
@app.command("list")
def list_images(name: Name = DEFAULT_NAME) -> None:
    """List the images that pods of this node can use without a pull."""
    import asyncio

    from sampan.cluster import images

    found = asyncio.run(images.list_images(_running(name)))
    width = max([len(image.name) for image in found] + [5])
    print(f"{'IMAGE':<{width}}  {'ID':<12}  SIZE")
    for image in found:
        print(f"{image.name:<{width}}  {image.short_id:<12}  {image.size_bytes / 2**20:.1f} MiB")


@app.command("import")
def import_archive(
    archives: Annotated[list[Path], Argument(help="OCI or docker archives (docker save, buildah push).")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Import image archives from files."""
    import asyncio

    from sampan.cluster import images

    instance = _running(name)
    for archive in archives:
        if not archive.is_file():
            raise ClusterError(f"{archive} is not a file", fix="give the path of an image archive")
        with steps() as progress:
            progress.step(f"Importing {archive}")
            names = asyncio.run(images.import_archive(instance, archive.resolve()))
        for image in names:
            print(image)


@app.command()
def pull(
    image: Annotated[str, Argument(help="Image reference, as in a pod.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Pull an image from its registry."""
    import asyncio

    from sampan.cluster import images

    instance = _running(name)
    with steps() as progress:
        progress.step(f"Pulling {image}")
        reference = asyncio.run(images.pull(instance, image))
    print(reference)


@app.command("rm")
def remove(
    images_: Annotated[list[str], Argument(metavar="IMAGE...", help="Image references.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Remove images from the node."""
    import asyncio

    from sampan.cluster import images

    instance = _running(name)
    for image in images_:
        asyncio.run(images.remove(instance, image))
        print(f"removed {image}")


@app.command()
def build(
    tag: Annotated[str, Option("--tag", "-t", help="Name of the image.")],
    output: Annotated[Path | None, Option("--output", "-o", help="Write an archive instead of importing.")] = None,
    binary: Annotated[
        list[str] | None,
        Option(help="A program of this machine, with the libraries it needs: /path or /path:/path/inside."),
    ] = None,
    file: Annotated[list[str] | None, Option(help="A file or directory: /path:/path/inside. The mode is kept.")] = None,
    link: Annotated[list[str] | None, Option(help="A symbolic link: /path/inside:target.")] = None,
    env: Annotated[list[str] | None, Option(help="NAME=value in the containers.")] = None,
    entrypoint: Annotated[str, Option(help="Command, split as a shell splits.")] = "",
    user: Annotated[str, Option(help="User id (and :group id) that the containers run as.")] = "",
    workdir: Annotated[str, Option(help="Working directory.")] = "/",
    name: Name = DEFAULT_NAME,
) -> None:
    """Build a small image out of files of this machine: no registry, no Dockerfile, no daemon."""
    import asyncio

    from sampan.cluster import imagebuild, images

    tag = images.full_reference(tag)
    recipe = imagebuild.Recipe(
        tag=tag,
        binaries=tuple(binary or ()),
        files=tuple(file or ()),
        links=tuple(link or ()),
        env=tuple(env or ()),
        entrypoint=entrypoint,
        user=user,
        workdir=workdir,
    )
    instance = None if output else _running(name)
    with steps() as progress:
        progress.step(f"Building {tag}")
        data = imagebuild.build(recipe)
        if output:
            _write(output, data)
        else:
            assert instance is not None
            progress.step(f"Importing {tag}")
            asyncio.run(images.import_bytes(instance, data))
    print(output or tag)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ClusterError(
            f"cannot write {path}: {error.strerror}", fix="choose another place with --output"
        ) from error


def _running(name: str) -> Instance:
    import os

    from sampan.cluster import instance as instances

    instance = instances.load(name)
    if not instance.containerd_socket.exists():
        raise ClusterError(f"cluster {name!r} is not running", fix=f"start it with `{instance.command('up')}`")
    if not os.access(instance.containerd_socket, os.W_OK):
        raise ClusterError(f"cannot use {instance.containerd_socket}: permission denied", fix="run as root (sudo)")
    return instance
