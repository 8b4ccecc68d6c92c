"""Text that is no JSON is told in Go's words; what Go mends is mended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import schema
from sampan.api.errors import BadRequest

OBJECT_KEY = "looking for beginning of object key string"
VALUE = "looking for beginning of value"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a":', "unexpected end of JSON input"),
        (b'"abc', "unexpected end of JSON input"),
        (b'{"a":1,}', f"invalid character '}}' {OBJECT_KEY}"),
        (b"[1, ]", f"invalid character ']' {VALUE}"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":nul}', "invalid character '}' in literal null (expecting 'l')"),
        (b'{"a":"\n"}', r"invalid character '\n' in string literal"),
        (rb'"a\q"', "invalid character 'q' in string escape code"),
        (rb'"\u00g1"', r"invalid character 'g' in \u hexadecimal character escape"),
        (b'{"a":1}x', "invalid character 'x' after top-level value"),
        (b'{"a":{"b":[]},"c":01}', "invalid character '1' after object key:value pair"),
        (b"{'a':1}", rf"invalid character '\'' {OBJECT_KEY}"),
        (b"hello", f"invalid character 'h' {VALUE}"),
        (b"NaN", f"invalid character 'N' {VALUE}"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b'{"a":1e400}', "json: cannot unmarshal number 1e400 into Go value of type float64"),
    ],
)
def test_broken_json_is_told_as_upstream_tells_it(body: bytes, told: str) -> None:
    with pytest.raises(BadRequest) as caught:
        schema.parse_json(body)
    assert str(caught.value) == f"couldn't get version/kind; json parse error: {told}"


@given(st.text(alphabet='{}[]:,"\\un0-.e tr\n', max_size=12).map(str.encode) | st.binary(max_size=8))
def test_no_text_is_told_in_other_words(body: bytes) -> None:
    try:
        schema.parse_json(body)
    except BadRequest as error:
        told = str(error).removeprefix("couldn't get version/kind; json parse error: ")
        assert told.startswith(("invalid character '", "unexpected end of JSON input", "json: cannot unmarshal number"))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'"x\xffy"', "x\ufffdy"),
        (b'"\xe2\x82"', "\ufffd\ufffd"),  # one for each byte
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),  # a surrogate is no UTF-8 either
        (rb'"cut \ud83d"', "cut \ufffd"),
        (rb'"\ude00"', "\ufffd"),
        (rb'"\ud83d\u0041"', "\ufffdA"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\N{GRINNING FACE}"),
        (rb'"\\ud83d\ud83d"', "\\ud83d\ufffd"),
        (b'"\xff\\ud83d"', "\ufffd\ufffd"),
    ],
)
def test_broken_characters_are_replaced(body: bytes, text: str) -> None:
    assert schema.parse_json(b'{"a":%s}' % body) == ({"a": text}, [])


def test_what_is_accepted_can_be_written_inside_an_answer() -> None:
    import orjson

    depth = schema.MAX_DEPTH
    value, _ = schema.parse_json(b"[" * depth + b"]" * depth)
    orjson.dumps({"rows": [{"object": {"a": value}}]})


def test_duplicate_keys_by_the_hundred_thousand_are_told_a_hundred_times() -> None:
    text = b"{" + b",".join(b'"%d":1,"%d":1' % (n, n) for n in range(20_000)) + b"}"
    _, duplicates = schema.parse_json(text)
    assert duplicates == [str(n) for n in range(100)]


def test_a_number_of_thousands_of_digits_is_refused_beside_duplicates_too() -> None:
    with pytest.raises(BadRequest, match="cannot unmarshal number 1111"):
        schema.parse_json(b'{"a":1,"a":%s}' % (b"1" * 5000))
    assert schema.parse_json(b'{"a":1,"a":%s}' % (b"1" * 300))[1] == ["a"]
