"""Evaluating the CEL rules of a schema on an object (apiextensions ``schema/cel/validation.go``).

Rules are compiled when a value first comes to them. All of an object share one budget. With the old object, rules that
compare run; and what fails on a value that has not changed is tolerated (KEP-4008), unless the rule compares.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api import errors
from sampan.api.customresources.bounds import EnoughError, Told
from sampan.api.customresources.parts import Keywords, Part
from sampan.api.customresources.places import Place, path
from sampan.api.customresources.rulecompile import OLD_SELF, SELF, CompiledRule, NoTypeError, compile_rules
from sampan.api.customresources.values import ABSENT, correspondents, identity, same
from sampan.api.errors import FieldError
from sampan.api.expressions.limits import MESSAGE_CHARACTERS, PER_CALL, PER_REQUEST
from sampan.cel.errors import CelError, CostExceeded
from sampan.cel.running import Budget
from sampan.cel.values import NONE, Optional

Errors = list[FieldError]

_SPENT: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


def validate(part: Part, value: Any, old: Any = ABSENT, place: Place = None, *, root: bool = True) -> Errors:
    """``old``: what it is an update of. ``root``: the value is a whole object."""
    if "rules" not in part.traits:
        return []
    evaluation = _Evaluation()
    try:
        evaluation.walk(part, value, place, None if old is ABSENT else old, _Change(value, old, None), root=root)
    except EnoughError:
        pass
    return evaluation.told.found


def compiled(part: Part, *, root: bool) -> tuple[CompiledRule, ...] | str:
    """The rules of a part itself; a text: why they cannot be compiled."""
    if part.compiled is None:
        part.compiled = _compile(part, root=root)
    found: tuple[CompiledRule, ...] | str = part.compiled
    return found


def _compile(part: Part, *, root: bool) -> tuple[CompiledRule, ...] | str:
    try:
        return compile_rules(part.packed.whole(), root=root or part.keywords.embedded)
    except NoTypeError as error:
        return str(error)


class _Change:
    """Whether a value, or the nearest around it that has an old one, is as it was."""

    __slots__ = ("_known", "new", "old", "outer")

    def __init__(self, new: Any, old: Any, outer: _Change | None) -> None:
        self.new, self.old, self.outer = new, old, outer
        self._known: bool | None = None

    @property
    def nothing(self) -> bool:
        if self.old is ABSENT:
            return self.outer is not None and self.outer.nothing
        if self._known is None:
            self._known = same(self.new, self.old)
        return self._known


class _Evaluation:
    __slots__ = ("left", "told")

    def __init__(self) -> None:
        self.told = Told()
        self.left = PER_REQUEST

    def walk(self, part: Part, value: Any, place: Place, old: Any, change: _Change, *, root: bool = False) -> None:
        """``old``: what ``oldSelf`` is; None: there is nothing to compare with."""
        if value is None or "rules" not in part.traits:
            return
        keywords = part.keywords
        if keywords.rules:
            self._rules(part, value, place, old, change, root=root)
        if type(value) is list and keywords.items is not None:
            self._items(keywords, value, place, old, change)
        elif type(value) is dict:
            before = old if type(old) is dict else {}
            was = change.old if type(change.old) is dict else {}
            for key, item in value.items():
                below, step = keywords.below(key)
                if below is not None and "rules" in below.traits:
                    inner = _Change(item, was.get(key, ABSENT), change)
                    self.walk(below, item, (place, step), before.get(key), inner)

    def _items(self, keywords: Keywords, value: list[Any], place: Place, old: Any, change: _Change) -> None:
        items = keywords.items
        assert items is not None
        if "rules" not in items.traits:
            return
        was = correspondents(keywords, value, change.old)
        keys, before = keywords.list_keys, {}
        if keywords.list_type == "map" and type(old) is list:
            before = {identity(keys, item): item for item in reversed(old) if type(item) is dict}
        for index, item in enumerate(value):
            earlier = before.get(identity(keys, item)) if before and type(item) is dict else None
            inner = _Change(item, was[index] if was else ABSENT, change)
            self.walk(items, item, (place, index), earlier, inner)

    def _rules(self, part: Part, value: Any, place: Place, old: Any, change: _Change, *, root: bool) -> None:
        rules = compiled(part, root=root)
        kind = "".join(part.keywords.types[:1])
        if isinstance(rules, str):
            self.told.add(errors.invalid(path(place), kind, f"rule compiler initialization error: {rules}"))
            return
        for rule in rules:
            if self.left <= 0:
                self._stop(place, kind, _SPENT)
            self._rule(rule, value, place, old, change, kind)

    def _rule(self, rule: CompiledRule, value: Any, place: Place, old: Any, change: _Change, kind: str) -> None:
        if rule.error:
            self.told.add(errors.invalid(path(place), kind, f"rule compile error: {rule.error}"))
            return
        if rule.program is None or (rule.uses_old and old is None and not rule.optional_old):
            return
        bindings: dict[str, Any] = {SELF: value}
        if rule.optional_old:
            bindings[OLD_SELF] = NONE if old is None else Optional(old)
        elif old is not None:
            bindings[OLD_SELF] = old
        said = _said(rule)
        budget = Budget(PER_CALL)
        try:
            holds = rule.program.evaluate(bindings, budget)
        except CostExceeded as error:
            self._pay(budget, place, kind)
            text = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {said}"
            self._stop(place, kind, text)
        except CelError as error:
            self._pay(budget, place, kind)
            self.told.add(errors.invalid(path(place), kind, _failed(error, said)))
            return
        self._pay(budget, place, kind)
        if holds is True:
            return
        where = path((place, rule.field_path) if rule.field_path else place)
        fault = _fault(where, kind, self._message(rule, bindings, place, kind), rule)
        if rule.uses_old or not change.nothing:
            self.told.add(fault)

    def _message(self, rule: CompiledRule, bindings: dict[str, Any], place: Place, kind: str) -> str:
        """What the rule's expression says, or its message where that says nothing that can be shown."""
        if rule.message is not None:
            budget = Budget(PER_CALL)
            value: Any = None
            try:
                value = rule.message.evaluate(bindings, budget)
            except CostExceeded:
                shown = errors.quoted(rule.declared.get("messageExpression"))
                told = "no further validation rules will be run due to call cost exceeds limit for messageExpression: "
                self._stop(place, kind, told + shown)
            except CelError:
                pass  # the message stands in
            self.left -= budget.spent
            if self.left < 0:
                self._stop(place, kind, f"messageExpression evaluation failed due to {_SPENT.split('due to ')[1]}")
            text = value.strip() if isinstance(value, str) else ""
            if text and len(text.encode()) <= MESSAGE_CHARACTERS and "\n" not in text:
                return text
        message = rule.declared.get("message")
        return message.strip() if message else f"failed rule: {_said(rule)}"

    def _pay(self, budget: Budget, place: Place, kind: str) -> None:
        spent = min(budget.spent, PER_CALL)
        if spent > self.left:
            self._stop(place, kind, _SPENT)
        self.left -= spent

    def _stop(self, place: Place, kind: str, text: str) -> None:
        self.told.add(errors.invalid(path(place), kind, text))
        raise EnoughError


def _said(rule: CompiledRule) -> str:
    text: str = rule.declared.get("message") or rule.declared.get("rule") or ""
    return text.strip()


def _failed(error: CelError, said: str) -> str:
    if str(error).startswith("no such overload"):
        words = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {words}: {said}"
    return f"{error} evaluating rule: {said}"


def _fault(where: str, kind: str, detail: str, rule: CompiledRule) -> FieldError:
    reason = rule.declared.get("reason")
    if reason == "FieldValueForbidden":
        return errors.forbidden(where, detail)
    if reason == "FieldValueRequired":
        return errors.required(where, detail)
    if reason == "FieldValueDuplicate":
        return errors.duplicate(where, kind)
    return errors.invalid(where, kind, detail)
