"""Service (v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    ANY,
    GONE,
    LABEL,
    SUBDOMAIN,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)

_PORT = {"port": 80, "protocol": "TCP", "targetPort": 80}
_SET: dict[str, Any] = {
    "clusterIP": ANY, "clusterIPs": ANY, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
}  # fmt: skip
_ONLY_LB = "may only be used when `type` is 'LoadBalancer'"
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_LOCAL_PORT = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
_NO_PORT_NAME = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
_TWICE = '{"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}'
_LB = {"spec.type": "LoadBalancer"}
_NAME: dict[str, Any] = {"spec": {"type": "ExternalName", "externalName": "a.example.com"}}


def _ports(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"spec.ports": list(ports)}


CASES = KindCases(
    api_version="v1",
    kind="Service",
    plural="services",
    minimal={"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}},
    minimal_stored={
        "spec": {
            **_SET, "internalTrafficPolicy": "Cluster", "ports": [_PORT], "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    },
    full={
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.20",
            "clusterIPs": ["10.96.0.20"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [
                {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "appProtocol": "kubernetes.io/ws"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ],
            "sessionAffinity": "ClientIP",
            "externalIPs": ["192.0.2.7"],
            "loadBalancerIP": "192.0.2.8",
            "loadBalancerClass": "example.com/lb",
            "loadBalancerSourceRanges": ["192.0.2.0/24", " 198.51.100.0/24 "],
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 30081,
            "internalTrafficPolicy": "Local",
            "publishNotReadyAddresses": True,
            "trafficDistribution": "PreferSameZone",
        },
    },
    full_stored={
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.20",
            "clusterIPs": ["10.96.0.20"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [
                {
                    "name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "protocol": "TCP",
                    "appProtocol": "kubernetes.io/ws",
                },
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53, "nodePort": ANY},
            ],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            "externalIPs": ["192.0.2.7"],
            "loadBalancerIP": "192.0.2.8",
            "loadBalancerClass": "example.com/lb",
            "loadBalancerSourceRanges": ["192.0.2.0/24", " 198.51.100.0/24 "],
            "allocateLoadBalancerNodePorts": True,
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 30081,
            "internalTrafficPolicy": "Local",
            "publishNotReadyAddresses": True,
            "trafficDistribution": "PreferSameZone",
        },
        "status": {"loadBalancer": {}},
    },
    invalid=[
        Invalid("no ports", {"spec": {}}, [required("spec.ports")], on="minimal"),
        Invalid(
            "an unknown type",
            {"spec.type": "Foo"},
            [not_supported("spec.type", '"Foo"', "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")],
            on="minimal",
        ),
        Invalid("a port of zero", _ports({"port": 0}), [
            invalid("spec.ports[0].port", "0", "must be between 1 and 65535, inclusive"),
            invalid("spec.ports[0].targetPort", "0", "must be between 1 and 65535, inclusive"),
        ], on="minimal"),
        Invalid("a protocol that nobody speaks", _ports({"port": 1, "protocol": "FTP"}), [
            not_supported("spec.ports[0].protocol", '"FTP"', "SCTP", "TCP", "UDP"),
        ], on="minimal"),
        Invalid("a target port with capitals", _ports({"port": 1, "targetPort": "WEB"}), [
            invalid("spec.ports[0].targetPort", '"WEB"', _NO_PORT_NAME),
            invalid("spec.ports[0].targetPort", '"WEB"', "must contain at least one letter (a-z)"),
        ], on="minimal"),
        Invalid("a name with capitals", {"metadata.name": "A"}, [invalid("metadata.name", '"A"', LABEL)]),
        Invalid("a name with dots", {"metadata.name": "a.b"}, [
            invalid("metadata.name", '"a.b"', "must not contain dots"),
        ]),
        Invalid("two ports without names", _ports({"port": 1}, {"port": 2}), [
            required("spec.ports[0].name"), required("spec.ports[1].name"),
        ], on="minimal", together=True),
        Invalid("two ports of one name", _ports({"port": 1, "name": "a"}, {"port": 2, "name": "a"}), [
            duplicate("spec.ports[1].name", '"a"'),
        ], on="minimal", together=True),
        Invalid("one port twice", _ports({"port": 80, "name": "a"}, {"port": 80, "name": "b"}), [
            duplicate("spec.ports[1]", _TWICE),
        ], on="minimal", together=True),
        Invalid(
            "one node port twice",
            {"spec.type": "NodePort", **_ports(
                {"port": 80, "name": "a", "nodePort": 30000}, {"port": 81, "name": "b", "nodePort": 30000}
            )},
            [duplicate("spec.ports[1].nodePort", "30000")], on="minimal", together=True,
        ),
        Invalid("a node port of a cluster IP", _ports({"port": 80, "nodePort": 30000}), [
            forbidden("spec.ports[0].nodePort", "may not be used when `type` is 'ClusterIP'"),
        ], on="minimal", together=True),
        Invalid("no name of an external name", {"spec": {"type": "ExternalName"}}, [
            required("spec.externalName"),
        ], on="minimal", together=True),
        Invalid(
            "an external name with addresses",
            {**_NAME, "spec.clusterIP": "10.96.0.9", "spec.ipFamilies": ["IPv4"], "spec.ipFamilyPolicy": "SingleStack"},
            [
                forbidden(f"spec.{key}", "may not be set for ExternalName services")
                for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
            ],
            on="minimal", together=True,
        ),
        Invalid("an external name that is none", {"spec": {"type": "ExternalName", "externalName": "A"}}, [
            invalid("spec.externalName", '"A"', SUBDOMAIN),
        ], on="minimal"),
        Invalid("a headless node port", {"spec.type": "NodePort", "spec.clusterIP": "None"}, [
            invalid("spec.clusterIPs[0]", '"None"', "may not be set to 'None' for NodePort services"),
        ], on="minimal", together=True),
        Invalid("a headless load balancer", {**_LB, "spec.clusterIP": "None"}, [
            invalid("spec.clusterIPs[0]", '"None"', "may not be set to 'None' for LoadBalancer services"),
        ], on="minimal", together=True),
        Invalid("addresses that do not agree", {"spec.clusterIP": "10.96.0.9", "spec.clusterIPs": ["10.96.0.8"]}, [
            invalid("spec.clusterIPs", '["10.96.0.8"]', "first value must match `clusterIP`"),
        ], on="minimal", together=True),
        Invalid("only the plural address", {"spec.clusterIPs": ["10.96.0.8"]}, [
            invalid("spec.clusterIPs", '["10.96.0.8"]', "must be empty when `clusterIP` is not specified"),
        ], on="minimal", together=True),
        Invalid(
            "two addresses of one family",
            {"spec.clusterIP": "10.96.0.9", "spec.clusterIPs": ["10.96.0.9", "10.96.0.8"]},
            [invalid(
                "spec.clusterIPs", '["10.96.0.9","10.96.0.8"]', "may specify no more than one IP for each IP family"
            )],
            on="minimal", together=True,
        ),
        Invalid("no address after no address", {"spec.clusterIP": "None", "spec.clusterIPs": ["None", "10.96.0.8"]}, [
            invalid("spec.clusterIPs", '["None","10.96.0.8"]', "'None' must be the first and only value"),
        ], on="minimal", together=True),
        Invalid("an address that is none", {"spec.clusterIP": "x"}, [
            invalid("spec.clusterIPs[0]", '"x"', _NO_IP),
        ], on="minimal"),
        Invalid("an address with leading zeros", {"spec.clusterIP": "10.96.0.010"}, [
            invalid("spec.clusterIPs[0]", '"10.96.0.010"', "must not have leading 0s"),
        ], on="minimal"),
        Invalid("an address of another family", {"spec.clusterIP": "10.96.0.9", "spec.ipFamilies": ["IPv6"]}, [
            invalid("spec.clusterIPs[0]", '"10.96.0.9"', "expected an IPv6 value as indicated by `ipFamilies[0]`"),
        ], on="minimal", together=True),
        Invalid("a family twice", {"spec.ipFamilies": ["IPv4", "IPv4"]}, [
            duplicate("spec.ipFamilies[1]", '"IPv4"'),
        ], on="minimal"),
        Invalid("a family and a policy that nobody knows", {"spec.ipFamilies": ["IPv5"], "spec.ipFamilyPolicy": "X"}, [
            not_supported("spec.ipFamilies[0]", '"IPv5"', "IPv4", "IPv6"),
            not_supported("spec.ipFamilyPolicy", '"X"', "PreferDualStack", "RequireDualStack", "SingleStack"),
        ], on="minimal"),
        Invalid("external addresses that lead nowhere", {
            "spec.externalIPs": ["127.0.0.1", "::ffff:192.0.2.1", "0.0.0.0", "169.254.0.1", "224.0.0.1"],
        }, [
            invalid("spec.externalIPs[0]", '"127.0.0.1"', "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            invalid("spec.externalIPs[1]", '"::ffff:192.0.2.1"', "must not be an IPv4-mapped IPv6 address"),
            invalid("spec.externalIPs[2]", '"0.0.0.0"', "may not be unspecified (0.0.0.0)"),
            invalid(
                "spec.externalIPs[3]", '"169.254.0.1"', "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
            ),
            invalid(
                "spec.externalIPs[4]",
                '"224.0.0.1"',
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
        ], on="minimal"),
        Invalid("an affinity that nobody knows", {"spec.sessionAffinity": "Cookie"}, [
            not_supported("spec.sessionAffinity", '"Cookie"', "ClientIP", "None"),
        ], on="minimal"),
        Invalid(
            "an affinity of two days",
            {"spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 172800}}},
            [invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                "172800",
                "must be greater than 0 and less than 86400",
            )],
        ),
        Invalid(
            "an affinity of no time",
            {"spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            [invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "0", "must be greater than 0 and less than 86400"
            )],
        ),
        Invalid("source ranges of no load balancer", {"spec.loadBalancerSourceRanges": ["192.0.2.0/24"]}, [
            forbidden("spec.LoadBalancerSourceRanges", _ONLY_LB),
        ], on="minimal", together=True),
        Invalid("source ranges with bits of a host", {"spec.loadBalancerSourceRanges": ["192.0.2.1/24", "x"]}, [
            invalid(
                "spec.LoadBalancerSourceRanges[0]", '"192.0.2.1/24"', "must not have bits set beyond the prefix length"
            ),
            invalid("spec.LoadBalancerSourceRanges[1]", '"x"', _NO_CIDR),
        ]),
        Invalid("source ranges in an annotation", {f"metadata.annotations[{_RANGES}]": "192.0.2.0/24,y"}, [
            forbidden(f"metadata.annotations[{_RANGES}]", _ONLY_LB),
            invalid(f"metadata.annotations[{_RANGES}]", '"y"', _NO_CIDR),
        ], on="minimal", together=True),
        Invalid("node ports of load balancers without one", {"spec.allocateLoadBalancerNodePorts": False}, [
            forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_LB),
        ], on="minimal", together=True),
        Invalid("a class of load balancers without one", {"spec.loadBalancerClass": "a.io/b"}, [
            forbidden("spec.loadBalancerClass", _ONLY_LB),
        ], on="minimal", together=True),
        Invalid("outside traffic to the inside", {"spec.externalTrafficPolicy": "Local"}, [
            invalid("spec.externalTrafficPolicy", '"Local"', "may only be set for externally-accessible services"),
        ], on="minimal", together=True),
        Invalid("a health port that nobody asks", {"spec.healthCheckNodePort": 30000}, [
            invalid("spec.healthCheckNodePort", "30000", _LOCAL_PORT),
        ], on="minimal", together=True),
        Invalid("traffic that goes elsewhere", {
            "spec.externalTrafficPolicy": "Global", "spec.healthCheckNodePort": GONE,
            "spec.internalTrafficPolicy": "Global", "spec.trafficDistribution": "Near",
        }, [
            not_supported("spec.externalTrafficPolicy", '"Global"', "Cluster", "Local"),
            not_supported("spec.internalTrafficPolicy", '"Global"', "Cluster", "Local"),
            not_supported("spec.trafficDistribution", '"Near"', "PreferClose", "PreferSameNode", "PreferSameZone"),
        ]),
        Invalid("two hints that do not agree", {"metadata.annotations": {_HINTS: "Auto", _MODE: "Off"}}, [
            invalid(
                f"metadata.annotations[{_MODE}]", '"Off"', f"must match annotations[{_HINTS}] when both are specified"
            ),
        ], together=True),
    ],
    updates=[
        Update("the address", {"spec.clusterIP": "10.96.0.21"}, [
            invalid("spec.clusterIPs[0]", '["10.96.0.21"]', "may not change once set"),
        ]),
        Update("the class of load balancers", {"spec.loadBalancerClass": "b.io/c"}, [
            invalid("spec.loadBalancerClass", '"b.io/c"', "may not change once set"),
        ]),
        Update("the health port", {"spec.healthCheckNodePort": 30082}, [
            forbidden("spec.healthCheckNodePort", "field is immutable"),
        ]),
        Update("the family", {"spec.ipFamilies": ["IPv6"]}, [
            invalid("spec.ipFamilies[0]", '["IPv6"]', "may not change once set"),
            invalid("spec.clusterIPs[0]", '"10.96.0.20"', "expected an IPv6 value as indicated by `ipFamilies[0]`"),
        ]),
        Update("the selector", {"spec.selector": {"app": "api"}}, allowed=True),
        Update("to a cluster IP: what only a load balancer has goes", {
            "spec.type": "ClusterIP", "spec.loadBalancerSourceRanges": GONE, "spec.externalIPs": GONE,
        }, allowed=True),
        Update("to a name: the addresses go", {
            "spec.type": "ExternalName", "spec.externalName": "a.b",
        }, allowed=True, on="minimal"),
        Update("a status of no load balancer", {"status.loadBalancer.ingress": [{"ip": "192.0.2.1"}]}, [
            forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"),
        ], on="minimal", through="status"),
        Update("a status with faults", {"status.loadBalancer.ingress": [
            {"ip": "x"}, {"hostname": "1.2.3.4"}, {"ipMode": "VIP"}, {"ip": "192.0.2.1", "ipMode": "A"},
        ]}, [
            invalid("status.loadBalancer.ingress[0].ip", '"x"', _NO_IP),
            invalid("status.loadBalancer.ingress[1].hostname", '"1.2.3.4"', "must be a DNS name, not an IP address"),
            forbidden("status.loadBalancer.ingress[2].ipMode", "may not be specified when `ip` is not set"),
            not_supported("status.loadBalancer.ingress[3].ipMode", '"A"', "Proxy", "VIP"),
        ], through="status"),
        Update("a status", {"status.loadBalancer.ingress": [{"ip": "192.0.2.1"}]}, allowed=True, through="status"),
    ],
    rows=[
        Row("a cluster IP", {"spec.clusterIP": "10.96.0.2", "spec.clusterIPs": ["10.96.0.2"]}, [
            "a", "ClusterIP", "10.96.0.2", "<none>", "80/TCP", "60m", "<none>",
        ]),
        Row("headless, without ports, with a selector", {
            "spec.clusterIP": "None", "spec.clusterIPs": ["None"], "spec.ports": GONE,
            "spec.selector": {"a": "b", "c": "d"},
        }, ["a", "ClusterIP", "None", "<none>", "<none>", "60m", "a=b,c=d"]),
        Row("external addresses", {"spec.clusterIPs": ["10.96.0.2"], "spec.externalIPs": ["192.0.2.1", "192.0.2.2"]}, [
            "a", "ClusterIP", "10.96.0.2", "192.0.2.1,192.0.2.2", "80/TCP", "60m", "<none>",
        ]),
        Row("a node port", {"spec.type": "NodePort", "spec.clusterIPs": ["10.96.0.2"], "spec.ports": [
            {"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"},
        ]}, ["a", "NodePort", "10.96.0.2", "<none>", "80:30080/TCP,53/UDP", "60m", "<none>"]),
        Row("a load balancer that waits", {"spec.type": "LoadBalancer", "spec.clusterIPs": ["10.96.0.2"]}, [
            "a", "LoadBalancer", "10.96.0.2", "<pending>", "80/TCP", "60m", "<none>",
        ]),
        Row("a load balancer with points, sorted", {
            "spec.type": "LoadBalancer", "spec.clusterIPs": ["10.96.0.2"], "spec.externalIPs": ["192.0.2.1"],
            "status.loadBalancer.ingress": [{"hostname": "b.example.com"}, {"ip": "192.0.2.9"}, {"ip": "192.0.2.9"}],
        }, ["a", "LoadBalancer", "10.96.0.2", "192.0.2.9,b.example.com,192.0.2.1", "80/TCP", "60m", "<none>"]),
        Row("a name", {
            "spec": {"type": "ExternalName", "externalName": "a.example.com", "sessionAffinity": "None"},
        }, ["a", "ExternalName", "<none>", "a.example.com", "<none>", "60m", "<none>"]),
        Row("a type of another release", {"spec.type": "Mesh", "spec.clusterIPs": GONE}, [
            "a", "Mesh", "<none>", "<unknown>", "80/TCP", "60m", "<none>",
        ]),
    ],
    warned=[
        Warned("nothing", {}, [], on="minimal"),
        Warned("external addresses and odd ones", {
            "spec.externalIPs": ["2001:DB8::1"], "spec.loadBalancerIP": "010.1.1.1",
            "spec.loadBalancerSourceRanges": ["FD00::/64"],
        }, [
            'spec.externalIPs[0]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")',
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
            'spec.loadBalancerIP: non-standard IP address "010.1.1.1" will be considered invalid in a future '
            'Kubernetes release: use "10.1.1.1"',
            'spec.loadBalancerSourceRanges[0]: IPv6 CIDR value "FD00::/64" should be in RFC 5952 canonical format '
            '("fd00::/64")',
        ]),
        Warned("headless with what means nothing", {
            "spec.clusterIP": "None", "spec.loadBalancerIP": "192.0.2.1", "spec.externalIPs": ["192.0.2.2"],
            "spec.sessionAffinity": "ClientIP",
        }, [
            "spec.loadBalancerIP is ignored for headless services",
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
        ], on="minimal"),
        Warned("an external name with addresses", {**_NAME, "spec.externalIPs": ["192.0.2.2"]}, [
            'spec.externalIPs is ignored when spec.type is "ExternalName"',
        ], on="minimal"),
        Warned("a name that is not used, old hints, an old preference", {
            "spec.externalName": "a.b", "spec.trafficDistribution": "PreferClose",
            f"metadata.annotations[{_HINTS}]": "Auto",
        }, [
            f"annotation {_HINTS} is deprecated, please use {_MODE} instead",
            'spec.externalName is ignored when spec.type is not "ExternalName"',
            'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
        ], on="minimal"),
    ],
)  # fmt: skip
