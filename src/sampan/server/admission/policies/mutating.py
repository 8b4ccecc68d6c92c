"""MutatingAdmissionPolicy at work: the policies that a write concerns change it, one after another.

Sources: apiserver ``policy/mutating`` and ``policy/generic``. What fails denies as its policy says; a second round asks
those again whose policy wants it, if anything has changed since.
"""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any, TypeAlias

from sampan.api import objects
from sampan.api.errors import ApiError, Forbidden
from sampan.api.expressions.authorizer import Decide
from sampan.api.expressions.evaluation import Failed, OutOfBudget, Spending, Variables, evaluate
from sampan.api.expressions.limits import PER_REQUEST
from sampan.api.expressions.mutations import BadMutation, applied, operations_of
from sampan.api.expressions.policies import Mutation, Policy, matches
from sampan.api.kind import Kind
from sampan.api.reading import part, text
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.base import refuse
from sampan.server.admission.evaluating import Answers, Judging
from sampan.server.admission.matching import Asked, asked_of
from sampan.server.admission.policies.compiled import Binding, Definition, Hook
from sampan.server.admission.policies.following import Policies
from sampan.server.admission.policies.matching import Matching
from sampan.server.admission.policies.params import Misconfigured, Params
from sampan.server.admission.policies.seeing import Seeing, Seen
from sampan.server.admission.webhooks.subjects import Subject
from sampan.server.attributes import Authorizer
from sampan.server.reader import ObjectReader
from sampan.server.write import Reinvocation, Write

#: (policy, binding, namespace and name of the parameter)
_Key: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class _Memory:
    """Of one write, for its second round: who has to be asked again when something changes, and who is."""

    eligible: set[_Key] = field(default_factory=set)
    due: set[_Key] = field(default_factory=set)
    #: what the first round left, if it matters
    left: Any = None

    def something_changed(self) -> None:
        self.due |= self.eligible
        self.eligible.clear()


def mutating_policies(policies: Policies, reader: ObjectReader, authorizer: Authorizer) -> MutatingPolicies:
    return MutatingPolicies(policies, Matching(reader), Params(reader), Judging(authorizer))


class MutatingPolicies:
    def __init__(self, policies: Policies, matching: Matching, params: Params, judging: Judging) -> None:
        self._policies, self._matching, self._params, self._judging = policies, matching, params, judging

    async def act(self, write: Write, hooks: tuple[Hook, ...]) -> None:
        if write.reinvocation is None:
            write.reinvocation = Reinvocation()
        memory: _Memory = write.reinvocation.memory.setdefault("MutatingAdmissionPolicy", _Memory())
        again = write.reinvocation.again
        if again and memory.left is not None and not objects.same(memory.left, write.obj):
            memory.something_changed()  # others did, in this round
        round_ = _Round(self._policies, self._matching, self._params, self._judging, write, memory)
        for hook in hooks:
            await round_.by(hook)
        if round_.failures:
            raise _denied(write, round_.failures)
        if memory.eligible and write.reinvocation.wanted and not again:
            memory.left = objects.deep_copy(write.obj)


