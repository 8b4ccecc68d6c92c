"""ValidatingAdmissionPolicy at work: evaluates the policies that a write concerns; the first denial is told.

Sources: apiserver ``policy/validating``. Failures of configuration deny as the policy says.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import orjson

from sampan.api.errors import ApiError
from sampan.api.expressions.authorizer import Decide
from sampan.api.expressions.policies import Outcome, Policy, validate
from sampan.api.types import Obj
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
from sampan.server.write import Write

_CODES: Final = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}
_FAILURE_KEY: Final = "validation.policy.admission.k8s.io/validation_failure"


class PolicyDenied(ApiError):
    """A policy said no, with the reason that it names."""

    def __init__(self, write: Write, message: str, reason: str) -> None:
        forbidden = refuse(write, message)
        causes = [*forbidden.details.get("causes", ()), {"message": message}]
        super().__init__(forbidden.message, details={**forbidden.details, "causes": causes})
        self.reason = reason
        self.code = _CODES.get(reason, 422)


def validating_policies(policies: Policies, reader: ObjectReader, authorizer: Authorizer) -> ValidatingPolicies:
    return ValidatingPolicies(policies, Matching(reader), Params(reader), Judging(authorizer))


class ValidatingPolicies:
    def __init__(self, policies: Policies, matching: Matching, params: Params, judging: Judging) -> None:
        self._policies, self._matching, self._params, self._judging = policies, matching, params, judging

    async def act(self, write: Write, hooks: tuple[Hook, ...]) -> None:
        judgement = _Judgement(self._policies, self._matching, self._params, self._judging, write)
        for hook in hooks:
            await judgement.by(hook)
        if judgement.denials:
            raise PolicyDenied(write, *judgement.denials[0])


class _Judgement:
    """Of one write by all policies. ``denials``: messages with their reasons, the first of which is told."""

    def __init__(self, policies: Policies, matching: Matching, params: Params, judging: Judging, write: Write) -> None:
        self._policies, self._matching, self._params = policies, matching, params
        self._judging, self._write = judging, write
        self._asked: Asked = asked_of(write)
        self._subject = Subject(write)
        self._answers: Answers = judging.answers(write)
        self._seeing = Seeing(write, self._asked)
        self.denials: list[tuple[str, str]] = []

    async def by(self, hook: Hook) -> None:
        definition, write = hook.definition, self._write
        try:
            kind = await self._matching.definition(definition, write, self._asked)
            if kind is None:
                return
            self._params.check(definition, write)
            shown = await self._subject.shown(kind)
        except (Misconfigured, ApiError) as error:
            self._misconfigured(definition, None, error)
            return
        notes: dict[str, list[str]] = {}
        seen: Seen | None = None
        for binding in hook.bindings:
            try:
                if not await self._matching.binding(binding, write, self._asked):
                    continue
                params = await self._params.of(definition, binding, write)
            except (Misconfigured, ApiError) as error:
                self._misconfigured(definition, binding, error)
                continue
            if seen is None:
                namespace = await self._matching.namespace(write, self._asked)
                seen = self._seeing.seen(kind, shown, namespace)
            for param in params:
                work = partial(_evaluate, await self._policies.compiled(definition), seen, param)
                self._take(definition, binding, await self._judging.run(write, self._answers, work), notes)
        for key, values in notes.items():
            write.request.annotate(f"{definition.name}/{key}", ", ".join(values))

    def _take(self, definition: Definition, binding: Binding, outcome: Outcome, notes: dict[str, list[str]]) -> None:
        """What one evaluation decided, by the actions of the binding."""
        told = f"ValidatingAdmissionPolicy '{definition.name}' with binding '{binding.name}'"
        for index, decision in enumerate(outcome.decisions):
            if decision.action == "admit":
                continue
            for action in binding.actions:
                if action == "Deny":
                    message = f"{told} denied request: {decision.message}"
                    self.denials.append((message, decision.reason or "Invalid"))
                elif action == "Warn":
                    self._write.request.warn(f"Validation failed for {told}: {decision.message}")
                elif action == "Audit":
                    value = _failure(definition, binding, index, decision.message)
                    self._write.request.annotate(_FAILURE_KEY, value)
        for key, value in outcome.annotations:
            kept = notes.setdefault(key, [])
            if value not in kept:
                kept.append(value)
        self.denials += [(f"{told} denied request: {failure}", "Invalid") for failure in outcome.failures]

    def _misconfigured(self, definition: Definition, binding: Binding | None, error: Exception) -> None:
        if definition.ignores_failures:
            return
        told = error.message if isinstance(error, ApiError) else str(error)
        name = f"ValidatingAdmissionPolicy '{definition.name}'"
        if binding is None:
            message = f"{name} denied request: failed to configure policy: {told}"
        else:
            message = f"{name} with binding '{binding.name}' denied request: failed to configure binding: {told}"
        self.denials.append((message, "Invalid"))


def _evaluate(policy: Policy, seen: Seen, param: Obj | None, decide: Decide, quick: int | None) -> Outcome:
    return validate(policy, {**seen(decide), "params": param}, quick)


def _failure(definition: Definition, binding: Binding, index: int, message: str) -> str:
    found: dict[str, Any] = {
        "message": message,
        "policy": definition.name,
        "binding": binding.name,
        "expressionIndex": index,
        "validationActions": list(binding.actions),
    }
    return orjson.dumps([found]).decode()
