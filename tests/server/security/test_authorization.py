"""RBAC, the node authorizer, and not granting what one does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import Forbidden
from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS, ROLE_BINDINGS, ROLES
from sampan.server.admission.escalation import RbacEscalationCheck
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes
from sampan.server.authz.aggregation import aggregate
from sampan.server.authz.messages import forbidden
from sampan.server.authz.node import NodeAuthorizer
from sampan.server.authz.policy.notation import binding, parse_rule, role
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.authz.rules import allows
from sampan.server.authz.union import UnionAuthorizer
from sampan.server.bootstrap import objects
from sampan.server.request import UserInfo

ALICE = UserInfo("alice", ("system:authenticated",))


def question(verb: str, resource: str, namespace: str = "", name: str = "", **rest: Any) -> AuthorizationAttributes:
    user = rest.pop("user", ALICE)
    resource, _, subresource = resource.partition("/")
    return AuthorizationAttributes(
        user, verb, rest.pop("group", ""), "v1", resource, subresource, namespace, name, **rest
    )


@pytest.mark.parametrize(
    ("rule", "asked", "answer"),
    [
        ("get | core | pods", question("get", "pods"), True),
        ("get | core | pods", question("get", "pods/log"), False),
        ("get | core | pods/log", question("get", "pods/log"), True),
        ("get | core | */scale", question("get", "deployments/scale"), True),
        ("* | * | *", question("delete", "nodes/proxy", group="x"), True),
        ("get | apps | pods", question("get", "pods"), False),
        ("get | core | secrets | a", question("get", "secrets", name="a"), True),
        ("get | core | secrets | a", question("list", "secrets"), False),
        ("get | core | secrets | a", question("get", "secrets", name="b"), False),
        ("get | /healthz/*", AuthorizationAttributes(ALICE, "get", path="/healthz/etcd"), True),
        ("get | /healthz", AuthorizationAttributes(ALICE, "get", path="/healthz/etcd"), False),
        ("* | * | *", AuthorizationAttributes(ALICE, "get", path="/metrics"), False),
    ],
)
def test_rules(rule: str, asked: AuthorizationAttributes, answer: bool) -> None:
    assert allows(parse_rule(rule), asked) is answer


@pytest.fixture
def rbac(reader: Any) -> RbacAuthorizer:
    made = RbacAuthorizer(reader)
    made.start()
    return made


async def test_bindings_grant_in_their_scope_and_at_once(rbac: RbacAuthorizer, reader: Any) -> None:
    asked = question("list", "pods", "ns")
    assert not rbac.decide_now(asked).allowed
    reader.put(CLUSTER_ROLES, role("reader", "list | core | pods"))
    reader.put(ROLE_BINDINGS, binding("b", "reader", "User:alice", namespace="ns"))
    decision = rbac.decide_now(asked)
    assert decision.allowed
    assert decision.reason == 'RBAC: allowed by RoleBinding "b/ns" of ClusterRole "reader" to User "alice"'
    assert not rbac.decide_now(question("list", "pods", "other")).allowed
    assert not rbac.decide_now(question("list", "pods")).allowed
    reader.remove(ROLE_BINDINGS, "ns", "b")
    assert not rbac.decide_now(asked).allowed


async def test_accounts_and_groups_are_subjects(rbac: RbacAuthorizer, reader: Any) -> None:
    reader.put(CLUSTER_ROLES, role("reader", "list | core | pods"))
    reader.put(CLUSTER_ROLE_BINDINGS, binding("b", "reader", "ServiceAccount:ns/sa", "Group:devs"))
    for user in (UserInfo("system:serviceaccount:ns:sa"), UserInfo("x", ("devs",))):
        assert rbac.decide_now(question("list", "pods", user=user)).allowed


async def test_masters_may_everything_and_a_missing_role_is_named(rbac: RbacAuthorizer, reader: Any) -> None:
    union = UnionAuthorizer([rbac])
    assert (await union.authorize(question("x", "y", user=UserInfo("r", ("system:masters",))))).allowed
    reader.put(CLUSTER_ROLE_BINDINGS, binding("b", "gone", "User:alice"))
    decision = await union.authorize(question("list", "pods"))
    assert decision.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'


def test_refusals_are_worded_as_upstream() -> None:
    user = UserInfo("x")
    assert forbidden(question("list", "pods", "default", user=user)).message == (
        'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert forbidden(question("get", "nodes/proxy", name="n", user=user)).message == (
        'nodes "n" is forbidden: User "x" cannot get resource "nodes/proxy" in API group "" at the cluster scope'
    )
    text = 'forbidden: User "x" cannot get path "/metrics"'
    assert forbidden(AuthorizationAttributes(user, "get", path="/metrics")).message == text


NODE_A = UserInfo("system:node:a", ("system:nodes", "system:authenticated"))


def pod(name: str, node: str, secret: str) -> dict[str, Any]:
    source = {"name": "E", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}
    spec = {"nodeName": node, "serviceAccountName": f"sa-{name}", "initContainers": [{"name": "i", "env": [source]}]}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (question("get", "secrets", "ns", "mine", user=NODE_A), True),
        (question("get", "secrets", "ns", "theirs", user=NODE_A), False),
        (question("get", "secrets", "other", "mine", user=NODE_A), False),
        (question("list", "secrets", "ns", user=NODE_A), False),
        (question("update", "secrets", "ns", "mine", user=NODE_A), False),
        (question("create", "serviceaccounts/token", "ns", "sa-p1", user=NODE_A), True),
        (question("create", "serviceaccounts/token", "ns", "sa-p2", user=NODE_A), False),
        (question("list", "pods", user=NODE_A), False),
        (question("list", "pods", user=NODE_A, fields=(("spec.nodeName", "b"),)), False),
        (question("watch", "pods", user=NODE_A, fields=(("spec.nodeName", "a"),)), True),
        (question("get", "pods", "ns", "p1", user=NODE_A), True),
        (question("get", "pods", "ns", "p2", user=NODE_A), False),
        (question("update", "pods/status", "ns", "p1", user=NODE_A), True),
        (question("delete", "deployments", "ns", "d", user=NODE_A, group="apps"), False),
        (question("update", "leases", "kube-node-lease", "a", user=NODE_A, group="coordination.k8s.io"), True),
        (question("update", "leases", "kube-node-lease", "b", user=NODE_A, group="coordination.k8s.io"), False),
        (question("get", "secrets", "ns", "mine"), False),
    ],
)
async def test_a_node_reaches_what_its_pods_use(reader: Any, asked: AuthorizationAttributes, answer: bool) -> None:
    node = NodeAuthorizer(reader)
    node.start()
    reader.put(PODS, pod("p1", "a", "mine"))
    reader.put(PODS, pod("p2", "b", "theirs"))
    assert (await node.authorize(asked)).allowed is answer


WriteOf = Callable[..., AdmissionAttributes]
RBAC = "rbac.authorization.k8s.io"


async def test_nobody_grants_more_than_they_hold(rbac: RbacAuthorizer, reader: Any, write: WriteOf) -> None:
    check = RbacEscalationCheck(rbac, rbac)
    wanted = role("x", "get list | core | secrets", namespace="ns")
    with pytest.raises(Forbidden) as caught:
        await check.validate(write("roles", wanted, group=RBAC))
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "x" is forbidden: user "alice" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    reader.put(ROLES, role("held", "* | core | secrets", namespace="ns"))
    reader.put(ROLE_BINDINGS, binding("held", "held", "User:alice", namespace="ns", role_kind="Role"))
    await check.validate(write("roles", wanted, group=RBAC))


async def test_binding_needs_the_permissions_or_bind(rbac: RbacAuthorizer, reader: Any, write: WriteOf) -> None:
    check = RbacEscalationCheck(rbac, rbac)
    reader.put(CLUSTER_ROLES, role("cluster-admin", "* | * | *\n* | *"))
    wanted = write("clusterrolebindings", binding("b", "cluster-admin", "User:alice"), group=RBAC)
    with pytest.raises(Forbidden, match="not currently held"):
        await check.validate(wanted)
    reader.put(CLUSTER_ROLES, role("binder", f"bind | {RBAC} | clusterroles | cluster-admin"))
    reader.put(CLUSTER_ROLE_BINDINGS, binding("binder", "binder", "User:alice"))
    await check.validate(wanted)


async def test_an_update_that_changes_no_rule_passes(rbac: RbacAuthorizer, write: WriteOf) -> None:
    old = role("x", "get | core | secrets", namespace="ns")
    new = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    await RbacEscalationCheck(rbac, rbac).validate(write("roles", new, old=old, operation="UPDATE", group=RBAC))


def test_aggregation_sums_up_selected_roles_once() -> None:
    first = role("a", "get | core | pods", labels={"agg": "true"})
    second = role("b", "get | core | pods\nlist | core | pods", labels={"agg": "true"})
    total = role("t", "", aggregate=["agg"], labels={"agg": "true"})
    assert [rule["verbs"] for rule in aggregate(total, [second, total, first])] == [["get"], ["list"]]


def test_default_policy_is_consistent() -> None:
    found = objects.policy()
    names = [(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in found]
    assert len(set(names)) == len(names)
    for obj in found:
        if "roleRef" in obj:
            namespace = obj["metadata"].get("namespace") if obj["roleRef"]["kind"] == "Role" else None
            assert (obj["roleRef"]["kind"], namespace, obj["roleRef"]["name"]) in names
    rules = {obj["metadata"]["name"]: obj["rules"] for obj in found if obj["kind"] == "ClusterRole"}
    assert all(rule in rules["admin"] for rule in rules["view"])
    assert not any("secrets" in rule.get("resources", ()) for rule in rules["view"])


@pytest.mark.parametrize(
    "listed", [("verbs", "resources"), ("verbs", "nonResourceURLs"), ("apiGroups", "resourceNames")]
)
async def test_a_rule_of_a_billion_permissions_is_refused_without_counting_them(
    rbac: RbacAuthorizer, reader: Any, write: WriteOf, listed: tuple[str, ...]
) -> None:
    check = RbacEscalationCheck(rbac, rbac)
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "nonResourceURLs": [], "resourceNames": []}
    rule |= {key: [f"{key}{number}" for number in range(30_000)] for key in listed}
    wanted = {**role("x", "", namespace="ns"), "rules": [rule]}
    with pytest.raises(Forbidden, match="is attempting to grant more than 3000 RBAC permissions"):
        await check.validate(write("roles", wanted, group=RBAC))
    reader.put(ROLES, role("held", "* | * | *", namespace="ns"))
    reader.put(ROLE_BINDINGS, binding("held", "held", "User:alice", namespace="ns", role_kind="Role"))
    if "nonResourceURLs" not in listed:
        await check.validate(write("roles", wanted, group=RBAC))  # held whole: nothing to weigh one by one


async def test_many_missing_permissions_are_not_all_listed(rbac: RbacAuthorizer, write: WriteOf) -> None:
    wanted = role("x", "\n".join(f"get | core | r{number}" for number in range(1000)), namespace="ns")
    with pytest.raises(Forbidden) as caught:
        await RbacEscalationCheck(rbac, rbac).validate(write("roles", wanted, group=RBAC))
    assert caught.value.message.endswith("\nand 800 more")
