"""What is answered most has a way of its own; it says the same as the way of all others."""

from __future__ import annotations

import struct

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from sampan.network.dns import message, names
from sampan.network.dns.resolve import Record, Zone, soa

ZONE = Zone("cluster.local", "10.96.0.10")
LABELS = st.lists(st.text("abcXYZ-_0.\x00é", min_size=1, max_size=20), max_size=6)


def request(labels: list[str], kind: int, *, edns: int = 0) -> message.Request:
    wire = b"".join(bytes((len(label.encode()),)) + label.encode() for label in (*labels, "clUster", "local"))
    option = b"\0" + struct.pack("!HHIH", 41, edns, 0x8000, 0) if edns else b""
    packet = struct.pack("!HHHHHH", 7, 0x0110, 1, 0, 0, int(bool(edns))) + wire + b"\0" + struct.pack("!HH", kind, 1)
    read = message.read_request(packet + option)
    assert read is not None and not read.refusal
    return read


@given(LABELS, st.sampled_from([0, 3]), st.sampled_from([0, 512, 1232]))
def test_a_denial_is_what_it_would_be_written_out(labels: list[str], rcode: int, edns: int) -> None:
    asked = request(labels, 1, edns=edns)
    short = message.write_denial(asked, rcode, ZONE.domain)
    long = message.write_answer(asked, rcode, (), authority=(soa(ZONE),))
    assert len(short) <= asked.udp_bytes
    assert str(DNSRecord.parse(short)) == str(DNSRecord.parse(long))


@pytest.mark.parametrize("tcp", [False, True])
@given(
    st.lists(st.sampled_from(["10.96.0.1", "10.244.255.7", "2001:db8::7"]), min_size=1, max_size=90),
    st.integers(0, 89),
    st.sampled_from([0, 700, 1232]),
)
def test_addresses_are_what_they_would_be_written_out(tcp: bool, ips: list[str], start: int, edns: int) -> None:
    asked = request(["Web", "default", "svc"], 255, edns=edns)
    records = [Record(asked.question.name, "AAAA" if ":" in ip else "A", 30, ip) for ip in ips]
    short = message.write_addresses(asked, records, start=start % len(ips), tcp=tcp)
    assert short == message.write_answer(asked, 0, records, start=start % len(ips), tcp=tcp)


@given(st.lists(st.binary(min_size=1, max_size=8), max_size=5))
def test_no_two_names_have_one_text(labels: list[bytes]) -> None:
    """Dots inside of labels, and whatever else no host name has, are escaped."""
    text = names.text_of(tuple(labels))
    parts = text.split(".") if labels else []
    assert len(parts) == len(labels)
    for part, label in zip(parts, labels, strict=True):
        plain = all(chr(byte) in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_*/-" for byte in label)
        assert (part == label.decode("latin-1").lower()) if plain else "\\" in part
