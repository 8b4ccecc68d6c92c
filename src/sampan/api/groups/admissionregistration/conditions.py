"""Validation of expressions of admission, and of match conditions, which webhooks and policies have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sampan.api import errors, names
from sampan.api.reading import parts, text
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

if TYPE_CHECKING:
    from sampan.api.expressions.admission import Compiled

_MAX_CONDITIONS: Final = 64
_UNSPECIFIED: Final = "expression is not specified"


def validate_expression(compiled: Compiled, path: str, unspecified: str = _UNSPECIFIED) -> Errors:
    if not compiled.expression.strip():
        return [errors.required(path, unspecified)]
    return [errors.invalid(path, compiled.expression, compiled.fault)] if compiled.program is None else []


def validate_match_conditions(hook: Obj, path: str) -> Errors:
    """Of a webhook: its conditions know no parameters."""
    if not hook.get("matchConditions"):
        return []
    # late: few webhooks have any
    from sampan.api.expressions.admission import admission_environment, compile_expression
    from sampan.cel.types import BOOL

    within = admission_environment(params=False, authorizer=True)
    compiled = [compile_expression(within, text(each, "expression"), BOOL) for each in parts(hook, "matchConditions")]
    return validate_conditions(hook, compiled, path)


def validate_conditions(holder: Obj, compiled: list[Compiled], path: str) -> Errors:
    found: Errors = []
    if len(compiled) > _MAX_CONDITIONS:
        found.append(errors.too_many(path, len(compiled), _MAX_CONDITIONS))
    seen: set[str] = set()
    for index, (condition, each) in enumerate(zip(parts(holder, "matchConditions"), compiled, strict=True)):
        found += validate_expression(each, f"{path}[{index}].expression", "")
        name, where = text(condition, "name"), f"{path}[{index}].name"
        found += common.named(names.qualified_name, name, where) if name else [errors.required(where)]
        if name and name in seen:
            found.append(errors.duplicate(where, name))
        seen.add(name)
    return found
