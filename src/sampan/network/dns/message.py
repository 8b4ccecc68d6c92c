"""DNS messages of clients: a request out of a packet, an answer from records into one. Pure; any bytes may come.

Our own reader and writer, since anybody who can send a packet decides what is read here: every name, count and length
has a bound before it is looked at, and writing stops where the packet is full. Sources: RFC 1035, 6891 (EDNS), 2181
(truncation), 4035 (CD); what is refused without an answer of its own, as CoreDNS has it.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Iterable, Sequence

from sampan.network.dns import names
from sampan.network.dns.names import Malformed
from sampan.network.dns.resolve import NEGATIVE_TTL, Question, Record
from sampan.records import dataclass

#: What fits without fragments on any path, and what is said to clients (DNS flag day 2020).
MAX_UDP_BYTES = 1232
MAX_TCP_BYTES = 65535
PLAIN_UDP_BYTES = 512
#: A question, the longest name and some options of EDNS have room in it several times over.
MAX_REQUEST_BYTES = 4096

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
#: of the flags in an option of EDNS: signatures are wanted
DO = 0x8000
OPCODE = 0x7800

HEADER = struct.Struct("!HHHHHH")
_TYPE_AND_CLASS = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_SOA = struct.Struct("!IIIII")
_IN = 1
_OPT = 41
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 16: "TXT", 28: "AAAA", 33: "SRV", 255: "ANY"}
TYPE_NAMES = frozenset(_TYPES.values())
_NUMBERS = {text: number for number, text in _TYPES.items()}
_TRANSFERS = (251, 252)
_NO_QUESTION = Question("", "")
_OPT_BYTES = 11
#: The timers are for secondary servers, which do not exist; the last is how long "no" may be kept.
_SOA_DATA = _SOA.pack(1, 7200, 1800, 86400, NEGATIVE_TTL)
_TO_THE_QUESTION = (0xC000 | HEADER.size).to_bytes(2, "big")
#: A pointer has 14 bits.
_LAST_PLACE = 0x3FFF


@dataclass(frozen=True, slots=True)
class Request:
    """``asked`` is the question as the client wrote it (clients that randomise a name's case want it back so), empty
    when it could not be read. ``refusal``: the code of a request that is not answered at all."""

    id: int
    flags: int
    asked: bytes = b""
    question: Question = _NO_QUESTION
    qtype: int = 0
    edns: bool = False
    udp_bytes: int = PLAIN_UDP_BYTES
    refusal: int = NOERROR
    dnssec_ok: bool = False

    @property
    def reply_flags(self) -> int:
        return QR | RA | (self.flags & (OPCODE | RD | CD))


def read_request(packet: bytes) -> Request | None:
    """None for what is no question: answering an answer could make two servers talk to each other for ever."""
    if len(packet) < HEADER.size:
        return None
    number, flags, questions, answers, authorities, additionals = HEADER.unpack_from(packet)
    if flags & QR:
        return None
    if flags & OPCODE:
        return Request(number, flags, refusal=NOTIMP)
    if questions != 1 or answers > 1 or authorities > 1 or additionals > 2 or len(packet) > MAX_REQUEST_BYTES:
        return Request(number, flags, refusal=FORMERR)
    try:
        return _read(packet, number, flags, answers + authorities, additionals)
    except Malformed:
        return Request(number, flags, refusal=FORMERR)


def _read(packet: bytes, number: int, flags: int, others: int, additionals: int) -> Request:
    labels, offset = names.read_plain(packet, HEADER.size)
    qtype, qclass = _unpack(_TYPE_AND_CLASS, packet, offset)
    offset += _TYPE_AND_CLASS.size
    asked = packet[HEADER.size : offset]
    question = Question(names.text_of(labels), _TYPES.get(qtype) or f"TYPE{qtype}")
    options: list[tuple[int, int]] = []
    for index in range(others + additionals):
        at_root = packet[offset : offset + 1] == b"\0"
        offset = names.skip(packet, offset)
        kind, size, ttl, length = _unpack(_RECORD, packet, offset)
        offset += _RECORD.size + length
        if offset > len(packet):
            raise Malformed("a record that is cut off")
        if kind == _OPT:
            if not at_root or index < others:
                raise Malformed("options in the wrong place")
            options.append((size, ttl))
    if len(options) > 1:
        raise Malformed("options twice")
    refusal = NOERROR
    if options and options[0][1] >> 16 & 0xFF:
        refusal = BADVERS
    elif qclass != _IN or qtype in _TRANSFERS:
        refusal = REFUSED
    size = max(PLAIN_UDP_BYTES, min(options[0][0], MAX_UDP_BYTES)) if options else PLAIN_UDP_BYTES
    dnssec = bool(options and options[0][1] & DO)
    return Request(number, flags, asked, question, qtype, bool(options), size, refusal, dnssec)


def write_error(request: Request, rcode: int) -> bytes:
    """An answer without records."""
    head = HEADER.pack(
        request.id, request.reply_flags | rcode & 0xF, 1 if request.asked else 0, 0, 0, int(request.edns)
    )
    return head + request.asked + write_options(request, rcode)


def write_options(request: Request, rcode: int = NOERROR) -> bytes:
    """The last record of an answer to a client that sent options, with DO as it came (RFC 3225); for others nothing."""
    return write_option((rcode >> 4) << 24 | (DO if request.dnssec_ok else 0)) if request.edns else b""


def write_option(flags: int) -> bytes:
    return b"\0" + _RECORD.pack(_OPT, MAX_UDP_BYTES, flags, 0)


def room_for(request: Request, *, tcp: bool) -> int:
    """How many bytes the answer may have, its options not counted."""
    return (MAX_TCP_BYTES if tcp else request.udp_bytes) - (_OPT_BYTES if request.edns else 0)


def write_answer(
    request: Request,
    rcode: int,
    answers: Sequence[Record],
    *,
    start: int = 0,
    additional: Iterable[Record] = (),
    authority: Iterable[Record] = (),
    tcp: bool = False,
) -> bytes:
    """Our own answer. ``start``: the record that comes first. What does not fit is left out and the answer marked cut.

    Raises Malformed when a name cannot be written.
    """
    writer = _Writer(request, room_for(request, tcp=tcp))
    count = len(answers)
    written = writer.add_all(answers[(start + index) % count] for index in range(count))
    cut = written < count
    # Without all the answers the rest helps nobody, and what is only helpful is no reason to ask again.
    authorities = 0 if cut else writer.add_all(authority)
    additionals = 0 if cut else writer.add_all(additional)
    flags = request.reply_flags | AA | (TC if cut else 0) | rcode
    head = HEADER.pack(request.id, flags, 1, written, authorities, additionals + int(request.edns))
    return head + writer.body() + write_options(request)


def write_denial(request: Request, rcode: int, zone: str) -> bytes:
    """Our own answer without records, to a question for a name in ``zone``: most of what is answered, since every name
    is looked for below each domain of a search path. It always fits."""
    place = HEADER.size + len(request.asked) - 4 - (len(zone) + 2)
    head = HEADER.pack(request.id, request.reply_flags | AA | rcode, 1, 0, 1, int(request.edns))
    return head + request.asked + _denial(place, zone) + write_options(request)


@functools.lru_cache(maxsize=256)
def _denial(place: int, zone: str) -> bytes:
    """The SOA of a zone whose name stands at ``place``."""
    there = (0xC000 | place).to_bytes(2, "big")
    data = b"\x02ns\x03dns" + there + b"\x0ahostmaster" + there + _SOA_DATA
    return there + _RECORD.pack(_NUMBERS["SOA"], _IN, NEGATIVE_TTL, len(data)) + data


def write_addresses(request: Request, answers: Sequence[Record], *, start: int = 0, tcp: bool = False) -> bytes:
    """As ``write_answer``, for addresses of the very name that was asked for."""
    room = room_for(request, tcp=tcp) - HEADER.size - len(request.asked)
    count = len(answers)
    parts: list[bytes] = []
    for index in range(count):
        record = answers[(start + index) % count]
        data = _address(str(record.data), socket.AF_INET6 if record.type == "AAAA" else socket.AF_INET)
        room -= 2 + _RECORD.size + len(data)
        if room < 0:
            break
        parts.append(_TO_THE_QUESTION + _RECORD.pack(_NUMBERS[record.type], _IN, record.ttl, len(data)) + data)
    flags = request.reply_flags | AA | (TC if len(parts) < count else 0)
    head = HEADER.pack(request.id, flags, 1, len(parts), 0, int(request.edns))
    return b"".join((head, request.asked, *parts, write_options(request)))


class _Writer:
    """The bytes behind the header. Names that were written before become pointers."""

    def __init__(self, request: Request, room: int) -> None:
        self._buffer = bytearray(HEADER.size) + request.asked
        self._room = room
        #: where a name, in text, stands
        self._places: dict[str, int] = {}
        self._learn_question(request.question.name, HEADER.size)

    def body(self) -> bytes:
        return bytes(self._buffer[HEADER.size :])

    def add_all(self, records: Iterable[Record]) -> int:
        """Writes records as long as there is room; returns how many were."""
        count = 0
        for record in records:
            end = len(self._buffer)
            self._add(record)
            if len(self._buffer) > self._room:
                del self._buffer[end:]
                self._places = {name: place for name, place in self._places.items() if place < end}
                break
            count += 1
        return count

    def _add(self, record: Record) -> None:
        buffer = self._buffer
        self._name(record.name)
        buffer += _RECORD.pack(_NUMBERS[record.type], _IN, record.ttl, 0)
        start = len(buffer)
        self._data(record)
        struct.pack_into("!H", buffer, start - 2, len(buffer) - start)

    def _data(self, record: Record) -> None:
        data = record.data
        if isinstance(data, tuple):
            priority, weight, port, target = data
            self._buffer += _SRV.pack(priority, weight, port)
            self._name(target, pointers=False)  # RFC 2782: not here
            return
        match record.type:
            case "A":
                self._buffer += _address(data, socket.AF_INET)
            case "AAAA":
                self._buffer += _address(data, socket.AF_INET6)
            case "TXT":
                text = data.encode()
                if len(text) > 255:
                    raise Malformed("a text of more than 255 bytes")
                self._buffer += bytes((len(text),)) + text
            case "SOA":
                self._name(data)
                self._name(f"hostmaster.{record.name}")
                self._buffer += _SOA_DATA
            case _:
                self._name(data)

    def _name(self, name: str, *, pointers: bool = True) -> None:
        buffer, places = self._buffer, self._places
        if name not in places:
            names.labels_of(name)  # raises for what cannot be written
        rest = name
        while rest:
            place = places.get(rest) if pointers else None
            if place is not None:
                buffer += (0xC000 | place).to_bytes(2, "big")
                return
            if len(buffer) <= _LAST_PLACE:
                places.setdefault(rest, len(buffer))
            label, _, rest = rest.partition(".")
            buffer.append(len(label))
            buffer += label.encode("ascii")
        buffer.append(0)

    def _learn_question(self, name: str, place: int) -> None:
        rest = name
        while rest:
            self._places[rest] = place
            place += self._buffer[place] + 1
            _, _, rest = rest.partition(".")


def _address(text: str, family: socket.AddressFamily) -> bytes:
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise Malformed(f"{text}: not an address") from None


def _unpack(form: struct.Struct, packet: bytes, offset: int) -> tuple[int, ...]:
    try:
        return form.unpack_from(packet, offset)
    except struct.error:
        raise Malformed("a message that is cut off") from None
