"""DNS messages: questions out of packets, records into them, sizes kept. The rest of the package sees no dnslib types.

Source: RFC 1035, 6891 (EDNS), 2181 (truncation).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from dnslib import AAAA, CLASS, CNAME, EDNS0, NS, OPCODE, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSRecord

from sampan.network.dns.resolve import NEGATIVE_TTL, Question, Record

#: What fits without fragments on any path, and what is said to clients (DNS flag day 2020).
MAX_UDP_BYTES = 1232
_PLAIN_UDP_BYTES = 512
_OPT = 41


def question_of(request: DNSRecord) -> Question:
    qtype = request.q.qtype
    return Question(str(request.q.qname).rstrip(".").lower(), "ANY" if qtype == 255 else str(QTYPE.get(qtype)))


def refusal_code(request: DNSRecord) -> int:
    """The response code for a request that is not answered at all; NOERROR when it may be."""
    if request.header.opcode != OPCODE.QUERY:
        return int(RCODE.NOTIMP)
    if len(request.questions) != 1:
        return int(RCODE.FORMERR)
    if request.q.qclass != CLASS.IN or request.q.qtype in (QTYPE.AXFR, QTYPE.IXFR):
        return int(RCODE.REFUSED)
    return int(RCODE.NOERROR)


def edns_of(request: DNSRecord) -> RR | None:
    return next((record for record in request.ar if record.rtype == _OPT), None)


def reply_to(request: DNSRecord, rcode: int = RCODE.NOERROR, *, authoritative: bool = False) -> DNSRecord:
    reply = request.reply(ra=1, aa=1 if authoritative else 0)
    reply.header.rcode = rcode
    return reply


def add_records(reply: DNSRecord, records: Iterable[Record], additional: Iterable[Record] = ()) -> None:
    # Clients that randomise the case of a name (0x20) want it back as they wrote it.
    asked = reply.q.qname
    for record in records:
        reply.add_answer(_resource_record(record, asked))
    for record in additional:
        reply.add_ar(_resource_record(record, asked))


def add_soa(reply: DNSRecord, record: Record) -> None:
    reply.add_auth(_resource_record(record, reply.q.qname))


def pack(request: DNSRecord, reply: DNSRecord, *, tcp: bool) -> bytes:
    """The packet for the client: with OPT if it sent one, cut and marked when it would not fit."""
    option = edns_of(request)
    limit = _PLAIN_UDP_BYTES
    if option is not None:
        reply.add_ar(EDNS0(udp_len=MAX_UDP_BYTES))
        limit = max(_PLAIN_UDP_BYTES, min(int(option.rclass), MAX_UDP_BYTES))
    packet: bytes = reply.pack()
    if tcp or len(packet) <= limit:
        return packet
    reply.ar = [record for record in reply.ar if record.rtype == _OPT]
    reply.auth = []
    packet = reply.pack()
    while len(packet) > limit and reply.rr:
        reply.header.tc = 1
        # Answers of one kind have about one size: cut to the share that fits, then one by one.
        keep = min(len(reply.rr) - 1, len(reply.rr) * limit // len(packet))
        reply.rr = reply.rr[:keep]
        packet = reply.pack()
    return packet


def _resource_record(record: Record, asked: object) -> RR:
    same = str(asked).rstrip(".").lower() == record.name
    kind, data = _typed_data(record)
    return RR(asked if same else record.name, kind, rdata=data, ttl=record.ttl)


def _typed_data(record: Record) -> tuple[int, object]:
    data = record.data
    if isinstance(data, tuple):
        priority, weight, port, target = data
        return QTYPE.SRV, SRV(priority, weight, port, target)
    match record.type:
        case "A":
            return QTYPE.A, A(data)
        case "AAAA":
            return QTYPE.AAAA, AAAA(tuple(ipaddress.IPv6Address(data).packed))
        case "CNAME":
            return QTYPE.CNAME, CNAME(data)
        case "PTR":
            return QTYPE.PTR, PTR(data)
        case "NS":
            return QTYPE.NS, NS(data)
        case "TXT":
            return QTYPE.TXT, TXT(data)
        case _:
            # The timers are for secondary servers, which do not exist; the last is how long "no" may be kept.
            return QTYPE.SOA, SOA(data, f"hostmaster.{record.name}", (1, 7200, 1800, 86400, NEGATIVE_TTL))
