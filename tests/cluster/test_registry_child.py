"""The registry as a child of the supervisor: it comes and goes while the others run."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from sampan.api.clock import SystemClock
from sampan.cli.progress import Steps
from sampan.cluster import pki, registry, registry_program, supervisor
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance
from sampan.cluster.processes import Process, is_program
from sampan.cluster.supervisor import Program, Supervisor
from sampan.cluster.up import process_status
from sampan.node.images.hosts import Endpoint


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(ClusterSettings(name="one"), tmp_path / "state", tmp_path / "run")
    made.save()
    return made


def sleeper(name: str) -> Program:
    return Program(name, ("/bin/sh", "-c", f"exec sleep 60 # {name}"))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.005)


async def test_children_come_and_go_when_the_supervisor_is_told_and_the_others_stay(instance: Instance) -> None:
    wanted = [sleeper("a")]
    kept = Supervisor(instance, wanted, reread=lambda _: wanted)
    running = asyncio.create_task(kept.run())

    def pid(name: str) -> int | None:
        return process_status(instance).get(name, {}).get("pid")  # type: ignore[return-value]  # its status has one

    await until(lambda: pid("a") is not None)
    first = pid("a")
    wanted = [*wanted, sleeper("registry")]
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: pid("registry") is not None)
    added = pid("registry")
    assert pid("a") == first
    wanted = wanted[:1]
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: "registry" not in process_status(instance))
    assert pid("a") == first
    assert added is not None
    with pytest.raises(ProcessLookupError):
        os.kill(added, 0)
    os.kill(os.getpid(), signal.SIGTERM)
    await running


def test_the_registrys_configuration_makes_it_one_of_the_programs(instance: Instance) -> None:
    assert "registry" not in {program.name for program in supervisor.programs(instance)}
    assert registry_program.port_of(instance) is None
    registry_program.folder(instance).mkdir()
    registry_program.config_file(instance).write_bytes(registry_program.render(instance, 5123, "s"))
    found = {program.name: program for program in supervisor.programs(instance)}
    assert found["registry"].argv == ("docker-registry", "serve", str(registry_program.config_file(instance)))
    assert registry_program.port_of(instance) == 5123


def test_a_registry_left_behind_is_known_as_the_instances_own(instance: Instance) -> None:
    def running(*words: str) -> Process:
        return Process(pid=7, parent=1, started=1, executable="docker-registry", arguments=words)

    assert is_program(running(*registry_program.command(instance)), instance)
    assert not is_program(running("docker-registry", "serve", "/etc/docker/registry/config.yml"), instance)


def test_a_registry_listens_on_this_machine_alone(instance: Instance) -> None:
    content = orjson.loads(registry_program.render(instance, 5123, "s"))
    assert content["http"]["addr"] == "127.0.0.1:5123"


def test_what_was_said_of_a_registry_is_listed_and_forgotten(instance: Instance) -> None:
    mirror = Endpoint("https://mirror.example", ("pull", "resolve"))
    registry.reach(instance, "docker.io", None, [mirror])
    [asked, itself] = registry.reached(instance)["docker.io"]
    assert (asked, itself) == (mirror, Endpoint("https://registry-1.docker.io"))
    assert registry.forget(instance, "docker.io")
    assert not registry.forget(instance, "docker.io")
    assert registry.reached(instance) == {}


@pytest.mark.parametrize("host", ["", "..", "r.example/team", ".hidden", "bad host", "r.example:port", "-x", "a\nb"])
def test_what_is_no_registry_is_refused(host: str, instance: Instance) -> None:
    with pytest.raises(ClusterError, match="is no registry"):
        registry.reach(instance, host, None, [])


@pytest.mark.parametrize("host", ["_default", "localhost", "r.example:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_registries_are_named_as_images_name_them(host: str, instance: Instance) -> None:
    registry.reach(instance, host, None, [])
    assert list(registry.reached(instance)) == [host]


def test_what_is_no_certificate_is_refused_before_a_pull_meets_it(tmp_path: Path) -> None:
    pki.ensure(Instance(ClusterSettings(name="pki"), tmp_path / "s", tmp_path / "r"), SystemClock())
    certificate, key = next(
        (path, path.with_suffix(".key")) for path in sorted((tmp_path / "s").rglob("ca.crt"))
    )  # fmt: skip
    words = tmp_path / "words.pem"
    words.write_text("no certificate")
    registry.check_certificates(certificate, certificate, key)
    registry.check_certificates(None, None, None)
    with pytest.raises(ClusterError, match=r"words.pem holds no certificate"):
        registry.check_certificates(words, None, None)
    for mine, with_key in ((words, None), (certificate, None), (certificate, words), (words, key)):
        with pytest.raises(ClusterError, match="no certificate with its key"):
            registry.check_certificates(None, mine, with_key)
    with pytest.raises(ClusterError, match="no such file or directory"):
        registry.check_certificates(tmp_path / "nowhere", None, None)


def test_an_address_that_is_none_is_refused_and_nothing_is_written(instance: Instance) -> None:
    with pytest.raises(ClusterError, match="write it like https://"):
        registry.reach(instance, "r.example", Endpoint("gopher://r.example"), [])
    assert registry.reached(instance) == {}


async def test_where_the_program_is_missing_it_is_told_how_to_install_it(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    instance.run.mkdir(parents=True)
    instance.containerd_socket.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="docker-registry is not installed") as caught:
        await registry.up(instance, None, Steps())
    assert caught.value.fix == "apt-get install -y docker-registry"


async def test_a_port_that_somebody_has_is_refused_and_nothing_is_left(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    instance.run.mkdir(parents=True)
    instance.containerd_socket.touch()
    program = tmp_path / "docker-registry"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ClusterError, match="is in use"):
        await registry.up(instance, taken.getsockname()[1], Steps())
    assert registry_program.port_of(instance) is None


def test_what_goes_while_the_images_are_measured_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push that is under way lets go of its parts."""
    (tmp_path / "kept").write_bytes(b"x" * 10)
    monkeypatch.setattr(registry.os, "walk", lambda folder: iter([(str(folder), [], ["kept", "gone"])]))
    assert registry.size_of(tmp_path) == 10
