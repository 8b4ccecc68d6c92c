"""A checked tree as Python closures.

Each node becomes a closure over its operands' closures. What a node costs in any case is summed up when it is compiled
and charged where it begins to be certain: at the start, at a branch, at an operand of ``&&``, at a turn of a loop. What
depends on values is charged by the closure itself. Costs are cel-go's (interpreter/runtimecost.go), as Kubernetes has
it configured: ``has`` is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from sampan.cel import calls, folds
from sampan.cel.access import has_field, index, map_key, optional_field, optional_index, select
from sampan.cel.errors import EvaluationError, no_such_overload
from sampan.cel.nodes import (
    Bind,
    Call,
    Fold,
    Ident,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Node,
    ObjectLiteral,
    OptionalMap,
    Select,
)
from sampan.cel.running import Run
from sampan.cel.types import Type
from sampan.cel.values import NONE, Made, Optional, TypeValue

Evaluate: TypeAlias = Callable[[Run], Any]

LIST_COST: Final = 10
MAP_COST: Final = 30
OBJECT_COST: Final = 40


class Code(NamedTuple):
    """``cost``: what it costs in any case, charged by whoever calls it."""

    run: Evaluate
    cost: int


class Compiler:
    def __init__(self) -> None:
        self._scope: list[str] = []
        #: the most variables that are bound at once
        self.slots = 0

    def compile(self, node: Node) -> Code:
        return _COMPILERS[type(node)](self, node)

    def charged(self, node: Node) -> Evaluate:
        """A closure that charges all its cost itself."""
        run, cost = self.compile(node)
        if not cost:
            return run

        def charging(state: Run) -> Any:
            state.charge(cost)
            return run(state)

        return charging

    def bound(self, names: Sequence[str], node: Node) -> tuple[Code, int]:
        """The code of a node that sees these variables, and the slot of the first."""
        first = len(self._scope)
        self._scope.extend(names)
        self.slots = max(self.slots, len(self._scope))
        code = self.compile(node)
        del self._scope[first:]
        return code, first

    # Leaves

    def _literal(self, node: Literal) -> Code:
        value = node.value
        return Code(lambda run: value, 0)

    def _ident(self, node: Ident) -> Code:
        name = node.name.removeprefix(".")
        if name == node.name and name in self._scope:
            slot = len(self._scope) - 1 - self._scope[::-1].index(name)
            return Code(lambda run: run.slots[slot], 1)
        if node.named is not None:
            value = TypeValue(_shown(node.named))
            return Code(lambda run: value, 1)

        return Code(_variable(name), 1)

    def _select(self, node: Select) -> Code:
        if node.named is not None:
            value = TypeValue(_shown(node.named))
            return Code(lambda run: value, 1)
        if node.variable:
            return Code(_variable(node.variable), 1)
        operand, cost = self.compile(node.operand)
        key = node.key
        if node.test:
            return Code(lambda run: has_field(operand(run), key), cost)
        if node.optional:
            return Code(lambda run: optional_field(operand(run), key), cost + 1)

        def field(run: Run) -> Any:
            value = operand(run)
            if type(value) is dict and key in value:
                return value[key]
            return select(value, key)

        return Code(field, cost + 1)

    # Operators and calls

    def _call(self, node: Call) -> Code:
        if node.function == "_?_:_":
            return self._conditional(node)
        parts = [self.compile(part) for part in node.operands()]
        cost = sum(part.cost for part in parts)
        operands = [part.run for part in parts]
        if node.function in ("_[_]", "_[?_]"):
            look = index if node.function == "_[_]" else optional_index
            container, key = operands
            return Code(lambda run: look(container(run), key(run)), cost + 1)
        evaluate = calls.operator(node, operands)
        if evaluate is not None:
            return Code(evaluate, cost + calls.fixed_cost(node))
        return Code(calls.dispatch(node.overloads, operands), cost)

    def _conditional(self, node: Call) -> Code:
        condition, cost = self.compile(node.args[0])
        yes, no = self.charged(node.args[1]), self.charged(node.args[2])

        def conditional(run: Run) -> Any:
            chosen = condition(run)
            if chosen is True:
                return yes(run)
            if chosen is False:
                return no(run)
            raise no_such_overload()

        return Code(conditional, cost)

    def _logic(self, node: Logic) -> Code:
        first, cost = self.compile(node.parts[0])
        parts = [first, *(self.charged(part) for part in node.parts[1:])]
        return Code(_any_of(parts, decides=node.operator == "||"), cost)

    # Literals of containers

    def _list(self, node: ListLiteral) -> Code:
        if all(isinstance(item, Literal) for item in node.items) and not node.optional:
            value = [item.value for item in node.items if isinstance(item, Literal)]
            return Code(lambda run: value, 0)
        items = [self.compile(item) for item in node.items]
        runs = [item.run for item in items]
        cost = LIST_COST + sum(item.cost for item in items)
        if not node.optional:
            return Code(lambda run: [item(run) for item in runs], cost)
        optional = node.optional

        def build(run: Run) -> list[Any]:
            found = []
            for place, item in enumerate(runs):
                value = item(run)
                if place not in optional:
                    found.append(value)
                elif _present(value):
                    found.append(value.value)
            return found

        return Code(build, cost)

    def _map(self, node: MapLiteral) -> Code:
        keys = [self.compile(entry.key) for entry in node.entries]
        values = [self.compile(entry.value) for entry in node.entries]
        parts = [
            (key.run, value.run, entry.optional) for key, value, entry in zip(keys, values, node.entries, strict=True)
        ]

        def build(run: Run) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key_run, value_run, optional in parts:
                key = map_key(key_run(run))
                value = value_run(run)
                if optional:
                    if not _present(value):
                        continue
                    value = value.value
                if key in made:
                    raise EvaluationError(f"Failed with repeated key: {key}")
                made[key] = value
            return made

        return Code(build, MAP_COST + sum(part.cost for part in (*keys, *values)))

    def _object(self, node: ObjectLiteral) -> Code:
        name = node.name.removeprefix(".")
        values = [self.compile(entry.value) for entry in node.entries]
        parts = [(entry.key, value.run, entry.optional) for entry, value in zip(node.entries, values, strict=True)]

        def build(run: Run) -> Made:
            made: dict[str, Any] = {}
            for key, value_run, optional in parts:
                value = value_run(run)
                if not optional:
                    made[key] = value
                elif _present(value):
                    made[key] = value.value
            return Made(name, made)

        return Code(build, OBJECT_COST + sum(value.cost for value in values))

    # What binds variables

    def _fold(self, node: Fold) -> Code:
        over, cost = self.compile(node.range)
        step, slot = self.bound(node.variables, node.step)
        condition = self.bound(node.variables, node.filter)[0] if node.filter is not None else None
        loop = folds.Loop(
            over=over,
            slot=slot,
            pair=len(node.variables) == 2,
            step=step.run,
            step_cost=step.cost,
            condition=condition.run if condition is not None else None,
            condition_cost=condition.cost if condition is not None else 0,
        )
        return Code(folds.fold(node.kind, loop), cost + folds.BASE[node.kind])

    def _optional_map(self, node: OptionalMap) -> Code:
        target, cost = self.compile(node.target)
        (step, step_cost), slot = self.bound([node.variable], node.step)
        flat = node.flat

        def optional_map(run: Run) -> Any:
            value = target(run)
            if not _present(value):
                return NONE
            run.charge(step_cost)
            run.slots[slot] = value.value
            result = step(run)
            return result if flat else Optional(result)

        return Code(optional_map, cost + 1)

    def _bind(self, node: Bind) -> Code:
        value, value_cost = self.compile(node.value)
        (result, result_cost), slot = self.bound([node.variable], node.result)

        def bind(run: Run) -> Any:
            run.slots[slot] = value(run)
            return result(run)

        return Code(bind, LIST_COST + value_cost + result_cost)


_COMPILERS: Final[Mapping[type[Node], Callable[[Compiler, Any], Code]]] = {
    Literal: Compiler._literal,
    Ident: Compiler._ident,
    Select: Compiler._select,
    Call: Compiler._call,
    Logic: Compiler._logic,
    ListLiteral: Compiler._list,
    MapLiteral: Compiler._map,
    ObjectLiteral: Compiler._object,
    Fold: Compiler._fold,
    OptionalMap: Compiler._optional_map,
    Bind: Compiler._bind,
}


def _variable(name: str) -> Evaluate:
    def variable(run: Run) -> Any:
        try:
            return run.variables[name]
        except KeyError:
            raise EvaluationError(f"no such attribute(s): {name}") from None

    return variable


def _any_of(parts: Sequence[Evaluate], *, decides: bool) -> Evaluate:
    """``&&`` and ``||``: the first value that decides does so, whatever failed before it."""
    other = not decides

    def any_of(run: Run) -> bool:
        failure: EvaluationError | None = None
        for part in parts:
            try:
                value = part(run)
            except EvaluationError as error:
                failure = failure or error
                continue
            if value is decides:
                return not other
            if value is not other:
                failure = failure or no_such_overload()
        if failure is not None:
            raise failure
        return other

    return any_of


def _present(value: Any) -> bool:
    if type(value) is not Optional:
        raise no_such_overload()
    return value.present


def _shown(kind: Type) -> str:
    """What ``type(value)`` gives for values of the type."""
    names = {"null": "null_type", "timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}
    return kind.name or names.get(kind.kind, kind.kind)
