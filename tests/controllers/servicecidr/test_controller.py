"""Ranges of Service addresses: guarded by a finalizer, which goes when no address needs the range."""

from datetime import timedelta

import pytest

from sampan.api.clock import format_time
from sampan.api.resources import IP_ADDRESSES, SERVICE_CIDRS
from sampan.controllers.servicecidr import ranges
from sampan.controllers.servicecidr.controller import FINALIZER, ServiceCidrController
from sampan.testing import virtual


def cidr(name, *networks):
    return {"metadata": {"name": name, "uid": name}, "spec": {"cidrs": list(networks)}}


def address(name, manager="ipallocator.k8s.io"):
    return {"metadata": {"name": name, "labels": {"ipaddress.kubernetes.io/managed-by": manager}}}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], False),
        ([cidr("a", "10.0.0.0/16")], True),
        ([cidr("a", "10.0.0.0/8")], True),
        ([cidr("a", "10.0.0.0/24")], False),
        ([cidr("a", "fd00::/64")], False),
        ([cidr("a", "nonsense")], False),
    ],
)
def test_a_range_has_a_parent_when_another_contains_it(others, expected):
    assert ranges.has_parent(cidr("own", "10.0.0.0/16"), others) is expected


def test_of_two_families_each_needs_a_parent():
    own = cidr("own", "10.0.0.0/16", "fd00::/112")
    assert not ranges.has_parent(own, [cidr("a", "10.0.0.0/8")])
    assert ranges.has_parent(own, [cidr("a", "10.0.0.0/8"), cidr("b", "fd00::/64")])


@pytest.mark.parametrize(
    ("name", "manager", "expected"),
    [
        ("10.0.0.7", "ipallocator.k8s.io", True),
        ("10.0.0.7", "somebody", False),
        ("10.0.1.7", "ipallocator.k8s.io", False),
        ("10.1.0.7", "ipallocator.k8s.io", False),
        ("fd00::7", "ipallocator.k8s.io", False),
    ],
)
def test_an_address_needs_a_range_when_it_lies_in_no_other(name, manager, expected):
    own, other = ranges.networks_of(cidr("own", "10.0.0.0/16")), ranges.networks_of(cidr("other", "10.0.1.0/24"))
    assert ranges.is_needed(own, other, address(name, manager)) is expected


def ready_of(api, name):
    [condition] = api.get(SERVICE_CIDRS, "", name)["status"]["conditions"]
    return condition["status"], condition["reason"], condition["message"]


async def test_a_range_is_guarded_and_says_that_it_is_ready(api, context, running, wait):
    async with running(ServiceCidrController(context)):
        api.add(SERVICE_CIDRS, cidr("more", "10.1.0.0/24"))
        await wait.quiet(api)
        written = api.revision
        api.change(SERVICE_CIDRS, "", "more", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await wait.quiet(api)
        assert api.revision == written + 1, "nothing is said twice"
    assert api.get(SERVICE_CIDRS, "", "more")["metadata"]["finalizers"] == [FINALIZER]
    assert ready_of(api, "more") == ("True", "", "Kubernetes Service CIDR is ready")


def test_a_range_in_use_stays_until_its_last_address_goes(make_api, make_context, run_with, virtual_clock):
    async def scenario():
        api, clock = make_api(), virtual_clock()
        api.add(IP_ADDRESSES, address("10.1.0.9"))
        context = make_context(api, clock)
        async with run_with(context, ServiceCidrController(context)):
            api.add(SERVICE_CIDRS, cidr("more", "10.1.0.0/24"))
            await clock.sleep(1)
            going = format_time(clock.now() + timedelta(seconds=0))
            api.change(SERVICE_CIDRS, "", "more", lambda obj: obj["metadata"].update(deletionTimestamp=going))
            await clock.sleep(60)
            blocked = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new "
            assert ready_of(api, "more") == ("False", "Terminating", f"{blocked}ServiceCIDR")
            api.remove(IP_ADDRESSES, "", "10.1.0.9")
            await clock.sleep(1)
        assert api.all(SERVICE_CIDRS) == []

    virtual.run(scenario())


def test_an_unused_range_goes_ten_seconds_after_its_deletion_not_before(
    make_api, make_context, run_with, virtual_clock
):
    """API servers that have not heard of it yet may give out an address."""

    async def scenario():
        api, clock = make_api(), virtual_clock()
        context = make_context(api, clock)
        async with run_with(context, ServiceCidrController(context)):
            api.add(SERVICE_CIDRS, cidr("more", "10.1.0.0/24"))
            await clock.sleep(1)
            going = format_time(clock.now())
            api.change(SERVICE_CIDRS, "", "more", lambda obj: obj["metadata"].update(deletionTimestamp=going))
            await clock.sleep(9)
            assert [obj["metadata"]["name"] for obj in api.all(SERVICE_CIDRS)] == ["more"]
            await clock.sleep(2)
        assert api.all(SERVICE_CIDRS) == []

    virtual.run(scenario())


def test_a_range_in_use_goes_when_another_takes_over_its_addresses(make_api, make_context, run_with, virtual_clock):
    async def scenario():
        api, clock = make_api(), virtual_clock()
        api.add(IP_ADDRESSES, address("10.1.0.9"))
        context = make_context(api, clock)
        async with run_with(context, ServiceCidrController(context)):
            api.add(SERVICE_CIDRS, cidr("more", "10.1.0.0/24"))
            await clock.sleep(1)
            going = format_time(clock.now())
            api.change(SERVICE_CIDRS, "", "more", lambda obj: obj["metadata"].update(deletionTimestamp=going))
            await clock.sleep(20)
            api.add(SERVICE_CIDRS, cidr("larger", "10.0.0.0/8"))
            await clock.sleep(1)
        assert [obj["metadata"]["name"] for obj in api.all(SERVICE_CIDRS)] == ["larger"]

    virtual.run(scenario())


@pytest.mark.parametrize(("networks", "addresses"), [(0, 500), (2, 500), (100, 50), (1000, 5), (10**6, 1)])
def test_the_more_ranges_there_are_the_fewer_addresses_are_compared_in_one_go(networks, addresses):
    assert ranges.addresses_at_once(networks) == addresses


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("10.0.0.0/24", True), ("10.0.0.128/25", True), ("10.0.0.0/8", True), ("0.0.0.0/0", True),
        ("10.0.1.0/24", False), ("fd00::/8", False), ("::/0", False), ("nonsense", False),
    ],
)  # fmt: skip
def test_ranges_overlap_when_one_holds_a_part_of_the_other(other, expected):
    one, two = cidr("one", "10.0.0.0/24"), cidr("two", other)
    assert bool(ranges.overlapping(one, [two])) is expected
    assert bool(ranges.overlapping(two, [one])) is expected
