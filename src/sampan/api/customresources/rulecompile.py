"""The CEL rules of one schema, compiled (apiextensions ``schema/cel/compilation.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api.customresources import paths
from sampan.api.expressions.environment import environment
from sampan.api.expressions.schemas import type_of_schema
from sampan.cel.environment import Environment, Program
from sampan.cel.errors import CompileError
from sampan.cel.types import BOOL, STRING, Type, optional_of
from sampan.records import dataclass

Rule = Mapping[str, Any]

SELF: Final = "self"
OLD_SELF: Final = "oldSelf"


class NoTypeError(ValueError):
    """The language has no type for values of the schema."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """``error``, ``message_error``: why there is no program. ``field_path``: where a failure is told, below the value;
    empty: at the value."""

    declared: Rule
    program: Program | None
    error: str
    message: Program | None
    message_error: str
    uses_old: bool
    field_path: str

    @property
    def optional_old(self) -> bool:
        """``oldSelf`` is an optional, and the rule holds without an old value too."""
        return bool(self.declared.get("optionalOldSelf"))


def compile_rules(schema: Mapping[str, Any], *, root: bool) -> tuple[CompiledRule, ...]:
    """``root``: the schema is of a whole resource. Raises NoTypeError."""
    kind = type_of_schema(schema, root=root)
    if kind is None:
        raise NoTypeError("unable to convert structural schema to CEL declarations")
    environments: dict[bool, Environment] = {}
    compiled = []
    for declared in schema["x-kubernetes-validations"]:
        optional = bool(declared.get("optionalOldSelf"))
        if optional not in environments:
            environments[optional] = _environment(kind, optional=optional)
        compiled.append(_compile(schema, declared, environments[optional]))
    return tuple(compiled)


def _environment(kind: Type, *, optional: bool) -> Environment:
    return environment({SELF: kind, OLD_SELF: optional_of(kind) if optional else kind})


def _compile(schema: Mapping[str, Any], declared: Rule, scope: Environment) -> CompiledRule:
    program, error = _program(scope, declared.get("rule") or "", BOOL, "compilation failed: ", "cel expression")
    message, message_error = _program(
        scope,
        declared.get("messageExpression") or "",
        STRING,
        "messageExpression compilation failed: ",
        "messageExpression",
    )
    uses_old = program is not None and OLD_SELF in program.references
    return CompiledRule(declared, program, error, message, message_error, uses_old, _field_path(schema, declared))


def _program(scope: Environment, text: str, wanted: Type, opening: str, what: str) -> tuple[Program | None, str]:
    if not text.strip():
        return None, ""
    try:
        program = scope.compile(text)
    except CompileError as error:
        return None, f"{opening}{error}"
    if program.result != wanted:
        return None, f"{what} must evaluate to a {wanted}"
    return program, ""


def _field_path(schema: Mapping[str, Any], declared: Rule) -> str:
    text = declared.get("fieldPath") or ""
    try:
        return str(paths.resolve(text, schema)) if text else ""
    except paths.BadPathError:
        return ""
