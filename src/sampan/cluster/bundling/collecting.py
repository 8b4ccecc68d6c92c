"""What goes into a bundle: the wheels that run here, in the versions that run here; Debian packages with all that they
need; images of a cluster. Runs pip, apt-get and ctr, and says which of them failed, in their words."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance

#: what a node is made of, as scripts/setup installs it
PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "haproxy", "catatonit",
    "busybox-static", "kubernetes-client", "conntrack", "python3", "python3-venv",
)  # fmt: skip
#: of what apt chooses for an empty machine: it changes where programs lie, which every supported release has done
_NEVER = ("usrmerge_",)
_SECONDS = 1800
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
#: these are for whoever builds, tests and measures
_EXTRA = re.compile(r"\bextra\s*==")


def python_name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def requirements(name: str = "sampan") -> list[str]:
    """The packages that it needs here, at their versions (``aiohttp==3.14.1``), but itself. Raises ClusterError."""
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        for wish in _wishes(waiting.pop()):
            match = _NAME.match(wish)
            if match is None or _EXTRA.search(wish):
                continue
            needed = _normal(match.group())
            if needed in found or needed == name:
                continue
            try:
                found[needed] = metadata.version(needed)
            except metadata.PackageNotFoundError:
                continue  # of another system or Python: a marker that does not hold here
            waiting.append(needed)
    return sorted(f"{each}=={version}" for each, version in found.items())


def _wishes(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError as error:
        raise ClusterError(
            f"package {name} is not installed here", fix="run it from where Sampan is installed"
        ) from error


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wheels(folder: Path, version: str) -> tuple[Path, ...]:
    """Raises ClusterError."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), *requirements()])
    source = _source()
    if source is None:
        _run([*pip, "download", "--quiet", "--no-deps", "--dest", str(folder), f"sampan=={version}"])
    else:
        _run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), source])
    return tuple(folder.glob("*.whl"))


def _source() -> str | None:
    """Where Sampan was installed from, if that was a directory."""
    told = metadata.distribution("sampan").read_text("direct_url.json")
    url = urlparse(str(json.loads(told).get("url", ""))) if told else None
    return unquote(url.path) if url is not None and url.scheme == "file" else None


def debs(folder: Path, packages: Sequence[str] = PACKAGES) -> tuple[Path, ...]:
    """With all that they need, whatever is installed here. Raises ClusterError."""
    if shutil.which("apt-get") is None:
        raise ClusterError("there is no apt-get here", fix="add --no-packages, and install them on the other machine")
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    status = folder / "status"
    status.touch()
    _run([
        "apt-get", "install", "--yes", "--download-only", "--no-install-recommends", "--quiet=2",
        "-o", f"Dir::Cache::archives={folder}", "-o", f"Dir::State::status={status}",
        "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", *packages,
    ])  # fmt: skip
    return tuple(path for path in folder.glob("*.deb") if not path.name.startswith(_NEVER))


def images(folder: Path, instance: Instance, names: Sequence[str]) -> tuple[Path, ...]:
    """One archive of them all, as ``sampan image import`` takes it. The cluster must run. Raises ClusterError."""
    if not names:
        return ()
    path = folder / "images.tar"
    containerd = ["ctr", "--address", str(instance.containerd_socket), "--namespace", "k8s.io"]
    _run([*containerd, "images", "export", str(path), *names])
    return (path,)


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment)
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be run: {error.strerror}", fix=f"install {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"{command[0]} took longer than {_SECONDS} s", fix="look at the network, then again"
        ) from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ClusterError(
            f"{' '.join(command[:5])} … failed:\n{said}", fix="a bundle is made where there is a network"
        )
