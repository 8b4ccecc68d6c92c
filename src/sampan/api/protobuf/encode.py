"""From an object's JSON form to Kubernetes' protobuf encoding, byte for byte as Go's generated ``Marshal`` writes it.

Fields come in the order of their numbers. What is no pointer in Go is written though it is empty; of lists and maps
only what they hold is, maps in the order of their keys. A writer is compiled for each message when it is first needed:
closures, one a field. Called by the API server; some ten microseconds a message, so long lists belong into a
thread. Sources: apimachinery ``runtime.Unknown``, ``serializer/protobuf``; gogo's ``generated.pb.go`` files.
"""

from __future__ import annotations

import base64
from calendar import timegm
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from struct import pack
from typing import Any, Final, TypeAlias

import orjson

from sampan.api.protobuf.numbers import APIEXTENSIONS, META, UNIONS, Field, fields_of, known, message_of
from sampan.api.protobuf.wire import FIXED64, LENGTH, VARINT, encode_varint
from sampan.api.types import Obj

CONTENT_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"
_LIST_META: Final = META + "ListMeta"
_PARTIAL: Final = "PartialObjectMetadata"
#: where the list of these has its two fields the other way round
_OLD_META: Final = "meta.k8s.io/v1beta1"

#: the content of a message, from its JSON
Writer = Callable[[Any], bytes]


class NotEncodable(ValueError):
    """The object cannot be written: nobody knows the numbers of its kind, or it is not what its kind's schema says."""


def encodable(api_version: str, kind: str) -> bool:
    return message_of(api_version, kind) is not None


