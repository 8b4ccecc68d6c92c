"""The least and the most that an evaluation can cost, without evaluating (cel-go checker/cost.go).

API servers refuse rules whose most is too much, so the figures are part of the API: they are cel-go's, with Kubernetes'
estimates for its libraries (``estimates``), down to their oddities: what a declared scalar holds has the size 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sampan.cel import estimates
from sampan.cel.estimates import UNKNOWN, Operand, Range, fixed
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
from sampan.cel.types import SCALARS, Type
from sampan.records import dataclass

Estimate = Range

#: Types whose values may be of any size where nothing says how large.
_SIZED: Final = frozenset({"string", "bytes", "list", "map", "dyn"})

_ONE: Final = fixed(1)
_ZERO: Final = fixed(0)


class _Entry(NamedTuple):
    """Sizes of the keys (indexes) and values of a container."""

    key: Range
    value: Range


@dataclass(slots=True)
class _Local:
    size: Range | None = None
    entry: _Entry | None = None


def estimate(tree: Node) -> Estimate:
    return _Estimator().cost(tree)


class _Estimator:
    def __init__(self) -> None:
        self._sizes: dict[Node, Range] = {}
        self._entries: dict[Node, _Entry] = {}
        self._scopes: list[dict[str, _Local]] = []

    def cost(self, node: Node) -> Range:
        return _COSTS[type(node)](self, node)

    # Sizes

    def _size(self, node: Node) -> Range | None:
        """None: nothing is known."""
        if node in self._sizes:
            return self._sizes[node]
        size = _literal_size(node)
        if size is None and node.declared is not None:
            size = declared_size(node.declared)
        if size is None and _is_scalar(node.type):
            size = _ONE
        if size is None and isinstance(node, Ident) and (local := self._local(node.name)) is not None:
            size = local.size
        return size

    def _size_or_unknown(self, node: Node) -> Range:
        return self._size(node) or UNKNOWN

    def _entry(self, node: Node) -> _Entry | None:
        if node in self._entries:
            return self._entries[node]
        local = self._local(node.name) if isinstance(node, Ident) else None
        return local.entry if local is not None else None

    def _local(self, name: str) -> _Local | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    def _copy_sizes(self, node: Node, other: Node) -> None:
        if (size := self._size(other)) is not None:
            self._sizes[node] = size
        if (entry := self._entry(other)) is not None:
            self._entries[node] = entry

    # Costs

    def _free(self, node: Node) -> Range:
        return _ZERO

    def _ident(self, node: Ident) -> Range:
        return _ONE

    def _select(self, node: Select) -> Range:
        if node.variable:
            return _ONE
        cost = self.cost(node.operand)
        if node.test:
            return cost
        kind = node.operand.type.kind
        return cost + _ONE if kind in ("map", "object", "param") or node.optional else cost

    def _logic(self, node: Logic) -> Range:
        """The first is evaluated in any case, the others perhaps."""
        first, *rest = [self.cost(part) for part in node.parts]
        return Range(first.least, sum(rest, start=first).most)

    def _list(self, node: ListLiteral) -> Range:
        cost = sum((self.cost(item) for item in node.items), start=fixed(10))
        sizes = [self._size_or_unknown(item) for item in node.items]
        self._entries[node] = _Entry(_ONE, _union(sizes))
        return cost

    def _map(self, node: MapLiteral) -> Range:
        cost = sum((self.cost(part) for part in node.children()), start=fixed(30))
        keys = [self._size_or_unknown(entry.key) for entry in node.entries]
        values = [self._size_or_unknown(entry.value) for entry in node.entries]
        self._entries[node] = _Entry(_union(keys), _union(values))
        return cost

    def _object(self, node: ObjectLiteral) -> Range:
        return sum((self.cost(part) for part in node.children()), start=fixed(40))

    def _call(self, node: Call) -> Range:
        if node.function == "dyn":
            cost = self.cost(node.args[0]) + _ONE
            self._copy_sizes(node, node.args[0])
            return cost
        costs = [self.cost(arg) for arg in node.args]
        if node.function == "_?_:_":
            return self._conditional(node, costs)
        total = sum(costs, start=_ZERO)
        if node.target is not None:
            total += self.cost(node.target)
        target = self._operand(node.target) if node.target is not None else None
        args = [self._operand(arg) for arg in node.args]
        least, most, size = None, _ZERO, None
        for overload in node.overloads:
            call = estimates.of_call(node.function, overload.id, target, args)
            least = call.cost if least is None else least | call.cost
            most = most | call.cost
            if call.size is not None:
                size = call.size if size is None else size | call.size
        if node.function == "_+_":
            entries = [self._entry(arg) for arg in node.args]
            if entries[0] is not None and entries[1] is not None:
                self._entries[node] = _Entry(entries[0].key | entries[1].key, entries[0].value | entries[1].value)
        if node.function == "_[_]" and (entry := self._entry(node.args[0])) is not None:
            size = entry.value
        if size is not None:
            self._sizes[node] = size
        return total + (least or _ONE)

    def _conditional(self, node: Call, costs: Sequence[Range]) -> Range:
        _, yes, no = node.args
        self._sizes[node] = self._size_or_unknown(yes) | self._size_or_unknown(no)
        one, other = self._entry(yes), self._entry(no)
        if one is not None and other is not None:
            self._entries[node] = _Entry(one.key | other.key, one.value | other.value)
        return costs[0] + (costs[1] | costs[2])

    def _operand(self, node: Node) -> Operand:
        declared = node.declared
        item = None
        if node.type.parameters:
            item_type = node.type.parameters[0]
            hinted = declared.parameters[0] if declared is not None and declared.parameters else None
            item = Operand(item_type, declared_size(hinted) if hinted is not None else None)
        literal = node.value if isinstance(node, Literal) else None
        return Operand(node.type, self._size(node), item, literal)

    # What binds variables

    def _fold(self, node: Fold) -> Range:
        total = self.cost(node.range) + fixed(estimates.FOLD_START[node.kind])
        self._scopes.append(self._bound(node))
        step = self.cost(node.step)
        if node.kind in ("all", "exists"):
            accumulator = estimates.FOLD_TURN[node.kind]
            turn = Range(accumulator, accumulator + step.most)
        elif node.kind in ("existsOne", "filter"):
            added = estimates.FOLD_TURN[node.kind]
            turn = step + Range(1, added)
        else:
            turn = step + fixed(estimates.FOLD_TURN[node.kind])
            if node.filter is not None:
                turn = self.cost(node.filter) + (turn | _ONE)
        self._scopes.pop()
        count = self._size_or_unknown(node.range)
        if node.kind in ("all", "exists", "existsOne"):
            self._sizes[node] = _ONE
        else:
            self._sizes[node] = count
        return total + count * turn

    def _bound(self, node: Fold) -> dict[str, _Local]:
        entry = self._entry(node.range)
        key = entry.key if entry is not None else None
        value = entry.value if entry is not None else None
        if len(node.variables) == 2:
            return {node.variables[0]: _Local(key), node.variables[1]: _Local(value)}
        return {node.variables[0]: _Local(key if node.range.type.kind == "map" else value)}

    def _optional_map(self, node: OptionalMap) -> Range:
        target = self.cost(node.target)
        self._scopes.append({node.variable: _Local()})
        step = self.cost(node.step)
        self._scopes.pop()
        # target.hasValue() ? optional.of(a binding of target.value()) : optional.none()
        return target + _ONE + (fixed(1) | (target + step + fixed(12)))

    def _bind(self, node: Bind) -> Range:
        cost = self.cost(node.value) + fixed(10)
        self._scopes.append({node.variable: _Local(self._size(node.value), self._entry(node.value))})
        cost += self.cost(node.result)
        self._scopes.pop()
        self._copy_sizes(node, node.result)
        return cost


def _literal_size(node: Node) -> Range | None:
    if isinstance(node, Literal):
        return fixed(len(node.value) if isinstance(node.value, str | bytes) else 1)
    if isinstance(node, ListLiteral):
        return fixed(len(node.items))
    return fixed(len(node.entries)) if isinstance(node, MapLiteral) else None


def declared_size(kind: Type) -> Range:
    if kind.max_size is None and kind.kind in _SIZED:
        return UNKNOWN
    return Range(0, kind.max_size or 0)


def _is_scalar(kind: Type) -> bool:
    if kind.kind == "optional_type":
        return _is_scalar(kind.parameters[0])
    return kind.kind in SCALARS


def _union(sizes: Sequence[Range]) -> Range:
    total: Range | None = None
    for size in sizes:
        total = size if total is None else total | size
    return total or _ZERO


_COSTS: Final[Mapping[type[Node], Callable[[_Estimator, Any], Range]]] = {
    Literal: _Estimator._free,
    Ident: _Estimator._ident,
    Select: _Estimator._select,
    Call: _Estimator._call,
    Logic: _Estimator._logic,
    ListLiteral: _Estimator._list,
    MapLiteral: _Estimator._map,
    ObjectLiteral: _Estimator._object,
    Fold: _Estimator._fold,
    OptionalMap: _Estimator._optional_map,
    Bind: _Estimator._bind,
}
