"""Tokens of an expression (cel-spec, Syntax)."""

from __future__ import annotations

import re
from typing import Any, Final

from sampan.cel.source import Source
from sampan.cel.values import UInt
from sampan.records import dataclass

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>[ \t\n\f\r]+|//[^\n]*)
    | (?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))
    | (?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
    | (?P<int>0x[0-9a-fA-F]+|\d+)
    | (?P<prefix>[bB]?[rR]?)(?P<quote>\"\"\"|'''|"|')
    | (?P<ident>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<op>==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.ASCII,
)

_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    '"': '"', "'": "'", "\\": "\\", "?": "?", "`": "`",
}  # fmt: skip
#: By quote and whether the text is raw: what ends it, hides the next character, or may not be in it.
_MARKS: Final = {
    (quote, raw): re.compile("|".join([quote, *([] if raw else [r"\\"]), *(["[\r\n]"] if len(quote) == 1 else [])]))
    for quote in ('"', "'", '"""', "'''")
    for raw in (False, True)
}
_DIGITS: Final = {"x": (2, 16), "X": (2, 16), "u": (4, 16), "U": (8, 16)}
_NUMBER: Final = {16: re.compile("[0-9a-fA-F]+"), 8: re.compile("[0-3][0-7][0-7]")}

KEYWORDS: Final = frozenset({"in", "true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: op, ident, keyword, int, uint, float, string, bytes, end."""

    kind: str
    text: str
    at: int
    value: Any = None


class _BadLiteral(Exception):
    """``args``: what is wrong."""


def tokens(source: Source) -> list[Token]:
    """All tokens, the end last. What is none is told as a fault of the source."""
    text, found, at = source.text, [], 0
    while at < len(text) and not source.is_full:
        match = _TOKEN.match(text, at)
        if match is None or not match.group():
            # Half of an operator of two characters is told with what stands in the place of the other half.
            shown = text[at : at + 2] if text[at] in "=&|" else text[at]
            source.fault(at, f"Syntax error: token recognition error at: '{shown}'")
            at += 1
            continue
        kind = match.lastgroup or ""
        if kind == "quote":
            token, at = _string(source, match)
            if token is not None:
                found.append(token)
            continue
        if kind != "skip":
            found.append(_plain(source, kind, match.group(), at))
        at = match.end()
    found.append(Token("end", "<EOF>", len(text)))
    return found


def _plain(source: Source, kind: str, text: str, at: int) -> Token:
    if kind == "ident":
        return Token("keyword" if text in KEYWORDS else "ident", text, at)
    if kind == "float":
        return Token(kind, text, at, float(text))
    if kind in ("int", "uint"):
        return Token(kind, text, at, _integer(source, kind, text, at))
    return Token(kind, text, at)


def _integer(source: Source, kind: str, text: str, at: int) -> int:
    digits = text.rstrip("uU") if kind == "uint" else text
    # Python refuses to read endless numbers; they would not fit anyway.
    value = (int(digits, 16) if digits.startswith("0x") else int(digits)) if len(digits) <= 40 else 2**64
    if kind == "uint":
        if value >= 2**64:
            source.fault(at, "invalid uint literal")
            value = 0
        return UInt(value)
    return value  # the parser knows whether a minus stands before it


def _string(source: Source, match: re.Match[str]) -> tuple[Token | None, int]:
    text, at = source.text, match.start()
    prefix, quote = match.group("prefix").lower(), match.group("quote")
    end = _closing(text, match.end(), quote, raw="r" in prefix)
    if end < 0:
        cut = text.find("\n", at)
        shown = text[at : cut if cut >= 0 else len(text)]
        source.fault(at, f"Syntax error: token recognition error at: '{shown}'")
        return None, cut if cut >= 0 else len(text)
    body = text[match.end() : end]
    after = end + len(quote)
    try:
        value = _unescape(body, as_bytes="b" in prefix) if "r" not in prefix else body
    except _BadLiteral as error:
        source.fault(at, f"Syntax error: token recognition error at: '{text[at : match.end()]}{error}'")
        return None, after
    if "b" in prefix:
        return Token("bytes", text[at:after], at, value if isinstance(value, bytes) else value.encode()), after
    return Token("string", text[at:after], at, value), after


def _closing(text: str, at: int, quote: str, *, raw: bool) -> int:
    """Where the closing quote stands; -1: nowhere."""
    marks = _MARKS[quote, raw]
    while (match := marks.search(text, at)) is not None:
        if match.group() == quote:
            return match.start()
        if match.group() != "\\":
            return -1
        at = match.end() + 1
    return -1


def _unescape(body: str, *, as_bytes: bool) -> str | bytes:
    if "\\" not in body:
        return body.encode() if as_bytes else body
    parts: list[Any] = []
    at = 0
    while at < len(body):
        char = body[at]
        at += 1
        if char == "\\":
            char, at, code = _escape(body, at)
            if as_bytes:
                # Escapes of bytes are the bytes themselves; those of characters their UTF-8.
                parts.append(bytes([code]) if code is not None else char.encode())
                continue
        parts.append(char.encode() if as_bytes else char)
    return b"".join(parts) if as_bytes else "".join(parts)


def _escape(body: str, at: int) -> tuple[str, int, int | None]:
    """What stands for an escape, the offset after it, and the byte it names if it names one."""
    mark = body[at] if at < len(body) else ""
    if mark in _ESCAPES:
        return _ESCAPES[mark], at + 1, None
    length, base, at = (*_DIGITS[mark], at + 1) if mark in _DIGITS else (3, 8, at)
    digits = body[at : at + length]
    if len(digits) != length or not _NUMBER[base].fullmatch(digits):
        raise _BadLiteral(f"\\{mark}")
    code = int(digits, base)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise _BadLiteral(f"\\{mark}")
    return chr(code), at + length, code if code < 256 and mark not in "uU" else None
