"""From text to tree: a parser by precedence, with the macros (cel-spec, Syntax and Macros).

The rules of cel-go's parser hold: at most 100,000 characters, no reserved words as names. Trees are at most
``MAX_DEPTH`` deep, for they are walked recursively.
"""

from __future__ import annotations

from typing import Final

from sampan.cel import macros
from sampan.cel.lexer import Token, tokens
from sampan.cel.nodes import (
    Call,
    Entry,
    FieldEntry,
    Ident,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Node,
    ObjectLiteral,
    Select,
)
from sampan.cel.source import Source
from sampan.cel.values import INT_MAX

MAX_CHARACTERS: Final = 100_000
MAX_DEPTH: Final = 150

_RESERVED: Final = frozenset({
    "as", "break", "const", "continue", "else", "for", "function", "if", "import",
    "let", "loop", "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
_EXPECTED: Final = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
#: Operators of two operands: how strongly they bind, and the function they are.
_BINARY: Final = {
    "||": (1, ""), "&&": (2, ""),
    "<": (3, "_<_"), "<=": (3, "_<=_"), ">": (3, "_>_"), ">=": (3, "_>=_"),
    "==": (3, "_==_"), "!=": (3, "_!=_"), "in": (3, "@in"),
    "+": (4, "_+_"), "-": (4, "_-_"), "*": (5, "_*_"), "/": (5, "_/_"), "%": (5, "_%_"),
}  # fmt: skip
_UNARY: Final = {"!": "!_", "-": "-_"}


def parse(source: Source) -> Node:
    """The tree. Raises CompileError."""
    size = len(source.text)
    if size > MAX_CHARACTERS:
        source.fault(0, f"expression code point size exceeds limit: size: {size}, limit {MAX_CHARACTERS}")
        source.check()
    parser = _Parser(source, tokens(source))
    try:
        tree = parser.whole()
    except _Stop:
        tree = Literal(None, at=0)
    if source.ok and _is_deep(tree):
        source.fault(0, f"expression recursion limit exceeded: {MAX_DEPTH}")
    source.check()
    return tree


def _is_deep(tree: Node) -> bool:
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.children()]
        if not level:
            return False
    return True


class _Stop(Exception):
    """The rest cannot be made sense of."""


class _Parser:
    def __init__(self, source: Source, found: list[Token]) -> None:
        self._source = source
        self._tokens = found
        self._index = 0
        self._depth = 0

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    def _next(self) -> Token:
        token = self._tokens[self._index]
        if token.kind != "end":
            self._index += 1
        return token

    def _is(self, text: str) -> bool:
        token = self._token
        return token.text == text and token.kind in ("op", "keyword")

    def _take(self, text: str) -> bool:
        if self._is(text):
            self._next()
            return True
        return False

    def _expect(self, text: str, told: str = "") -> Token:
        """``told``: all that may stand there, if it is more."""
        if self._is(text):
            return self._next()
        token = self._token
        if token.kind == "end" and text == ")" and not told:
            raise self._fault(token, f"Syntax error: missing '{text}' at '<EOF>'")
        follows = self._tokens[min(self._index + 1, len(self._tokens) - 1)]
        what = "extraneous" if follows.text == text and token.kind != "end" else "mismatched"
        wanted = told or f"'{text}'"
        raise self._fault(token, f"Syntax error: {what} input '{token.text}' expecting {wanted}")

    def _fault(self, token: Token, message: str) -> _Stop:
        self._source.fault(token.at, message)
        return _Stop()

    def _unexpected(self, token: Token) -> _Stop:
        follows = self._token
        superfluous = token.kind == "op" and (follows.kind not in ("op", "end") or follows.text in ("(", "[", "{"))
        what = "extraneous" if superfluous else "mismatched"
        return self._fault(token, f"Syntax error: {what} input '{token.text}' expecting {_EXPECTED}")

    # Expressions

    def whole(self) -> Node:
        tree = self._expression()
        if self._token.kind != "end":
            token = self._token
            raise self._fault(token, f"Syntax error: extraneous input '{token.text}' expecting <EOF>")
        return tree

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault(self._token, f"expression recursion limit exceeded: {MAX_DEPTH}")
        tree = self._binary(1)
        if self._is("?"):
            at = self._next().at
            yes = self._binary(1)
            self._expect(":")
            tree = Call("_?_:_", [tree, yes, self._expression()], at=at)
        self._depth -= 1
        return tree

    def _binary(self, strength: int) -> Node:
        left = self._operand()
        while True:
            token = self._token
            binds, name = _BINARY.get(token.text, (0, "")) if token.kind in ("op", "keyword") else (0, "")
            if binds < strength or not binds:
                return left
            self._next()
            right = self._binary(binds + 1)
            if name:
                left = Call(name, [left, right], at=token.at)
            elif isinstance(left, Logic) and left.operator == token.text and not left.parenthesized:
                left.parts.append(right)
            else:
                left = Logic(token.text, [left, right], at=token.at)

    def _operand(self) -> Node:
        """Signs, then what they stand before."""
        signs: list[Token] = []
        while self._token.kind == "op" and self._token.text in _UNARY:
            if signs and signs[0].text != self._token.text:
                raise self._unexpected(self._token)
            signs.append(self._next())
        number = self._token if signs and self._token.kind in ("int", "float") and signs[-1].text == "-" else None
        if number is not None:
            sign = signs.pop()
            self._next()
            tree: Node = (
                self._integer(number, -number.value, sign.at)
                if number.kind == "int"
                else Literal(-number.value, at=sign.at)
            )
            tree = self._members(tree)
        else:
            tree = self._members(self._primary())
        # Pairs of signs cancel out, as in cel-go.
        if len(signs) % 2:
            tree = Call(_UNARY[signs[0].text], [tree], at=signs[0].at)
        return tree

    def _members(self, tree: Node) -> Node:
        while True:
            if self._is("."):
                tree = self._member(tree, self._next())
            elif self._is("["):
                at = self._next().at
                name = "_[?_]" if self._take("?") else "_[_]"
                index = self._expression()
                self._expect("]")
                tree = Call(name, [tree, index], at=at)
            elif self._is("{") and (name := qualified(tree)):
                tree = self._object(name, self._next().at)
            else:
                return tree

    def _member(self, tree: Node, dot: Token) -> Node:
        optional = self._take("?")
        token = self._next()
        if token.kind != "ident":
            raise self._fault(token, f"Syntax error: no viable alternative at input '.{token.text}'")
        if not self._is("("):
            return Select(tree, token.text, optional=optional, at=dot.at)
        opening = self._next()
        args = self._arguments(")")
        call = Call(token.text, args, tree, at=opening.at)
        return macros.expand(call, self._source) or call

    def _arguments(self, closing: str) -> list[Node]:
        args: list[Node] = []
        while not self._is(closing):
            args.append(self._expression())
            if not self._take(","):
                break
        self._expect(closing)
        return args

    def _primary(self) -> Node:
        token = self._next()
        if token.kind == "ident" or (token.kind == "op" and token.text == "."):
            return self._name(token)
        if token.kind in ("string", "bytes", "float", "uint"):
            return Literal(token.value, at=token.at)
        if token.kind == "int":
            return self._integer(token, token.value, token.at)
        if token.kind == "keyword" and token.text != "in":
            return Literal({"true": True, "false": False, "null": None}[token.text], at=token.at)
        if token.kind == "op":
            if token.text == "(":
                tree = self._expression()
                self._expect(")")
                if isinstance(tree, Logic):
                    tree.parenthesized = True
                return tree
            if token.text == "[":
                return self._list(token.at)
            if token.text == "{":
                return self._map(token.at)
        raise self._unexpected(token)

    def _integer(self, token: Token, value: int, at: int) -> Node:
        if not -INT_MAX - 1 <= value <= INT_MAX:
            self._source.fault(token.at, "invalid int literal")
        return Literal(value, at=at)

    def _name(self, token: Token) -> Node:
        leading = ""
        at = token.at
        if token.text == ".":
            leading = "."
            token = self._next()
            if token.kind != "ident":
                raise self._unexpected(token)
        if token.text in _RESERVED:
            self._source.fault(token.at, f"reserved identifier: {token.text}")
        if not self._is("("):
            return Ident(leading + token.text, at=at)
        opening = self._next()
        call = Call(leading + token.text, self._arguments(")"), at=opening.at)
        return macros.expand(call, self._source) or call

    def _list(self, at: int) -> Node:
        items: list[Node] = []
        optional: set[int] = set()
        while not self._is("]"):
            if self._take("?"):
                optional.add(len(items))
            items.append(self._expression())
            if not self._take(","):
                break
        self._expect("]", "{']', ','}")
        return ListLiteral(items, frozenset(optional), at=at)

    def _map(self, at: int) -> Node:
        entries: list[Entry] = []
        while not self._is("}"):
            optional = self._take("?")
            key = self._expression()
            colon = self._expect(":")
            entries.append(Entry(colon.at, key, self._expression(), optional))
            if not self._take(","):
                break
        self._expect("}", "{'}', ','}")
        return MapLiteral(entries, at=at)

    def _object(self, name: str, at: int) -> Node:
        entries: list[FieldEntry] = []
        while not self._is("}"):
            optional = self._take("?")
            token = self._next()
            if token.kind != "ident":
                raise self._unexpected(token)
            colon = self._expect(":")
            entries.append(FieldEntry(colon.at, token.text, self._expression(), optional))
            if not self._take(","):
                break
        self._expect("}")
        return ObjectLiteral(name, entries, at=at)


def qualified(tree: Node) -> str:
    """``a.b.c`` as one name; "" if the tree is none."""
    parts: list[str] = []
    while isinstance(tree, Select) and not tree.test and not tree.optional:
        parts.append(tree.field)
        tree = tree.operand
    if not isinstance(tree, Ident):
        return ""
    return ".".join([tree.name, *reversed(parts)])
