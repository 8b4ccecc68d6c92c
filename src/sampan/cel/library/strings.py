"""Functions of texts (cel-go ext.Strings, version 2, as Kubernetes has it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sampan.cel.costs import elements, parts, tenths, traversal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.library.formatting import format_text
from sampan.cel.running import MAX_CHARACTERS, MAX_ELEMENTS
from sampan.cel.types import DYN, INT, STRING, list_of
from sampan.cel.values import size_of

_TEXTS: Final = list_of(STRING)

#: A is only what ASCII calls a letter.
_LOWER: Final = {code: code + 32 for code in range(65, 91)}
_UPPER: Final = {code + 32: code for code in range(65, 91)}
#: What Go's strings.TrimSpace takes off.
_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

_QUOTED: Final = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)


def _out_of_range(index: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {index}")


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return text[index : index + 1]


def _index_of(text: str, part: str, offset: int = 0) -> int:
    if part == "":
        return offset
    if not 0 <= offset <= len(text):
        raise _out_of_range(offset)
    return text.find(part, offset)


def _last_index_of(text: str, part: str, offset: int | None = None) -> int:
    if offset is None:
        return len(text) if part == "" else text.rfind(part)
    if part == "":
        return offset
    if not 0 <= offset <= len(text):
        raise _out_of_range(offset)
    return text.rfind(part, 0, offset + len(part))


def _substring(text: str, start: int, end: int | None = None) -> str:
    if end is not None and start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    if not 0 <= start <= len(text):
        raise _out_of_range(start)
    if end is not None and not 0 <= end <= len(text):
        raise _out_of_range(end)
    return text[start:end]


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    if len(new) > len(old):
        times = text.count(old) if old else len(text) + 1
        times = times if count < 0 else min(times, count)
        if len(text) + times * (len(new) - len(old)) > MAX_CHARACTERS:
            raise EvaluationError("text is too long")
    return text.replace(old, new, count)


def _replacing(args: Sequence[Any]) -> int:
    """Beside what upstream charges, for what comes out if it is much longer."""
    text, old, new = args[0], args[1], args[2]
    grown = (len(text) // max(1, len(old)) + 1) * max(0, len(new) - len(old))
    return tenths(len(text) * 2) + (grown // 100 if grown > 1000 else 0)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if limit == 1:
        return [text]
    if separator == "":
        if len(text) > MAX_ELEMENTS:
            raise EvaluationError("list is too long")
        return list(text) if limit < 0 or limit >= len(text) else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _join(texts: list[Any], separator: str = "") -> str:
    if not all(isinstance(text, str) for text in texts):
        raise EvaluationError("no such overload")
    return separator.join(texts)


def _joining(args: Sequence[Any]) -> int:
    """Of what comes out, known before it is made."""
    separator = len(args[1]) if len(args) > 1 else 0
    size = sum(map(size_of, args[0])) + separator * max(0, len(args[0]) - 1)
    if size > MAX_CHARACTERS:
        raise EvaluationError("text is too long")
    return tenths(size * 2)


def _formatting(args: Sequence[Any]) -> int:
    """Of the text and all that is shown in it."""
    return tenths(len(args[0])) + parts(args[1]) * 4


def _quote(text: str) -> str:
    return f'"{text.translate(_QUOTED)}"'


def _translated(table: dict[int, int]) -> Callable[[str], str]:
    return lambda text: text.translate(table)


_SEARCHED: Final = [STRING, STRING]

LIBRARY: Final[Library] = (
    function("charAt", member("string_char_at_int", [STRING, INT], STRING, _char_at)),
    function(
        "indexOf",
        member("string_index_of_string", _SEARCHED, INT, _index_of, elements),
        member("string_index_of_string_int", [*_SEARCHED, INT], INT, _index_of, elements),
    ),
    function(
        "lastIndexOf",
        member("string_last_index_of_string", _SEARCHED, INT, _last_index_of, elements),
        member("string_last_index_of_string_int", [*_SEARCHED, INT], INT, _last_index_of, elements),
    ),
    function(
        "join",
        member("list_join", [_TEXTS], STRING, _join, _joining),
        member("list_join_string", [_TEXTS, STRING], STRING, _join, _joining),
    ),
    function("lowerAscii", member("string_lower_ascii", [STRING], STRING, _translated(_LOWER), traversal())),
    function("upperAscii", member("string_upper_ascii", [STRING], STRING, _translated(_UPPER), traversal())),
    function(
        "replace",
        member("string_replace_string_string", [STRING, STRING, STRING], STRING, _replace, _replacing),
        member("string_replace_string_string_int", [STRING, STRING, STRING, INT], STRING, _replace, _replacing),
    ),
    function(
        "split",
        member("string_split_string", _SEARCHED, _TEXTS, _split, traversal(times=2)),
        member("string_split_string_int", [*_SEARCHED, INT], _TEXTS, _split, traversal(times=2)),
    ),
    function(
        "substring",
        member("string_substring_int", [STRING, INT], STRING, _substring, traversal()),
        member("string_substring_int_int", [STRING, INT, INT], STRING, _substring, traversal()),
    ),
    function("trim", member("string_trim", [STRING], STRING, lambda text: text.strip(_SPACE), traversal())),
    function("strings.quote", plain("strings_quote", [STRING], STRING, _quote, traversal())),
    function("format", member("string_format", [STRING, list_of(DYN)], STRING, format_text, _formatting)),
)
