"""Devices by their names: files of vendors, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.node import runtime
from sampan.node.devices.cdi import resolve


def write(directory: Path, name: str, **more: Any) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(orjson.dumps({"cdiVersion": "0.6.0", "kind": "vendor.com/toy", **more}))


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


def test_edits_of_the_kind_come_once_and_then_the_devices(tmp_path: Path) -> None:
    mount = {"hostPath": "/opt/toy", "containerPath": "/toy", "options": ["bind", "ro"]}
    write(
        tmp_path / "etc", "toys.json",
        containerEdits={"env": ["DRIVER=1", "TOY=none"], "mounts": [mount]},
        devices=[device("a", env=["TOY=a=1"], deviceNodes=[{"path": "/dev/a"}]),
                 device("b", deviceNodes=[{"path": "/dev/b", "hostPath": "/dev/null", "permissions": "r"}])],
    )  # fmt: skip
    found = resolve(["vendor.com/toy=a", "vendor.com/toy=b"], [tmp_path / "etc", tmp_path / "nowhere"])
    assert found.environment == {"DRIVER": "1", "TOY": "a=1"}
    assert found.mounts == (runtime.Mount("/opt/toy", "/toy", readonly=True),)
    assert found.devices == (runtime.Device("/dev/a", "/dev/a"), runtime.Device("/dev/null", "/dev/b", "r"))


def test_what_runs_wins_over_what_is_installed_and_broken_files_are_passed_over(tmp_path: Path) -> None:
    etc, run = tmp_path / "etc", tmp_path / "run"
    write(etc, "toys.json", devices=[device("a", env=["FROM=etc"])])
    write(run, "toys.json", devices=[device("a", env=["FROM=run"])])
    (run / "broken.json").write_text("{")
    (run / "broken.yaml").write_text("a: [")
    (run / "list.yaml").write_text("- a")
    (run / "more.yaml").write_text("kind: vendor.com/more\ndevices: [{name: x, containerEdits: {env: [X=1]}}]\n")
    assert resolve(["vendor.com/toy=a", "vendor.com/more=x"], [etc, run]).environment == {"FROM": "run", "X": "1"}


@pytest.mark.parametrize(
    ("edits", "name", "text"),
    [
        ({}, "vendor.com/toy=b", r"unresolvable CDI devices vendor\.com/toy=b"),
        ({"hooks": [{"hookName": "createContainer", "path": "/x"}]}, "vendor.com/toy=a", "they ask for hooks"),
    ],
)
def test_what_cannot_be_given_is_refused(tmp_path: Path, edits: Any, name: str, text: str) -> None:
    write(tmp_path / "etc", "toys.json", devices=[device("a", **edits)])
    with pytest.raises(ValueError, match=text):
        resolve([name], [tmp_path / "etc"])
