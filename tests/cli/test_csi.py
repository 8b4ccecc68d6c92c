"""``sampan csi``: the driver's manifest, and options of the sidecar that are refused before anything begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from sampan.cli import entry

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "NODE_NAME"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["sampan", "csi", *words])
        code: Any = 0
        try:
            entry.main()
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_the_manifest_is_all_that_the_driver_needs(run: Run) -> None:
    found: list[Any] = list(yaml.safe_load_all(run("manifest")[1]))
    assert [each["kind"] for each in found] == [
        *("Namespace", "CSIDriver", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
        *("DaemonSet", "StorageClass", "VolumeSnapshotClass"),
    ]
    names = {each["metadata"]["name"] for each in found if each["kind"] == "CSIDriver"}
    assert names == {"loopfile.csi.sampan.io"} == {each["driver"] for each in found if "driver" in each}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--timeout=soon"], "--timeout: soon is no duration"),
        (["--timeout=0s"], "--timeout: 0s is no duration"),
        (["--capacity-poll-interval=-1m"], "--capacity-poll-interval: -1m is no duration"),
        (["--feature-gates=Other=true"], "--feature-gates: Other=true is not known"),
        (["--node-deployment"], "--node-deployment needs the name of the node"),
        ([], "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"),
    ],
)
def test_wrong_options_of_the_sidecar_are_told_and_nothing_begins(run: Run, words: list[str], said: str) -> None:
    code, told = run("controller", *words)
    assert code == 2 and said in told and "Traceback" not in told


def test_one_on_each_node_and_one_of_several_are_not_both(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "n")
    code, told = run("controller", "--node-deployment", "--leader-election")
    assert code == 2 and "--node-deployment and --leader-election exclude each other" in told
