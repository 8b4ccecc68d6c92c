"""What is wrong with a text that is no JSON, in the words of Go's decoder. Called by ``json_text``.

orjson says where it stopped and what it wanted there; people and clients know upstream's sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import orjson

_END: Final = "unexpected end of JSON input"
_CONTROL = re.compile(r"[\x00-\x1f]")
_HEX = re.compile(r"[0-9a-fA-F]{0,4}")
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"[-+.0-9eE]{1,64}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
#: An opening bracket far before the fault is not looked for.
_LOOK_BACK: Final = 65536


def describe(error: orjson.JSONDecodeError) -> str:
    """``invalid character '}' looking for beginning of value`` and its kin."""
    text, position = error.doc, error.pos
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    for start, tell in _FAULTS:
        if error.msg.startswith(start):
            return tell(text, position)
    return _at(text, position, "looking for beginning of value")


def _at(text: str, position: int, where: str) -> str:
    if position >= len(text):
        return _END
    return f"invalid character {_quoted(text[position])} {where}"


def _quoted(character: str) -> str:
    """Go reads bytes: of a longer character it names the first."""
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    named = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "\b": r"\b", "\f": r"\f", "\v": r"\v", "\a": r"\a"}
    if character in named:
        return f"'{named[character]}'"
    byte = character.encode("utf-8", "replace")[0]
    return f"'\\x{byte:02x}'" if byte < 0x20 or 0x7F <= byte < 0xA0 else f"'{chr(byte)}'"


def _where(where: str) -> Callable[[str, int], str]:
    return lambda text, position: _at(text, position, where)


def _end(text: str, position: int) -> str:
    return _END


def _after_comma(text: str, position: int) -> str:
    """orjson stops at the comma, Go at what follows."""
    space = _SPACE.match(text, position + 1)
    following = space.end() if space else position + 1
    is_object = text[following : following + 1] == "}"
    where = "looking for beginning of object key string" if is_object else "looking for beginning of value"
    return _at(text, following, where)


def _literal(text: str, position: int) -> str:
    word = {"t": "true", "f": "false", "n": "null"}.get(text[position : position + 1])
    if word is None:
        return _at(text, position, "looking for beginning of value")
    for index, wanted in enumerate(word):
        found = text[position + index : position + index + 1]
        if found != wanted:
            return _at(text, position + index, f"in literal {word} (expecting '{wanted}')")
    return _at(text, position + len(word), "looking for beginning of value")


def _control(text: str, position: int) -> str:
    found = _CONTROL.search(text, position)
    return _at(text, found.start() if found else position, "in string literal")


def _escape(text: str, position: int) -> str:
    """``position`` is the backslash's."""
    if text[position + 1 : position + 2] != "u":
        return _at(text, position + 1, "in string escape code")
    digits = _HEX.match(text, position + 2)
    return _at(text, digits.end() if digits else position + 2, r"in \u hexadecimal character escape")


def _sign(text: str, position: int) -> str:
    return _at(
        text, position, "in numeric literal" if text[:position].endswith("-") else "looking for beginning of value"
    )


def _number(text: str, position: int) -> str:
    """A number may not go on as it does: a leading zero."""
    at = position + (2 if text[position : position + 1] == "-" else 1)
    return _at(text, at, _inside(text, position))


def _inside(text: str, position: int) -> str:
    """What a value that has just ended is part of."""
    depth = 0
    before = _STRING.sub("", text[max(0, position - _LOOK_BACK) : position])
    for character in reversed(before):
        if character in "]}":
            depth += 1
        elif character in "[{":
            if depth == 0:
                return "after array element" if character == "[" else "after object key:value pair"
            depth -= 1
    return "after top-level value"


def _infinite(text: str, position: int) -> str:
    number = _NUMBER.match(text, position)
    return f"json: cannot unmarshal number {number[0] if number else ''} into Go value of type float64"


_FAULTS: Final[tuple[tuple[str, Callable[[str, int], str]], ...]] = (
    ("Input is a zero-length", _end),
    ("input data is empty", _end),
    ("unexpected end of data", _end),
    ("unexpected character, expected ':'", _where("after object key")),
    ("unexpected character, expected ',' or ']'", _where("after array element")),
    ("unexpected character, expected ',' or '}'", _where("after object key:value pair")),
    ("unexpected character, expected a string key", _where("looking for beginning of object key string")),
    ("trailing comma", _after_comma),
    ("unexpected content after document", _where("after top-level value")),
    ("invalid literal", _literal),
    ("unexpected control character", _control),
    ("invalid escaped", _escape),
    ("number with leading zero", _number),
    ("no digit after decimal point", _where("after decimal point in numeric literal")),
    ("no digit after sign", _sign),
    ("no digit after exponent", _where("in exponent of numeric literal")),
    ("number is infinity", _infinite),
)
