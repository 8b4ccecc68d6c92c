"""EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    LABEL,
    SUBDOMAIN,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    duplicate,
    invalid,
    not_supported,
    required,
)

_ENDPOINT: dict[str, Any] = {
    "addresses": ["10.1.2.3"],
    "conditions": {"ready": True, "serving": True, "terminating": False},
    "hostname": "pod-1",
    "nodeName": "n1",
    "zone": "a",
    "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "n1"}]},
    "targetRef": {"kind": "Pod", "namespace": "default", "name": "pod-1"},
}
_AT = "endpoints[0]"
_NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _too_many(path: str, count: int, limit: int) -> Cause:
    return Cause("FieldValueTooMany", path, f"Too many: {count}: must have at most {limit} items")


def _addresses(kind: str, *addresses: str) -> dict[str, Any]:
    return {"addressType": kind, "endpoints": [{"addresses": list(addresses)}]}


CASES = KindCases(
    api_version="discovery.k8s.io/v1",
    kind="EndpointSlice",
    plural="endpointslices",
    generation=True,
    minimal={"metadata": {"name": "a"}, "addressType": "IPv4"},
    minimal_stored={"addressType": "IPv4", "endpoints": None, "ports": None},
    full={
        "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{**_ENDPOINT, "deprecatedTopology": {"a": "b"}}, {"addresses": ["10.1.2.4"]}],
        "ports": [
            {"name": "http", "port": 80, "appProtocol": "http"}, {"port": 53, "protocol": "UDP"}, {"name": "all"},
        ],
    },
    full_stored={
        "addressType": "IPv4",
        "endpoints": [_ENDPOINT, {"addresses": ["10.1.2.4"], "conditions": {}}],
        "ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"},
            {"name": "", "port": 53, "protocol": "UDP"},
            {"name": "all", "protocol": "TCP"},
        ],
    },
    invalid=[
        Invalid("no type of addresses", {"addressType": ""}, [required("addressType")], on="minimal"),
        Invalid("a type that nobody knows", {"addressType": "MAC"}, [
            not_supported("addressType", '"MAC"', "FQDN", "IPv4", "IPv6"),
        ]),
        Invalid("no addresses", {"endpoints": [{"addresses": []}]}, [
            required(f"{_AT}.addresses", "must contain at least 1 address"),
        ]),
        Invalid("too many addresses", {"endpoints": [{"addresses": ["10.0.0.1"] * 101}]}, [
            _too_many(f"{_AT}.addresses", 101, 100),
        ]),
        Invalid("too many endpoints", {"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001}, [
            _too_many("endpoints", 1001, 1000),
        ]),
        Invalid("an address that is none, and one with leading zeros", _addresses("IPv4", "x", "010.0.0.1"), [
            invalid(f"{_AT}.addresses[0]", '"x"', _NO_IP),
            invalid(f"{_AT}.addresses[1]", '"010.0.0.1"', "must not have leading 0s"),
        ]),
        Invalid("an address of the other family", _addresses("IPv4", "2001:db8::1"), [
            invalid(f"{_AT}.addresses[0]", '"2001:db8::1"', "must be an IPv4 address"),
        ], together=True),
        Invalid("an address of the other family again", _addresses("IPv6", "10.0.0.1"), [
            invalid(f"{_AT}.addresses[0]", '"10.0.0.1"', "must be an IPv6 address"),
        ], together=True),
        Invalid("addresses that lead nowhere", _addresses("IPv6", "::1", "::", "fe80::1", "ff02::1"), [
            invalid(f"{_AT}.addresses[0]", '"::1"', "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            invalid(f"{_AT}.addresses[1]", '"::"', "may not be unspecified (::)"),
            invalid(
                f"{_AT}.addresses[2]", '"fe80::1"', "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
            ),
            invalid(
                f"{_AT}.addresses[3]",
                '"ff02::1"',
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
        ]),
        Invalid("names that are no domains", _addresses("FQDN", "a", "A.b", ""), [
            invalid(
                f"{_AT}.addresses[0]", '"a"', "should be a domain with at least two segments separated by dots"
            ),
            invalid(f"{_AT}.addresses[1]", '"A.b"', SUBDOMAIN),
            required(f"{_AT}.addresses[2]"),
        ], together=True),
        Invalid("names of nodes and hosts that cannot be", {"endpoints.0.nodeName": "A", "endpoints.0.hostname": "B"}, [
            invalid(f"{_AT}.nodeName", '"A"', SUBDOMAIN),
            invalid(f"{_AT}.hostname", '"B"', LABEL),
        ]),
        Invalid("hints twice", {
            "endpoints.0.hints.forZones": [{"name": "a"}, {"name": "a"}],
            "endpoints.0.hints.forNodes": [{"name": "n"}, {"name": "n"}],
        }, [
            duplicate(f"{_AT}.hints.forZones[1].name", '"a"'),
            duplicate(f"{_AT}.hints.forNodes[1].name", '"n"'),
        ]),
        Invalid("hints that cannot be, and too many", {
            "endpoints.0.hints.forZones": [{"name": "a b"}],
            "endpoints.0.hints.forNodes": [{"name": f"n{number}"} for number in range(9)],
        }, [
            invalid(f"{_AT}.hints.forZones[0].name", '"a b"', _LABEL_VALUE),
            _too_many(f"{_AT}.hints.forNodes", 9, 8),
        ]),
        Invalid("two ports of one name", {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}, [
            duplicate("ports[1].name", '"a"'),
        ], together=True),
        Invalid("two ports without names", {"ports": [{"port": 1}, {"port": 2}]}, [
            duplicate("ports[1].name", '""'),
        ], together=True),
        Invalid("a port of odd names", {"ports": [{"name": "A", "protocol": "FTP"}]}, [
            invalid("ports[0].name", '"A"', LABEL),
            not_supported("ports[0].protocol", '"FTP"', "SCTP", "TCP", "UDP"),
        ]),
    ],
    updates=[
        Update("the type of addresses", {"addressType": "IPv6"}, [
            invalid("addressType", '"IPv6"', "field is immutable"),
        ], on="minimal"),
        Update("the endpoints", {"endpoints": [{"addresses": ["10.0.0.9"]}]}, allowed=True),
    ],
    rows=[
        Row("nothing", {}, ["a", "IPv4", "<unset>", "<unset>", "60m"]),
        Row("ports by number and name", {}, ["a", "IPv4", "80,53,all", "10.1.2.3,10.1.2.4", "60m"], on="full"),
        Row("a port of neither", {"ports": [{"name": "", "protocol": "TCP"}]}, [
            "a", "IPv4", "<unset>", "<unset>", "60m",
        ]),
        Row("any port of an older client", {"ports": [{"protocol": "TCP"}]}, ["a", "IPv4", "*", "<unset>", "60m"]),
        Row("many", {
            "endpoints": [{"addresses": ["10.0.0.1", "10.0.0.2"]}, {"addresses": ["10.0.0.3", "10.0.0.4"]}],
            "ports": [{"name": str(port), "port": port} for port in range(1, 6)],
        }, ["a", "IPv4", "1,2,3 + 2 more...", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...", "60m"]),
    ],
    warned=[
        Warned("nothing", {}, []),
        Warned("names", _addresses("FQDN", "a.example.com"), ["spec.addressType: FQDN endpoints are deprecated"]),
        Warned("an address in a long form", _addresses("IPv6", "2001:DB8::1"), [
            'endpoints[0].addresses[0]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format '
            '("2001:db8::1")',
        ]),
        Warned("the same by a controller", {
            **_addresses("IPv6", "2001:DB8::1"),
            "metadata.labels[endpointslice.kubernetes.io/managed-by]": "endpointslice-controller.k8s.io",
        }, []),
    ],
)  # fmt: skip
