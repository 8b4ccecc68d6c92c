"""One file that installs Sampan where there is no network: what it holds, refuses and does."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from sampan.cluster.bundling import collecting
from sampan.cluster.bundling.file import Contents, write

#: of a machine that knows nothing of this source tree
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """The smallest that pip installs, with a program of its name."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    texts = {
        f"{name}.py": f"def main():\n    print('{name} {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in texts.items():
            archive.writestr(inner, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{inner},,\n" for inner in (*texts, f"{info}/RECORD")))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    wheels = (wheel(tmp_path, "sampan", "9.9", "needed>=1"), wheel(tmp_path, "needed", "1.0"))
    image = tmp_path / "image.tar"
    image.write_bytes(b"layers")
    path = tmp_path / "node.bundle"
    write(path, Contents(wheels, images=(image,), python=collecting.python_name()), {"sampan": "9.9"})
    return path


def run(*words: object, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """``offline``: in a network namespace of its own, which has no interface that is up."""
    command = [*(["unshare", "--net"] if offline else []), "sh", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENVIRONMENT)


@pytest.mark.timeout(180)  # a virtual environment is made
@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_a_machine_without_a_network_gets_a_working_installation(bundle: Path, tmp_path: Path) -> None:
    to = tmp_path / "opt"
    done = run(bundle, "--to", to, "--no-packages", offline=True)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([to / "bin" / "sampan"], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert said.stdout == "sampan 9.9\n"
    assert (to / "images" / "image.tar").read_bytes() == b"layers"
    assert f"Done: {to}/bin/sampan up" in done.stdout


def test_a_bundle_says_what_is_in_it_and_checks_itself(bundle: Path) -> None:
    assert "every checksum is right" in run(bundle, "--check").stdout
    listed = run(bundle, "--list").stdout
    assert "sampan-9.9-py3-none-any.whl" in listed
    assert '"sampan": "9.9"' in listed


def test_a_damaged_or_cut_bundle_does_nothing(bundle: Path, tmp_path: Path) -> None:
    data = bundle.read_bytes()
    at = data.index(b"layers")
    bundle.write_bytes(data[:at] + b"LAYERS" + data[at + 6 :])
    damaged = run(bundle, "--to", tmp_path / "opt", "--no-packages")
    assert (damaged.returncode, "is damaged" in damaged.stderr) == (1, True)
    bundle.write_bytes(data[: len(data) // 2])
    cut = run(bundle, "--to", tmp_path / "opt", "--no-packages")
    assert (cut.returncode, "is not whole" in cut.stderr) == (1, True)
    assert not (tmp_path / "opt").exists()


def test_wrong_words_and_another_python_are_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    assert "--fast is not known" in run(bundle, "--fast").stderr
    bundle.write_bytes(bundle.read_bytes().replace(collecting.python_name().encode(), b"python3.99"))
    refused = run(bundle, "--to", tmp_path / "opt", "--no-packages")
    assert refused.returncode == 1
    assert "the bundle's wheels are for python3.99" in refused.stderr


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="this is no Debian")
def test_packages_that_are_installed_stay_as_they_are(bundle: Path, tmp_path: Path) -> None:
    built = tmp_path / "build" / "DEBIAN"
    built.mkdir(parents=True)
    control = (
        "Package: dpkg\nVersion: 999\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a test\n"
    )
    (built / "control").write_text(control)
    deb = tmp_path / "dpkg_999_all.deb"
    subprocess.run(["dpkg-deb", "--build", built.parent, deb], check=True, capture_output=True)
    before = subprocess.run(["dpkg-query", "--show", "dpkg"], capture_output=True, check=True).stdout
    path = tmp_path / "with-packages"
    wheels = (wheel(tmp_path, "sampan", "9.9"),)
    write(path, Contents(wheels, (deb,), python="python3.99"), {})  # so that it ends after the packages
    done = run(path, "--to", tmp_path / "opt")
    assert "the bundle's wheels are for python3.99" in done.stderr
    assert "Installing 1" not in done.stdout
    assert subprocess.run(["dpkg-query", "--show", "dpkg"], capture_output=True, check=True).stdout == before


def test_what_runs_here_is_what_goes_along() -> None:
    found = dict(each.split("==") for each in collecting.requirements())
    assert {"aiohttp", "orjson", "cryptography", "cffi"} <= found.keys()
    assert "pytest" not in found
    assert "sampan" not in found
