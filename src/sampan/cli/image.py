"""``sampan image``: the images on this machine's node, no registry needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name, Output, printer
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance
    from sampan.node.images.keyring import Credential

# What takes long to load is imported by the command that needs it.

_PASSWORD_BYTES = 1 << 20

app = Group("The node's images: list, import, pull, push, name, show, remove, build, Sampan itself.")


@app.command("list")
@app.command("ls", hidden=True)
def list_images(name: Name = DEFAULT_NAME) -> None:
    """List the images that pods of this node can use without a pull."""
    import asyncio

    from sampan.cluster import images

    found = asyncio.run(images.list_images(_running(name)))
    width = max([len(image.name) for image in found] + [5])
    print(f"{'IMAGE':<{width}}  {'ID':<12}  SIZE")
    for image in found:
        print(f"{image.name:<{width}}  {image.short_id:<12}  {image.size_bytes / 2**20:.1f} MiB")


@app.command("self")
def build_self(name: Name = DEFAULT_NAME) -> None:
    """Build an image of Sampan itself, out of this very installation: a scheduler or controllers in a pod."""
    from sampan.cluster import selfimage

    import_built(name, selfimage.TAG, selfimage.build)


def import_built(name: str, tag: str, build: Callable[[], bytes]) -> None:
    """Builds an image and gives it to the node of a running cluster, with progress. Raises ClusterError."""
    import asyncio

    from sampan.cluster import images

    instance = _running(name)
    with steps() as progress:
        progress.step(f"Building {tag}")
        data = build()
        progress.step(f"Importing {tag}")
        asyncio.run(images.import_archive(instance, [data], tag))
    print(tag)


@app.command("import")
def import_archive(
    archives_: Annotated[
        list[str],
        Argument(
            metavar="ARCHIVE...",
            help="Archives of docker or OCI (.tar, .tar.gz, .tar.zst), OCI layout directories, - for standard input.",
        ),
    ],
    name: Name = DEFAULT_NAME,
) -> None:
    """Import image archives: `docker save app:1 | sampan image import -`."""
    import asyncio

    from sampan.cluster import images
    from sampan.node.images import archives

    instance = _running(name)
    for archive in archives_:
        if archive != "-" and not Path(archive).exists():
            raise ClusterError(f"{archive} does not exist", fix="give the path of an image archive, or - to read one")
        if archive == "-":
            # Python's own standard input has a lock, which a read that never ends would hold at the program's end.
            raw = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 (a descriptor that stays open)
            shown, pieces = "standard input", archives.read_stream(raw, "standard input")
        else:
            shown, pieces = archive, archives.read_file(Path(archive))
        with steps() as progress:
            progress.step(f"Importing {shown}")
            names = asyncio.run(images.import_archive(instance, pieces, shown))
        for image in names:
            print(image)


@app.command()
def pull(
    image: Annotated[str, Argument(help="Image reference, as in a pod.")],
    username: Annotated[str, Option("--username", "-u", help="User name at the registry.")] = "",
    password_stdin: Annotated[bool, Option("--password-stdin", help="Read the password from standard input.")] = False,
    docker_config: Annotated[
        Path | None, Option(help="A docker configuration with credentials; by default that of this user.")
    ] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Pull an image from its registry. It is for all pods of the node then, whatever their pull secrets."""
    import asyncio

    from sampan.cluster import images

    found = _credentials(image, username, password_stdin, docker_config)
    instance = _running(name)
    with steps() as progress:
        progress.step(f"Pulling {image}")
        reference = asyncio.run(images.pull(instance, image, found))
    print(reference)


@app.command()
def push(
    image: Annotated[str, Argument(help="Image of this node, with its registry in its name: localhost:5000/app:1.")],
    username: Annotated[str, Option("--username", "-u", help="User name at the registry.")] = "",
    password_stdin: Annotated[bool, Option("--password-stdin", help="Read the password from standard input.")] = False,
    docker_config: Annotated[
        Path | None, Option(help="A docker configuration with credentials; by default that of this user.")
    ] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Push an image of this node to the registry that its name begins with."""
    import asyncio

    from sampan.cluster import images

    found = _credentials(image, username, password_stdin, docker_config)
    instance = _running(name)
    with steps() as progress:
        progress.step(f"Pushing {image}")
        pushed = asyncio.run(images.push(instance, image, found, progress.step))
        if pushed.platform_only:
            progress.warn(f"only its part for {pushed.platform_only} is on this node; the others were not pushed")
    print(f"{images.full_reference(image)}@{pushed.digest}")


@app.command()
def tag(
    image: Annotated[str, Argument(help="Image of this node.")],
    other: Annotated[str, Argument(help="Another name for it.", metavar="NAME")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Give an image another name: `sampan image tag app:1 localhost:5000/app:1`."""
    import asyncio

    from sampan.cluster import images

    print(asyncio.run(images.tag(_running(name), image, other)))


@app.command()
def inspect(
    image: Annotated[str, Argument(help="Image of this node.")],
    output: Output = "json",
    name: Name = DEFAULT_NAME,
) -> None:
    """Show what an image is made of and how it runs."""
    import asyncio

    from sampan.cluster import images

    show = printer(output or "json")
    assert show is not None
    show(asyncio.run(images.inspect(_running(name), image)))


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
    entrypoint: Annotated[str, Option(help="What containers run, split as a shell splits.")] = "",
    cmd: Annotated[str, Option(help="Its arguments unless a pod gives others, split as a shell splits.")] = "",
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
        cmd=cmd,
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
            asyncio.run(images.import_archive(instance, [data], tag))
    print(output or tag)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ClusterError(
            f"cannot write {path}: {error.strerror}", fix="choose another place with --output"
        ) from error


def _credentials(image: str, username: str, password_stdin: bool, docker_config: Path | None) -> list[Credential]:
    import sys

    from sampan.cluster import images, logins

    if bool(username) != password_stdin:
        raise ClusterError("a user name needs a password", fix="give both --username NAME and --password-stdin")
    if username:
        return [logins.of_user(username, sys.stdin.buffer.readline(_PASSWORD_BYTES))]
    return logins.of_docker(images.full_reference(image), docker_config)


def _running(name: str) -> Instance:
    from sampan.cluster import images
    from sampan.cluster import instance as instances

    instance = instances.load(name)
    images.require_running(instance)
    return instance
