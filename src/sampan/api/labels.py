"""Label selectors: the string form of query parameters and the ``LabelSelector`` object, as one ``Selector``.

Grammar and messages: apimachinery ``labels`` and ``metav1.LabelSelectorAsSelector``. A selector is immutable; matching
is pure and cheap, because every watch event and every controller asks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import field
from typing import Any

from sampan.api import names
from sampan.records import dataclass

#: Operators in upstream's own spelling (selection.Operator).
IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS = "in", "notin", "=", "==", "!="
EXISTS, DOES_NOT_EXIST, GREATER_THAN, LESS_THAN = "exists", "!", "gt", "lt"


Test = Callable[[str | None], bool]
Match = Callable[[Mapping[str, str] | None], bool]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. ``values`` of in and notin are kept sorted. ``test`` asks it of the label's value
    (None: there is none)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    test: Test = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", _test(self.operator, self.values))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.test(labels.get(self.key))

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt":
                return f"{self.key}>{self.values[0]}"
            case "lt":
                return f"{self.key}<{self.values[0]}"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


def _test(operator: str, values: tuple[str, ...]) -> Test:
    """A set, because there may be thousands of values; it holds no None."""
    match operator:
        case "in" | "=" | "==":
            if len(values) == 1:
                only = values[0]
                return lambda value: value == only
            return frozenset(values).__contains__
        case "notin" | "!=":
            others = frozenset(values)
            return lambda value: value not in others
        case "exists":
            return lambda value: value is not None
        case "!":
            return lambda value: value is None
        case _:
            return _comparison(operator, values)


def _comparison(operator: str, values: tuple[str, ...]) -> Test:
    bound = _int64(values[0]) if values else None
    if bound is None:
        return lambda value: False
    greater, limit = operator == GREATER_THAN, bound

    def compare(value: str | None) -> bool:
        number = _int64(value) if value is not None else None
        return number is not None and (number > limit if greater else number < limit)

    return compare


_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


def _int64(text: str) -> int | None:
    """As Go's ParseInt reads it; None: it is none."""
    number = int(text) if _INTEGER.fullmatch(text) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements hold. No requirements: everything matches. ``nothing``: nothing ever matches. ``matches`` is
    made for the selector once: lists of thousands and every event ask it."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    matches: Match = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", _nothing if self.nothing else _matcher(self.requirements))

    @property
    def everything(self) -> bool:
        return not self.nothing and not self.requirements

    def key(self) -> Hashable:
        """The same for selectors that say the same in other words (``a=b``, ``a in (b)``, another order): who asks
        alike may share an answer."""
        said = {(r.key, _WORDS.get(r.operator, r.operator), tuple(sorted(set(r.values)))) for r in self.requirements}
        return (self.nothing, *sorted(said))

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def to_string(self) -> str:
        """The form that query parameters and ``status.selector`` of a Scale carry."""
        return str(self)


_WORDS = {EQUALS: IN, DOUBLE_EQUALS: IN, NOT_EQUALS: NOT_IN}


def _nothing(labels: Mapping[str, str] | None) -> bool:
    return False


def _matcher(requirements: tuple[Requirement, ...]) -> Match:
    if not requirements:
        return lambda labels: True
    tests = tuple((requirement.key, requirement.test) for requirement in requirements)
    if len(tests) == 1:
        key, test = tests[0]
        if requirements[0].operator in (EQUALS, DOUBLE_EQUALS):
            value = requirements[0].values[0]
            return lambda labels: labels is not None and labels.get(key) == value
        return lambda labels: test(labels.get(key) if labels else None)
    if all(requirement.operator in (EQUALS, DOUBLE_EQUALS) for requirement in requirements):
        pairs = tuple((requirement.key, requirement.values[0]) for requirement in requirements)

        def equals(labels: Mapping[str, str] | None) -> bool:
            if not labels:
                return False
            for key, value in pairs:  # noqa: SIM110 (a generator takes twice as long)
                if labels.get(key) != value:
                    return False
            return True

        return equals

    def matches(labels: Mapping[str, str] | None) -> bool:
        labels = labels or {}
        for key, test in tests:  # noqa: SIM110
            if not test(labels.get(key)):
                return False
        return True

    return matches


EVERYTHING = Selector()
NOTHING = Selector(nothing=True)


class SelectorError(ValueError):
    """A selector that cannot be parsed; the message is what the API answers with a 400."""


