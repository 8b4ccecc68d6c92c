"""Programs of others with the cluster's kubeconfig, and waiting: what the tests of clients are written with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

VENV = Path(__file__).parents[2] / ".venv"
PROGRAMS = VENV / "programs"
KUBECTLS = ("1.20", "1.32", "1.37")
HELMS = ("3", "4")
#: a limit against hangs, however busy the machine is
LIMIT_SECONDS = 120.0

GADGETS: Mapping[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.clients.example.com"},
    "spec": {
        "group": "clients.example.com",
        "scope": "Namespaced",
        "names": {
            "plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList",
            "shortNames": ["gdg"], "categories": ["toys"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour"},
                    {"name": "Ready", "type": "integer", "jsonPath": ".status.replicas"},
                ],
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "schema": {
                    "openAPIV3Schema": {
                        "description": "A gadget is a thing that clients make.",
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer", "minimum": 0, "default": 1},
                                    "colour": {
                                        "description": "What it looks like.",
                                        "type": "string",
                                        "enum": ["red", "green", "blue"],
                                    },
                                    "parts": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
                                        },
                                    },
                                },
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "self.replicas <= 5 || self.colour == 'red'",
                                        "message": "only red ones are made in numbers",
                                    }
                                ],
                            },
                            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}  # fmt: skip


@dataclass(frozen=True)
class Served:
    """The cluster that the clients talk to."""

    kubeconfig: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home), "NO_COLOR": "1", "TZ": "UTC"}
        return {**os.environ, **own}


@contextmanager
def cluster(home: Path) -> Iterator[Served]:
    """A cluster in a process of its own, which must not log an error and has to end well."""
    log = home / "cluster.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "serve_cluster.py", home / "cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        kubeconfig = process.stdout.readline().strip()
        assert kubeconfig, log.read_text()
        yield Served(Path(kubeconfig), home)
        process.stdin.close()
        code = process.wait(LIMIT_SECONDS)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    lines = log.read_text().splitlines()
    faults = [line for line in lines if line.startswith(("ERROR", "CRITICAL", "Traceback"))]
    assert not faults, "the cluster logged at error level:\n" + "\n".join(faults)
    assert code == 0, f"the cluster ended with {code}"


@dataclass(frozen=True)
class Program:
    """A program of somebody else's, run with ``leading`` arguments before those of each call."""

    path: Path
    served: Served
    leading: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.path, *self.leading, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**self.served.environment, **self.extra},
            timeout=LIMIT_SECONDS,
            check=False,
        )
        said = f"{self.path.name} {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        return self.run(*arguments, stdin=stdin).stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """What it says when it fails, as it has to."""
        done = self.run(*arguments, stdin=stdin, check=False)
        assert done.returncode != 0, f"{self.path.name} {' '.join(arguments)} did not fail:\n{done.stdout}"
        return done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def with_extra(self, **extra: str) -> Program:
        return replace(self, extra={**self.extra, **extra})


def eventually(condition: Callable[[], object]) -> Any:
    """The first true answer of ``condition``, which is asked less often the longer it lasts: a program that is
    started anew and anew would take its processor from what it waits for."""
    began = time.monotonic()
    while not (found := condition()):
        lasted = time.monotonic() - began
        assert lasted < LIMIT_SECONDS, "it never came true"
        time.sleep(min(max(0.2, lasted / 8), 1.0))
    return found