def encode_object(obj: Obj) -> bytes:
    """A whole body: the magic bytes and the envelope around an object that says its kind. Raises NotEncodable."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
    if api_version == _OLD_META and kind == _PARTIAL + "List":
        form = ListForm.of(api_version, kind, _PARTIAL)
        return b"".join(form.body(obj["metadata"], [form.items(obj["items"])]))
    return envelope(api_version, kind, [encode_content(api_version, kind, obj)])


def encode_content(api_version: str, kind: str, obj: Obj) -> bytes:
    """The object alone, without its kind. Raises NotEncodable."""
    name = _name(api_version, kind)
    try:
        return writer(name)(obj)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NotEncodable(f"a {kind} is not as its schema says and has no protobuf form") from error


def _name(api_version: str, kind: str) -> str:
    """Raises NotEncodable."""
    name = message_of(api_version, kind)
    if name is None:
        raise NotEncodable(f'kind "{kind}" of "{api_version}" has no protobuf form')
    return name


def envelope(api_version: str, kind: str, content: Sequence[bytes]) -> bytes:
    """A body of this content, which may come in pieces: ``runtime.Unknown`` behind the magic bytes."""
    parts = [envelope_head(api_version, kind, sum(map(len, content))), *content, ENVELOPE_TAIL]
    return b"".join(parts)


#: contentEncoding and contentType, always written and always empty
ENVELOPE_TAIL: Final = b"\x1a\x00\x22\x00"


def envelope_head(api_version: str, kind: str, length: int) -> bytes:
    """What comes before so many bytes of content."""
    names = _text(1, api_version) + _text(2, kind)
    return b"%s\x0a%s%s\x12%s" % (MAGIC, encode_varint(len(names)), names, encode_varint(length))


class ListForm:
    """How the content of a list is written: its metadata, and each item with what goes before it."""

    __slots__ = ("_item", "_item_tag", "_metadata_first", "_metadata_tag", "api_version", "kind")

    def __init__(self, api_version: str, kind: str, item_message: str) -> None:
        """Raises NotEncodable."""
        if not known(item_message):
            raise NotEncodable(f'kind "{kind}" of "{api_version}" has no protobuf form')
        self.api_version, self.kind = api_version, kind
        self._item = writer(item_message)
        self._metadata_first = api_version != _OLD_META
        self._metadata_tag, self._item_tag = (b"\x0a", b"\x12") if self._metadata_first else (b"\x12", b"\x0a")

    @classmethod
    def of(cls, api_version: str, list_kind: str, kind: str) -> ListForm:
        """Raises NotEncodable."""
        return cls(api_version, list_kind, _name(api_version, kind))

    def items(self, objects: Iterable[Obj]) -> bytes:
        """Raises NotEncodable."""
        item, tag = self._item, self._item_tag
        parts: list[bytes] = []
        try:
            for obj in objects:
                content = item(obj)
                parts += (tag, encode_varint(len(content)), content)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise NotEncodable(f"an item of a {self.kind} is not as its schema says") from error
        return b"".join(parts)

    def body(self, metadata: Obj, items: Sequence[bytes]) -> list[bytes]:
        """All of a body, in pieces that belong together in this order."""
        content = writer(_LIST_META)(metadata)
        said = self._metadata_tag + encode_varint(len(content)) + content
        length = len(said) + sum(map(len, items))
        head = envelope_head(self.api_version, self.kind, length)
        return [head, said, *items, ENVELOPE_TAIL] if self._metadata_first else [head, *items, said, ENVELOPE_TAIL]


def encode_event(event_type: str, body: bytes) -> bytes:
    """One frame of a watch: ``WatchEvent`` around a whole body (with its own magic bytes), behind its length."""
    wrapped = b"\x0a%s%s" % (encode_varint(len(body)), body)
    content = b"%s\x12%s%s" % (_text(1, event_type), encode_varint(len(wrapped)), wrapped)
    return len(content).to_bytes(4, "big") + content


# Messages


@cache
def writer(name: str) -> Writer:
    """The compiled writer of a message. Raises KeyError for one whose numbers nobody knows."""
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    if name in UNIONS:
        return _union(name)
    compiled: _Compiled | None = None  # late: messages hold themselves

    def message(obj: Obj) -> bytes:
        nonlocal compiled
        if compiled is None:
            compiled = _compile(name)  # several threads may come at once: each finds all of it, or makes it
        absent, by_key, embedded = compiled
        out = absent.copy()
        find = by_key.get
        for key, value in obj.items():
            if value is None or (found := find(key)) is None:
                continue
            place, write, heads = found
            if heads is None:
                out[place] = write(value)
                continue
            content = write(value)  # not in a function of its own: calls are most of what an object costs
            length = len(content)
            out[place] = heads[length] + content if length < 128 else heads[128] + encode_varint(length) + content
        for place, write in embedded:
            out[place] = write(obj)
        return b"".join(out)

    return message


#: what stands in each field's place where the object has nothing; the place and writer of each key; and those that are
#: made of the object itself
_Compiled: TypeAlias = tuple[
    list[bytes], dict[str, tuple[int, Writer, tuple[bytes, ...] | None]], list[tuple[int, Writer]]
]


def _compile(name: str) -> _Compiled:
    absent: list[bytes] = []
    by_key: dict[str, tuple[int, Writer, tuple[bytes, ...] | None]] = {}
    embedded: list[tuple[int, Writer]] = []
    for place, field in enumerate(_written(name)):
        absent.append(_absent(field))
        content = None if field.repeated or field.mapped else _content(field)
        if field.embedded:
            embedded.append((place, _single(field)))
        elif content is not None:
            by_key[field.key] = place, content, _heads(field.number)
        else:
            by_key[field.key] = place, _writer_of(field), None
    return absent, by_key, embedded


def _written(name: str) -> list[Field]:
    return [field for field in fields_of(name) if not field.gone]


def _absent(field: Field) -> bytes:
    left_out = field.repeated or field.mapped or field.pointer or field.kind == "b"
    return b"" if left_out else _zero(field)


def _writer_of(field: Field) -> Writer:
    return _repeated(field) if field.repeated else _mapped(field) if field.mapped else _single(field)


def _single(field: Field) -> Writer:
    content = _content(field)
    return _number(field.number, field.kind) if content is None else _long(field.number, content)


def _content(field: Field) -> Writer | None:
    """What stands behind the length of one value; None: numbers have none."""
    kind = field.kind
    if kind.startswith("m:"):
        return writer(kind[2:])
    return str.encode if kind == "s" else base64.b64decode if kind == "b" else None


def _zero(field: Field) -> bytes:
    if field.kind.startswith("m:"):
        content = zero(field.kind[2:])
        return _tag(field.number, LENGTH) + encode_varint(len(content)) + content
    return _single(field)("" if field.kind == "s" else 0)


@cache
def zero(name: str) -> bytes:
    """A message none of whose fields is set."""
    if name in _ZEROS:
        return _ZEROS[name]
    return b"".join([_absent(field) for field in _written(name)])


def _repeated(field: Field) -> Writer:
    content_of = _content(field)
    if content_of is None:
        one = _number(field.number, field.kind)
        return lambda values: b"".join([one(value) for value in values if value is not None])
    heads, null_too = _heads(field.number), field.kind[2:] in _RAW

    def elements(values: list[Any]) -> bytes:
        out: list[bytes] = []
        for value in values:
            if value is not None or null_too:
                content = content_of(value)
                length = len(content)
                out += (heads[length] if length < 128 else heads[128] + encode_varint(length), content)
        return b"".join(out)

    return elements


def _mapped(field: Field) -> Writer:
    """Entries are messages of a key, field 1, and a value, field 2."""
    tag = _tag(field.number, LENGTH)
    value_of = _single(field._replace(number=2))
    key_of = _long(1, str.encode)

    def entries(values: dict[str, Any]) -> bytes:
        out = []
        for key in sorted(values):
            value = values[key]
            entry = key_of(key) if value is None else key_of(key) + value_of(value)
            out.append(tag + encode_varint(len(entry)) + entry)
        return b"".join(out)

    return entries


def _tag(number: int, wire_type: int) -> bytes:
    return encode_varint(number << 3 | wire_type)


@cache
def _heads(number: int) -> tuple[bytes, ...]:
    """Tag and length of what is shorter than 128; at 128 the tag alone."""
    tag = _tag(number, LENGTH)
    return (*(tag + bytes([length]) for length in range(128)), tag)


def _text(number: int, value: str) -> bytes:
    data = value.encode()
    return _tag(number, LENGTH) + encode_varint(len(data)) + data


def _long(number: int, content_of: Writer) -> Writer:
    heads = _heads(number)

    def delimited(value: Any) -> bytes:
        content = content_of(value)
        length = len(content)
        return heads[length] + content if length < 128 else heads[128] + encode_varint(length) + content

    return delimited


def _number(number: int, kind: str) -> Writer:
    if kind == "d":
        fixed = _tag(number, FIXED64)
        return lambda value: fixed + pack("<d", value)
    tag = _tag(number, VARINT)
    if kind == "B":
        yes, no = tag + b"\x01", tag + b"\x00"
        return lambda value: yes if value else no
    return lambda value: tag + encode_varint(value)


# What is not written field by field


def _quantity(value: str | int | float) -> bytes:
    return _text(1, value if isinstance(value, str) else str(value))


def _int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _text(3, value)
    return b"\x08\x00\x10%s\x1a\x00" % encode_varint(value)


@lru_cache(maxsize=4096)
def _time(text: str) -> bytes:
    """Whole seconds, as JSON has them; nothing more is written, so that both forms say the same."""
    return b"\x08%s\x10\x00" % encode_varint(timegm(_moment(text).timetuple()))


def _micro_time(text: str) -> bytes:
    moment = _moment(text)
    return b"\x08%s\x10%s" % (encode_varint(timegm(moment.timetuple())), encode_varint(moment.microsecond * 1000))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.utcoffset() else moment


def _raw_json(value: Any) -> bytes:
    return _long(1, bytes)(orjson.dumps(value))


#: messages of bytes that are JSON
_RAW: Final = frozenset({"io.k8s.apimachinery.pkg.runtime.RawExtension", META + "FieldsV1", APIEXTENSIONS + "JSON"})
_SPECIAL: Final[dict[str, Writer]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": _quantity,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    META + "Time": _time,
    META + "MicroTime": _micro_time,
    **dict.fromkeys(_RAW, _raw_json),
}
_ZEROS: Final[dict[str, bytes]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": _text(1, "0"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string(0),
    META + "Time": b"",
    META + "MicroTime": b"",
    **dict.fromkeys(_RAW, b""),
}


def _union(name: str) -> Writer:
    fields = {field.key: _single(field) for field in fields_of(name)}

    def items(value: list[str]) -> bytes:
        one = fields["items"]
        return b"".join([one(each) for each in value])

    def or_array(value: Any) -> bytes:
        if isinstance(value, list):
            return b"".join([fields["JSONSchemas"](each) for each in value])
        return fields["Schema"](value)

    def or_bool(value: Any) -> bytes:
        if isinstance(value, dict):
            return fields["Allows"](True) + fields["Schema"](value)
        return fields["Allows"](value)

    def or_strings(value: Any) -> bytes:
        if isinstance(value, list):
            return b"".join([fields["Property"](each) for each in value])
        return fields["Schema"](value)

    if "items" in fields:
        return items
    return or_array if "JSONSchemas" in fields else or_bool if "Allows" in fields else or_strings
