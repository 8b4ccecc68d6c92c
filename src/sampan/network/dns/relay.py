"""Answers of other name servers on their way to a client: checked, aged, cut to size. Pure; any bytes may come.

The records are passed on as they came, behind the client's own question, whose bytes have the same length, so that
pointers go on pointing. Of the additional section nothing is passed on. ``addresses`` reads what ExternalName needs.
"""

from __future__ import annotations

import socket
import struct

from sampan.network.dns import names
from sampan.network.dns.message import (
    AD,
    CD,
    DO,
    HEADER,
    NOERROR,
    NXDOMAIN,
    OPCODE,
    QR,
    RA,
    RD,
    TC,
    Request,
    room_for,
    write_option,
    write_options,
)
from sampan.network.dns.names import Malformed
from sampan.network.dns.resolve import Record, RecordType
from sampan.records import dataclass

_RECORD = struct.Struct("!HHIH")
_TTL = struct.Struct("!I")
#: More than any honest answer has.
_MAX_RECORDS = 2000
_RCODE = 0xF
_A, _CNAME, _AAAA = 1, 5, 28
_SOA_IN = b"\0\x06\0\x01"
#: the five numbers at the end of an SOA
_SOA_NUMBERS = 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record of a packet ends, and its time to live stands."""

    end: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Relayed:
    """An answer to the question whose bytes are ``asked``. ``places``: answers first, then authorities."""

    packet: bytes
    asked: bytes
    answers: int
    places: tuple[Place, ...]

    @property
    def flags(self) -> int:
        return int.from_bytes(self.packet[2:4], "big")

    @property
    def rcode(self) -> int:
        return self.flags & _RCODE

    @property
    def cut(self) -> bool:
        return bool(self.flags & TC)

    @property
    def decided(self) -> bool:
        """The name is known to be there or not to be there; anything else is a fault of the server that was asked."""
        return self.rcode in (NOERROR, NXDOMAIN)

    @property
    def negative(self) -> bool:
        return self.rcode == NXDOMAIN or not self.answers

    def denial_seconds(self) -> int:
        """How long "no" may be kept: by the zone's SOA among the authorities (RFC 2308, 5); 0 without one."""
        for place in self.places[self.answers :]:
            if self.packet[place.ttl - 4 : place.ttl] == _SOA_IN and place.end - place.ttl > 4 + 2 + _SOA_NUMBERS:
                ttl, minimum = self._number(place.ttl), self._number(place.end - 4)
                return min(ttl, minimum)
        return 0

    def _number(self, place: int) -> int:
        return int.from_bytes(self.packet[place : place + 4], "big")

    def smallest_ttl(self, limit: int) -> int:
        return min([limit, *(int.from_bytes(self.packet[place.ttl : place.ttl + 4], "big") for place in self.places)])


def write_question(number: int, asked: bytes, *, dnssec: bool = False) -> bytes:
    """``dnssec``: with the option that asks for signatures, which also lets the answer be longer."""
    options = write_option(DO) if dnssec else b""
    return HEADER.pack(number, RD, 1, 0, 0, int(dnssec)) + asked + options


def lower_name(asked: bytes) -> bytes:
    """A question by which two that mean the same are equal: type and class are no letters."""
    return asked[:-4].lower() + asked[-4:]


def is_answer(packet: bytes, number: int, asked: bytes) -> bool:
    """Whether a packet claims to answer the question; strays and forgeries do not."""
    if len(packet) < HEADER.size + len(asked) or int.from_bytes(packet[:2], "big") != number or not packet[2] & 0x80:
        return False
    return lower_name(packet[HEADER.size : HEADER.size + len(asked)]) == lower_name(asked)


def read_answer(packet: bytes, asked: bytes) -> Relayed:
    """An answer that ``is_answer``. Raises Malformed."""
    _, flags, questions, answers, authorities, _ = HEADER.unpack_from(packet)
    if questions != 1 or answers + authorities > _MAX_RECORDS or flags & OPCODE:
        raise Malformed("not an answer to one question")
    offset = HEADER.size + len(asked)
    places: list[Place] = []
    if flags & TC:
        answers = authorities = 0  # it will be asked for again, and what is cut may end anywhere
    for _ in range(answers + authorities):
        offset = names.skip(packet, offset)
        ttl = offset + 4
        try:
            length = _RECORD.unpack_from(packet, offset)[3]
        except struct.error:
            raise Malformed("a record that is cut off") from None
        offset += _RECORD.size + length
        if offset > len(packet):
            raise Malformed("a record that is cut off")
        places.append(Place(offset, ttl))
    return Relayed(packet[:offset], asked, answers, tuple(places))


def write_relayed(request: Request, found: Relayed, age_seconds: int, *, tcp: bool) -> bytes:
    """The answer for a client, who asked the same question: what does not fit is left out, from the end. That it was
    validated (AD) is passed on to those who asked for signatures: the server that says so is the one we trust."""
    room = room_for(request, tcp=tcp)
    keep = sum(place.end <= room for place in found.places)
    answers = min(keep, found.answers)
    # Authorities are of use only where they say that nothing is there.
    cut = found.cut or answers < found.answers or (keep < len(found.places) and not found.answers)
    end = found.places[keep - 1].end if keep else HEADER.size + len(found.asked)
    buffer = bytearray(found.packet[:end])
    for place in found.places[:keep]:
        ttl = _TTL.unpack_from(buffer, place.ttl)[0]
        _TTL.pack_into(buffer, place.ttl, max(0, ttl - age_seconds))
    flags = QR | RA | (request.flags & (RD | CD)) | (TC if cut else 0) | found.rcode
    flags |= found.flags & AD if request.dnssec_ok else 0
    HEADER.pack_into(buffer, 0, request.id, flags, 1, answers, keep - answers, int(request.edns))
    buffer[HEADER.size : HEADER.size + len(request.asked)] = request.asked
    return bytes(buffer) + write_options(request, found.rcode)


def addresses(found: Relayed) -> list[Record]:
    """The addresses of an answer, and the aliases that lead to them. Raises Malformed."""
    records: list[Record] = []
    packet, offset = found.packet, HEADER.size + len(found.asked)
    for place in found.places[: found.answers]:
        labels, offset = names.read(packet, offset)
        kind, _, ttl, length = _RECORD.unpack_from(packet, offset)
        offset += _RECORD.size
        name = names.text_of(labels)
        made: tuple[RecordType, str] | None = None
        if kind == _A and length == 4:
            made = "A", socket.inet_ntop(socket.AF_INET, packet[offset : place.end])
        elif kind == _AAAA and length == 16:
            made = "AAAA", socket.inet_ntop(socket.AF_INET6, packet[offset : place.end])
        elif kind == _CNAME:
            made = "CNAME", names.text_of(names.read(packet, offset)[0])
        if made is not None:
            records.append(Record(name, made[0], ttl, made[1]))
        offset = place.end
    return records


def leading_from(name: str, records: list[Record]) -> list[Record]:
    """Of an answer's aliases and addresses those that belong to a name, by way of its aliases: what an answer says of
    other names is nobody's business."""
    found: list[Record] = []
    seen: set[str] = set()
    while name and name not in seen:
        seen.add(name)
        of_name = [record for record in records if record.name == name]
        found += of_name
        name = next((str(record.data) for record in of_name if record.type == "CNAME"), "")
    return found
