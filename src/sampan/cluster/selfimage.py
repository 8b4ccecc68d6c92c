"""Images of this installation: the interpreter, Sampan and what it needs, and for a storage driver the programs for
disks and mounts.

Out of files that are here, so that a pod needs no registry and no other Python. Everything keeps the place that it has
on the machine, but Sampan and its dependencies, which lie in one directory.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from sampan.cluster.errors import ClusterError
from sampan.node.images.build import File, ImageConfig, build_image

#: whatever Sampan does in a pod
TAG: Final = "localhost/sampan:latest"
#: the storage driver and the sidecars
CSI_TAG: Final = "localhost/sampan-csi:latest"
_INSIDE: Final = "/opt/sampan"
#: what the driver and the sidecars import, and what that imports
_CSI_PACKAGES: Final = (
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "attr", "attrs", "frozenlist", "google", "grpc", "idna"),
    *("multidict", "orjson", "propcache", "prometheus_client", "typing_extensions", "yaml", "yarl"),
)
_NEEDED: Final = ("losetup", "mount", "umount", "mkfs.ext4", "e2fsck", "resize2fs", "blockdev")
_WELCOME: Final = ("mkfs.xfs", "xfs_growfs", "mkfs.ext3")
_PATHS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")
_START: Final = "from sampan.cli.entry import main; main()"
#: the name in a requirement
_REQUIRED: Final = re.compile(r"[\w.-]+")
#: of the standard library, what no program in a container asks for
_LEFT_OUT: Final = frozenset(
    {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages",
     "pydoc_data", "distutils", "turtle.py", "curses", "sqlite3", "msilib"}
)  # fmt: skip
#: modules of C that bring large libraries along, and are not asked for
_HEAVY: Final = re.compile(r"_(tkinter|curses|curses_panel|sqlite3|dbm|gdbm|test\w*|xx\w*|ctypes_test)\.|readline\.")


#: programs by the names that manifests of others call them by, and what they are here
_COMMANDS: Final = {"sampan": (), "kube-scheduler": ("scheduler",), "kube-controller-manager": ("controller-manager",)}


def build_csi() -> bytes:
    """The archive of the storage driver's image. Raises ClusterError naming what is not installed."""
    return _build(CSI_TAG, [*_CSI_PACKAGES], list(_programs()), {})


def build() -> bytes:
    """The archive of the image with all that Sampan depends on. Raises ClusterError."""
    found = packages_of("sampan")
    interpreter = Path(sys.executable).resolve()
    commands = {
        f"/usr/local/bin/{name}": File(_script(interpreter, words), mode=0o755) for name, words in _COMMANDS.items()
    }
    return _build(TAG, found, [], commands)


def _script(interpreter: Path, words: Sequence[str]) -> bytes:
    lines = (f"#!{interpreter}", "import sys", f"sys.argv[1:1] = {list(words)!r}", _START)
    return "\n".join(lines).encode() + b"\n"


def packages_of(name: str) -> list[str]:
    """The packages and modules of what a distribution requires, and what that requires. Raises ClusterError."""
    wanted, seen = [(name, True)], {_plain(name)}
    while wanted:
        asked, must = wanted.pop()
        try:
            requires = metadata.distribution(asked).requires or []
        except metadata.PackageNotFoundError as error:
            if must:
                fix = "install Sampan with all that it depends on"
                raise ClusterError(f"package {asked} is not installed", fix=fix) from error
            continue
        for each in requires:
            other, _, condition = each.partition(";")
            found = _REQUIRED.match(other)
            if found is not None and "extra" not in condition and _plain(found[0]) not in seen:
                seen.add(_plain(found[0]))
                wanted.append((found[0], not condition))
    return sorted(
        package
        for package, names in metadata.packages_distributions().items()
        if package != "sampan" and not package.endswith(".libs") and seen.intersection(map(_plain, names))
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _build(tag: str, packages: Sequence[str], programs: Sequence[Path], more: Mapping[str, File]) -> bytes:
    interpreter = Path(sys.executable).resolve()
    layer: dict[str, File] = {"tmp/": File(mode=0o1777), "etc/": File(mode=0o755), **more}
    standard = Path(sysconfig.get_path("stdlib"))
    layer.update(_tree(standard, str(standard)))
    for name in ("sampan", *packages):
        layer.update(_package(name))
    loaded = [Path(path) for path in layer if path.endswith(".so") and path.startswith(str(standard))]
    loaded += [_source_of(path) for path in layer if path.endswith(".so") and path.startswith(_INSIDE)]
    for path in (interpreter, *programs):
        layer[str(path)] = _read(path.resolve())
    for library in _libraries([interpreter, *programs, *loaded]):
        layer.setdefault(str(library), _read(library.resolve()))
    config = ImageConfig(
        entrypoint=[str(interpreter), "-c", _START],
        env=(f"PATH={_PATHS}", f"PYTHONPATH={_INSIDE}", "PYTHONUNBUFFERED=1"),
        working_dir="/",
    )
    return build_image(tag, [{path.lstrip("/"): file for path, file in sorted(layer.items())}], config)


def _programs() -> Iterator[Path]:
    for name in (*_NEEDED, *_WELCOME):
        found = shutil.which(name, path=_PATHS)
        if found is not None:
            yield Path(found)
        elif name in _NEEDED:
            raise ClusterError(f"program {name} is not installed", fix="install util-linux, mount and e2fsprogs")


def _package(name: str) -> Iterator[tuple[str, File]]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return
    places = list(spec.submodule_search_locations or ())
    if not places and spec.origin:
        path = Path(spec.origin)
        yield f"{_INSIDE}/{path.name}", _read(path)
    for place in places:
        yield from _tree(Path(place), f"{_INSIDE}/{name}")
        # Libraries that a wheel brings along lie beside it, and are looked for there.
        if (libraries := Path(place).parent / f"{name}.libs").is_dir():
            yield from _tree(libraries, f"{_INSIDE}/{name}.libs")


def _tree(source: Path, inside: str) -> Iterator[tuple[str, File]]:
    for path in sorted(source.iterdir()):
        name = f"{inside}/{path.name}"
        if path.is_dir():
            if path.name not in _LEFT_OUT and not path.name.startswith("config-"):
                yield from _tree(path, name)
        elif path.is_file() and not (path.suffix == ".so" and _HEAVY.match(path.name)):
            yield name, _read(path)


def _source_of(inside: str) -> Path:
    """Where a file of a dependency lies on the machine."""
    top, _, rest = inside.removeprefix(f"{_INSIDE}/").partition("/")
    spec = importlib.util.find_spec(top.partition(".")[0])
    assert spec is not None, "it was found a moment ago"
    places = [Path(place) / rest for place in spec.submodule_search_locations or ()]
    return next((place for place in places if rest and place.exists()), Path(spec.origin or ""))


def _read(path: Path) -> File:
    return File(path.read_bytes(), mode=path.stat().st_mode & 0o7777)


def _libraries(files: Iterable[Path]) -> set[Path]:
    """The shared libraries and the loader that these need, as ldd(1) tells."""
    said = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False)
    return {Path(path) for path in _LIBRARY.findall(said.stdout)}
