"""The whole agent: what admission refuses fails with the kubelet's reason and never gets a sandbox."""

from __future__ import annotations

from typing import Any

from sampan.api.resources import NODES

CPU = {"resources": {"requests": {"cpu": "3"}}}


async def refused(node: Any, name: str, reason: str, text: str) -> None:
    found = await node.failed(name)
    assert found == (reason, f"Pod was rejected: {text}")
    assert await node.event(name, reason) == text
    assert await node.runtime.list_sandboxes() == []


async def test_an_unsafe_sysctl_fails_the_pod(node: Any) -> None:
    await node.add_pod("sysctl", securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]})
    await refused(node, "sysctl", "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted')


async def test_a_windows_pod_fails(node: Any) -> None:
    await node.add_pod("winos", os={"name": "windows"})
    await refused(node, "winos", "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")


async def test_a_pod_that_selects_other_nodes_fails(node: Any) -> None:
    await node.add_pod("nsel", nodeSelector={"nope": "x"})
    text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    await refused(node, "nsel", "NodeAffinity", text)


async def test_strict_groups_fail_the_pod(node: Any) -> None:
    await node.add_pod("strict", securityContext={"supplementalGroupsPolicy": "Strict", "supplementalGroups": [60000]})
    text = "SupplementalGroupsPolicy=Strict is not supported in this node"
    await refused(node, "strict", "SupplementalGroupsPolicyNotSupported", text)


async def test_a_label_that_came_just_before_the_pod_is_seen(node: Any) -> None:
    """The agent looks at its Node every ten seconds only: before it refuses, it looks again."""
    await node.client.patch(NODES, "n1", {"metadata": {"labels": {"disk": "fast"}}})
    assert "disk" not in node.agent.registration.node["metadata"]["labels"]
    await node.add_pod("fast", nodeSelector={"disk": "fast"})
    await node.running("fast")


async def test_a_taint_that_went_just_before_the_pod_came_is_seen_to_be_gone(node: Any) -> None:
    taints = [{"key": "maintenance", "effect": "NoExecute"}]
    await node.client.patch(NODES, "n1", {"spec": {"taints": taints}})
    await node.agent.registration.refresh()
    await node.client.patch(NODES, "n1", {"spec": {"taints": []}})
    assert node.agent.registration.node["spec"]["taints"]
    await node.add_pod("after")
    await node.running("after")


async def test_what_was_refused_takes_nothing_of_the_node(node: Any) -> None:
    for number in range(3):
        await node.add_pod(f"bad-{number}", CPU, os={"name": "windows"})
    await node.add_pod("good", CPU)
    await node.running("good")
    await node.add_pod("late", CPU)
    reason, _ = await node.failed("late")
    assert reason == "OutOfcpu"


async def test_an_agent_that_begins_again_keeps_what_ran_and_refuses_who_came_later(node: Any) -> None:
    """The newcomer has the first name, so that the list of pods has it first; and the node has changed meanwhile."""
    await node.add_pod("b-first", CPU, nodeSelector={"kubernetes.io/os": "linux"})
    await node.running("b-first")
    await node.stop()
    taints = [{"key": "maintenance", "effect": "NoExecute"}]
    await node.client.patch(NODES, "n1", {"spec": {"taints": taints}})
    await node.add_pod("a-second", CPU, tolerations=[{"operator": "Exists"}])
    await node.start()
    assert (await node.failed("a-second"))[0] == "OutOfcpu"
    assert (await node.status("b-first"))["phase"] == "Running"
    assert len(await node.runtime.list_sandboxes()) == 1


async def test_after_a_reboot_pods_that_were_taken_before_come_first(node: Any) -> None:
    await node.add_pod("b-first", CPU)
    await node.running("b-first")
    await node.stop()
    for sandbox in await node.runtime.list_sandboxes():
        await node.runtime.remove_sandbox(sandbox.id)
    await node.add_pod("a-second", CPU)
    await node.start()
    assert (await node.failed("a-second"))[0] == "OutOfcpu"
    await node.running("b-first")
