"""Families of Services: which addresses a Service has on a cluster of one family, and of two.

The cases are those of upstream's documents on dual stack: by policy, families and addresses.
"""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.errors import Invalid
from sampan.api.resources import SERVICE_CIDRS
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.config import ServerConfig

BOTH, SIX_FIRST = "10.96.0.0/16,fd00:10:96::/112", "fd00:10:96::/112,10.96.0.0/16"
FOUR_SIX, SIX_FOUR = ["IPv4", "IPv6"], ["IPv6", "IPv4"]
PREFER, REQUIRE, SINGLE = "PreferDualStack", "RequireDualStack", "SingleStack"
V4, V6 = "10.96.0.77", "fd00:10:96::77"


def shape(made: Any) -> tuple[str, list[str], list[int]]:
    """Policy, families, and of which version each address is."""
    spec = made["spec"]
    addresses = spec.get("clusterIPs") or []
    assert (addresses or [""])[0] == spec.get("clusterIP", "")
    return spec["ipFamilyPolicy"], spec["ipFamilies"], [6 if ":" in each else 4 for each in addresses]


async def refused(cluster: Any, **spec: Any) -> str:
    with pytest.raises(Invalid) as caught:
        await cluster.create("b", **spec)
    return str(caught.value.message).removeprefix('Service "b" is invalid: ')


CREATED = [
    (BOTH, {}, (SINGLE, ["IPv4"], [4])),
    (SIX_FIRST, {}, (SINGLE, ["IPv6"], [6])),
    ("fd00:10:96::/112", {}, (SINGLE, ["IPv6"], [6])),
    (BOTH, {"ipFamilies": ["IPv6"]}, (SINGLE, ["IPv6"], [6])),
    (BOTH, {"clusterIP": V6}, (SINGLE, ["IPv6"], [6])),
    (BOTH, {"ipFamilyPolicy": PREFER}, (PREFER, FOUR_SIX, [4, 6])),
    (SIX_FIRST, {"ipFamilyPolicy": PREFER}, (PREFER, SIX_FOUR, [6, 4])),
    ("10.96.0.0/16", {"ipFamilyPolicy": PREFER}, (PREFER, ["IPv4"], [4])),
    (BOTH, {"ipFamilyPolicy": REQUIRE}, (REQUIRE, FOUR_SIX, [4, 6])),
    (BOTH, {"ipFamilyPolicy": REQUIRE, "ipFamilies": ["IPv6"]}, (REQUIRE, SIX_FOUR, [6, 4])),
    (BOTH, {"ipFamilyPolicy": PREFER, "clusterIPs": [V6], "clusterIP": V6}, (PREFER, SIX_FOUR, [6, 4])),
    (BOTH, {"ipFamilyPolicy": REQUIRE, "clusterIPs": [V4, V6], "clusterIP": V4}, (REQUIRE, FOUR_SIX, [4, 6])),
    ("10.96.0.0/16", {"clusterIP": "None"}, (REQUIRE, FOUR_SIX, [4])),
    (BOTH, {"clusterIP": "None", "ipFamilyPolicy": SINGLE, "ipFamilies": ["IPv6"]}, (SINGLE, ["IPv6"], [4])),
    (BOTH, {"clusterIP": "None", "selector": {"a": "b"}}, (SINGLE, ["IPv4"], [4])),
]  # fmt: skip


@pytest.mark.parametrize(("cidr", "spec", "wanted"), CREATED)
async def test_a_new_service_has_the_families_that_it_asks_for_and_the_cluster_has(
    start: Any, cidr: str, spec: dict[str, Any], wanted: tuple[str, list[str], list[int]]
) -> None:
    async with start(cidr=cidr) as cluster:
        made = await cluster.create("s", **spec)
        assert shape(made) == wanted
        held = [each for each in made["spec"]["clusterIPs"] if each != "None"]
        assert sorted((await cluster.records())[0]) == sorted(held)
        await cluster.delete("s")
        assert (await cluster.records())[0] == {}


