from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.node_status import describe_conditions
from sampan.node.pods import render, resources, security
from sampan.node.pods.messages import read_termination_message

CONFIG = NodeConfig(node_name="n", addresses=("192.0.2.1",), cluster_dns=("10.96.0.10",))
HOST = render.parse_resolv_conf("# c\nnameserver 1.1.1.1\nsearch corp example\noptions timeout:1\n")
ROOT_IMAGE = runtime.Image("i", ("i:1",), (), 1)


def pod(container: Any = None, **extra: Any) -> Any:
    return {
        "metadata": {"name": "web-0", "namespace": "d", "uid": "u"},
        "spec": {"containers": [{"name": "main", "image": "i", **(container or {})}], **extra},
    }


def test_cluster_first_puts_the_cluster_in_front() -> None:
    dns = render.pod_dns(pod(), CONFIG, HOST)
    assert dns.servers == ("10.96.0.10",)
    assert dns.searches == ("d.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp", "example")
    assert dns.options == ("ndots:5",)


def test_host_network_pods_use_the_node_unless_they_say_otherwise() -> None:
    assert render.pod_dns(pod(hostNetwork=True), CONFIG, HOST).servers == ("1.1.1.1",)
    both = pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    assert render.pod_dns(both, CONFIG, HOST).servers == ("10.96.0.10",)


def test_dns_config_is_added_and_none_starts_empty() -> None:
    config = {"nameservers": ["9.9.9.9"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}]}
    dns = render.pod_dns(pod(dnsPolicy="None", dnsConfig=config), CONFIG, HOST)
    assert dns == runtime.DnsConfig(("9.9.9.9",), ("x",), ("ndots:2",))
    assert render.pod_dns(pod(dnsConfig=config), CONFIG, HOST).options == ("ndots:2",)


def test_hosts_file_has_the_full_name_and_aliases() -> None:
    named = pod(hostname="web-0", subdomain="web", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])
    text = render.render_hosts(named, ["10.0.0.5"], CONFIG)
    assert "10.0.0.5\tweb-0.web.d.svc.cluster.local\tweb-0\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


def test_long_hostnames_are_cut_at_63() -> None:
    long = pod()
    long["metadata"]["name"] = "a" * 62 + ".b"
    assert render.hostname(long) == "a" * 62


def test_cpu_and_memory_become_shares_quota_and_limit() -> None:
    limited = pod({"resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}})
    made = resources.container_resources(limited, limited["spec"]["containers"][0], 1 << 30)
    assert (made.cpu_shares, made.cpu_quota, made.cpu_period) == (256, 50_000, 100_000)
    assert made.memory_limit_bytes == 64 << 20
    assert made.oom_score_adj == 1000 - 1000 * (64 << 20) // (1 << 30)
    assert resources.oom_score_adj(pod(), {}, 1 << 30) == 1000


def test_the_containers_security_context_wins() -> None:
    mixed = pod(
        {"securityContext": {"runAsUser": 7, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                             "allowPrivilegeEscalation": False}},
        securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4],
                         "seccompProfile": {"type": "RuntimeDefault"}},
    )  # fmt: skip
    made = security.container_security(mixed, mixed["spec"]["containers"][0], ROOT_IMAGE)
    assert (made.run_as_user, made.run_as_group, made.supplemental_groups) == (7, 2, (4, 3))
    assert made.add_capabilities == ("NET_ADMIN",) and made.drop_capabilities == ("ALL",)
    assert made.no_new_privs and made.seccomp == runtime.SecurityProfile("RuntimeDefault")
    assert "/proc/kcore" in made.masked_paths


def test_privileged_unmasks_and_namespaces_follow_the_pod() -> None:
    open_pod = pod({"securityContext": {"privileged": True}}, hostNetwork=True, hostPID=True)
    made = security.container_security(open_pod, open_pod["spec"]["containers"][0], ROOT_IMAGE)
    assert made.privileged and made.masked_paths == ()
    assert made.namespaces == runtime.Namespaces("node", "node", "pod")
    assert security.namespaces(pod(shareProcessNamespace=True)).pid == "pod"


@pytest.mark.parametrize(
    ("context", "image", "message"),
    [
        ({"runAsNonRoot": True}, ROOT_IMAGE, "container has runAsNonRoot and image will run as root"),
        ({"runAsNonRoot": True, "runAsUser": 0}, ROOT_IMAGE, "container's runAsUser breaks non-root policy"),
        (
            {"runAsNonRoot": True},
            runtime.Image("i", (), (), 1, username="app"),
            "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
        ),
    ],
)
def test_run_as_non_root_is_verified(context: Any, image: runtime.Image, message: str) -> None:
    strict = pod({"securityContext": context})
    with pytest.raises(security.RunAsRootError) as caught:
        security.verify_run_as_non_root(strict, strict["spec"]["containers"][0], image)
    assert str(caught.value).startswith(message)
    assert '(pod: "web-0_d(u)", container: main)' in str(caught.value)


async def test_termination_messages_are_cut_and_fall_back_to_the_log() -> None:
    from datetime import UTC, datetime

    host, file, log = MemoryHost(hollow_machine("n")), Path("/pods/message"), Path("/logs/0.log")
    await host.write(file, b"x" * 5000, 0o666)
    await host.write(log, b"2026-01-01T00:00:00Z stderr F one\n2026-01-01T00:00:00Z stderr F two\n", 0o640)
    ended = runtime.Container(
        id="c", name="c", attempt=0, state="exited", created_at=datetime(2026, 1, 1, tzinfo=UTC), exit_code=1,
        log_path=str(log),
        annotations={"io.kubernetes.container.terminationMessagePolicy": "FallbackToLogsOnError"},
    )  # fmt: skip
    assert len(read_termination_message(host, ended, file)) == 4096
    assert read_termination_message(host, ended, Path("/absent")) == "one\ntwo\n"


def test_runtime_conditions_are_told_in_the_kubelets_words() -> None:
    down = runtime.RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", "cni")
    assert describe_conditions([down]) == (
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni"
    )
