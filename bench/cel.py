"""What expressions cost: to compile, to evaluate beside another engine, and three policies on top of a create.

    python bench/cel.py [--objects 2000] [--writers 16]

Creates go to an API server in this process, in memory, without sockets: what is compared is not drowned in TLS. The
policies are one that sees nothing of the object, one with variables over its containers, and one that mutates.
Processor time is the process's; best of ``ROUNDS``.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import uvloop
from cel_expr_python import cel

from sampan.api.expressions.environment import environment
from sampan.api.expressions.schemas import type_of_schema
from sampan.api.resources import NAMESPACES, PODS, Resource
from sampan.cel.environment import Program
from sampan.cel.running import Budget
from sampan.cel.types import BOOL
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.config import ServerConfig

ROUNDS = 5
TEXT = {"type": "string"}
COUNT = {"type": "integer"}
SCHEMA = {
    "type": "object",
    "properties": {
        "replicas": COUNT,
        "maxReplicas": COUNT,
        "mode": TEXT,
        "name": TEXT,
        "items": {"type": "array", "items": {"type": "object", "properties": {"name": TEXT, "port": COUNT}}},
    },
}
VALUE = {
    "replicas": 3,
    "maxReplicas": 5,
    "mode": "fast",
    "name": "my-name",
    "items": [{"name": f"item-{n}", "port": 8000 + n} for n in range(10)],
}
RULES = {
    "two fields compared": "self.replicas <= self.maxReplicas",
    "a text among three": "self.mode in ['fast', 'slow', 'off']",
    "a pattern": "self.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "ten items, one field each": "self.items.all(i, i.port > 1024)",
    "ten items against ten": "self.items.all(i, self.items.exists_one(j, j.name == i.name))",
}

GROUP = "admissionregistration.k8s.io"


def seconds(work: Callable[[], object], times: int) -> float:
    """Of processor, for one; the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - start) / times)
    return best


def _evaluated(program: Program) -> object:
    return program.evaluate({"self": VALUE}, Budget(1_000_000))


def _evaluated_elsewhere(program: Any) -> object:
    return program.eval(data={"self": VALUE}).value()


def rules() -> None:
    kind = type_of_schema(SCHEMA)
    assert kind is not None
    ours = environment({"self": kind})
    theirs = cel.NewEnv(variables={"self": cel.Type.Map(cel.Type.STRING, cel.Type.DYN)})
    print(f"{'rule':32} {'compile':>10} {'evaluate':>10} {'cel-cpp':>10} {'cost':>6}")
    for name, rule in RULES.items():
        program, other = ours.compile(rule, BOOL), theirs.compile(rule)
        budget = Budget(1_000_000)
        assert program.evaluate({"self": VALUE}, budget) is True
        compiled = seconds(partial(ours.compile, rule, BOOL), 50)
        evaluated = seconds(partial(_evaluated, program), 500)
        elsewhere = seconds(partial(_evaluated_elsewhere, other), 500)
        figures = " ".join(f"{figure * 1e6:7.1f} µs" for figure in (compiled, evaluated, elsewhere))
        print(f"{name:32} {figures} {budget.spent:6}")


def _policy(kind: str, name: str, spec: Any) -> tuple[Any, Any]:
    meta = {"metadata": {"name": name}}
    return ({**meta, "spec": spec}, {**meta, "spec": {"policyName": name}})


CONSTRAINTS = {
    "resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}
    ]
}
VALIDATING = {
    "who": {"validations": [{"expression": "request.userInfo.username != 'nobody'"}]},
    "images": {
        "variables": [{"name": "images", "expression": "object.spec.containers.map(c, c.image)"}],
        "validations": [{"expression": "variables.images.all(i, !i.endsWith(':latest'))"}],
    },
}
MUTATION = "Object{metadata: Object.metadata{labels: {'by': 'policy'}}}"


async def set_policies(client: Client) -> None:
    for name, spec in VALIDATING.items():
        policy, binding = _policy("Validating", name, {"matchConstraints": CONSTRAINTS, **spec})
        binding["spec"]["validationActions"] = ["Deny"]
        await client.create(_resource("ValidatingAdmissionPolicy", "validatingadmissionpolicies"), policy)
        plural = "validatingadmissionpolicybindings"
        await client.create(_resource("ValidatingAdmissionPolicyBinding", plural), binding)
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": MUTATION}}
    spec = {"matchConstraints": CONSTRAINTS, "reinvocationPolicy": "Never", "mutations": [mutation]}
    policy, binding = _policy("Mutating", "label", spec)
    await client.create(_resource("MutatingAdmissionPolicy", "mutatingadmissionpolicies"), policy)
    await client.create(_resource("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"), binding)


def _resource(kind: str, plural: str) -> Resource:
    return Resource(GROUP, "v1", plural, kind, False)


async def creates(client: Client, first: int, count: int, writers: int) -> float:
    """Seconds of processor for one."""
    numbers = iter(range(first, first + count))

    async def write() -> None:
        for number in numbers:
            spec = {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j:1"}]}
            await client.create(PODS, {"metadata": {"name": f"p{number}"}, "spec": spec}, "default")

    start = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(write())
    return (time.process_time() - start) / count


async def policies(objects: int, writers: int) -> None:
    config = ServerConfig(
        listen=False,
        bootstrap=False,
        store="memory",
        authorization_modes=("AlwaysAllow",),
        disable_admission_plugins=("ServiceAccount",),
        random=Random(1),
        openapi=False,
    )
    async with Server(config) as server:
        client = Client(server.local_transport("somebody"))
        await client.create(NAMESPACES, {"metadata": {"name": "default"}})
        await creates(client, 0, objects, writers)  # everything is warm
        without = min([await creates(client, n * objects, objects, writers) for n in range(1, ROUNDS + 1)])
        await set_policies(client)
        await creates(client, (ROUNDS + 1) * objects, 100, writers)  # compiled
        first = (ROUNDS + 2) * objects
        made = await client.get(PODS, f"p{(ROUNDS + 1) * objects}", "default")
        assert made["metadata"]["labels"] == {"by": "policy"}
        with_three = min([await creates(client, first + n * objects, objects, writers) for n in range(ROUNDS)])
        print(f"a create of a pod: {without * 1e6:.0f} µs; with 3 policies {with_three * 1e6:.0f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--writers", type=int, default=16)
    given = parser.parse_args()
    rules()
    uvloop.run(policies(given.objects, given.writers))


if __name__ == "__main__":
    main()
