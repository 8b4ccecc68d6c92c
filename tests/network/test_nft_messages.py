"""Our own messages to nf_tables say what the ``nft`` program makes of the same words."""

import asyncio
import errno
import re
import threading

import pytest

from sampan.network.proxy.nftables import messages, sets
from sampan.network.proxy.nftables.fake import FakeNft
from sampan.network.proxy.nftables.netlink import NftNetlink
from sampan.network.proxy.nftables.nft import NftCommand
from sampan.network.proxy.rules.values import (
    Chain,
    Collection,
    Element,
    NftError,
    NftMissing,
    NftUnavailable,
    Op,
    Rule,
    Table,
)

CLIENTS = Collection("affinity/web/60", "set", "ipv4_addr", 60)
CLIENTS6 = Collection("affinity/web6/60", "set", "ipv6_addr", 60)
RULES = (
    "meta l4proto tcp dnat ip to 10.0.0.1:80",
    "meta l4proto udp dnat ip6 to [fd00::1]:8080",
    "meta l4proto tcp dnat ip to numgen random mod 3 offset 17000 map @tcp-endpoints",
    "meta l4proto sctp dnat ip6 to numgen random mod 3 offset 17 map @sctp-endpoints6",
    "numgen random mod 2 offset 4 vmap @sticky-endpoints",
    "ip saddr @affinity/web/60 goto end",
    "ip6 saddr @affinity/web6/60 goto end",
    "ip saddr 10.244.0.0/16 goto end",
    "ip saddr 10.244.0.0/14 goto end",
    "ip6 saddr fd00::/48 jump end",
    "ip6 saddr fd00:10::/29 jump end",
    "update @affinity/web/60 { ip saddr }",
    "update @affinity/web6/60 { ip6 saddr }",
    "fib saddr type local jump end",
    "drop",
)
START = [
    Op("add", Table()),
    *(Op("add", collection) for collection in (*sets.V4.all, *sets.V6.all)),
    Op("add", Chain("end")),
]


@pytest.fixture
async def table(lab):
    """The program and our messages, on one table of a namespace."""
    program, netlink = NftCommand("sampan-messages", lab.command("pod2")), lab.nft("sampan-messages", "pod2")
    await program.apply(START)
    yield program, netlink
    await program.apply([Op("delete", Table())])
    netlink.close()


def listed(text: str, chain: str) -> str:
    """What the kernel executes in a chain, without the numbers of its rules."""
    rules = re.findall(rf"^inet sampan-messages {chain} \d+.*\n((?:  .*\n)+)", text, re.MULTILINE)
    return "\n".join(rules)


async def test_every_rule_is_what_the_program_makes_of_it(table):
    program, netlink = table
    rules = [(text, Op("add", Rule("theirs", text)), Op("add", Rule("ours", text))) for text in RULES]
    await program.apply([Op("add", Chain("theirs")), Op("add", CLIENTS), Op("add", CLIENTS6)])
    await program.apply([theirs for _, theirs, _ in rules])
    ours = [Op("add", Chain("ours")), *(ours for _, _, ours in rules)]
    assert netlink._batch(ours)  # not by the program
    await netlink.apply(ours)
    text = await program._run("--debug=netlink", "list", "table", "inet", "sampan-messages")
    assert listed(text, "ours") == listed(text, "theirs") != ""
    said = re.findall(r"chain (?:ours|theirs) {\n(.*?)\n\t}", text, re.DOTALL)
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == len(RULES)


ELEMENTS = [
    Element(sets.V4.service_ips, "10.96.0.1 . tcp . 443", "goto end"),
    Element(sets.V6.service_ips, "fd00::1 . sctp . 443", "goto end"),
    Element(sets.V4.service_nodeports, "udp . 30000", "goto end"),
    Element(sets.V4.cluster_ips, "10.96.0.1"),
    Element(sets.V6.cluster_ips, "fd00::1"),
    Element(sets.V6.hairpin, "fd00::1 . fd00::1"),
    Element(sets.V4.host_ports, "tcp . 8080", "10.244.0.9 . 80"),
    Element(sets.V6.host_ports_by_ip, "fd00::1 . tcp . 8080", "fd00::2 . 80"),
    Element(sets.V4.tcp_endpoints, "70000", "10.244.0.9 . 80"),
    Element(sets.V6.udp_endpoints, "3", "fd00::2 . 80"),
    Element(sets.V4.sticky_endpoints, "4294967295", "goto end"),
]


async def test_every_element_is_read_back_as_it_was_written_and_goes_away_again(table):
    program, netlink = table
    put = [Op("add", element) for element in ELEMENTS]
    assert netlink._batch(put)
    await netlink.apply(put)
    await program.apply(put)  # what exists with another value would be refused
    text = await program._run("list", "table", "inet", "sampan-messages")
    for element in ELEMENTS:
        assert (f"{element.key} : {element.value}" if element.value else element.key) in text
    await netlink.apply([Op("delete", element) for element in ELEMENTS])
    for element in ELEMENTS:
        assert await program.elements(element.collection) == {}


async def test_sets_that_packets_add_to_come_and_go(table):
    program, netlink = table
    await netlink.apply([Op("add", CLIENTS), Op("add", CLIENTS6)])
    await program.apply([Op("add", CLIENTS), Op("add", CLIENTS6)])  # refused if ours were others
    await netlink.apply([Op("delete", CLIENTS)])
    names = await program.names()
    assert ("set", CLIENTS.name) not in names
    assert ("set", CLIENTS6.name) in names


