"""ServiceCIDR (networking.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import Invalid, KindCases, Row, Update, invalid, required


def _cidrs(*cidrs: str) -> dict[str, Any]:
    return {"spec.cidrs": list(cidrs)}


_TWO = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
_NO_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

CASES = KindCases(
    api_version="networking.k8s.io/v1",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    minimal={"metadata": {"name": "a"}, "spec": {"cidrs": ["10.200.0.0/16"]}},
    minimal_stored={"spec": {"cidrs": ["10.200.0.0/16"]}, "status": {}},
    full={"metadata": {"name": "a"}, "spec": {"cidrs": ["10.200.0.0/16", "2001:db8::/64"]}},
    full_stored={"spec": {"cidrs": ["10.200.0.0/16", "2001:db8::/64"]}, "status": {}},
    invalid=[
        Invalid("no range", {"spec": {}}, [required("spec.cidrs", "at least one CIDR required")]),
        Invalid("three ranges", _cidrs("10.0.0.0/8", "2001:db8::/64", "10.1.0.0/16"), [
            invalid(
                "spec.cidrs", '{"CIDRs":["10.0.0.0/8","2001:db8::/64","10.1.0.0/16"]}', "may only hold up to 2 values"
            ),
        ], together=True),
        Invalid("a range that is none", _cidrs("10.0.0.0"), [invalid("spec.cidrs[0]", '"10.0.0.0"', _NO_CIDR)]),
        Invalid("a range with bits of a host", _cidrs("10.0.0.1/8"), [
            invalid("spec.cidrs[0]", '"10.0.0.1/8"', "must not have bits set beyond the prefix length"),
        ]),
        Invalid("a range with leading zeros", _cidrs("10.0.0.0/08"), [
            invalid("spec.cidrs[0]", '"10.0.0.0/08"', "must not have leading 0s in IP or prefix length"),
        ]),
        Invalid("a range in a long form", _cidrs("2001:DB8::/64"), [
            invalid("spec.cidrs[0]", '"2001:DB8::/64"', 'must be in canonical form ("2001:db8::/64")'),
        ]),
        Invalid("two ranges of IPv4", _cidrs("10.0.0.0/8", "11.0.0.0/8"), [
            invalid("spec.cidrs", '["10.0.0.0/8","11.0.0.0/8"]', _TWO),
        ], together=True),
        Invalid("two ranges of IPv6", _cidrs("2001:db8::/64", "fd00::/64"), [
            invalid("spec.cidrs", '["2001:db8::/64","fd00::/64"]', _TWO),
        ], together=True),
    ],
    updates=[
        Update("another range", _cidrs("10.201.0.0/16"), [
            invalid("spec.cidrs[0]", '"10.201.0.0/16"', "field is immutable"),
        ], on="minimal"),
        Update("one range less", _cidrs("10.200.0.0/16"), [
            invalid("spec.cidrs", '["10.200.0.0/16"]', "field is immutable"),
        ]),
        Update("a range of the same family", _cidrs("10.200.0.0/16", "10.201.0.0/16"), [
            invalid("spec.cidrs", '["10.200.0.0/16","10.201.0.0/16"]', _TWO),
        ], on="minimal"),
        Update("a range of the other family", _cidrs("10.200.0.0/16", "2001:db8::/64"), allowed=True, on="minimal"),
    ],
    rows=[
        Row("one range", {}, ["a", "10.200.0.0/16", "60m"]),
        Row("two ranges", {}, ["a", "10.200.0.0/16,2001:db8::/64", "60m"], on="full"),
    ],
)  # fmt: skip
