"""Bodies: duplicate keys, depth, encodings, YAML's traps."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api import schema
from sampan.api.errors import BadRequest

PARSERS = [schema.parse_json, schema.parse_yaml]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    ("body", "value", "duplicates"),
    [
        (b'{"a": 1}', {"a": 1}, []),
        (b'{"a": 1, "a": 2}', {"a": 2}, ["a"]),
        (b'{"s": {"c": [{"d": 1, "d": 2}]}}', {"s": {"c": [{"d": 2}]}}, ["s.c[0].d"]),
        (b'{"a": ":80", "b": "x:"}', {"a": ":80", "b": "x:"}, []),
        (b'{"a": 1, "a": 1, "a": 1}', {"a": 1}, ["a"]),
        (b"[]", [], []),
    ],
)
def test_keys_given_twice_are_found(parse, body, value, duplicates):
    assert parse(body) == (value, duplicates)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"\\u0061":2}',
        b'{"a":1,"a" :2}',
        b'{"a":":","a":1}',
        b'{"a\\\\":1,"a\\\\":2}',
        b'{"x":"{\\"k\\":1}","a":1,"a":2}',
    ],
)
def test_duplicates_hidden_from_a_naive_count_are_found(body):
    assert len(schema.parse_json(body)[1]) == 1


KEYS = st.sampled_from(["a", "b", 'q"', "\\", ":", '":', "é", ""])
TEXTS = st.sampled_from(["", ":", '":', '\\":', ' :"', '{"a":1}', '{"a":"{\\"b\\":1}"}', "\\"])
PAIRS = st.recursive(
    TEXTS | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(tuple),
    max_leaves=10,
)


def render(value, separator):
    """JSON text of nested pairs (tuples are objects), and whether any object has a key twice."""
    if isinstance(value, tuple):
        parts = [(json.dumps(key), *render(item, separator)) for key, item in value]
        keys = [key for key, _ in value]
        repeated = len(set(keys)) < len(keys) or any(part[2] for part in parts)
        return "{" + ",".join(f"{key}{separator}{text}" for key, text, _ in parts) + "}", repeated
    if isinstance(value, list):
        rendered = [render(item, separator) for item in value]
        return "[" + ",".join(text for text, _ in rendered) + "]", any(repeated for _, repeated in rendered)
    return json.dumps(value), False


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from([":", " : ", ": "]))
def test_duplicates_are_found_exactly_when_they_are_there(pairs, separator):
    text, repeated = render(pairs, separator)
    value, duplicates = schema.parse_json(text.encode())
    assert value == json.loads(text)
    assert bool(duplicates) == repeated


@pytest.mark.parametrize("body", [b"", b"{", b"hello", b'{"a":NaN}', b'{"a":1}x', b"Infinity"])
def test_what_is_not_json_is_refused(body):
    with pytest.raises(BadRequest, match="json parse error"):
        schema.parse_json(body)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("depth", [schema.MAX_DEPTH + 1, 20000])
def test_too_deep_nesting_is_refused(parse, depth):
    with pytest.raises(BadRequest, match="exceeded max depth"):
        parse(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True), ("yes", True), ("NO", False), ("off", False), ("~", None), ("", None), ("null", None),
        ("2020-01-01", "2020-01-01"), ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"), ("1:30", "1:30"),
        ("010", 8), ("0o10", 8), ("0x1F", 31), ("0b11", 3), ("-5", -5), ("1_000", 1000), ("1.5", 1.5), ("1.0", 1),
        ("1e3", 1000), ("089", 89), ("'1'", "1"), ("1.2.3", "1.2.3"), ("!!str 1", "1"), ("!!int '7'", 7), ("-", [None]),
        ("18446744073709551616", float(2**64)),
    ],
)  # fmt: skip
def test_yaml_scalars_mean_what_they_mean_to_kubectl(text, value):
    parsed, _ = schema.parse_yaml(text.encode())
    assert parsed == value
    assert type(parsed) is type(value)


def test_yaml_keys_become_strings_and_merge_keys_merge():
    body = b"base: &b {x: 1, z: 2}\nuse: {<<: *b, z: 3}\n1: a\ny: b\n"
    assert schema.parse_yaml(body)[0] == {
        "base": {"x": 1, "z": 2}, "use": {"z": 3, "x": 1}, "1": "a", "true": "b",
    }  # fmt: skip


def test_an_alias_is_a_copy():
    parsed, _ = schema.parse_yaml(b"a: &a {x: 1}\nb: *a\n")
    parsed["a"]["x"] = 2
    assert parsed["b"] == {"x": 1}


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(BadRequest, match="document contains excessive aliasing"):
        schema.parse_yaml("\n".join(lines).encode())


@pytest.mark.parametrize(
    "body", [b"!!python/object:os.system x", b"a: [", b"a: .nan", b"a: *b", b"\xff", b"a: &a [*a]", b"? {a: 1}\n: b"]
)
def test_bad_yaml_is_refused(body):
    with pytest.raises(BadRequest, match="error converting YAML to JSON"):
        schema.parse_yaml(body)


def test_only_the_first_document_is_read():
    assert schema.parse_yaml(b"a: 1\n---\nb: 2\n")[0] == {"a": 1}


def test_an_empty_document_is_null():
    assert schema.parse_yaml(b"# nothing\n") == (None, [])


def test_an_alias_bomb_of_one_long_text_is_refused():
    body = b"a: &a " + b"x" * 100_000 + b"\nb: [" + b",".join([b"*a"] * 1000) + b"]"
    with pytest.raises(BadRequest, match="document contains excessive aliasing"):
        schema.parse_yaml(body)


def test_anchors_within_anchors_are_counted_once():
    depth = schema.MAX_DEPTH
    body = b"".join(b"&a%d [" % n for n in range(depth)) + b",".join([b"x"] * 5000) + b"]" * depth
    assert schema.parse_yaml(body)[1] == []


def test_aliases_that_nest_too_deep_are_refused():
    nest = b"%s%%s%s" % (b"[" * 100, b"]" * 100)
    body = b"a: &a " + nest % b"" + b"\nb: &b " + nest % b"*a" + b"\nc: " + nest % b"*b"
    with pytest.raises(BadRequest, match="exceeded max depth"):
        schema.parse_yaml(body)


def test_long_keys_make_no_long_paths():
    key = b"k" * 100_000
    body = b"{? %s : {" % key + b", ".join(b"a%d: 1, a%d: 1" % (n, n) for n in range(200)) + b"}}"
    _, duplicates = schema.parse_yaml(body)
    assert len(duplicates) == 1  # all are cut to the same
    assert len(duplicates[0]) < 1100


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"a: 1\n b: 2\n", "line 2: mapping values are not allowed in this context"),
        (b"a: b: c", "mapping values are not allowed in this context"),
        (b"\n\na: [", "line 3: did not find expected node content"),
        (b"a: \x01", "control characters are not allowed"),
        (b"a: \xff", "invalid leading UTF-8 octet"),
        (b"a: \xc3(", "invalid trailing UTF-8 octet"),
        (b"a: \xc3", "incomplete UTF-8 octet sequence"),
        (rb'"\ud83d"', "found invalid Unicode character escape code"),
        (b"!!int abc", "cannot decode !!str `abc` as a !!int"),
        (b"? [a]\n: b", "unsupported map key of type: slice"),
    ],
)
def test_broken_yaml_is_told_as_upstream_tells_it(body, told):
    with pytest.raises(BadRequest) as caught:
        schema.parse_yaml(body)
    assert str(caught.value) == f"error converting YAML to JSON: yaml: {told}"


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "f" * 5000, "1." + "0" * 5000, "-" + "7" * 5000])
def test_a_number_of_thousands_of_digits_is_a_text(number):
    assert schema.parse_yaml(f"a: {number}".encode())[0] == {"a": number}
