"""Ingress (networking.k8s.io/v1)."""

from __future__ import annotations

from typing import Any

from kind_harness import (
    GONE,
    LABEL,
    SUBDOMAIN,
    Invalid,
    KindCases,
    Row,
    Update,
    Warned,
    invalid,
    not_supported,
    required,
)

_SERVICE: dict[str, Any] = {"service": {"name": "web", "port": {"number": 80}}}
_CLASS = "kubernetes.io/ingress.class"
_WILDCARD = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
    "regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_PATHS = "spec.rules[0].http.paths"


def _rule(path: Any = "/", kind: Any = "Prefix", **more: Any) -> dict[str, Any]:
    value = {"path": path, "pathType": kind, "backend": _SERVICE, **more}
    paths = [{key: item for key, item in value.items() if item is not None}]
    return {"spec": {"rules": [{"host": "a.example.com", "http": {"paths": paths}}]}}


def _hosts(*hosts: str) -> dict[str, Any]:
    return {"spec.rules": [{"host": host} if host else {} for host in hosts]}


CASES = KindCases(
    api_version="networking.k8s.io/v1",
    kind="Ingress",
    plural="ingresses",
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"defaultBackend": _SERVICE}},
    minimal_stored={"spec": {"defaultBackend": _SERVICE}, "status": {"loadBalancer": {}}},
    full={
        "metadata": {"name": "a", "annotations": {_CLASS: "nginx"}},
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": {"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "static"}},
            "rules": [
                {
                    "host": "*.example.com",
                    "http": {
                        "paths": [
                            {"path": "/", "pathType": "Prefix", "backend": _SERVICE},
                            {
                                "path": "/v1",
                                "pathType": "Exact",
                                "backend": {"service": {"name": "1api", "port": {"name": "http"}}},
                            },
                            {"pathType": "ImplementationSpecific", "backend": {"resource": {"kind": "K", "name": "n"}}},
                        ]
                    },
                },
                {"host": "b.example.com"},
            ],
            "tls": [{"hosts": ["*.example.com", "b.example.com"], "secretName": "cert"}, {}],
        },
    },
    full_stored={
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": {"resource": {"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "static"}},
            "rules": [
                {
                    "host": "*.example.com",
                    "http": {
                        "paths": [
                            {"path": "/", "pathType": "Prefix", "backend": _SERVICE},
                            {
                                "path": "/v1",
                                "pathType": "Exact",
                                "backend": {"service": {"name": "1api", "port": {"name": "http"}}},
                            },
                            {
                                "pathType": "ImplementationSpecific",
                                "backend": {"resource": {"apiGroup": None, "kind": "K", "name": "n"}},
                            },
                        ]
                    },
                },
                {"host": "b.example.com"},
            ],
            "tls": [{"hosts": ["*.example.com", "b.example.com"], "secretName": "cert"}, {}],
        },
        "status": {"loadBalancer": {}},
    },
    invalid=[
        Invalid("neither rules nor a backend", {"spec": {}}, [
            invalid("spec", "null", "either `defaultBackend` or `rules` must be specified"),
        ], on="minimal", together=True),
        Invalid("both backends", {"spec.defaultBackend.resource": {"kind": "K", "name": "n"}}, [
            invalid("spec.defaultBackend", '""', "cannot set both resource and service backends"),
        ], on="minimal", together=True),
        Invalid("no backend", {"spec.defaultBackend": {}}, [
            invalid("spec.defaultBackend", '""', "resource or service backend is required"),
        ], on="minimal"),
        Invalid("a port by name and number", {"spec.defaultBackend.service.port.name": "http"}, [
            invalid("spec.defaultBackend", '""', "cannot set both port name & port number"),
        ], on="minimal", together=True),
        Invalid("no port", {"spec.defaultBackend.service.port": {}}, [
            required("spec.defaultBackend", "port name or number is required"),
        ], on="minimal", together=True),
        Invalid("a port beyond all ports", {"spec.defaultBackend.service.port.number": 70000}, [
            invalid("spec.defaultBackend.service.port.number", "70000", "must be between 1 and 65535, inclusive"),
        ], on="minimal"),
        Invalid("a service that cannot be", {"spec.defaultBackend.service.name": "Web"}, [
            invalid("spec.defaultBackend.service.name", '"Web"', LABEL),
        ], on="minimal"),
        Invalid("no service", {"spec.defaultBackend.service.name": ""}, [
            required("spec.defaultBackend.service.name"),
        ], on="minimal"),
        Invalid("a resource of no kind and an odd group", {
            "spec.defaultBackend": {"resource": {"apiGroup": "A", "kind": "", "name": "a/b"}},
        }, [
            invalid("spec.defaultBackend.resource.apiGroup", '"A"', SUBDOMAIN),
            required("spec.defaultBackend.resource.kind"),
            invalid("spec.defaultBackend.resource.name", '"a/b"', "may not contain '/'"),
        ], on="minimal"),
        Invalid("an address for a host", {"spec.rules": [{"host": "1.2.3.4"}]}, [
            invalid("spec.rules[0].host", '"1.2.3.4"', "must be a DNS name, not an IP address"),
        ]),
        Invalid("a star in the middle", {"spec.rules": [{"host": "a.*.b"}]}, [
            invalid("spec.rules[0].host", '"a.*.b"', _WILDCARD),
        ]),
        Invalid("no paths", {"spec.rules": [{"http": {"paths": []}}]}, [required(f"{_PATHS}")]),
        Invalid("no path type", _rule(kind=None), [
            required(f"{_PATHS}[0].pathType", "pathType must be specified"),
        ], on="minimal"),
        Invalid("a path type that nobody knows", _rule(kind="Regex"), [
            not_supported(f"{_PATHS}[0].pathType", '"Regex"', "Exact", "ImplementationSpecific", "Prefix"),
        ], on="minimal"),
        Invalid("a prefix of no path", _rule(path=None), [
            invalid(f"{_PATHS}[0].path", '""', "must be an absolute path"),
        ], on="minimal", together=True),
        Invalid("an exact path that winds", _rule("/a//b/./c/../%2f%2F/..", "Exact"), [
            *(
                invalid(f"{_PATHS}[0].path", '"/a//b/./c/../%2f%2F/.."', f"must not contain '{bad}'")
                for bad in ("//", "/./", "/../", "%2f", "%2F")
            ),
            invalid(f"{_PATHS}[0].path", '"/a//b/./c/../%2f%2F/.."', "cannot end with '/..'"),
        ], on="minimal", together=True),
        Invalid("a path of its own kind that is relative", _rule("a", "ImplementationSpecific"), [
            invalid(f"{_PATHS}[0].path", '"a"', "must be an absolute path"),
        ], on="minimal", together=True),
        Invalid("a secret that cannot be, and a bad host of it", {"spec.tls": [{"hosts": ["A"], "secretName": "B"}]}, [
            invalid("spec.tls[0].hosts[0]", '"A"', SUBDOMAIN),
            invalid("spec.tls[0].secretName", '"B"', SUBDOMAIN),
        ]),
        Invalid("two classes", {f"metadata.annotations[{_CLASS}]": "traefik"}, [
            invalid(f"annotations.{_CLASS}", '"traefik"', "must match `ingressClassName` when both are specified"),
        ], together=True),
        Invalid("a class that cannot be", {"spec.ingressClassName": "N", f"metadata.annotations[{_CLASS}]": "N"}, [
            invalid("spec.ingressClassName", '"N"', SUBDOMAIN),
        ]),
    ],
    updates=[
        Update("two classes, later", {f"metadata.annotations[{_CLASS}]": "traefik"}, allowed=True),
        Update("another backend", {"spec.defaultBackend.service.port.number": 81}, allowed=True, on="minimal"),
        Update("no backend any more", {"spec": {}}, [
            invalid("spec", "null", "either `defaultBackend` or `rules` must be specified"),
        ], on="minimal"),
        Update("a status with faults", {"status.loadBalancer.ingress": [
            {"ip": "01.2.3.4"}, {"hostname": "1.2.3.4"}, {"hostname": "A"},
        ]}, [
            invalid("status.loadBalancer.ingress[0].ip", '"01.2.3.4"', "must not have leading 0s"),
            invalid("status.loadBalancer.ingress[1].hostname", '"1.2.3.4"', "must be a DNS name, not an IP address"),
            invalid("status.loadBalancer.ingress[2].hostname", '"A"', SUBDOMAIN),
        ], through="status"),
        Update("a status", {"status.loadBalancer.ingress": [{"ip": "1.2.3.4"}]}, allowed=True, through="status"),
    ],
    rows=[
        Row("a backend for all", {}, ["a", "<none>", "*", "", "80", "60m"]),
        Row("everything", {
            "status.loadBalancer.ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb"}, {"ip": "10.0.0.1"}],
        }, [
            "a", "nginx", "*.example.com,b.example.com", "10.0.0.1,192.0.2.2,lb", "80, 443", "60m",
        ], on="full"),
        Row("a class in the annotation only", {f"metadata.annotations[{_CLASS}]": "nginx"}, [
            "a", "<none>", "*", "", "80", "60m",
        ]),
        Row("rules without hosts", _hosts("", ""), ["a", "<none>", "*", "", "80", "60m"]),
        Row("three hosts", _hosts("a", "", "b", "c"), ["a", "<none>", "a,b,c", "", "80", "60m"]),
        Row("more than three hosts", _hosts("a", "", "b", "c", "d", "e"), [
            "a", "<none>", "a,b,c + 3 more...", "", "80", "60m",
        ]),
    ],
    warned=[
        Warned("the annotation and the field", {}, []),
        Warned("the annotation alone", {"spec.ingressClassName": GONE}, [
            f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead",
        ]),
    ],
)  # fmt: skip