# -- from a string -----------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*(==|!=|[!=<>(),]|[^\s!=<>(),]+)")
_SYMBOLS = frozenset(("==", "!=", "!", "=", "<", ">", "(", ")", ","))
_OPERATORS = {"=": EQUALS, "==": DOUBLE_EQUALS, "!=": NOT_EQUALS, ">": GREATER_THAN, "<": LESS_THAN}
_END = ""


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else _END

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        if self.peek() == _END:
            return requirements
        while True:
            token = self.peek()
            if token != "!" and (token in _SYMBOLS or token == _END):
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            requirements.append(self.requirement())
            token = self.take()
            if token == _END:
                return requirements
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            token = self.peek()
            if token != "!" and (token in _SYMBOLS or token == _END):
                raise SelectorError(f"found '{token}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        negated = self.peek() == "!"
        if negated:
            self.take()
        key = self.take()
        if key in _SYMBOLS or key == _END:
            raise SelectorError(f"found '{key}', expected: identifier")
        if error := key_error(key):
            raise SelectorError(error)
        following = self.peek()
        if negated or following in (_END, ","):
            return Requirement(key, DOES_NOT_EXIST if negated else EXISTS)
        return self.comparison(key)

    def comparison(self, key: str) -> Requirement:
        token = self.take()
        if token in (IN, NOT_IN):
            values = self.value_list()
            return _checked(Requirement(key, token, tuple(sorted(set(values)))))
        operator = _OPERATORS.get(token)
        if operator is None:
            raise SelectorError(f"found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        if self.peek() in (_END, ","):
            return _checked(Requirement(key, operator, ("",)))
        value = self.take()
        if value in _SYMBOLS:
            raise SelectorError(f"found '{value}', expected: identifier")
        return _checked(Requirement(key, operator, (value,)))

    def value_list(self) -> list[str]:
        """``(a,b)``. An empty list, and empty values between commas, are the empty string, as upstream has it."""
        token = self.take()
        if token != "(":
            raise SelectorError(f"found '{token}', expected: '('")
        values: list[str] = []
        expect_value = True
        while True:
            token = self.take()
            if token == ")":
                if expect_value:
                    values.append("")
                return values
            if token == ",":
                if expect_value:
                    values.append("")
                expect_value = True
            elif token in _SYMBOLS or token == _END or not expect_value:
                raise SelectorError(f"found '{token}', expected: ',', or identifier")
            else:
                values.append(token)
                expect_value = False


def key_error(key: str) -> str:
    problems = names.qualified_name(key)
    return f'key: Invalid value: "{key}": {"; ".join(problems)}' if problems else ""


def _checked(requirement: Requirement) -> Requirement:
    if requirement.operator in (GREATER_THAN, LESS_THAN) and _int64(requirement.values[0]) is None:
        raise SelectorError(
            f"values[0][{requirement.key}]: Invalid value: \"{requirement.values[0]}\": for 'Gt', 'Lt' operators, "
            "the value must be an integer"
        )
    for index, value in enumerate(requirement.values):
        if problems := names.label_value(value):
            raise SelectorError(f'values[{index}][{requirement.key}]: Invalid value: "{value}": {"; ".join(problems)}')
    return requirement


def parse(text: str) -> Selector:
    """A selector from its query form: ``a=b,c in (d,e),!f``. Raises SelectorError."""
    try:
        requirements = _Parser(text).parse()
    except SelectorError as error:
        raise SelectorError(f"unable to parse requirement: {error}") from None
    requirements.sort(key=lambda requirement: requirement.key)
    return Selector(tuple(requirements)) if requirements else EVERYTHING


# -- from objects ------------------------------------------------------------------------------------------------

_OBJECT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}


def from_map(labels: Mapping[str, str] | None) -> Selector:
    """The selector of a plain map: Service, ReplicationController. An empty map matches everything."""
    return Selector(tuple(Requirement(key, EQUALS, (value,)) for key, value in sorted((labels or {}).items())))


def from_label_selector(selector: Mapping[str, Any] | None) -> Selector:
    """The selector of a ``LabelSelector`` object: None matches nothing, ``{}`` everything. Raises SelectorError."""
    if selector is None:
        return NOTHING
    requirements = [Requirement(key, IN, (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    requirements = [Requirement(r.key, EQUALS, r.values) for r in requirements]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        values = tuple(sorted(expression.get("values") or ()))
        requirements.append(Requirement(expression.get("key", ""), operator, values))
    requirements.sort(key=lambda requirement: requirement.key)
    return Selector(tuple(requirements))


def node_selector_term(expressions: Iterable[Mapping[str, Any]]) -> Selector:
    """``matchExpressions`` of a node selector term, which also knows Gt and Lt. Raises SelectorError."""
    operators = {**_OBJECT_OPERATORS, "Gt": GREATER_THAN, "Lt": LESS_THAN}
    requirements = []
    for expression in expressions:
        operator = operators.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid node selector operator')
        values = tuple(expression.get("values") or ())
        if operator in (GREATER_THAN, LESS_THAN) and not (len(values) == 1 and _int64(values[0]) is not None):
            raise SelectorError("for 'Gt', 'Lt' operators, exactly one integer value is required")
        requirements.append(Requirement(expression.get("key", ""), operator, values))
    return Selector(tuple(requirements))


def format_map(labels: Mapping[str, str] | None) -> str:
    """``a=b,c=d`` sorted by key, ``<none>`` when empty: the form of printed columns (labels.FormatLabels)."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"