REFUSED = [
    ("10.96.0.0/16", {"ipFamilyPolicy": REQUIRE},
     'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'),
    ("10.96.0.0/16", {"ipFamilies": ["IPv6"]},
     'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
    ("10.96.0.0/16", {"clusterIP": V6},
     f'spec.clusterIPs[0]: Invalid value: ["{V6}"]: IPv6 is not configured on this cluster'),
    (BOTH, {"ipFamilies": FOUR_SIX},
     'spec.ipFamilyPolicy: Invalid value: "SingleStack": must be \'RequireDualStack\' or \'PreferDualStack\' when '
     "multiple IP families are specified"),
    (BOTH, {"clusterIP": V4, "clusterIPs": [V4, V6]},
     'spec.ipFamilyPolicy: Invalid value: "SingleStack": must be \'RequireDualStack\' or \'PreferDualStack\' when '
     "multiple cluster IPs are specified"),
]  # fmt: skip


@pytest.mark.parametrize(("cidr", "spec", "said"), REFUSED)
async def test_what_the_cluster_cannot_give_is_refused_in_upstreams_words(
    start: Any, cidr: str, spec: dict[str, Any], said: str
) -> None:
    async with start(cidr=cidr) as cluster:
        assert await refused(cluster, **spec) == said
        assert (await cluster.records())[0] == {}


async def test_the_second_family_comes_and_goes_with_the_policy_and_the_first_address_stays(start: Any) -> None:
    async with start(cidr=BOTH) as cluster:
        first = (await cluster.create("s"))["spec"]["clusterIP"]
        dual = await cluster.patch("s", ipFamilyPolicy="PreferDualStack")
        # Prefer alone changes nothing that is there: the second family is asked for by name.
        assert shape(dual) == (PREFER, FOUR_SIX, [4, 6])
        assert dual["spec"]["clusterIPs"][0] == first
        assert sorted((await cluster.records())[0]) == sorted(dual["spec"]["clusterIPs"])
        single = await cluster.patch("s", ipFamilyPolicy="SingleStack")
        assert shape(single) == (SINGLE, ["IPv4"], [4]) and single["spec"]["clusterIP"] == first
        assert list((await cluster.records())[0]) == [first]


async def test_a_service_that_prefers_both_stays_as_it_is_when_it_is_written_again(start: Any) -> None:
    """Nothing is added to it when the cluster has got a second family."""
    async with start(cidr="10.96.0.0/16") as cluster:
        store, made = cluster.store, await cluster.create("s", ipFamilyPolicy="PreferDualStack")
        async with start(store, cidr=BOTH) as later:
            changed = await later.patch("s", sessionAffinity="ClientIP")
            assert shape(changed) == (PREFER, ["IPv4"], [4])
            assert changed["spec"]["clusterIPs"] == made["spec"]["clusterIPs"]
            required = await later.patch("s", ipFamilyPolicy="RequireDualStack")
            assert shape(required) == (REQUIRE, FOUR_SIX, [4, 6])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clusterIPs": [V4]}, "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be set to "
         "'SingleStack' when releasing the secondary clusterIP"),
        ({"ipFamilies": ["IPv4"]}, "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be set to "
         "'SingleStack' when releasing the secondary ipFamily"),
        ({"ipFamilies": SIX_FOUR}, "spec.ipFamilies[0]: Invalid value"),
        ({"clusterIPs": [V4, "fd00:10:96::78"]}, "spec.clusterIPs[1]: Invalid value"),
    ],
)  # fmt: skip
async def test_an_update_that_takes_away_or_changes_an_address_is_refused(
    start: Any, change: dict[str, Any], said: str
) -> None:
    async with start(cidr=BOTH) as cluster:
        await cluster.create("s", ipFamilyPolicy="RequireDualStack", clusterIP=V4, clusterIPs=[V4, V6])
        with pytest.raises(Invalid) as caught:
            await cluster.patch("s", **change)
        assert said in str(caught.value.message)


async def test_a_full_second_range_gives_the_first_address_back(start: Any) -> None:
    async with start(cidr="10.96.0.0/16,fd00:10:96::/127") as cluster:
        await cluster.create("taker", ipFamilies=["IPv6"])
        with pytest.raises(Exception, match="range is full"):
            await cluster.create("s", ipFamilyPolicy="RequireDualStack")
        assert list((await cluster.records())[0].values()) == ["taker"]


async def test_two_ranges_of_one_family_are_no_ranges_of_a_cluster(start: Any) -> None:
    with pytest.raises(ValueError, match="not one range of each family"):
        async with start(cidr="10.96.0.0/16,10.97.0.0/16"):
            pass


async def test_a_server_whose_ranges_are_written_with_a_space_begins_with_both() -> None:
    async with Server(ServerConfig(listen=False, openapi=False, service_cidr="10.96.0.0/16, fd00:96::/112")) as server:
        made = await Client(server.local_transport()).get(SERVICE_CIDRS, "kubernetes")
    assert made["spec"]["cidrs"] == ["10.96.0.0/16", "fd00:96::/112"]
