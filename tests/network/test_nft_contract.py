"""The contract of ``Nft``: the fake and the kernel keep the same, by the program and by our own messages."""

import pytest

from sampan.network.proxy.nftables.fake import FakeNft
from sampan.network.proxy.nftables.nft import NftCommand, error_of, render_transaction
from sampan.network.proxy.rules.values import (
    Chain,
    Collection,
    Element,
    NftBusy,
    NftError,
    NftExists,
    NftMissing,
    Op,
    Rule,
    Table,
)

IPS = Collection("service-ips", "map", "ipv4_addr . inet_proto . inet_service : verdict")
ADDRESSES = Collection("cluster-ips", "set", "ipv4_addr")
CHAIN = Chain("service/default/web/tcp/80")
KEY = "10.96.0.1 . tcp . 80"
START = [Op("add", Table()), Op("add", IPS), Op("add", ADDRESSES), Op("add", CHAIN)]


@pytest.fixture(params=["fake", "program", "netlink"])
async def nft(request):
    if request.param == "fake":
        yield FakeNft()
        return
    lab = request.getfixturevalue("lab")
    netlink = lab.nft("sampan-contract", "pod3")
    program = NftCommand("sampan-contract", lab.command("pod3"))
    yield netlink if request.param == "netlink" else program
    if await program.exists():
        await program.apply([Op("delete", Table())])
    netlink.close()


async def test_a_transaction_happens(nft):
    await nft.apply([*START, Op("add", Rule(CHAIN.name, "drop")), Op("add", Element(IPS, KEY, f"goto {CHAIN.name}"))])
    assert await nft.exists()
    assert await nft.names() == {("map", IPS.name), ("set", ADDRESSES.name), ("chain", CHAIN.name)}
    assert await nft.elements(IPS) == {KEY: f"goto {CHAIN.name}"}


async def test_nothing_of_a_failing_transaction_happens(nft):
    await nft.apply(START)
    with pytest.raises(NftMissing):
        await nft.apply([Op("add", Element(ADDRESSES, "10.0.0.1")), Op("delete", Element(ADDRESSES, "10.0.0.2"))])
    assert await nft.elements(ADDRESSES) == {}


async def test_check_changes_nothing(nft):
    await nft.apply(START)
    await nft.check([Op("add", Element(ADDRESSES, "10.0.0.1"))])
    assert await nft.elements(ADDRESSES) == {}


async def test_adding_what_exists_does_nothing(nft):
    await nft.apply([*START, Op("add", Element(ADDRESSES, "10.0.0.1"))])
    await nft.apply([*START, Op("add", Element(ADDRESSES, "10.0.0.1"))])
    assert await nft.elements(ADDRESSES) == {"10.0.0.1": ""}


async def test_another_value_for_a_key_is_refused(nft):
    other = Chain("other")
    await nft.apply([*START, Op("add", other), Op("add", Element(IPS, KEY, f"goto {CHAIN.name}"))])
    with pytest.raises(NftExists):
        await nft.apply([Op("add", Element(IPS, KEY, "goto other"))])


async def test_a_value_is_replaced_within_one_transaction(nft):
    await nft.apply([*START, Op("add", Chain("other")), Op("add", Element(IPS, KEY, f"goto {CHAIN.name}"))])
    await nft.apply([Op("delete", Element(IPS, KEY)), Op("add", Element(IPS, KEY, "goto other")), Op("delete", CHAIN)])
    assert await nft.elements(IPS) == {KEY: "goto other"}


async def test_a_chain_in_use_cannot_be_deleted(nft):
    await nft.apply([*START, Op("add", Element(IPS, KEY, f"goto {CHAIN.name}"))])
    with pytest.raises(NftBusy):
        await nft.apply([Op("delete", CHAIN)])


async def test_a_set_in_use_cannot_be_deleted(nft):
    await nft.apply([*START, Op("add", Rule(CHAIN.name, f"ip daddr @{ADDRESSES.name} drop"))])
    with pytest.raises(NftBusy):
        await nft.apply([Op("delete", ADDRESSES)])


async def test_unknown_targets_are_missing(nft):
    await nft.apply(START)
    for op in (
        Op("add", Rule(CHAIN.name, "goto nowhere")),
        Op("delete", Chain("nowhere")),
        Op("add", Rule("no", "drop")),
    ):
        with pytest.raises(NftMissing):
            await nft.apply([op])


async def test_without_the_table_everything_is_missing(nft):
    assert not await nft.exists()
    with pytest.raises(NftMissing):
        await nft.apply([Op("add", CHAIN)])
    with pytest.raises(NftMissing):
        await nft.names()


async def test_the_table_goes_with_all_it_has(nft):
    await nft.apply([*START, Op("delete", Table())])
    assert not await nft.exists()


async def test_an_emptied_set_stays(nft):
    await nft.apply([*START, Op("add", Element(ADDRESSES, "10.0.0.1")), Op("flush", ADDRESSES)])
    assert await nft.elements(ADDRESSES) == {}


async def test_a_missing_program_is_an_error_of_ours():
    with pytest.raises(NftError, match="cannot be run"):
        await NftCommand("t", ("/nonexistent/program",)).apply(START)


def test_neighbouring_elements_are_one_command():
    ops = [Op("add", Element(ADDRESSES, "10.0.0.1")), Op("add", Element(ADDRESSES, "10.0.0.2"))]
    assert render_transaction("t", ops) == "add element inet t cluster-ips { 10.0.0.1, 10.0.0.2 }\n"


def test_dynamic_sets_say_their_timeout():
    text = render_transaction("t", [Op("add", Collection("a", "set", "ipv4_addr", 60))])
    assert text == "add set inet t a { type ipv4_addr ; flags dynamic,timeout ; timeout 60s ; }\n"


def test_an_error_keeps_only_the_complaint():
    error = error_of("/dev/stdin:1:5-9: Error: syntax error\nadd rule something long\n^^^^\n")
    assert str(error) == "/dev/stdin:1:5-9: Error: syntax error"
    assert type(error) is NftError
