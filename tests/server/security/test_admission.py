"""The default admission plugins: what they complete and what they refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import ApiError, Forbidden, NotFound
from sampan.api.resources import (
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    RUNTIME_CLASSES,
    SERVICE_ACCOUNTS,
    STORAGE_CLASSES,
)
from sampan.server.admission.base import Plugin
from sampan.server.admission.chain import AdmissionChain, build_chain
from sampan.server.admission.limit_ranger import LimitRanger
from sampan.server.admission.namespace_lifecycle import NamespaceLifecycle
from sampan.server.admission.node_restriction import NodeRestriction
from sampan.server.admission.pod_defaults import DefaultTolerationSeconds, TaintNodesByCondition
from sampan.server.admission.priority import Priority
from sampan.server.admission.runtime_class import RuntimeClass
from sampan.server.admission.service_account import ServiceAccount
from sampan.server.admission.services import DenyServiceExternalIPs
from sampan.server.admission.storage import DefaultStorageClass
from sampan.server.attributes import AdmissionAttributes
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.request import UserInfo

WriteOf = Callable[..., AdmissionAttributes]
NODE_A = UserInfo("system:node:a", ("system:nodes", "system:authenticated"))


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "c"}], **spec}}


async def refusal(plugin: Plugin, attributes: AdmissionAttributes) -> str:
    with pytest.raises(ApiError) as caught:
        await plugin.admit(attributes)
        await plugin.validate(attributes)
    return caught.value.message


async def test_nothing_is_made_in_a_missing_namespace(reader: Any, write: WriteOf) -> None:
    with pytest.raises(NotFound, match='namespaces "ns" not found'):
        await NamespaceLifecycle(reader).admit(write("pods", pod()))


async def test_nothing_is_made_in_a_namespace_that_goes(reader: Any, write: WriteOf) -> None:
    reader.put(NAMESPACES, {"metadata": {"name": "ns"}, "status": {"phase": "Terminating"}})
    with pytest.raises(Forbidden) as caught:
        await NamespaceLifecycle(reader).admit(write("pods", pod()))
    assert caught.value.message == (
        'pods "p" is forbidden: unable to create new content in namespace ns because it is being terminated'
    )
    assert caught.value.cause("NamespaceTerminating") == {
        "reason": "NamespaceTerminating",
        "message": "namespace ns is being terminated",
        "field": "metadata.namespace",
    }
    await NamespaceLifecycle(reader).admit(write("pods", pod(), operation="UPDATE"))
    await NamespaceLifecycle(reader).admit(write("pods", None, old=pod(), operation="DELETE"))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_never_go(reader: Any, write: WriteOf, name: str) -> None:
    old = {"metadata": {"name": name}}
    attributes = write("namespaces", None, old=old, operation="DELETE")
    text = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    assert await refusal(NamespaceLifecycle(reader), attributes) == text


async def test_a_pod_gets_account_token_and_pull_secrets(reader: Any, seeded: Any, write: WriteOf) -> None:
    account = {"metadata": {"name": "default", "namespace": "ns"}, "imagePullSecrets": [{"name": "r"}]}
    reader.put(SERVICE_ACCOUNTS, account)
    created = pod(initContainers=[{"name": "i"}])
    await ServiceAccount(reader, seeded).admit(write("pods", created))
    spec = created["spec"]
    assert (spec["serviceAccountName"], spec["imagePullSecrets"]) == ("default", [{"name": "r"}])
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert volume["projected"]["sources"][0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    for container in (spec["containers"][0], spec["initContainers"][0]):
        (mount,) = container["volumeMounts"]
        assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
        assert mount["name"] == volume["name"]


@pytest.mark.parametrize(("in_pod", "in_account", "mounted"), [(None, False, 0), (True, False, 1), (False, None, 0)])
async def test_the_pod_decides_on_its_token_before_the_account(
    reader: Any, seeded: Any, write: WriteOf, in_pod: bool | None, in_account: bool | None, mounted: int
) -> None:
    account: dict[str, Any] = {"metadata": {"name": "default", "namespace": "ns"}}
    if in_account is not None:
        account["automountServiceAccountToken"] = in_account
    reader.put(SERVICE_ACCOUNTS, account)
    created = pod() if in_pod is None else pod(automountServiceAccountToken=in_pod)
    await ServiceAccount(reader, seeded).admit(write("pods", created))
    assert len(created["spec"].get("volumes") or ()) == mounted


async def test_a_missing_account_is_refused(reader: Any, seeded: Any, write: WriteOf) -> None:
    attributes = write("pods", pod(serviceAccountName="x"))
    assert await refusal(ServiceAccount(reader, seeded), attributes) == (
        'pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found'
    )


async def test_a_pod_waits_for_the_default_account_of_its_new_namespace(
    reader: Any, seeded: Any, write: WriteOf
) -> None:
    created = pod()
    waiting = asyncio.create_task(ServiceAccount(reader, seeded).admit(write("pods", created)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert reader.subscribers(SERVICE_ACCOUNTS)
    reader.put(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "other"}})
    reader.put(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}})
    await waiting
    assert created["spec"]["serviceAccountName"] == "default"
    assert not reader.subscribers(SERVICE_ACCOUNTS)


async def test_a_default_account_that_never_comes_is_refused(
    reader: Any, seeded: Any, write: WriteOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.admission.service_account.DEFAULT_ACCOUNT_WAIT_SECONDS", 0)
    assert 'serviceaccount "default" not found' in await refusal(ServiceAccount(reader, seeded), write("pods", pod()))
    assert not reader.subscribers(SERVICE_ACCOUNTS)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "x"}}]},
            'volume with secret.secretName="x" is not allowed',
        ),
        (
            {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "x"}}]}]},
            'container c with envFrom referencing secret.secretName="x" is not allowed',
        ),
        (
            {"initContainers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "x"}}}]}]},
            'init container c with envVar E referencing secret.secretName="x" is not allowed',
        ),
        ({"imagePullSecrets": [{"name": "x"}]}, 'imagePullSecrets[0].name="x" is not allowed'),
    ],
)
async def test_an_account_may_limit_the_secrets_of_its_pods(
    reader: Any, seeded: Any, write: WriteOf, spec: dict[str, Any], text: str
) -> None:
    meta = {"name": "default", "namespace": "ns", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}
    reader.put(SERVICE_ACCOUNTS, {"metadata": meta, "secrets": [{"name": "y"}]})
    plugin = ServiceAccount(reader, seeded)
    assert text in await refusal(plugin, write("pods", pod(**spec)))
    allowed = pod(volumes=[{"name": "v", "secret": {"secretName": "y"}}])
    await plugin.admit(write("pods", allowed))
    await plugin.validate(write("pods", allowed))


async def test_tolerations_are_added_unless_the_pod_speaks_of_them(write: WriteOf) -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    created = pod(tolerations=[own])
    await DefaultTolerationSeconds().admit(write("pods", created))
    first, second = created["spec"]["tolerations"]
    assert first == own
    assert (second["key"], second["tolerationSeconds"]) == ("node.kubernetes.io/unreachable", 300)
    tolerant = pod(tolerations=[{"operator": "Exists"}])
    await DefaultTolerationSeconds().admit(write("pods", tolerant))
    assert len(tolerant["spec"]["tolerations"]) == 1


async def test_a_new_node_is_tainted(write: WriteOf) -> None:
    node: dict[str, Any] = {"metadata": {"name": "n"}}
    await TaintNodesByCondition().admit(write("nodes", node))
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_priority_comes_from_the_class(reader: Any, write: WriteOf) -> None:
    reader.put(PRIORITY_CLASSES, {"metadata": {"name": "high"}, "value": 7, "preemptionPolicy": "Never"})
    created = pod(priorityClassName="high")
    await Priority(reader).admit(write("pods", created))
    assert (created["spec"]["priority"], created["spec"]["preemptionPolicy"]) == (7, "Never")
    plain = pod()
    await Priority(reader).admit(write("pods", plain))
    assert plain["spec"]["priority"] == 0
    missing = await refusal(Priority(reader), write("pods", pod(priorityClassName="zz")))
    assert missing == 'pods "p" is forbidden: no PriorityClass with name zz was found'
    stated = await refusal(Priority(reader), write("pods", pod(priority=3)))
    assert "the integer value of priority (3) must not be provided in pod spec" in stated


async def test_only_one_class_is_the_default(reader: Any, write: WriteOf) -> None:
    reader.put(PRIORITY_CLASSES, {"metadata": {"name": "one"}, "value": 1, "globalDefault": True})
    second = {"metadata": {"name": "two"}, "value": 2, "globalDefault": True}
    attributes = write("priorityclasses", second, group="scheduling.k8s.io")
    assert "PriorityClass one is already marked as default" in await refusal(Priority(reader), attributes)


async def test_limit_ranges_complete_and_refuse(reader: Any, write: WriteOf) -> None:
    limits = {
        "type": "Container",
        "default": {"cpu": "500m"},
        "defaultRequest": {"cpu": "100m"},
        "max": {"cpu": "1"},
        "min": {"cpu": "50m"},
    }
    reader.put(LIMIT_RANGES, {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": [limits]}})
    created = pod()
    plugin = LimitRanger(reader)
    await plugin.admit(write("pods", created))
    assert created["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}
    assert created["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    }
    await plugin.validate(write("pods", created))
    greedy = pod(containers=[{"name": "c", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "10m"}}}])
    assert await refusal(plugin, write("pods", greedy)) == (
        'pods "p" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, '
        "maximum cpu usage per Container is 1, but limit is 2]"
    )


async def test_a_resize_stays_within_the_limit_ranges(reader: Any, write: WriteOf) -> None:
    limits = {"type": "Container", "max": {"cpu": "1"}}
    reader.put(LIMIT_RANGES, {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": [limits]}})
    old, new = (pod(containers=[{"name": "c", "resources": {"limits": {"cpu": cpu}}}]) for cpu in ("1", "2"))
    resize = write("pods", new, old=old, operation="UPDATE", subresource="resize")
    text = 'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
    assert await refusal(LimitRanger(reader), resize) == text
    await LimitRanger(reader).validate(write("pods", new, old=old, operation="UPDATE"))


async def test_a_claim_gets_the_newest_default_class(reader: Any, write: WriteOf) -> None:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    for name, created in (("old", "2025-01-01T00:00:00Z"), ("new", "2026-01-01T00:00:00Z")):
        meta = {"name": name, "creationTimestamp": created, "annotations": annotations}
        reader.put(STORAGE_CLASSES, {"metadata": meta})
    claim: dict[str, Any] = {"metadata": {"name": "c", "namespace": "ns"}, "spec": {}}
    await DefaultStorageClass(reader).admit(write("persistentvolumeclaims", claim))
    assert claim["spec"]["storageClassName"] == "new"
    unset: dict[str, Any] = {"metadata": {"name": "c", "namespace": "ns"}, "spec": {"storageClassName": ""}}
    await DefaultStorageClass(reader).admit(write("persistentvolumeclaims", unset))
    assert unset["spec"]["storageClassName"] == ""


async def test_external_ips_are_denied_but_may_stay(write: WriteOf) -> None:
    service = {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"externalIPs": ["192.0.2.1"]}}
    text = 'services "s" is forbidden: Use of external IPs is denied by admission control.'
    assert await refusal(DenyServiceExternalIPs(), write("services", service)) == text
    await DenyServiceExternalIPs().validate(write("services", service, old=service, operation="UPDATE"))


async def test_a_runtime_class_brings_overhead_and_constraints(reader: Any, write: WriteOf) -> None:
    scheduling = {"nodeSelector": {"vm": "yes"}}
    overhead = {"podFixed": {"cpu": "1m"}}
    reader.put(RUNTIME_CLASSES, {"metadata": {"name": "vm"}, "overhead": overhead, "scheduling": scheduling})
    created = pod(runtimeClassName="vm", nodeSelector={"a": "b"})
    await RuntimeClass(reader).admit(write("pods", created))
    assert created["spec"]["overhead"] == {"cpu": "1m"}
    assert created["spec"]["nodeSelector"] == {"a": "b", "vm": "yes"}
    text = 'pods "p" is forbidden: pod rejected: RuntimeClass "zz" not found'
    assert await refusal(RuntimeClass(reader), write("pods", pod(runtimeClassName="zz"))) == text


def mirror(**spec: Any) -> dict[str, Any]:
    made = pod(nodeName="a", **spec)
    made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "node-a", "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    return made


def node(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **more.pop("metadata", {})}, **more}


@pytest.mark.parametrize(
    ("plural", "keywords", "text"),
    [
        ("pods", {"obj": pod(nodeName="a")}, "can only create mirror pods"),
        ("pods", {"obj": mirror(serviceAccountName="x")}, "that reference serviceaccounts"),
        ("pods", {"obj": mirror(volumes=[{"name": "v", "secret": {"secretName": "s"}}])}, "that reference secrets"),
        ("pods", {"obj": mirror(ephemeralContainers=[{"envFrom": [{"configMapRef": {"name": "s"}}]}])}, "configmaps"),
        ("pods", {"obj": {**mirror(), "spec": {"nodeName": "b"}}}, "spec.nodeName set to itself"),
        ("pods", {"obj": None, "old": pod(nodeName="b"), "operation": "DELETE"}, "can only delete pods"),
        ("nodes", {"obj": node("b")}, 'not allowed to modify node "b"'),
        ("nodes", {"obj": {"metadata": {"generateName": "a"}}}, 'not allowed to modify node ""'),
        (
            "nodes",
            {"obj": node("a", spec={"taints": []}), "old": node("a", spec={"taints": [{}]}), "operation": "UPDATE"},
            "modify taints",
        ),
        (
            "nodes",
            {"obj": node("a", metadata={"labels": {"node-restriction.kubernetes.io/x": "1"}})},
            "not allowed to set the following labels: node-restriction.kubernetes.io/x",
        ),
        (
            "nodes",
            {"obj": node("a", metadata={"labels": {"node-role.kubernetes.io/x": "1"}})},
            "set the following labels",
        ),
        (
            "nodes",
            {"obj": node("a", metadata={"ownerReferences": [{}]}), "old": node("a"), "operation": "UPDATE"},
            "modify ownerReferences",
        ),
        ("serviceaccounts", {"obj": {"spec": {}}, "subresource": "token", "name": "s"}, "not bound to a pod"),
    ],
)
async def test_a_node_is_kept_to_itself(
    reader: Any, write: WriteOf, plural: str, keywords: dict[str, Any], text: str
) -> None:
    reader.put(NODES, node("a", metadata={"uid": "node-a"}))
    assert text in await refusal(
        NodeRestriction(reader, RbacAuthorizer(reader)), write(plural, **keywords, user=NODE_A)
    )


async def test_a_node_may_do_its_work(reader: Any, write: WriteOf) -> None:
    plugin = NodeRestriction(reader, RbacAuthorizer(reader))
    reader.put(NODES, node("a", metadata={"uid": "node-a"}))
    token = {"serviceAccountToken": {"path": "t"}}
    running = {"nodeName": "a", "volumes": [{"name": "t", "projected": {"sources": [token]}}]}
    reader.put(PODS, {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": running})
    await plugin.admit(write("pods", mirror(), user=NODE_A))
    labels = {"labels": {"kubernetes.io/hostname": "a", "example.com/x": "1"}}
    await plugin.admit(write("nodes", node("a", metadata=labels), user=NODE_A))
    bound = pod(nodeName="a")
    await plugin.admit(write("pods", bound, old=bound, operation="UPDATE", subresource="status", user=NODE_A))
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u"}
    wanted = {"spec": {"boundObjectRef": reference}}
    await plugin.admit(write("serviceaccounts", wanted, subresource="token", name="s", namespace="ns", user=NODE_A))


def chain(reader: Any, seeded: Any, **switches: Any) -> AdmissionChain:
    rbac = RbacAuthorizer(reader)
    return build_chain(reader, rbac, rbac, seeded, **switches)


def test_plugins_can_be_switched_but_not_misspelt(reader: Any, seeded: Any) -> None:
    assert "Priority" not in chain(reader, seeded, disable=["Priority"]).names
    assert "AlwaysPullImages" in chain(reader, seeded, enable=["AlwaysPullImages"]).names
    assert chain(reader, seeded).names[-2:] == ("RBACEscalationCheck", "ResourceQuota")
    with pytest.raises(ValueError, match="Priorty"):
        chain(reader, seeded, disable=["Priorty"])


async def test_what_plugins_have_at_hand_follows_the_cache(
    reader: Any, seeded: Any, write: WriteOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.admission.service_account.DEFAULT_ACCOUNT_WAIT_SECONDS", 0)
    priority, ranger, accounts = Priority(reader), LimitRanger(reader), ServiceAccount(reader, seeded)
    reader.put(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}})
    first = pod()
    for plugin in (priority, ranger, accounts):
        await plugin.admit(write("pods", first))
    assert first["spec"]["priority"] == 0
    limits = {"type": "Container", "default": {"cpu": "1"}}
    reader.put(LIMIT_RANGES, {"metadata": {"name": "l", "namespace": "ns"}, "spec": {"limits": [limits]}})
    reader.put(PRIORITY_CLASSES, {"metadata": {"name": "high"}, "value": 7, "globalDefault": True})
    pulls = [{"name": "r"}]
    reader.put(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}, "imagePullSecrets": pulls})
    second = pod()
    for plugin in (priority, ranger, accounts):
        await plugin.admit(write("pods", second))
    assert (second["spec"]["priority"], second["spec"]["imagePullSecrets"]) == (7, pulls)
    assert second["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    reader.remove(LIMIT_RANGES, "ns", "l")
    reader.remove(PRIORITY_CLASSES, "", "high")
    reader.remove(SERVICE_ACCOUNTS, "ns", "default")
    third = pod()
    for plugin in (priority, ranger):
        await plugin.admit(write("pods", third))
    assert third["spec"]["priority"] == 0
    assert "resources" not in third["spec"]["containers"][0]
    assert 'serviceaccount "default" not found' in await refusal(accounts, write("pods", pod()))
