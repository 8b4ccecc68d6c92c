"""Domain names as bytes of a message and as text. Pure.

As text a name has no final dot and is in lower case; what no host name has is escaped (``\\046`` is a dot inside of a
label), so that text never means two names. Source: RFC 1035, sections 2.3.4 (sizes), 3.1, 4.1.4 (compression).
"""

from __future__ import annotations

import re
from typing import TypeAlias

Labels: TypeAlias = tuple[bytes, ...]

MAX_LABEL_BYTES = 63
MAX_NAME_BYTES = 255
#: Every pointer of a name leads to at least one label, or to the end.
_MAX_POINTERS = 128
_POINTER = 0xC0
_PLAIN = re.compile(rb"[A-Za-z0-9_*/-]*")
_PLAIN_LABELS = re.compile(rb"[A-Za-z0-9_*/.-]+")


class Malformed(Exception):
    """Bytes that are no DNS message, or a name that no message can carry."""


def read_plain(packet: bytes, offset: int) -> tuple[Labels, int]:
    """The labels of a name that is written out, as the first of a message must be, and where it ends."""
    labels: list[bytes] = []
    start = offset
    while True:
        length = _byte(packet, offset)
        offset += 1
        if length == 0:
            return tuple(labels), offset
        if length > MAX_LABEL_BYTES:
            raise Malformed("a pointer where there is nothing to point at" if length >= _POINTER else "a strange label")
        if offset + length - start >= MAX_NAME_BYTES:
            raise Malformed("a name of more than 255 bytes")
        label = packet[offset : offset + length]
        if len(label) < length:
            raise Malformed("a name that is cut off")
        labels.append(label)
        offset += length


def read(packet: bytes, offset: int) -> tuple[Labels, int]:
    """The labels of any name, and where it ends; pointers lead backward only, so that reading comes to an end."""
    labels: list[bytes] = []
    size, end, earliest = 1, -1, offset
    for _ in range(_MAX_POINTERS):
        length = _byte(packet, offset)
        while 0 < length <= MAX_LABEL_BYTES:
            label = packet[offset + 1 : offset + 1 + length]
            size += length + 1
            if len(label) < length or size > MAX_NAME_BYTES:
                raise Malformed("a name that is cut off, or has more than 255 bytes")
            labels.append(label)
            offset += length + 1
            length = _byte(packet, offset)
        if length == 0:
            return tuple(labels), offset + 1 if end < 0 else end
        if length < _POINTER:
            raise Malformed("a strange label")
        target = (length & 0x3F) << 8 | _byte(packet, offset + 1)
        if end < 0:
            end = offset + 2
        if target >= earliest:
            raise Malformed("a pointer that does not lead backward")
        offset = earliest = target
    raise Malformed("too many pointers")


def skip(packet: bytes, offset: int) -> int:
    """Where a name ends, without looking at what it points to."""
    start = offset
    while offset - start < MAX_NAME_BYTES:
        length = _byte(packet, offset)
        if length == 0:
            return offset + 1
        if length >= _POINTER:
            return offset + 2
        if length > MAX_LABEL_BYTES:
            raise Malformed("a strange label")
        offset += length + 1
    raise Malformed("a name of more than 255 bytes")


def text_of(labels: Labels) -> str:
    whole = b".".join(labels)
    if _PLAIN_LABELS.fullmatch(whole) and whole.count(b".") == len(labels) - 1:
        return whole.decode("ascii").lower()  # nearly always
    return ".".join(_label_text(label) for label in labels)


def labels_of(text: str) -> Labels:
    """The labels of a name as the API's objects have it. Raises Malformed for one that no message can carry."""
    try:
        whole = text.encode("ascii")
    except UnicodeEncodeError:
        raise Malformed(f"{text}: not a domain name") from None
    labels = tuple(whole.split(b"."))
    if not _PLAIN_LABELS.fullmatch(whole) or not all(0 < len(label) <= MAX_LABEL_BYTES for label in labels):
        raise Malformed(f"{text}: a label that no domain name can have")
    if len(text) + 2 > MAX_NAME_BYTES:
        raise Malformed(f"{text}: longer than a domain name can be")
    return labels


def _label_text(label: bytes) -> str:
    if _PLAIN.fullmatch(label):
        return label.decode("ascii").lower()
    return "".join(chr(byte).lower() if _PLAIN.fullmatch(bytes((byte,))) else f"\\{byte:03d}" for byte in label)


def _byte(packet: bytes, offset: int) -> int:
    try:
        return packet[offset]
    except IndexError:
        raise Malformed("a message that is cut off") from None
