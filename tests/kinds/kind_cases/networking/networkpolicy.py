"""NetworkPolicy (networking.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import Invalid, KindCases, Row, Update, Warned, forbidden, invalid, not_supported, required

_PORT = "spec.ingress[0].ports[0]"
_PEER = "spec.ingress[0].from[0]"
_RANGE = "must be between 1 and 65535, inclusive"
_NO_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _port(**port: Any) -> dict[str, Any]:
    return {"spec.ingress": [{"ports": [port]}]}


def _peer(**peer: Any) -> dict[str, Any]:
    return {"spec.ingress": [{"from": [peer]}]}


def _block(cidr: str, *outside: str) -> dict[str, Any]:
    return _peer(ipBlock={"cidr": cidr, **({"except": list(outside)} if outside else {})})


_SPEC: dict[str, Any] = {
    "podSelector": {"matchLabels": {"app": "web"}},
    "policyTypes": ["Ingress", "Egress"],
    "ingress": [
        {
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 5000, "endPort": 6000, "protocol": "UDP"}],
            "from": [
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}},
                {"podSelector": {}, "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
            ],
        }
    ],
    "egress": [{"ports": [{"port": "dns", "protocol": "SCTP"}], "to": [{"ipBlock": {"cidr": "2001:db8::/32"}}]}, {}],
}

CASES = KindCases(
    api_version="networking.k8s.io/v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"egress": [{"ports": [{}]}]}},
    minimal_stored={
        "spec": {
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{"ports": [{"protocol": "TCP"}]}],
        },
    },
    full={"metadata": {"name": "a"}, "spec": _SPEC},
    full_stored={"spec": _SPEC},
    invalid=[
        Invalid("a protocol that nobody speaks", _port(port=80, protocol="ICMP"), [
            not_supported(f"{_PORT}.protocol", '"ICMP"', "TCP", "UDP", "SCTP"),
        ]),
        Invalid("a port beyond all ports", _port(port=70000), [invalid(f"{_PORT}.port", "70000", _RANGE)]),
        Invalid("a port of a bad name", _port(port="A--"), [
            invalid(
                f"{_PORT}.port", '"A--"', "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
            ),
            invalid(f"{_PORT}.port", '"A--"', "must contain at least one letter (a-z)"),
            invalid(f"{_PORT}.port", '"A--"', "must not contain consecutive hyphens"),
            invalid(f"{_PORT}.port", '"A--"', "must not begin or end with a hyphen"),
        ]),
        Invalid("an end before the beginning", _port(port=80, endPort=70), [
            invalid(f"{_PORT}.endPort", "70", "must be greater than or equal to `port`"),
        ], together=True),
        Invalid("an end beyond all ports", _port(port=80, endPort=70000), [
            invalid(f"{_PORT}.endPort", "70000", _RANGE),
        ]),
        Invalid("an end of a name", _port(port="http", endPort=90), [
            invalid(f"{_PORT}.endPort", "90", "may not be specified when `port` is non-numeric"),
        ], together=True),
        Invalid("an end of nothing", _port(endPort=90), [
            invalid(f"{_PORT}.endPort", "90", "may not be specified when `port` is not specified"),
        ], together=True),
        Invalid("no peer", _peer(), [required(_PEER, "must specify a peer")]),
        Invalid("a block of pods", _peer(ipBlock={"cidr": "10.0.0.0/8"}, podSelector={}), [
            forbidden(_PEER, "may not specify both ipBlock and another peer"),
        ], together=True),
        Invalid("a block of nothing", _block(""), [required(f"{_PEER}.ipBlock.cidr")]),
        Invalid("a block that is none", _block("10.0.0.0/33", "x"), [
            invalid(f"{_PEER}.ipBlock.cidr", '"10.0.0.0/33"', _NO_CIDR),
        ]),
        Invalid("a block with bits of a host, and with leading zeros", _block("10.0.0.1/8", "010.1.0.0/16"), [
            invalid(f"{_PEER}.ipBlock.cidr", '"10.0.0.1/8"', "must not have bits set beyond the prefix length"),
            invalid(
                f"{_PEER}.ipBlock.except[0]", '"010.1.0.0/16"', "must not have leading 0s in IP or prefix length"
            ),
        ]),
        Invalid("exceptions that are none", _block("10.1.0.0/16", "10.2.0.0/24", "10.1.0.0/16", "2001:db8::/32", "y"), [
            invalid(f"{_PEER}.ipBlock.except[0]", '"10.2.0.0/24"', "must be a strict subset of `cidr`"),
            invalid(f"{_PEER}.ipBlock.except[1]", '"10.1.0.0/16"', "must be a strict subset of `cidr`"),
            invalid(f"{_PEER}.ipBlock.except[2]", '"2001:db8::/32"', "must be a strict subset of `cidr`"),
            invalid(f"{_PEER}.ipBlock.except[3]", '"y"', _NO_CIDR),
        ], together=True),
        Invalid("an operator with values it has no use for", {
            "spec.podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
        }, [
            forbidden(
                "spec.podSelector.matchExpressions[0].values",
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
        ], together=True),
        Invalid("three types", {"spec.policyTypes": ["Ingress", "Egress", "Ingress"]}, [
            invalid(
                "spec.policyTypes", '["Ingress","Egress","Ingress"]', "may not specify more than two policyTypes"
            ),
        ]),
        Invalid("a type that nobody knows", {"spec.policyTypes": ["Forward"]}, [
            not_supported("spec.policyTypes[0]", '"Forward"', "Ingress", "Egress"),
        ]),
        Invalid("egress with faults", {"spec.egress": [{"to": [{}], "ports": [{"port": 0}]}]}, [
            invalid("spec.egress[0].ports[0].port", "0", _RANGE),
            required("spec.egress[0].to[0]", "must specify a peer"),
        ]),
    ],
    updates=[
        Update("another rule", {"spec.ingress": [{}]}, allowed=True),
        Update("a block that is none", {"spec.egress.0.to.0.ipBlock.cidr": "x"}, [
            invalid("spec.egress[0].to[0].ipBlock.cidr", '"x"', _NO_CIDR),
        ]),
    ],
    rows=[
        Row("all pods", {}, ["a", "<none>", "60m"]),
        Row("labels and expressions", {"spec.podSelector.matchExpressions": [
            {"key": "b", "operator": "In", "values": ["d", "c"]}, {"key": "c", "operator": "DoesNotExist"},
        ]}, ["a", "app=web,b in (c,d),!c", "60m"], on="full"),
    ],
    warned=[
        Warned("nothing", {}, []),
        Warned("an odd way to write a block", _block("2001:DB8::/32", "2001:DB8:0::/48"), [
            'spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical '
            'format ("2001:db8::/32")',
            'spec.ingress[0].from[0].ipBlock.except[0]: IPv6 CIDR value "2001:DB8:0::/48" should be in RFC 5952 '
            'canonical format ("2001:db8::/48")',
        ]),
    ],
)  # fmt: skip
