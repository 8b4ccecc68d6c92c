"""What authorizers and authenticators remember: the same answers, in bounded memory, and no longer than they hold."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS, ROLE_BINDINGS
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authz import memory
from sampan.server.authz.node_graph import NodeGraph
from sampan.server.authz.policy.notation import binding, role
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.authz.rules import allows, rules_of
from sampan.server.authz.union import UnionAuthorizer
from sampan.server.request import ANONYMOUS, UserInfo

ALICE = UserInfo("alice", ("system:authenticated",))


@pytest.fixture
def rbac(reader: Any) -> RbacAuthorizer:
    made = RbacAuthorizer(reader)
    made.start()
    reader.put(CLUSTER_ROLES, role("reader", "get | core | pods\nget | core | secrets | one two\nget | /metrics"))
    reader.put(CLUSTER_ROLE_BINDINGS, binding("b", "reader", "User:alice"))
    return made


def ask(resource: str, name: str = "", user: UserInfo = ALICE, **more: str) -> AuthorizationAttributes:
    return AuthorizationAttributes(user, "get", more.pop("group", ""), "v1", resource, "", "ns", name, **more)


def test_one_answer_serves_every_name(rbac: RbacAuthorizer) -> None:
    for number in range(1000):
        assert rbac.decide_now(ask("pods", f"p{number}")).allowed
        assert rbac.decide_now(ask("secrets", f"s{number}")).allowed is False
    assert [rbac.decide_now(ask("secrets", name)).allowed for name in ("one", "two", "", "One")] == [
        True,
        True,
        False,
        False,
    ]
    assert len(rbac._memory) == 2


def test_random_questions_leave_the_memory_within_its_bounds(rbac: RbacAuthorizer) -> None:
    rng = random.Random(3)
    for number in range(8000):
        user = UserInfo(f"u{number % 50}", ("system:authenticated",))
        assert not rbac.decide_now(ask(f"x{number}", user=user, group="g" * rng.randrange(900, 1000))).allowed
        assert rbac._memory.bytes <= memory.MEMORY_BYTES
    counted = sum(
        memory._cost(question, answer)
        for answers in rbac._memory._users.values()
        for question, answer in answers.items()
    )
    assert counted <= rbac._memory.bytes


def test_what_is_long_a_path_or_a_strangers_is_not_remembered(rbac: RbacAuthorizer) -> None:
    assert rbac.decide_now(AuthorizationAttributes(ALICE, "get", path="/metrics")).allowed
    for number in range(100):
        assert not rbac.decide_now(AuthorizationAttributes(ALICE, "get", path=f"/{number}" * 10_000)).allowed
        assert not rbac.decide_now(ask(f"r{number}", user=ANONYMOUS)).allowed
        assert not rbac.decide_now(ask(f"r{number}" * 1000)).allowed
        assert not rbac.decide_now(ask("pods", user=UserInfo(f"u{number}" * 1000))).allowed
    assert len(rbac._memory) == 0


def test_one_users_nonsense_leaves_the_answers_of_others(rbac: RbacAuthorizer) -> None:
    assert rbac.decide_now(ask("pods")).allowed
    mallory = UserInfo("mallory", ("system:authenticated",))
    for number in range(3 * memory.ANSWERS_EACH):
        rbac.decide_now(ask(f"r{number}", user=mallory))
    assert len(rbac._memory.of(ALICE) or ()) == 1
    assert len(rbac._memory.of(mallory) or ()) <= memory.ANSWERS_EACH


def test_many_users_push_each_other_out_and_nothing_grows(rbac: RbacAuthorizer) -> None:
    for number in range(2 * memory.USERS):
        rbac.decide_now(ask("pods", user=UserInfo(f"u{number}")))
    assert len(rbac._memory) <= memory.USERS


def random_rules(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "verbs": [rng.choice(("get", "list", "*"))],
            "apiGroups": [""],
            "resources": [rng.choice(("pods", "secrets", "*", "pods/log", "*/log"))],
            "resourceNames": rng.choice(([], [], ["a"], ["a", "b"])),
        }
        for _ in range(rng.randrange(4))
    ]


def test_remembered_or_not_the_answer_is_the_rules(reader: Any) -> None:
    rng = random.Random(5)
    for _ in range(200):
        roles = [(random_rules(rng), rng.choice(("", "ns", "other"))) for _ in range(rng.randrange(5))]
        fresh = type(reader)()
        authorizer = RbacAuthorizer(fresh)
        authorizer.start()
        for number, (rules, namespace) in enumerate(roles):
            fresh.put(CLUSTER_ROLES, {**role(f"r{number}", ""), "rules": rules})
            where = ROLE_BINDINGS if namespace else CLUSTER_ROLE_BINDINGS
            fresh.put(where, binding(f"b{number}", f"r{number}", "User:alice", namespace=namespace))
        for _ in range(20):
            asked = AuthorizationAttributes(
                ALICE, rng.choice(("get", "list", "delete")), "", "v1", rng.choice(("pods", "secrets")),
                rng.choice(("", "log")), rng.choice(("", "ns")), rng.choice(("", "a", "b", "c")),
            )  # fmt: skip
            wanted = any(
                allows(rule, asked)
                for rules, namespace in roles
                if namespace in ("", asked.namespace)
                for rule in rules_of({"rules": rules})
            )
            assert authorizer.decide_now(asked).allowed is wanted
            assert authorizer.decide_now(asked).allowed is wanted


class Later:
    """An authorizer that has to wait for its answer."""

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision | None:
        return None

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        return Decision(attributes.resource == "pods", "asked")


async def test_a_union_tells_at_once_only_what_its_members_can(rbac: RbacAuthorizer) -> None:
    union = UnionAuthorizer([Later(), rbac])
    assert union.decide_now(ask("pods")) is None
    assert (await union.authorize(ask("pods"))).allowed
    assert (await union.authorize(ask("nodes"))).reason == "asked"
    first = UnionAuthorizer([rbac, Later()])
    allowed = first.decide_now(ask("pods"))
    assert allowed is not None
    assert allowed.allowed
    assert first.decide_now(ask("nodes")) is None


# The node graph


def running(name: str, node: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "ns", "generation": 1}
    return {"metadata": meta, "spec": {"nodeName": node, "serviceAccountName": "sa", **spec}}


def using(secret: str) -> list[Any]:
    return [{"name": "v", "secret": {"secretName": secret}}]


def test_the_graph_keeps_names_only_once_a_template_and_nothing_of_what_is_gone(reader: Any) -> None:
    graph = NodeGraph(reader)
    graph.start()
    for number in range(200):
        reader.put(PODS, running(f"p{number}", f"n{number % 10}", volumes=using("s"), padding="x" * 1000))
    assert len(graph._templates) == 1
    assert graph.reaches("n3", "secrets", "ns", "s")
    assert not graph.reaches("n3", "secrets", "other", "s")
    assert not graph.reaches("n11", "secrets", "ns", "s")
    for number in range(200):
        reader.remove(PODS, "ns", f"p{number}")
    assert not (graph._templates or graph._pods or graph._where)


def test_a_change_of_status_alone_is_not_read_again(reader: Any) -> None:
    graph = NodeGraph(reader)
    graph.start()
    reader.put(PODS, running("p", "n", volumes=using("s")))
    unread = running("p", "n")  # the same generation: its references cannot have changed
    reader.put(PODS, unread)
    assert graph.reaches("n", "secrets", "ns", "s")
    unread["metadata"]["generation"] = 2
    reader.put(PODS, unread)
    assert not graph.reaches("n", "secrets", "ns", "s")


@pytest.mark.parametrize(
    "damaged",
    [
        {"metadata": {"name": "p", "namespace": "ns"}},
        {"metadata": {"name": "p", "namespace": "ns"}, "spec": []},
        {
            "metadata": {"name": "p", "namespace": "ns", "annotations": 3},
            "spec": {"nodeName": "n", "volumes": {"a": 1}},
        },
        {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"nodeName": "n", "containers": [1, {"env": "x"}]}},
        {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"nodeName": 3, "volumes": [None, {"csi": []}]}},
    ],
)
def test_a_damaged_pod_breaks_no_other(reader: Any, damaged: Any) -> None:
    graph = NodeGraph(reader)
    reader.put(PODS, damaged)
    graph.start()
    reader.put(PODS, damaged)
    reader.put(PODS, running("q", "n", volumes=using("s")))
    assert graph.reaches("n", "secrets", "ns", "s")


@pytest.mark.parametrize("rules", [3, [None], [{"verbs": 3}], {"a": "b"}])
def test_a_damaged_role_or_binding_breaks_no_other(reader: Any, rules: Any) -> None:
    damaged = {"metadata": {"name": "broken"}, "rules": rules, "subjects": rules, "roleRef": rules}
    for resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS):
        reader.put(resource, damaged)
    authorizer = RbacAuthorizer(reader)
    authorizer.start()
    reader.put(CLUSTER_ROLES, role("reader", "get | core | pods"))
    reader.put(CLUSTER_ROLE_BINDINGS, binding("b", "reader", "User:alice"))
    for resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS):
        reader.put(resource, damaged)
    assert authorizer.decide_now(ask("pods")).allowed
    assert not authorizer.decide_now(ask("nodes")).allowed
