"""The context in a person's own kubeconfig: added beside what is there, and taken out again wherever it went."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.client.kubeconfig import KubeConfig
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
    assert read(path) == OTHER


def test_the_context_of_before_is_current_again_whatever_order_clusters_go_in(
    instance: Instance, tmp_path: Path
) -> None:
    path = tmp_path / "mine"
    path.write_text(yaml.safe_dump(OTHER))
    instance.save()
    second = replace(instance, cluster=replace(instance.cluster, name="two"))
    second.save()
    second.pki.mkdir()
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (second.pki / name).write_text(name)
    kubeconfigs.merge(instance, path)
    kubeconfigs.merge(second, path)
    kubeconfigs.merge(second, path)  # once more changes nothing
    kubeconfigs.remove(instance)
    assert read(path)["current-context"] == "sampan-two"
    kubeconfigs.remove(second)
    assert read(path) == OTHER


def test_another_cluster_of_the_machine_is_better_than_no_context(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    sibling = replace(instance, cluster=replace(instance.cluster, name="two"))
    sibling.save()
    kubeconfigs.merge(instance, path)
    content = read(path)
    content["contexts"].append({"name": "sampan-two", "context": {"cluster": "sampan-two", "user": "sampan-two"}})
    path.write_text(yaml.safe_dump(content))
    kubeconfigs.remove(instance)
    assert read(path)["current-context"] == "sampan-two"


def test_a_context_that_somebody_chose_meanwhile_stays(instance: Instance, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text(yaml.safe_dump(OTHER))
    kubeconfigs.merge(instance, path)
    path.write_text(yaml.safe_dump({**read(path), "current-context": "chosen"}))
    kubeconfigs.remove(instance)
    assert read(path)["current-context"] == "chosen"


@pytest.mark.parametrize("content", [b'["{path}"]', b"{", b'{"{path}": 3}', b"3"])
def test_what_an_earlier_version_remembered_is_understood(instance: Instance, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine"
    kubeconfigs.merge(instance, path)
    instance.merged_kubeconfigs_file.write_bytes(content.replace(b"{path}", str(path).encode()))
    assert kubeconfigs.remove(instance) == []
    if content.startswith(b"["):
        assert read(path)["contexts"] == []


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


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null/config"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_started(place: str) -> None:
    with pytest.raises(ClusterError, match=place):
        kubeconfigs.check_place(Path(place))


def test_looking_at_a_place_leaves_nothing_there(tmp_path: Path) -> None:
    kubeconfigs.check_place(tmp_path / "not" / "yet" / "config")
    assert list(tmp_path.iterdir()) == []


def test_a_purge_finds_the_file_of_a_merge_that_was_killed(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    path.write_text(yaml.safe_dump(OTHER))
    write = KubeConfig.write

    def killed_after(config: KubeConfig, target: Path) -> None:
        write(config, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KubeConfig, "write", killed_after)
        with pytest.raises(KeyboardInterrupt):
            kubeconfigs.merge(instance, path)
    assert read(path)["current-context"] == instance.context
    assert kubeconfigs.remove(instance) == []
    assert read(path) == OTHER
