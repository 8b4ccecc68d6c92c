"""What would be wrong with a policy's expressions if objects were typed: warnings in its status. Pure.

Source: apiserver ``policy/validating/typechecking.go``. A policy acts on objects as they come, whatever is warned of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sampan.api.expressions.admission import admission_environment, compile_variables
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj
from sampan.cel.errors import CompileError
from sampan.cel.types import Type
from sampan.records import dataclass

#: Types that one policy is checked against.
_MAX_TYPES: Final = 10


class Gvk(NamedTuple):
    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    version: str
    plural: str


def resources_of(policy: Obj) -> list[Resource]:
    """What the policy's rules name, without wildcards and subresources."""
    found: dict[Resource, None] = {}
    for rule in parts(part(part(policy, "spec"), "matchConstraints"), "resourceRules"):
        groups, versions = sorted(texts(rule, "apiGroups")), sorted(texts(rule, "apiVersions"))
        if any("*" in each for each in (*groups, *versions)):
            continue
        plurals = sorted(each for each in texts(rule, "resources") if "*" not in each and "/" not in each)
        for group in groups:
            for version in versions:
                found |= dict.fromkeys(Resource(group, version, plural) for plural in plurals)
    return list(found)[:_MAX_TYPES]


def expressions_of(policy: Obj) -> Iterator[tuple[str, str]]:
    """Each that is checked, with where it stands."""
    for index, validation in enumerate(parts(part(policy, "spec"), "validations")):
        for key in ("expression", "messageExpression"):
            if text(validation, key):
                yield f"spec.validations[{index}].{key}", text(validation, key)


def warning(policy: Obj, expression: str, kinds: Sequence[tuple[Gvk, Type]], params: Type | None) -> str:
    """What is wrong with an expression, by kind; "": nothing."""
    spec = part(policy, "spec")
    told = []
    for gvk, kind in kinds:
        within = admission_environment(params=False, authorizer=True).extended({"object": kind, "oldObject": kind})
        if params is not None:
            within = within.extended({"params": params})
        seen, _ = compile_variables(within, list(parts(spec, "variables")))
        try:
            seen.compile(expression)
        except CompileError as error:
            told.append(f"{gvk}: {error}\n")
    return "\n".join(told)
