"""The unit that starts a cluster with the machine: what is in it, that it comes and goes, what is said without it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sampan.cluster import boot
from sampan.cluster.instance import ClusterSettings, Instance


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(ClusterSettings("one"), tmp_path / "state", tmp_path / "run")


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with systemd, whose ``systemctl`` writes down what it is asked."""
    monkeypatch.setattr(boot, "UNITS", tmp_path / "units")
    monkeypatch.setattr(boot, "BOOTED", tmp_path / "booted")
    for directory in ("units", "booted", "bin"):
        (tmp_path / directory).mkdir()
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "units"


def test_the_unit_is_installed_enabled_and_removed_again(instance: Instance, units: Path, tmp_path: Path) -> None:
    assert boot.install(instance) and boot.install(instance)
    unit, link = units / "sampan-one.service", units / "multi-user.target.wants" / "sampan-one.service"
    assert link.resolve() == unit and unit.read_text() == boot.render(instance)
    assert boot.remove(instance)
    assert not unit.exists() and not link.is_symlink()
    assert not boot.remove(instance)
    assert (tmp_path / "asked").read_text() == "daemon-reload\n" * 3


def test_the_unit_starts_exactly_this_instance_and_is_started_again_when_it_dies(instance: Instance) -> None:
    lines = dict(line.split("=", 1) for line in boot.render(instance).splitlines() if "=" in line and line[0] != "#")
    assert lines["ExecStart"].split() == boot.command(instance)
    assert lines["ExecStart"].endswith(f"--name one --state-root {instance.state_root} --run-root {instance.run_root}")
    assert (lines["Restart"], lines["KillMode"], lines["StartLimitIntervalSec"]) == ("on-failure", "process", "0")


@pytest.mark.parametrize(
    ("word", "quoted"), [("/usr/bin/x", "/usr/bin/x"), ("/a b", '"/a b"'), ("50%", '"50%%"'), ('a"$b', '"a\\"$$b"')]
)
def test_words_are_quoted_as_systemd_reads_them(word: str, quoted: str) -> None:
    assert boot.quoted(word) == quoted


def test_systemd_finds_no_fault_with_the_unit(instance: Instance, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / boot.unit_name(instance)
    path.write_text(boot.render(instance))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert boot.unit_name(instance) not in done.stderr, done.stderr


def test_without_systemd_the_line_that_does_it_is_told(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(boot, "BOOTED", tmp_path / "none")
    assert not boot.install(instance)
    said = boot.advice(instance)
    assert "@reboot" in said and "/etc/rc.local" in said and said.count("sampan up --name one\n") == 1


def test_a_directory_that_cannot_be_written_is_told(
    instance: Instance, units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "UNITS", units / "none")
    with pytest.raises(boot.ClusterError, match="cannot write"):
        boot.install(instance)