async def test_nothing_of_a_batch_happens_when_its_last_part_is_refused(table):
    program, netlink = table
    put = [Op("add", Element(sets.V4.cluster_ips, f"10.96.1.{n}")) for n in range(200)]
    with pytest.raises(NftMissing):
        await netlink.apply([*put, Op("delete", Chain("nowhere"))])
    assert await program.elements(sets.V4.cluster_ips) == {}
    await netlink.apply(put)
    assert len(await program.elements(sets.V4.cluster_ips)) == 200


@pytest.mark.parametrize(
    "op",
    [
        Op("add", Table()),
        Op("add", Chain("a", "type filter hook input priority 0")),
        Op("add", Rule("a", "ip saddr != { 10.0.0.0/8, 192.0.2.0/24 } drop")),
        Op("add", Rule("a", "ip saddr fd00::/48 drop")),
        Op("add", Rule("a", "ip saddr 0.0.0.0/0 drop")),
        Op("add", Collection("a", "set", "ipv4_addr")),
        Op("add", Element(sets.V4.cluster_ips, "nonsense")),
        Op("add", Element(sets.V4.service_ips, "10.96.0.1 . icmp . 1", "goto a")),
        Op("add", Element(sets.V4.service_ips, "10.96.0.1 . tcp . 70000", "goto a")),
        Op("flush", sets.V4.cluster_ips),
    ],
)
async def test_what_has_no_message_is_left_to_the_program(op):
    class Program(FakeNft):
        async def apply(self, transaction):
            done.append(transaction)

    done = []
    await NftNetlink("t", Program(), connect=lambda: pytest.fail("asked the kernel")).apply([op])
    assert done == [[op]]


async def test_where_no_socket_may_be_opened_the_program_does_everything():
    def refused():
        raise PermissionError(1, "not permitted")

    program = FakeNft()
    nft = NftNetlink("t", program, refused)
    assert not await nft.exists()
    await nft.apply([Op("add", Table()), Op("add", Chain("a"))])
    await nft.apply([Op("add", Rule("a", "drop"))])
    assert program.rules("a") == ["drop"]
    assert await nft.exists()


async def test_a_kernel_that_cannot_be_asked_is_no_fault_of_what_was_asked():
    class Dead:
        def recv(self, _):
            raise BlockingIOError

        def send(self, _):
            raise OSError(105, "No buffer space available")

    with pytest.raises(NftUnavailable, match="No buffer space"):
        await NftNetlink("t", FakeNft(), Dead).apply([Op("add", Chain("a"))])


async def test_a_socket_that_breaks_is_asked_once():
    class Broken:
        reads = 0

        def recv(self, _):
            self.reads += 1
            assert self.reads < 10, "asked for ever"
            raise OSError(errno.EBADF, "Bad file descriptor")

        def send(self, _):
            pass

    with pytest.raises(NftError, match="Bad file descriptor"):
        await NftNetlink("t", FakeNft(), Broken).apply([Op("add", Chain("a"))])


async def test_the_program_does_what_is_more_than_a_socket_takes_here():
    class Small:
        def recv(self, _):
            raise BlockingIOError

        def send(self, _):
            raise OSError(errno.EMSGSIZE, "Message too long")

    program = FakeNft()
    await program.apply([Op("add", Table())])
    await NftNetlink("t", program, Small).apply([Op("add", Chain("a")), Op("add", Rule("a", "drop"))])
    assert program.rules("a") == ["drop"]


async def test_who_is_cancelled_waits_until_the_kernel_has_done_with_it():
    """Or its socket would be closed under it, and the change come after one that follows."""
    asked, go = threading.Event(), threading.Event()

    class Slow:
        def recv(self, _):
            raise BlockingIOError

        def send(self, _):
            asked.set()
            assert go.wait(30)

    task = asyncio.ensure_future(NftNetlink("t", FakeNft(), Slow).apply([Op("add", Chain("a"))]))
    try:
        assert await asyncio.to_thread(asked.wait, 30)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    finally:
        go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_messages_of_elements_are_cut_before_an_attribute_is_full():
    element_ops = [Op("add", Element(sets.V6.cluster_ips, f"fd00::{n:x}")) for n in range(1, 6000)]
    assert len(messages.batch("t", element_ops)) > 100_000


async def test_one_change_is_as_long_whatever_is_in_the_table(table):
    """No question is asked of the kernel: what goes out is the change alone."""
    _, netlink = table
    await netlink.exists()
    sent = []

    class Counting:
        def __init__(self, kernel):
            self.kernel = kernel

        def send(self, data):
            sent.append(len(data))
            return self.kernel.send(data)

        def recv(self, size):
            return self.kernel.recv(size)

        def close(self):
            self.kernel.close()

    netlink._socket = Counting(netlink._socket)
    change = [Op("add", Element(sets.V4.cluster_ips, "10.96.0.77"))]
    await netlink.apply(change)
    await netlink.apply([Op("add", Element(sets.V4.cluster_ips, f"10.96.3.{n}")) for n in range(200)])
    await netlink.apply(change)
    assert sent[0] == sent[2] < 300
