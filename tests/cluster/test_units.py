"""Each program of a machine as a unit of its own: which there are, what they execute, and what is taken away again."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sampan.cluster import boot, units
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance, NodeSettings


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    node = NodeSettings(
        "n",
        address="192.0.2.1",
        roles=("control-plane", "etcd", "node"),
        kubernetes_dir=str(tmp_path / "etc"),
    )
    return Instance(ClusterSettings("one", store="etcd"), tmp_path / "state", tmp_path / "run", node)


def executed(text: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def test_every_program_has_a_unit_and_a_target_wants_them_all(instance: Instance, tmp_path: Path) -> None:
    made = units.render(instance, units.components(instance), tmp_path / "defaults")
    programs = ["etcd", "containerd", "apiserver", "controller-manager", "scheduler", "node", "dns"]
    assert list(made) == [*(f"sampan-one-{name}.service" for name in programs), "sampan-one.target"]
    assert all(f"sampan-one-{name}.service" in made["sampan-one.target"] for name in programs)
    for name in programs:
        text = made[f"sampan-one-{name}.service"]
        assert "Restart=always" in text
        # Any order of starting works, so none is asked for; and never beside the supervisor.
        assert "Requires=" not in text and "After=network-online.target local-fs.target" in text
        assert "Conflicts=sampan-one.service" in text
        assert executed(text)[0].startswith("/") or executed(text)[0] in ("containerd", "etcd")


def test_systemd_finds_no_fault_with_any_of_them(instance: Instance, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    made = units.render(instance, units.components(instance), tmp_path / "defaults")
    for name, text in made.items():
        # The programs of the other packages may not be on this machine; what they are called is not systemd's to judge.
        runs = [
            f"ExecStart={shutil.which('true')}" if line.startswith("ExecStart=") else line for line in text.splitlines()
        ]
        (tmp_path / name).write_text("\n".join(runs) + "\n")
    paths = [str(tmp_path / name) for name in made]
    command = ["systemd-analyze", "verify", "--recursive-errors=no", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "sampan-one" in line], done.stderr


def test_parts_get_the_kubeconfigs_and_the_options_of_the_defaults_file(instance: Instance, tmp_path: Path) -> None:
    made = units.render(instance, units.components(instance), tmp_path / "defaults")
    manager = executed(made["sampan-one-controller-manager.service"])
    assert manager[manager.index("--kubeconfig") + 1] == f"{tmp_path}/etc/controller-manager.conf"
    assert manager[-1] == "$CONTROLLER_MANAGER_ARGS"
    assert f"EnvironmentFile=-{tmp_path}/defaults" in made["sampan-one-apiserver.service"]
    assert executed(made["sampan-one-apiserver.service"])[-2:] == ["--apart", "$APISERVER_ARGS"]
    assert units.render_defaults(instance, units.components(instance)).splitlines()[1:] == [
        "APISERVER_ARGS=",
        "CONTROLLER_MANAGER_ARGS=",
        "SCHEDULER_ARGS=",
    ]


def test_the_scheduler_goes_by_the_files_that_the_cluster_was_given(instance: Instance, tmp_path: Path) -> None:
    files = {"scheduler_config": "/etc/s.yaml", "scheduler_plugins": "/etc/a.py,/etc/b.py"}
    files["feature_gates"] = "GenericWorkload=true"
    given = dataclasses.replace(instance, cluster=dataclasses.replace(instance.cluster, **files))
    made = units.render(given, units.components(given), tmp_path / "defaults")
    words = executed(made["sampan-one-scheduler.service"])
    assert words[words.index("--config") + 1] == "/etc/s.yaml"
    assert words[words.index("--plugin-files") + 1] == "/etc/a.py,/etc/b.py"


def test_a_machine_without_a_control_plane_has_a_node_s_programs_alone(instance: Instance) -> None:
    worker = dataclasses.replace(instance, node=dataclasses.replace(instance.node, roles=("node",)))
    assert [part.name for part in units.components(worker)] == ["containerd", "node", "dns"]


def test_an_instance_of_up_has_no_kubeconfigs_for_its_parts(instance: Instance) -> None:
    bare = dataclasses.replace(instance, node=dataclasses.replace(instance.node, kubernetes_dir=""))
    with pytest.raises(ClusterError, match="was made by `sampan up`"):
        units.components(bare)


def test_files_are_written_and_taken_away_and_a_person_s_options_stay(instance: Instance, tmp_path: Path) -> None:
    place = tmp_path / "units"
    first = units.write(instance, place, place)
    assert (place / "sampan-one") in first
    (place / "sampan-one").write_text("APISERVER_ARGS=--runtime-config=api/all=true\n")
    assert (place / "sampan-one") not in units.write(instance, place, place)
    others = ["sampan-one-more-node.service", "sampan-one-more.service", "sampan-two-node.service"]
    for name in others:
        (place / name).write_text("")
    units.remove(instance, place, place)
    assert sorted(path.name for path in place.iterdir()) == others


def test_they_go_with_the_cluster(instance: Instance, tmp_path: Path) -> None:
    place = tmp_path / "units"
    assert units.retire(instance, place, place) == []
    made = units.write(instance, place, place)
    assert sorted(units.retire(instance, place, place)) == sorted(made)
    assert list(place.iterdir()) == []
    assert {part.name for part in units.components(instance)} == set(units.PROGRAMS)


def test_without_systemd_nothing_is_installed(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "BOOTED", tmp_path / "none")
    with pytest.raises(ClusterError, match="this machine has no systemd"):
        units.install(instance)


def test_where_systemd_keeps_the_programs_nothing_starts_them_beside_it(instance: Instance, tmp_path: Path) -> None:
    units.refuse_installed(instance, tmp_path)
    units.write(instance, tmp_path, tmp_path)
    with pytest.raises(ClusterError, match="are kept by systemd"):
        units.refuse_installed(instance, tmp_path)
