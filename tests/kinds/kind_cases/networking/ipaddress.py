"""IPAddress (networking.k8s.io/v1)."""

from __future__ import annotations

from kind_harness import GONE, SUBDOMAIN, Invalid, KindCases, Row, Update, invalid, required

_PARENT = {"resource": "services", "namespace": "default", "name": "a"}
_AT = "spec.parentRef"

CASES = KindCases(
    api_version="networking.k8s.io/v1",
    kind="IPAddress",
    plural="ipaddresses",
    namespaced=False,
    minimal={"metadata": {"name": "192.0.2.1"}, "spec": {"parentRef": {"resource": "services", "name": "a"}}},
    minimal_stored={"spec": {"parentRef": {"resource": "services", "name": "a"}}},
    full={
        "metadata": {"name": "2001:db8::1"},
        "spec": {"parentRef": {**_PARENT, "group": "example.com"}},
    },
    full_stored={"spec": {"parentRef": {**_PARENT, "group": "example.com"}}},
    invalid=[
        Invalid("no parent", {"spec": {}}, [required(_AT)]),
        Invalid("a parent of no resource and name", {_AT: {"namespace": "a"}}, [
            required(f"{_AT}.resource"), required(f"{_AT}.name"),
        ]),
        Invalid("a group that cannot be", {f"{_AT}.group": "A"}, [invalid(f"{_AT}.group", '"A"', SUBDOMAIN)]),
        Invalid("parts that fit no path", {f"{_AT}.resource": "a/b", f"{_AT}.name": ".", f"{_AT}.namespace": "%"}, [
            invalid(f"{_AT}.resource", '"a/b"', "may not contain '/'"),
            invalid(f"{_AT}.name", '"."', "may not be '.'"),
            invalid(f"{_AT}.namespace", '"%"', "may not contain '%'"),
        ]),
        Invalid("a name that is no address", {"metadata.name": "a"}, [
            invalid("metadata.name", '"a"', "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ]),
        Invalid("an address with leading zeros", {"metadata.name": "192.0.2.01"}, [
            invalid("metadata.name", '"192.0.2.01"', "must not have leading 0s"),
        ]),
        Invalid("an address in a long form", {"metadata.name": "2001:DB8:0::1"}, [
            invalid("metadata.name", '"2001:DB8:0::1"', 'must be in canonical form ("2001:db8::1")'),
        ]),
        Invalid("an address of both families", {"metadata.name": "::ffff:192.0.2.1"}, [
            invalid("metadata.name", '"::ffff:192.0.2.1"', "must not be an IPv4-mapped IPv6 address"),
        ]),
    ],
    few_rules="no two of its fields have to go together",
    updates=[
        Update("the parent", {f"{_AT}.name": "b"}, [
            invalid(
                _AT,
                '{"Group":"example.com","Resource":"services","Namespace":"default","Name":"b"}',
                "field is immutable",
            ),
        ]),
        Update("the parent taken away", {_AT: GONE}, [
            required(_AT), invalid(_AT, "null", "field is immutable"),
        ]),
        Update("a label", {"metadata.labels": {"a": "b"}}, allowed=True),
    ],
    rows=[
        Row("of the cluster and the core group", {}, ["192.0.2.1", "services//a"]),
        Row("of a namespace and group", {}, ["2001:db8::1", "services.example.com/default/a"], on="full"),
        Row("of nobody", {_AT: GONE}, ["192.0.2.1", "<none>"]),
    ],
)  # fmt: skip
