"""``/version``: which Kubernetes this is, and what it runs on."""

from __future__ import annotations

import platform

from sampan.api.types import Obj

MAJOR, MINOR = "1", "37"
GIT_VERSION = "v1.37.0"
#: the moment of the release's code, a constant so that builds are reproducible
_BUILD_DATE = "2026-08-26T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def version_info() -> Obj:
    """version.Info of apimachinery. ``goVersion`` and ``compiler`` tell the truth: there is no Go."""
    machine = platform.machine()
    return {
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "36",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": _BUILD_DATE,
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{_ARCHITECTURES.get(machine, machine)}",
    }
