"""A container's variables: precedence, references, expansion, errors in upstream's words."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from sampan.api import resources
from sampan.api.errors import ApiError, not_found
from sampan.api.types import Obj
from sampan.node.env.environment import ContainerConfigError, is_variable_name, plan_environment
from sampan.node.env.expansion import container_command, expand
from sampan.node.env.fields import PodFacts, field_value, format_map, resource_value
from sampan.node.env.services import service_variables, visible_services
from sampan.node.env.sources import ObjectRef, pod_references

POD: Obj = {
    "metadata": {"name": "web", "namespace": "ns", "uid": "u1", "labels": {"app": "web"}, "annotations": {"a/b": "x"}},
    "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [{"name": "c"}], "enableServiceLinks": False},
}
FACTS = PodFacts(("10.0.0.5", "fd00::5"), ("192.0.2.1",), {"cpu": "4", "memory": "8Gi"})
FETCHED: dict[ObjectRef, Obj | ApiError] = {
    ObjectRef(resources.CONFIG_MAPS, "ns", "cm"): {"data": {"k": "v", "z": "1"}},
    ObjectRef(resources.CONFIG_MAPS, "ns", "no"): not_found("configmaps", "no"),
    ObjectRef(resources.SECRETS, "ns", "s"): {"data": {"pw": base64.b64encode(b"hush").decode()}},
}


def env(**container: Any) -> dict[str, str]:
    return plan_environment(POD, {"name": "c", **container}, FETCHED, FACTS).variables


def key_ref(kind: str, name: str, key: str, **more: Any) -> list[Obj]:
    return [{"name": "X", "valueFrom": {kind: {"name": name, "key": key, **more}}}]


def test_env_wins_over_env_from_and_prefix_applies() -> None:
    source = [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}]
    assert env(envFrom=source, env=[{"name": "P_k", "value": "mine"}]) == {"P_k": "mine", "P_z": "1", "pw": "hush"}


def test_values_expand_earlier_variables_only() -> None:
    variables = [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "1"}, {"name": "C", "value": "$(A)-$$(A)"}]
    assert env(env=variables) == {"B": "$(A)", "A": "1", "C": "1-$(A)"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (key_ref("configMapKeyRef", "no", "k"), 'configmap "no" not found'),
        (key_ref("configMapKeyRef", "cm", "q"), "couldn't find key q in ConfigMap ns/cm"),
        (key_ref("secretKeyRef", "s", "q"), "couldn't find key q in Secret ns/s"),
    ],
)
def test_missing_references_are_config_errors(variables: list[Obj], message: str) -> None:
    with pytest.raises(ContainerConfigError) as caught:
        env(env=variables)
    assert str(caught.value) == message


def test_optional_references_leave_the_variable_out() -> None:
    assert env(env=key_ref("configMapKeyRef", "no", "k", optional=True)) == {}
    assert env(env=key_ref("configMapKeyRef", "cm", "q", optional=True)) == {}
    assert env(envFrom=[{"configMapRef": {"name": "no", "optional": True}}]) == {}


def test_invalid_names_are_skipped_with_an_event() -> None:
    fetched = {ObjectRef(resources.CONFIG_MAPS, "ns", "cm"): {"data": {"ok": "1", "a=b": "2"}}}
    result = plan_environment(POD, {"name": "c", "envFrom": [{"configMapRef": {"name": "cm"}}]}, fetched, FACTS)
    assert result.variables == {"ok": "1"}
    assert result.warnings[0].reason == "InvalidEnvironmentVariableNames"
    assert "Keys [a=b] from the EnvFrom configMap ns/cm were skipped" in result.warnings[0].message
    assert not is_variable_name("")


def test_file_key_reads_the_volume(tmp_path: Path) -> None:
    (tmp_path / "e.env").write_text("# c\nK='v 1'\nL=2\n")
    variables = [{"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": "d", "path": "e.env", "key": "K"}}}]
    result = plan_environment(POD, {"name": "c", "env": variables}, {}, FACTS, (), {"d": tmp_path})
    assert result.variables == {"X": "v 1"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['a/b']", "x"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "10.0.0.5"),
        ("status.podIPs", "10.0.0.5,fd00::5"),
        ("status.hostIP", "192.0.2.1"),
    ],
)
def test_field_paths(path: str, value: str) -> None:
    assert field_value(POD, path, FACTS) == value


def test_maps_are_quoted_lines_in_key_order() -> None:
    assert format_map({"b": 'q"\n', "a": "1"}) == 'a="1"\nb="q\\"\\n"'


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "250"),
        ("requests.cpu", "0", "1"),
        ("limits.memory", "1Mi", "8192"),
        ("requests.memory", "1", "0"),
    ],
)
def test_resources_round_up_and_fall_back_on_the_node(resource: str, divisor: str, value: str) -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "250m"}}}
    assert resource_value(POD, container, {"resource": resource, "divisor": divisor}, FACTS) == value


def service(namespace: str, name: str, ip: str = "10.96.0.1") -> Obj:
    ports = [{"name": "https", "port": 443, "protocol": "TCP"}]
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": ip, "ports": ports}}


def test_service_variables_in_both_styles() -> None:
    assert service_variables({"my-db": service("ns", "my-db")}) == {
        "MY_DB_SERVICE_HOST": "10.96.0.1",
        "MY_DB_SERVICE_PORT": "443",
        "MY_DB_SERVICE_PORT_HTTPS": "443",
        "MY_DB_PORT": "tcp://10.96.0.1:443",
        "MY_DB_PORT_443_TCP": "tcp://10.96.0.1:443",
        "MY_DB_PORT_443_TCP_PROTO": "tcp",
        "MY_DB_PORT_443_TCP_PORT": "443",
        "MY_DB_PORT_443_TCP_ADDR": "10.96.0.1",
    }


def test_only_the_master_service_is_seen_without_links() -> None:
    services = [service("ns", "db"), service("default", "kubernetes"), service("default", "x")]
    assert set(visible_services(POD, services)) == {"kubernetes"}
    linked = {**POD, "spec": {**POD["spec"], "enableServiceLinks": True}}
    assert set(visible_services(linked, [*services, service("ns", "headless", "None")])) == {"db", "kubernetes"}


def test_command_and_args_expand_and_unknown_stays() -> None:
    container = {"command": ["$(A)", "$$(A)"], "args": ["$(NO)", "$"]}
    assert container_command(container, {"A": "1"}) == (["1", "$(A)"], ["$(NO)", "$"])
    assert expand("$(A", {"A": "1"}.get) == "$(A"


def test_references_cover_every_container_sort_and_volume() -> None:
    def ref(name: str) -> Obj:
        return {"name": "x", "envFrom": [{"secretRef": {"name": name}}]}

    pod = {
        "metadata": {"namespace": "ns"},
        "spec": {
            "initContainers": [ref("i")],
            "containers": [ref("c")],
            "ephemeralContainers": [ref("e")],
            "imagePullSecrets": [{"name": "p"}],
            "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "v"}}]}}],
        },
    }
    assert {each.name for each in pod_references(pod)} == {"i", "c", "e", "p", "v"}
