"""What stands in the environment of a container, and where it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from requirement_room import Obj, Room, config_map, container, pod, secret

from sampan.api import quantity

MEBIBYTE = 1 << 20
PREFIXES = ("P_", "1_", "p-", "p.", "!@#$%^&*()[]", "a b:")


def of_field(path: str) -> Obj:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def of_resource(resource: str, divisor: str = "1") -> Obj:
    return {"valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}


def env(**values: Any) -> list[Obj]:
    """Variables in their order: text, or where the value is from."""
    return [{"name": name, **({"value": each} if isinstance(each, str) else each)} for name, each in values.items()]


def shown(name: str, *command: str, **more: Any) -> Obj:
    """A container that prints what it is given. Not a shell's: that leaves out the names which it cannot use."""
    return container("", name, **{"command": list(command or ("env",)), **more})


PREPARED = (
    config_map("settings", **{"data_1": "value-1", "data-2": "value-2"}),
    secret("keys", **{"data_1": "secret-1", "data-2": "secret-2"}),
    {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "fooservice"},
        "spec": {"ports": [{"port": 8765, "targetPort": 8080}], "selector": {"name": "nobody"}},
    },
)  # fmt: skip
PODS = (
    pod(
        "variables",
        shown("config-key", env=env(A={"valueFrom": {"configMapKeyRef": {"name": "settings", "key": "data_1"}}})),
        shown("config-all", envFrom=[{"configMapRef": {"name": "settings"}}]),
        shown("config-prefixes", envFrom=[{"prefix": p, "configMapRef": {"name": "settings"}} for p in PREFIXES]),
        shown("secret-key", env=env(A={"valueFrom": {"secretKeyRef": {"name": "keys", "key": "data_1"}}})),
        shown("secret-all", envFrom=[{"secretRef": {"name": "keys"}}]),
        shown("secret-prefixes", envFrom=[{"prefix": p, "secretRef": {"name": "keys"}} for p in PREFIXES]),
        shown(
            "fields",
            env=env(
                NAME=of_field("metadata.name"), NAMESPACE=of_field("metadata.namespace"), UID=of_field("metadata.uid"),
                IP=of_field("status.podIP"), HOST=of_field("status.hostIP"), HOSTS=of_field("status.hostIPs"),
            ),
        ),
        shown(
            "resources",
            resources={
                "requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"},
            },
            env=env(
                CPU_LIMIT=of_resource("limits.cpu"), MEMORY_LIMIT=of_resource("limits.memory"),
                CPU_REQUEST=of_resource("requests.cpu", "1m"), MEMORY_REQUEST=of_resource("requests.memory", "1Mi"),
            ),
        ),
        shown(
            "no-limits",
            env=env(CPU_LIMIT=of_resource("limits.cpu"), MEMORY_LIMIT=of_resource("limits.memory")),
        ),
        shown("composed", env=env(FOO="foo-value", BAR="bar-value", FOOBAR="$(FOO);;$(BAR)", ESCAPED="$$(FOO)")),
        shown("in-command", "echo", "$(GREETING)", env=env(GREETING="test-value")),
        shown("in-args", command=["echo"], args=["$(GREETING)"], env=env(GREETING="test-value")),
        enableServiceLinks=True,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def variables(room: Room) -> Obj:
    """The pod, whose containers have printed what they are given."""
    return room.ended("variables")


def environment(room: Room, name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in room.log("variables", name).splitlines())


def test_of_config_maps(room: Room, variables: Obj) -> None:
    """ConfigMap should be consumable via environment variable [NodeConformance]; ConfigMap should be consumable via the
    environment [NodeConformance]; ConfigMap should be consumable as environment variable names with various prefixes"""
    assert environment(room, "config-key")["A"] == "value-1"
    every = environment(room, "config-all")
    assert (every["data_1"], every["data-2"]) == ("value-1", "value-2")
    prefixed = environment(room, "config-prefixes")
    assert {f"{p}data_1": prefixed.get(f"{p}data_1") for p in PREFIXES} == {f"{p}data_1": "value-1" for p in PREFIXES}


def test_of_secrets(room: Room, variables: Obj) -> None:
    """Secrets should be consumable from pods in env vars [NodeConformance]; Secrets should be consumable via the
    environment [NodeConformance]; Secrets should be consumable as environment variable names variable names with
    various prefixes"""
    assert environment(room, "secret-key")["A"] == "secret-1"
    every = environment(room, "secret-all")
    assert (every["data_1"], every["data-2"]) == ("secret-1", "secret-2")
    prefixed = environment(room, "secret-prefixes")
    assert {f"{p}data-2": prefixed.get(f"{p}data-2") for p in PREFIXES} == {f"{p}data-2": "secret-2" for p in PREFIXES}


def test_of_the_pod_itself(room: Room, variables: Obj) -> None:
    """Downward API should provide pod name, namespace and IP address as env vars [NodeConformance]; Downward API should
    provide host IP as an env var [NodeConformance]; Downward API should provide hostIPs as an env var
    [NodeConformance]; Downward API should provide pod UID as env vars [NodeConformance]"""
    given, status = environment(room, "fields"), variables["status"]
    assert (given["NAME"], given["NAMESPACE"]) == ("variables", room.namespace)
    assert given["UID"] == variables["metadata"]["uid"]
    # A pod that has ended has no address any more.
    assert given["IP"] in {ip for _, seen in room.seen["variables"] for ip in [seen["status"].get("podIP")] if ip}
    assert given["HOST"] == status["hostIP"]
    assert given["HOSTS"] == ",".join(each["ip"] for each in status["hostIPs"])


def test_of_the_containers_resources(room: Room, variables: Obj) -> None:
    """Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars
    [NodeConformance]"""
    given = environment(room, "resources")
    assert (given["CPU_LIMIT"], given["CPU_REQUEST"]) == ("2", "250")  # in whole divisors, rounded up
    assert (given["MEMORY_LIMIT"], given["MEMORY_REQUEST"]) == (str(64 * MEBIBYTE), "32")


def test_of_the_node_where_the_container_has_no_limits(room: Room, variables: Obj) -> None:
    """Downward API should provide default limits.cpu/memory from node allocatable [NodeConformance]"""
    given = environment(room, "no-limits")
    node = room.api("GET", f"/api/v1/nodes/{variables['spec']['nodeName']}")["status"]["allocatable"]
    assert given["CPU_LIMIT"] == str(quantity.value(node["cpu"]))
    assert given["MEMORY_LIMIT"] == str(quantity.value(node["memory"]))


def test_of_services(room: Room, variables: Obj) -> None:
    """Pods should contain environment variables for services [NodeConformance]"""
    address = room.api("GET", room.path("services", "fooservice"))["spec"]["clusterIP"]
    given = environment(room, "config-key")
    assert {name: value for name, value in given.items() if name.startswith("FOOSERVICE_")} == {
        "FOOSERVICE_SERVICE_HOST": address,
        "FOOSERVICE_SERVICE_PORT": "8765",
        "FOOSERVICE_PORT": f"tcp://{address}:8765",
        "FOOSERVICE_PORT_8765_TCP": f"tcp://{address}:8765",
        "FOOSERVICE_PORT_8765_TCP_PROTO": "tcp",
        "FOOSERVICE_PORT_8765_TCP_PORT": "8765",
        "FOOSERVICE_PORT_8765_TCP_ADDR": address,
    }


def test_made_of_one_another(room: Room, variables: Obj) -> None:
    """Variable Expansion should allow composing env vars into new env vars [NodeConformance]"""
    given = environment(room, "composed")
    assert (given["FOOBAR"], given["ESCAPED"]) == ("foo-value;;bar-value", "$(FOO)")


def test_put_into_commands_and_arguments(room: Room, variables: Obj) -> None:
    """Variable Expansion should allow substituting values in a container's command [NodeConformance]; Variable
    Expansion should allow substituting values in a container's args [NodeConformance]"""
    assert room.log("variables", "in-command") == "test-value\n"
    assert room.log("variables", "in-args") == "test-value\n"
