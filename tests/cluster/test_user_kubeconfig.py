"""The context in a person's own kubeconfig: added beside what is there, and taken out again wherever it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.cluster import kubeconfigs
from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import ClusterSettings, Instance


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    made = Instance(ClusterSettings(name="one", api_port=7443), tmp_path / "state", tmp_path / "run")
    made.pki.mkdir(parents=True)
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (made.pki / name).write_text(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "home" / "config"))
    return made


OTHER: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "extensions": [{"name": "x", "extension": {"a": 1}}],
    "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_merging_keeps_all_else_and_removing_gives_the_file_back(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text(yaml.safe_dump(OTHER))
    assert kubeconfigs.merge(instance, path) == path
    merged = read(path)
    assert merged["current-context"] == "sampan-one"
    assert [entry["name"] for entry in merged["clusters"]] == ["work", "sampan-one"]
    assert merged["clusters"][1]["cluster"]["server"] == "https://127.0.0.1:7443"
    assert path.stat().st_mode & 0o777 == 0o600
    assert kubeconfigs.remove(instance) == []
    assert read(path) == {**OTHER, "current-context": ""}


def test_merging_twice_is_merging_once(instance: Instance) -> None:
    path = kubeconfigs.merge(instance)
    once = path.read_text()
    assert kubeconfigs.merge(instance).read_text() == once


def test_removing_leaves_a_file_without_the_context_untouched(instance: Instance) -> None:
    path = kubeconfigs.user_file()
    path.parent.mkdir()
    path.write_text("# my own words\n" + yaml.safe_dump(OTHER))
    before = path.read_text()
    assert kubeconfigs.remove(instance) == []
    assert path.read_text() == before


def test_a_link_stays_a_link(instance: Instance, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    kubeconfigs.merge(instance, link)
    assert link.is_symlink()
    assert read(tmp_path / "real")["current-context"] == "sampan-one"


@pytest.mark.parametrize("content", ["{", "- a\n", "clusters: 3\n", "users: [1]\n", "contexts: [{a: b}]\n"])
def test_a_file_that_is_no_kubeconfig_is_refused_and_left_alone(
    instance: Instance, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "mine"
    path.write_text(content)
    with pytest.raises(ClusterError) as refused:
        kubeconfigs.merge(instance, path)
    assert "--kubeconfig" in refused.value.fix
    assert path.read_text() == content


def test_a_place_that_cannot_be_written_is_told(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"cannot (read|write)"):
        kubeconfigs.merge(instance, tmp_path / "file" / "below")


def test_removing_goes_on_past_a_broken_file_and_names_it(instance: Instance, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    kubeconfigs.merge(instance, first)
    kubeconfigs.merge(instance, second)
    first.write_text("{")
    problems = kubeconfigs.remove(instance)
    assert len(problems) == 1 and str(first) in problems[0]
    assert read(second)["contexts"] == []


def test_the_files_of_the_instance_carry_its_own_identities(instance: Instance) -> None:
    for stem in ("kubelet-client", "network-client"):
        for suffix in ("crt", "key"):
            (instance.pki / f"{stem}.{suffix}").write_text(stem)
    kubeconfigs.write_all(instance)
    assert {path.name for path in instance.state.glob("*.conf")} == {"admin.conf", "kubelet.conf", "network.conf"}
    assert kubeconfigs.admin_text(instance).startswith("apiVersion: v1")


def test_a_missing_admin_file_says_what_writes_it(instance: Instance) -> None:
    with pytest.raises(ClusterError) as refused:
        kubeconfigs.admin_text(instance)
    assert refused.value.fix == "`sampan up --name one` writes it"
