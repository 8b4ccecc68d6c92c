"""Endpoints (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import LABEL, SUBDOMAIN, Invalid, KindCases, Row, Update, Warned, invalid, not_supported, required

_OLD = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_RANGE = "must be between 1 and 65535, inclusive"
_ADDRESS: dict[str, Any] = {
    "ip": "10.1.0.1", "hostname": "pod-1", "nodeName": "n1", "targetRef": {"kind": "Pod", "name": "pod-1"},
}  # fmt: skip


def _subset(*addresses: dict[str, Any], ports: Any = ()) -> dict[str, Any]:
    return {"subsets": [{"addresses": list(addresses), **({"ports": list(ports)} if ports else {})}]}


CASES = KindCases(
    api_version="v1",
    kind="Endpoints",
    plural="endpoints",
    minimal={"metadata": {"name": "a"}},
    minimal_stored={},
    full={
        "metadata": {"name": "a"},
        "subsets": [
            {
                "addresses": [_ADDRESS, {"ip": "10.1.0.2"}],
                "notReadyAddresses": [{"ip": "10.1.0.3"}],
                "ports": [
                    {"name": "http", "port": 80, "appProtocol": "http"},
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                ],
            }
        ],
    },
    full_stored={
        "subsets": [
            {
                "addresses": [_ADDRESS, {"ip": "10.1.0.2"}],
                "notReadyAddresses": [{"ip": "10.1.0.3"}],
                "ports": [
                    {"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"},
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                ],
            }
        ],
    },
    invalid=[
        Invalid(
            "ports without addresses",
            {"subsets": [{"ports": [{"port": 80}]}]},
            [
                required("subsets[0]", "must specify `addresses` or `notReadyAddresses`"),
            ],
            together=True,
        ),
        Invalid(
            "an address that is none",
            _subset({"ip": "x"}),
            [
                invalid("subsets[0].addresses[0].ip", '"x"', _NO_IP),
                invalid("subsets[0].addresses[0].ip", '"x"', "must be a valid IP address"),
            ],
        ),
        Invalid(
            "addresses that lead nowhere",
            {"subsets": [{"notReadyAddresses": [{"ip": "127.0.0.1"}, {"ip": "fe80::1"}]}]},
            [
                invalid(
                    "subsets[0].notReadyAddresses[0].ip",
                    '"127.0.0.1"',
                    "may not be in the loopback range (127.0.0.0/8, ::1/128)",
                ),
                invalid(
                    "subsets[0].notReadyAddresses[1].ip",
                    '"fe80::1"',
                    "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
                ),
            ],
        ),
        Invalid(
            "an address with leading zeros",
            _subset({"ip": "010.0.0.1"}),
            [
                invalid("subsets[0].addresses[0].ip", '"010.0.0.1"', "must not have leading 0s"),
            ],
        ),
        Invalid(
            "names that cannot be",
            _subset({"ip": "10.0.0.1", "hostname": "A", "nodeName": "B"}),
            [
                invalid("subsets[0].addresses[0].hostname", '"A"', LABEL),
                invalid("subsets[0].addresses[0].nodeName", '"B"', SUBDOMAIN),
            ],
        ),
        Invalid(
            "two ports without names",
            _subset({"ip": "10.0.0.1"}, ports=[{"port": 1}, {"port": 2}]),
            [
                required("subsets[0].ports[0].name"),
                required("subsets[0].ports[1].name"),
            ],
            together=True,
        ),
        Invalid(
            "a port of odd names",
            _subset({"ip": "10.0.0.1"}, ports=[{"name": "A", "port": 0, "protocol": "X"}]),
            [
                invalid("subsets[0].ports[0].name", '"A"', LABEL),
                invalid("subsets[0].ports[0].port", "0", _RANGE),
                not_supported("subsets[0].ports[0].protocol", '"X"', "SCTP", "TCP", "UDP"),
            ],
        ),
        Invalid(
            "one named port of two",
            _subset({"ip": "10.0.0.1"}, ports=[{"name": "a", "port": 1}, {"port": 2}]),
            [
                required("subsets[0].ports[1].name"),
            ],
            together=True,
        ),
    ],
    updates=[
        Update(
            "an address that is none",
            _subset({"ip": "1.2.3"}),
            [
                invalid("subsets[0].addresses[0].ip", '"1.2.3"', _NO_IP),
                invalid("subsets[0].addresses[0].ip", '"1.2.3"', "must be a valid IP address"),
            ],
        ),
        Update("addresses", _subset({"ip": "10.9.9.9"}), allowed=True),
    ],
    rows=[
        Row("nothing", {}, ["a", "<none>", "60m"]),
        Row("addresses and ports", {}, ["a", "10.1.0.1:80,10.1.0.2:80,10.1.0.1:53 + 1 more...", "60m"], on="full"),
        Row("none that is ready", {"subsets": [{"notReadyAddresses": [{"ip": "10.1.0.3"}]}]}, ["a", "", "60m"]),
        Row(
            "no ports, and both families",
            {
                "subsets": [
                    {"addresses": [{"ip": "10.1.0.3"}]},
                    {"addresses": [{"ip": "2001:db8::1"}], "ports": [{"port": 80}]},
                ]
            },
            ["a", "10.1.0.3,[2001:db8::1]:80", "60m"],
        ),
    ],
    warned=[
        Warned("what is always said", {}, [_OLD]),
        Warned(
            "an address in a long form",
            _subset({"ip": "2001:DB8::1"}),
            [
                _OLD,
                'subsets[0].addresses[0].ip: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format '
                '("2001:db8::1")',
            ],
        ),
        Warned(
            "the same by the controller",
            {
                **_subset({"ip": "2001:DB8::1"}),
                "metadata.labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"},
            },
            [_OLD],
        ),
    ],
)
