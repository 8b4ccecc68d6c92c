"""One real cluster for all end-to-end tests: made by ``sampan up``, driven by real programs, purged at the end.

It stands beside any other cluster of the machine: its own name, ports, ranges and directories. Tests share it and
keep apart by namespace. They wait for the real world, so they carry longer timeouts than unit tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPAN = Path(sys.executable).parent / "sampan"
NAME = "e2e"
UP = [
    "--api-port", "17443", "--kubelet-port", "17250", "--dns-port", "17053", "--pod-cidr", "10.245.0.0/16",
    "--service-cidr", "10.97.0.0/16", "--node-port-range", "28000-28999", "--timeout", "90",
]  # fmt: skip
NEEDS = ("containerd", "runc", "nft", "ip", "kubectl", "busybox")
DEMO_IMAGE = "docker.io/sampan/e2e:1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(120))


@dataclass(frozen=True)
class Cluster:
    kubeconfig: Path
    home: Path
    name: str = NAME

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home), "NO_COLOR": "1"}

    def sampan(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [SAMPAN, *arguments], capture_output=True, text=True, env=self.env, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"sampan {arguments}: {done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster named ``e2e``."""
    missing = [program for program in NEEDS if shutil.which(program) is None]
    if os.geteuid() != 0:
        pytest.skip("needs root: containers, cgroups and nftables")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: run scripts/setup dev")
    home = tmp_path_factory.mktemp("home")
    made = Cluster(home / "kubeconfig", home)
    made.sampan("down", "--name", NAME, "--purge")
    made.sampan("up", "--name", NAME, *UP)
    try:
        build_demo_image(made)
        yield made
    finally:
        logs = Path("/var/lib/sampan") / NAME / "logs"
        keep = os.environ.get("SAMPAN_KEEP_LOGS")
        if keep and logs.is_dir():
            shutil.copytree(logs, keep, dirs_exist_ok=True)
        made.sampan("down", "--name", NAME, "--purge")


def build_demo_image(made: Cluster) -> None:
    """Busybox with its applets: the image that the tests' pods run."""
    busybox = shutil.which("busybox")
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = [part for applet in applets if applet != "busybox" for part in ("--link", f"/bin/{applet}:busybox")]
    made.sampan("image", "build", "--name", NAME, "-t", DEMO_IMAGE, "--binary", f"{busybox}:/bin/busybox", *links)


class Kubectl:
    """A kubectl program with the cluster's kubeconfig and a namespace."""

    def __init__(self, program: Path, made: Cluster, namespace: str) -> None:
        self.program, self.cluster, self.namespace = program, made, namespace

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, "--namespace", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.cluster.env,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        return self.run(*arguments, stdin=stdin, timeout=timeout).stdout

    def fails(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Runs what must fail; returns what it said."""
        done = self.run(*arguments, stdin=stdin, check=False, timeout=timeout)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} should have failed:\n{done.stdout}"
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, "--namespace", self.namespace, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.cluster.env,
            **options,
        )


@pytest.fixture(scope="session")
def old_kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's kubectl 1.20: the machine's own where it is that, else unpacked beside it."""
    own = shutil.which("kubectl")
    if own and b"v1.20" in subprocess.run([own, "version", "--client"], capture_output=True, check=False).stdout:
        return Path(own)
    directory = tmp_path_factory.mktemp("kubectl-1.20")
    got = subprocess.run(
        ["apt-get", "download", "-qq", "kubernetes-client"], cwd=directory, capture_output=True, text=True, check=False
    )
    packages = list(directory.glob("*.deb"))
    if not packages:
        pytest.skip(f"Debian's kubernetes-client cannot be had: {got.stderr.strip()}")
    subprocess.run(["dpkg", "-x", packages[0], directory / "x"], check=True)
    return directory / "x" / "usr" / "bin" / "kubectl"


@pytest.fixture(scope="session", params=["machine", "1.20"])
def kubectl_program(request: pytest.FixtureRequest) -> Path:
    if request.param == "1.20":
        program: Path = request.getfixturevalue("old_kubectl")
        return program
    return Path(shutil.which("kubectl") or "kubectl")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t-{secrets.token_hex(3)}"
    program = Path(shutil.which("kubectl") or "kubectl")
    admin = Kubectl(program, cluster, name)
    admin("create", "namespace", name)
    eventually(lambda: admin.run("get", "serviceaccount", "default", check=False).returncode == 0)
    yield name
    with contextlib.suppress(subprocess.TimeoutExpired):
        admin.run("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str) -> Kubectl:
    """The machine's kubectl in a fresh namespace."""
    return Kubectl(Path(shutil.which("kubectl") or "kubectl"), cluster, namespace)


@pytest.fixture
def each_kubectl(cluster: Cluster, namespace: str, kubectl_program: Path) -> Kubectl:
    """Each kubectl there is (the machine's, Debian's 1.20) in a fresh namespace."""
    return Kubectl(kubectl_program, cluster, namespace)


def eventually(condition: Callable[[], Any], *, seconds: float = 30, every: float = 0.1) -> Any:
    """The first true value of a condition. Fails with its last value after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s; last seen: {value!r}"
        time.sleep(every)
