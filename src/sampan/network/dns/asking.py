"""One question to one name server: UDP, and TCP for what is too long. Raises OSError, EOFError or Malformed.

What is not an answer to this very question, by its number and its name, is not looked at: forgeries do not count.
"""

from __future__ import annotations

import asyncio
import socket

from sampan.api.clock import Random
from sampan.network.dns import relay
from sampan.network.dns.names import Malformed
from sampan.network.dns.options import NameServer
from sampan.network.dns.relay import Relayed

#: What an upstream may send by UDP to a question without EDNS is 512 bytes; some send more.
_UDP_BYTES = 4096


async def ask_one(server: NameServer, number: int, asked: bytes, *, dnssec: bool = False) -> Relayed:
    answer = await _ask_udp(server, number, asked, dnssec)
    return await _ask_tcp(server, number, asked, dnssec) if answer.cut else answer


def number_of(random: Random) -> int:
    return random.randrange(1 << 16)


async def _ask_udp(server: NameServer, number: int, asked: bytes, dnssec: bool) -> Relayed:
    """A socket a question: its port, which the kernel chooses, is what a forger would have to guess."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        client.connect((server.address, server.port))
        await loop.sock_sendall(client, relay.write_question(number, asked, dnssec=dnssec))
        while True:
            packet = await loop.sock_recv(client, _UDP_BYTES)
            if relay.is_answer(packet, number, asked):
                return relay.read_answer(packet, asked)


async def _ask_tcp(server: NameServer, number: int, asked: bytes, dnssec: bool) -> Relayed:
    question = relay.write_question(number, asked, dnssec=dnssec)
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(len(question).to_bytes(2, "big") + question)
        size = int.from_bytes(await reader.readexactly(2), "big")
        packet = await reader.readexactly(size)
    finally:
        writer.close()
    if not relay.is_answer(packet, number, asked):
        raise Malformed("an answer to another question")
    return relay.read_answer(packet, asked)
