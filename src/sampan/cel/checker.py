"""Types of an expression: every node gets one, every call the overloads that may be meant; faults in cel-go's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sampan.cel.functions import Function
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
from sampan.cel.parser import qualified
from sampan.cel.source import Source
from sampan.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    UINT,
    Type,
    TypeNames,
    bounded,
    list_of,
    map_of,
    optional_of,
    type_of,
)
from sampan.cel.unify import Bindings, general, instantiate
from sampan.cel.values import UInt

_LITERALS: Final[Mapping[type, Type]] = {
    type(None): NULL, bool: BOOL, int: INT, UInt: UINT, float: DOUBLE, str: STRING, bytes: BYTES,
}  # fmt: skip

#: Literal arguments that are looked at when they are compiled: is the text one at all?
Validators = Mapping[str, Callable[[str], bool]]


class Checker:
    def __init__(
        self,
        source: Source,
        variables: Mapping[str, Type],
        functions: Mapping[str, Function],
        types: TypeNames,
        validators: Validators,
    ) -> None:
        self._source = source
        self._variables = variables
        self._functions = functions
        self._types = types
        self._validators = validators
        self._bindings = Bindings()
        self._scopes: list[dict[str, tuple[Type, Type | None]]] = []
        self._seen: list[Node] = []

    def check(self, tree: Node) -> Type:
        """The type of the whole. Raises CompileError."""
        self._visit(tree)
        self._source.check()
        for node in self._seen:
            node.type = self._bindings.resolve(node.type, open_as_dyn=True)
        return tree.type

    def _visit(self, node: Node) -> Type:
        node.type = bounded(_VISITS[type(node)](self, node))
        self._seen.append(node)
        return node.type

    def _known(self, node: Node) -> Type:
        return self._bindings.resolve(self._visit(node))

    # Leaves

    def _literal(self, node: Literal) -> Type:
        return _LITERALS[type(node.value)]

    def _ident(self, node: Ident) -> Type:
        name = node.name.removeprefix(".")
        if name == node.name:
            for scope in reversed(self._scopes):
                if name in scope:
                    kind, node.declared = scope[name]
                    return kind
        if name in self._variables:
            node.declared = self._variables[name]
            return self._variables[name]
        node.named = self._types.find(name)
        if node.named is not None:
            return type_of(node.named)
        self._source.fault(node.at, f"undeclared reference to '{name}' (in container '')")
        return ERROR

    def _select(self, node: Select) -> Type:
        if not node.test and not node.optional and (name := qualified(node)):
            if name in self._variables:  # one with a dot in its name
                node.variable, node.declared = name, self._variables[name]
                return self._variables[name]
            node.named = self._types.find(name) if name.partition(".")[0] not in self._variables else None
            if node.named is not None:
                return type_of(node.named)
        operand = self._known(node.operand)
        kind, wrapped = (operand.parameters[0], True) if operand.kind == "optional_type" else (operand, False)
        kind = self._bindings.resolve(kind)
        node.key = node.field
        found = self._field(node, kind)
        if node.test:
            return BOOL
        return optional_of(found) if wrapped or node.optional else found

    def _field(self, node: Select, kind: Type) -> Type:
        if kind.kind == "object":
            field = kind.fields.get(node.field)
            if field is None:
                self._source.fault(node.at, f"undefined field '{node.field}'")
                return ERROR
            node.key = field.key
            if node.operand.declared is not None:
                node.declared = field.type
            return field.type
        if kind.kind == "map":  # what is declared of its values is forgotten, as cel-go does
            return kind.parameters[1]
        if not kind.is_dyn and kind.kind != "param":
            self._source.fault(node.at, f"type '{kind}' does not support field selection")
            return ERROR
        return DYN

    # Calls

    def _call(self, node: Call) -> Type:
        args = [self._known(arg) for arg in node.args]
        if node.target is not None and (name := qualified(node.target)):
            full = f"{name.removeprefix('.')}.{node.function}"
            if full in self._functions:
                node.target, node.function = None, full
        if node.target is not None:
            args.insert(0, self._known(node.target))
        function = self._functions.get(node.function.removeprefix("."))
        if function is None:
            self._source.fault(node.at, f"undeclared reference to '{node.function}' (in container '')")
            return ERROR
        result = self._resolve(node, function, args)
        self._validate_literals(node)
        if node.function == "_[_]" and (declared := node.args[0].declared) is not None and declared.parameters:
            node.declared = declared.parameters[-1]
        return result

    def _resolve(self, node: Call, function: Function, args: Sequence[Type]) -> Type:
        member = node.target is not None
        if any(arg is ERROR for arg in args):
            return ERROR  # told already
        result: Type | None = None
        for overload in function.overloads:
            if overload.member is not member:
                continue
            *expected, gives = instantiate((*overload.args, overload.result), self._bindings)
            if not self._bindings.fits(expected, args):
                continue
            node.overloads.append(overload)
            gives = self._bindings.resolve(gives)
            if result is None:
                result = gives
            elif not result.is_dyn and result != gives:
                result = DYN
        if result is None:
            self._no_overload(node.at, function.name, args, member=member)
            return ERROR
        return result

    def _no_overload(self, at: int, name: str, args: Sequence[Type], *, member: bool = False) -> None:
        shown = [str(self._bindings.resolve(arg, open_as_dyn=True)) for arg in args]
        text = f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
        self._source.fault(at, f"found no matching overload for '{name}' applied to '{text}'")

    def _validate_literals(self, node: Call) -> None:
        check = self._validators.get(node.function)
        if check is None or not node.args:
            return
        arg = node.args[-1]
        if isinstance(arg, Literal) and isinstance(arg.value, str) and not check(arg.value):
            self._source.fault(arg.at, f"invalid {node.function} argument")

    def _logic(self, node: Logic) -> Type:
        name = f"_{node.operator}_"
        for part in node.parts:
            kind = self._known(part)
            if not self._bindings.fits([BOOL], [kind]):
                kinds = (BOOL, kind) if part is not node.parts[0] else (kind, BOOL)
                self._no_overload(node.at, name, kinds)
        return BOOL

    # Literals of containers

    def _list(self, node: ListLiteral) -> Type:
        item: Type | None = None
        for index, one in enumerate(node.items):
            kind = self._known(one)
            if index in node.optional:
                kind = self._unwrapped(one, kind)
            item = self._joined(one.at, item, kind)
        return list_of(item or self._bindings.fresh())

    def _map(self, node: MapLiteral) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            key = self._joined(entry.key.at, key, self._known(entry.key))
            kind = self._known(entry.value)
            if entry.optional:
                kind = self._unwrapped(entry.value, kind)
            value = self._joined(entry.value.at, value, kind)
        return map_of(key or self._bindings.fresh(), value or self._bindings.fresh())

    def _object(self, node: ObjectLiteral) -> Type:
        kind = self._types.find(node.name.removeprefix("."))
        if kind is None:
            self._source.fault(node.at, f"undeclared reference to '{node.name}' (in container '')")
            kind = ERROR
        elif kind.kind != "object":
            self._source.fault(node.at, f"'{node.name}' is not a message type")
            kind = ERROR
        for entry in node.entries:
            given = self._known(entry.value)
            if entry.optional:
                given = self._unwrapped(entry.value, given)
            if kind is ERROR:
                continue
            field = kind.fields.get(entry.name)
            if field is None:
                self._source.fault(entry.at, f"undefined field '{entry.name}'")
                continue
            entry.key = field.key
            if not self._bindings.fits([field.type], [given]):
                shown = self._bindings.resolve(given, open_as_dyn=True)
                text = f"expected type of field '{entry.name}' is '{field.type}' but provided type is '{shown}'"
                self._source.fault(entry.at, text)
        return kind

    def _unwrapped(self, node: Node, kind: Type) -> Type:
        if kind.kind == "optional_type":
            return kind.parameters[0]
        if not kind.is_dyn:
            self._source.fault(node.at, f"expected type 'optional_type({kind})' but found '{kind}'")
        return DYN

    def _joined(self, at: int, before: Type | None, kind: Type) -> Type:
        if before is None:
            return kind
        before = self._bindings.resolve(before)
        if not self._bindings.fits([before], [kind]):
            shown = self._bindings.resolve(kind, open_as_dyn=True)
            self._source.fault(at, f"expected type '{before}' but found '{shown}'")
            return before
        return general(self._bindings.resolve(before), self._bindings.resolve(kind))

    # What binds variables

    def _fold(self, node: Fold) -> Type:
        kind = self._known(node.range)
        keys, values = self._iterated(node, kind)
        # One variable goes over the items of a list, but over the keys of a map.
        first = values if len(node.variables) == 1 and kind.kind != "map" else keys
        scope = {node.variables[0]: first}
        if len(node.variables) == 2:
            scope[node.variables[1]] = values
        self._scopes.append(scope)
        if node.filter is not None:
            self._condition(node, self._known(node.filter), DYN)
        step = self._known(node.step)
        self._scopes.pop()
        if node.kind in ("all", "exists"):
            if not self._bindings.fits([BOOL], [step]):
                self._no_overload(node.at, "_&&_" if node.kind == "all" else "_||_", (BOOL, step))
            return BOOL
        if node.kind == "existsOne":
            self._condition(node, step, INT)
            return BOOL
        if node.kind == "filter":
            self._condition(node, step, list_of(first[0]))
            return list_of(first[0])
        if node.kind in ("map", "transformList"):
            return list_of(step)
        if node.kind == "transformMap":
            return map_of(keys[0], step)
        entry = map_of(self._bindings.fresh(), self._bindings.fresh())
        if not self._bindings.fits([entry], [step]):
            self._no_overload(node.at, "cel.@mapInsert", (map_of(DYN, DYN), step))
        return self._bindings.resolve(entry)

    def _condition(self, node: Fold, kind: Type, result: Type) -> None:
        if not self._bindings.fits([BOOL], [kind]):
            self._no_overload(node.at, "_?_:_", (kind, result, result))

    def _iterated(self, node: Fold, kind: Type) -> tuple[tuple[Type, Type | None], tuple[Type, Type | None]]:
        """Types of the keys (indexes) and of the values that are gone over, with what they are declared as."""
        declared = node.range.declared
        hints = declared.parameters if declared is not None and declared.kind == kind.kind else ()
        if kind.kind == "list":
            return (INT, None), (kind.parameters[0], hints[0] if hints else None)
        if kind.kind == "map":
            key, value = kind.parameters
            return (key, hints[0] if hints else None), (value, hints[1] if hints else None)
        if not kind.is_dyn and kind.kind != "param":
            text = f"expression of type '{kind}' cannot be range of a comprehension (must be list, map, or dynamic)"
            self._source.fault(node.range.at, text)
        return (DYN, None), (DYN, None)

    def _optional_map(self, node: OptionalMap) -> Type:
        target = self._known(node.target)
        item = self._bindings.fresh()
        if not self._bindings.fits([optional_of(item)], [target]):
            self._no_overload(node.at, "hasValue", (target,), member=True)
            item = ERROR
        self._scopes.append({node.variable: (self._bindings.resolve(item, open_as_dyn=True), None)})
        step = self._known(node.step)
        self._scopes.pop()
        if not node.flat:
            return optional_of(step)
        if not self._bindings.fits([optional_of(self._bindings.fresh())], [step]):
            self._no_overload(node.at, "_?_:_", (BOOL, step, optional_of(DYN)))
        return step

    def _bind(self, node: Bind) -> Type:
        kind = self._known(node.value)
        self._scopes.append({node.variable: (kind, node.value.declared)})
        result = self._known(node.result)
        self._scopes.pop()
        return result


_VISITS: Final[Mapping[type[Node], Callable[[Checker, Any], Type]]] = {
    Literal: Checker._literal,
    Ident: Checker._ident,
    Select: Checker._select,
    Call: Checker._call,
    Logic: Checker._logic,
    ListLiteral: Checker._list,
    MapLiteral: Checker._map,
    ObjectLiteral: Checker._object,
    Fold: Checker._fold,
    OptionalMap: Checker._optional_map,
    Bind: Checker._bind,
}