class _Round:
    """One round of all policies over one write. ``failures``: messages, the first of which is told."""

    def __init__(
        self,
        policies: Policies,
        matching: Matching,
        params: Params,
        judging: Judging,
        write: Write,
        memory: _Memory,
    ) -> None:
        self._policies, self._matching, self._params, self._judging = policies, matching, params, judging
        self._write, self._memory = write, memory
        self._asked: Asked = asked_of(write)
        self._subject = Subject(write)
        self._answers: Answers = judging.answers(write)
        self._seeing = Seeing(write, self._asked)
        self._namespace: Obj | None = None
        self.failures: list[str] = []

    async def by(self, hook: Hook) -> None:
        definition, write = hook.definition, self._write
        try:
            kind = await self._matching.definition(definition, write, self._asked)
            if kind is None:
                return
            self._params.check(definition, write)
        except (Misconfigured, ApiError) as error:
            self._failed(definition, None, f"failed to configure policy: {_told(error)}")
            return
        for binding in hook.bindings:
            try:
                if not await self._matching.binding(binding, write, self._asked):
                    continue
                params = await self._params.of(definition, binding, write)
            except (Misconfigured, ApiError) as error:
                self._failed(definition, binding, f"failed to configure binding: {_told(error)}")
                continue
            self._namespace = await self._matching.namespace(write, self._asked)
            for param in params:
                await self._invoke(definition, binding, param, kind)

    async def _invoke(self, definition: Definition, binding: Binding, param: Obj | None, kind: Kind) -> None:
        policy, write = await self._policies.compiled(definition), self._write
        meta = part(param, "metadata")
        key = (definition.name, binding.name, f"{text(meta, 'namespace')}/{text(meta, 'name')}")
        reinvocation = write.reinvocation
        if reinvocation is None or (reinvocation.again and key not in self._memory.due):
            return
        if policy.conditions:
            work = partial(_matches, policy, await self._seen(kind), param)
            held, failure = await self._judging.run(write, self._answers, work)
            if failure:
                self._failed(definition, binding, failure)
            if failure or not held:
                return
        changed = False
        for mutation in policy.mutations:
            if (await self._subject.shown(kind)).obj is None:
                break
            try:
                changed |= await self._mutate(policy, mutation, param, kind)
            except (Failed, OutOfBudget, BadMutation, ApiError) as error:
                self._failed(definition, binding, _told(error))
        if changed:
            self._memory.something_changed()
            reinvocation.wanted = True
        if definition.reinvocable:
            self._memory.eligible.add(key)

    async def _seen(self, kind: Kind) -> Seen:
        return self._seeing.seen(kind, await self._subject.shown(kind), self._namespace)

    async def _mutate(self, policy: Policy, mutation: Mutation, param: Obj | None, kind: Kind) -> bool:
        """Whether the object is another now. Raises Failed, OutOfBudget, BadMutation, ApiError."""
        work = partial(_evaluated, policy, mutation, await self._seen(kind), param)
        value = await self._judging.run(self._write, self._answers, work)
        if mutation.patch_type == "JSONPatch":
            operations = operations_of(value)
            return bool(operations) and await self._subject.patch(kind, operations)

        def make(before: Obj, node: Node | None) -> Obj:
            return applied(value, before, node, custom=kind.custom)

        return await self._subject.change(kind, make)

    def _failed(self, definition: Definition, binding: Binding | None, told: str) -> None:
        if definition.ignores_failures:
            return
        name = f"policy '{definition.name}'"
        if binding is not None:
            self.failures.append(f"{name} with binding '{binding.name}' denied request: {told}")
        else:
            self.failures.append(f"{name} denied request: {told}")


def _matches(policy: Policy, seen: Seen, param: Obj | None, decide: Decide, quick: int | None) -> tuple[bool, str]:
    return matches(policy, {**seen(decide), "params": param}, quick)


def _evaluated(
    policy: Policy,
    mutation: Mutation,
    seen: Seen,
    param: Obj | None,
    decide: Decide,
    quick: int | None,
) -> Any:
    spending = Spending(PER_REQUEST, quick)
    bindings = {**seen(decide), "params": param}
    return evaluate(mutation.expression, Variables(policy.variables, bindings, spending).bindings, spending)


def _told(error: Exception) -> str:
    return error.message if isinstance(error, ApiError) else str(error)


def _denied(write: Write, failures: list[str]) -> Forbidden:
    """403 with the reason Invalid, as upstream has it."""
    error = refuse(write, failures[0])
    details = {**error.details, "causes": [{"message": message} for message in failures]}
    denied = Forbidden(failures[0], details=details)
    denied.reason = "Invalid"
    return denied
