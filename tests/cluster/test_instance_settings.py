"""What a person may choose for an instance, and what is made of a damaged ``cluster.json``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from sampan.cluster.errors import ClusterError
from sampan.cluster.instance import Instance, Settings, load, nameless, names, parse_settings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "No/Good"}, "instance name 'No/Good' is not valid"),
        ({"name": "elevenchars"}, "is not valid"),
        ({"pod_cidr": "10.244.0.1/16"}, "address range is not valid"),
        ({"pod_cidr": "10.96.0.0/12"}, "overlap"),
        ({"pod_cidr": "10.244.0.0/25"}, "/24 or larger"),
        ({"node_ports": (40000, 30000)}, "node port range 40000-30000 is not valid"),
        ({"node_ports": (1, 99999)}, "is not valid"),
        ({"api_port": 70000}, "--api-port 70000 is not a port"),
        ({"kubelet_port": 0}, "--kubelet-port 0 is not a port"),
        ({"dns_port": 6443}, "must differ"),
        ({"api_port": 30001}, "inside the node port range"),
        ({"node_name": "Bad_Name"}, "node name 'Bad_Name' is not valid"),
        ({"node_address": "nowhere"}, "node address 'nowhere' is not an IPv4 address"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(ClusterError) as refused:
        replace(Settings(), **change).validate()  # type: ignore[arg-type]  # wrong on purpose
    assert words in refused.value.message


def test_the_defaults_are_valid() -> None:
    Settings().validate()


def made(root: Path, name: str = "one") -> Instance:
    instance = Instance(Settings(name=name, node_ports=(31000, 31999)), root / "state", root / "run")
    instance.save()
    return instance


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    instance = made(tmp_path)
    assert load("one", state_root=tmp_path / "state", run_root=tmp_path / "run") == instance
    assert names(tmp_path / "state") == ["one"]


def test_settings_of_another_version_lack_and_have_keys() -> None:
    assert parse_settings("x", b'{"name": "x", "later": 1}') == Settings(name="x")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"name": "other"}', b'{"name": "one", "api_port": "6443"}',
     b'{"name": "one", "node_ports": 3}', b'{"name": "one", "node_ports": ["a", "b"]}'],
)  # fmt: skip
def test_damaged_settings_are_said_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    made(tmp_path).settings_file.write_bytes(content)
    with pytest.raises(ClusterError) as refused:
        load("one", state_root=tmp_path / "state")
    assert "is damaged" in refused.value.message
    assert "--purge --name one" in refused.value.fix


def test_a_cluster_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refused:
        load("none", state_root=tmp_path)
    assert refused.value.fix == "`sampan up --name none` makes one"


def test_a_directory_in_place_of_the_settings_is_told(tmp_path: Path) -> None:
    (tmp_path / "one" / "cluster.json").mkdir(parents=True)
    with pytest.raises(ClusterError, match="cannot read"):
        load("one", state_root=tmp_path)


def test_a_name_that_is_a_path_is_never_used(tmp_path: Path) -> None:
    for use in (lambda: load("../etc", state_root=tmp_path), lambda: nameless("../etc", state_root=tmp_path)):
        with pytest.raises(ClusterError, match="is not valid"):
            use()


def test_everything_on_the_machine_carries_the_name() -> None:
    instance = nameless("blue")
    named = (instance.bridge, instance.cgroup, instance.context, str(instance.state), str(instance.run))
    assert all("blue" in text for text in named)
    assert len(instance.bridge) <= 15


def test_the_settings_file_holds_what_parse_expects(tmp_path: Path) -> None:
    instance = made(tmp_path)
    assert orjson.loads(instance.settings_file.read_bytes())["node_ports"] == [31000, 31999]


def test_well_known_addresses_are_kubeadms() -> None:
    settings = Settings()
    assert (settings.kubernetes_ip, settings.dns_ip, settings.node_pod_cidr) == (
        "10.96.0.1",
        "10.96.0.10",
        "10.244.0.0/24",
    )
