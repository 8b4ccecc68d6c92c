"""IngressClass (networking.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import (
    GONE,
    LABEL,
    SUBDOMAIN,
    Cause,
    Invalid,
    KindCases,
    Row,
    Update,
    forbidden,
    invalid,
    not_supported,
    required,
)

_PARAMETERS = {
    "apiGroup": "k8s.example.com", "kind": "Parameters", "name": "p", "scope": "Namespace", "namespace": "default",
}  # fmt: skip
_AT = "spec.parameters"
_LONG = f"example.com/{'a' * 250}"

CASES = KindCases(
    api_version="networking.k8s.io/v1",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    generation=True,
    minimal={"metadata": {"name": "a"}, "spec": {"controller": "example.com/ingress"}},
    minimal_stored={"spec": {"controller": "example.com/ingress"}},
    full={"metadata": {"name": "a"}, "spec": {"controller": "example.com/ingress", "parameters": _PARAMETERS}},
    full_stored={"spec": {"controller": "example.com/ingress", "parameters": _PARAMETERS}},
    invalid=[
        Invalid("no controller", {"spec": {}}, [required("spec.controller")], on="minimal"),
        Invalid("a controller without a domain", {"spec.controller": "ingress"}, [
            invalid("spec.controller", '"ingress"', 'must be a domain-prefixed path (such as "acme.io/foo")'),
        ]),
        Invalid("a controller of an odd domain and path", {"spec.controller": "A/b c"}, [
            invalid("spec.controller", '"A"', SUBDOMAIN),
            invalid(
                "spec.controller",
                '"b c"',
                "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
            ),
        ]),
        Invalid("a long controller", {"spec.controller": _LONG}, [
            Cause("FieldValueTooLong", "spec.controller", "Too long: may not be more than 250 bytes"),
        ]),
        Invalid("parameters of no kind and name", {_AT: {"kind": "", "name": ""}}, [
            required(f"{_AT}.kind"), required(f"{_AT}.name"),
        ]),
        Invalid("parameters that fit no path", {f"{_AT}.kind": "a/b", f"{_AT}.name": "..", f"{_AT}.apiGroup": ""}, [
            invalid(f"{_AT}.apiGroup", '""', SUBDOMAIN),
            invalid(f"{_AT}.kind", '"a/b"', "may not contain '/'"),
            invalid(f"{_AT}.name", '".."', "may not be '..'"),
        ]),
        Invalid("a scope that nobody knows", {f"{_AT}.scope": "World"}, [
            not_supported(f"{_AT}.scope", '"World"', "Cluster", "Namespace"),
        ]),
        Invalid("a namespace of the cluster", {f"{_AT}.scope": "Cluster"}, [
            forbidden(f"{_AT}.namespace", "`parameters.scope` is set to 'Cluster'"),
        ], together=True),
        Invalid("no scope and a namespace", {f"{_AT}.scope": GONE}, [
            forbidden(f"{_AT}.namespace", "`parameters.scope` is set to 'Cluster'"),
        ], together=True),
        Invalid("no namespace where there is one", {f"{_AT}.namespace": GONE}, [
            required(f"{_AT}.namespace", "`parameters.scope` is set to 'Namespace'"),
        ], together=True),
        Invalid("a namespace that cannot be", {f"{_AT}.namespace": "A"}, [invalid(f"{_AT}.namespace", '"A"', LABEL)]),
    ],
    updates=[
        Update("the controller", {"spec.controller": "b.io/c"}, [
            invalid("spec.controller", '"b.io/c"', "field is immutable"),
        ]),
        Update("the controller taken away", {"spec.controller": GONE}, [
            invalid("spec.controller", '""', "field is immutable"), required("spec.controller"),
        ]),
        Update("the parameters", {f"{_AT}.name": "q"}, allowed=True),
    ],
    rows=[
        Row("no parameters", {}, ["a", "example.com/ingress", "<none>", "60m"]),
        Row("parameters", {}, ["a", "example.com/ingress", "Parameters.k8s.example.com/p", "60m"], on="full"),
        Row("parameters of the core", {f"{_AT}.apiGroup": GONE}, [
            "a", "example.com/ingress", "Parameters/p", "60m",
        ], on="full"),
    ],
)  # fmt: skip
