"""The protobuf wire format: bytes to (field number, wire type, value), and back. Knows nothing of Kubernetes.

Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are no protobuf message."""


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Every field in order. A varint comes unsigned; LENGTH, FIXED64 and FIXED32 as bytes. Raises WireError."""
    position, end = 0, len(data)
    while position < end:
        key = data[position]
        position += 1
        if key >= 0x80:
            key, position = varint(data, position - 1)
        number, wire_type = key >> 3, key & 7
        if not number:
            raise WireError("illegal tag 0")
        if wire_type == VARINT:
            value, position = varint(data, position)
            yield number, wire_type, value
            continue
        if wire_type == LENGTH:
            size, position = varint(data, position)
        elif wire_type == FIXED64:
            size = 8
        elif wire_type == FIXED32:
            size = 4
        else:
            raise WireError(f"illegal wireType {wire_type}")
        if position + size > end:
            raise WireError("unexpected EOF")
        yield number, wire_type, data[position : position + size]
        position += size


def varints(data: bytes) -> Iterator[int]:
    """The numbers of a packed field, unsigned. Raises WireError."""
    position = 0
    while position < len(data):
        value, position = varint(data, position)
        yield value


def signed(value: int) -> int:
    """A varint as int64 (two's complement), which int32 fields use too."""
    return value - (1 << 64) if value >= 1 << 63 else value


def double(data: bytes) -> float:
    """Of the eight bytes of a FIXED64."""
    number: float = struct.unpack("<d", data)[0]
    return number


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at ``position`` and where it ends. Raises WireError."""
    value = shift = 0
    while True:
        if position >= len(data):
            raise WireError("unexpected EOF")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise WireError("integer overflow")


_SHORT = tuple(bytes([value]) for value in range(0x80))


def encode_varint(value: int) -> bytes:
    """Of a number of 64 bits at most; a negative one as its two's complement."""
    if 0 <= value < 0x80:
        return _SHORT[value]
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
