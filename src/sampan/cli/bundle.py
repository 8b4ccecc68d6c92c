"""``sampan bundle``: one file that installs a node on a machine without a network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

app = Group("One file that installs a node on a machine without a network.")


@app.command()
def create(
    file: Annotated[Path, Argument(help="The file to write.")],
    packages: Annotated[
        bool, Option("--packages/--no-packages", help="With Debian packages of containerd and the rest, or without.")
    ] = True,
    image: Annotated[
        list[str] | None, Option("--image", help="An image of the cluster to take along; repeatable.")
    ] = None,
    image_archive: Annotated[
        list[str] | None, Option("--image-archive", help="A file with images (docker save); repeatable.")
    ] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Gather wheels, Debian packages and images, where there is a network.

    For machines of the same processor, Python and release of Debian or Ubuntu as this one.
    """
    import platform
    import tempfile

    import sampan
    from sampan.api.clock import SystemClock, format_time
    from sampan.cluster import instance as instances
    from sampan.cluster.bundling import collecting
    from sampan.cluster.bundling import file as bundles

    archives = [Path(each) for each in image_archive or ()]
    if missing := [path for path in archives if not path.is_file()]:
        raise ClusterError(f"there is no file {missing[0]}", fix="name the file that `docker save` wrote")
    if not file.absolute().parent.is_dir():
        raise ClusterError(f"there is no directory {file.absolute().parent}", fix="make it, or name another file")
    with steps() as progress, tempfile.TemporaryDirectory(prefix="sampan-bundle-") as work:
        folders = {each: Path(work) / each for each in ("wheels", "debs", "images")}
        for folder in folders.values():
            folder.mkdir()
        progress.step("Downloading wheels")
        wheels = collecting.wheels(folders["wheels"], sampan.__version__)
        debs: tuple[Path, ...] = ()
        if packages:
            progress.step("Downloading Debian packages")
            debs = collecting.debs(folders["debs"])
        images: tuple[Path, ...] = tuple(archives)
        if image:
            progress.step(f"Exporting {len(image)} images")
            images += collecting.images(folders["images"], instances.load(name), image)
        contents = bundles.Contents(wheels, debs, images, collecting.python_name())
        progress.step(f"Writing {file}")
        manifest = {
            "sampan": sampan.__version__,
            "made": format_time(SystemClock().now()),
            "machine": platform.machine(),
            "python": contents.python,
        }
        try:
            size = bundles.write(file, contents, manifest)
        except OSError as error:
            raise ClusterError(
                f"{file} was not written: {error.strerror}", fix="make room, or choose another place"
            ) from error
    print(
        f"{file}: {len(wheels)} wheels, {len(debs)} Debian packages, {len(images)} image archives, {size / 1e6:,.0f} MB"
    )
    print(f"On the other machine, as root: `sh {file.name}`")


@app.command()
def install(
    file: Annotated[Path, Argument(help="What `sampan bundle create` wrote.")],
    to: Annotated[Path, Option("--to", help="Where Sampan goes.")] = Path("/opt/sampan"),
    packages: Annotated[bool, Option("--packages/--no-packages", help="With the Debian packages, or without.")] = True,
) -> None:
    """Install from a bundle; the same as `sh FILE`, which needs no Sampan."""
    if not file.is_file():
        raise ClusterError(f"there is no file {file}", fix="name what `sampan bundle create` wrote")
    with file.open("rb") as opened:
        if b"A Sampan bundle" not in opened.read(200):
            raise ClusterError(f"{file} is no bundle", fix="name what `sampan bundle create` wrote")
    sys.stdout.flush()
    words = ["sh", str(file), "--to", str(to), *([] if packages else ["--no-packages"])]
    os.execvp("sh", words)
