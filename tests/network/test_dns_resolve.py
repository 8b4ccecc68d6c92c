"""What names mean: pure answers from records."""

import network_objects as make
import pytest

from sampan.network.dns.records import NamedEndpoint, NamedPort, NamedService, dashed, read_slice, undashed
from sampan.network.dns.resolve import Question, Zone, is_ours, resolve, reverse_address

ZONE = Zone("cluster.local", "10.96.0.10", "10.244.0.0/16")
HTTP = NamedPort("http", "tcp", 80)
SERVICES = {
    ("default", "web"): NamedService("default", "web", ("10.96.0.20", "fd00::20"), (HTTP,)),
    ("default", "db"): NamedService("default", "db", (), (NamedPort("sql", "tcp", 5432),)),
    ("default", "empty"): NamedService("default", "empty"),
    ("default", "out"): NamedService("default", "out", external_name="example.com"),
    ("default", "alias"): NamedService("default", "alias", external_name="web.default.svc.cluster.local"),
    ("default", "loop"): NamedService("default", "loop", external_name="loop.default.svc.cluster.local"),
}
SQL = (NamedPort("sql", "tcp", 5432),)
ENDPOINTS = {
    ("default", "db"): (NamedEndpoint("10.244.0.2", "db-0", SQL), NamedEndpoint("10.244.0.3", "10-244-0-3", SQL)),
}


class Table:
    def namespace_exists(self, name):
        return name == "default"

    def service(self, namespace, name):
        return SERVICES.get((namespace, name))

    def endpoints(self, namespace, name):
        return ENDPOINTS.get((namespace, name), ())

    def names_of(self, ip):
        return {"10.96.0.20": ["web.default"], "10.244.0.2": ["db-0.db.default"]}.get(ip, [])


def ask(name, kind="A"):
    return resolve(Question(name, kind), ZONE, Table())


def data(name, kind="A"):
    return [record.data for record in ask(name, kind).records]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.default.svc.cluster.local", "A", ["10.96.0.20"]),
        ("web.default.svc.cluster.local", "AAAA", ["fd00::20"]),
        ("db.default.svc.cluster.local", "A", ["10.244.0.2", "10.244.0.3"]),
        ("db-0.db.default.svc.cluster.local", "A", ["10.244.0.2"]),
        ("10-244-0-3.db.default.svc.cluster.local", "A", ["10.244.0.3"]),
        ("1-2-3-4.default.pod.cluster.local", "A", ["1.2.3.4"]),
        ("out.default.svc.cluster.local", "A", ["example.com"]),
        ("alias.default.svc.cluster.local", "A", ["web.default.svc.cluster.local", "10.96.0.20"]),
        ("loop.default.svc.cluster.local", "A", ["loop.default.svc.cluster.local"]),
        ("_http._tcp.web.default.svc.cluster.local", "SRV", [(0, 100, 80, "web.default.svc.cluster.local")]),
        (
            "_sql._tcp.db.default.svc.cluster.local",
            "SRV",
            [
                (0, 50, 5432, "db-0.db.default.svc.cluster.local"),
                (0, 50, 5432, "10-244-0-3.db.default.svc.cluster.local"),
            ],
        ),
        ("20.0.96.10.in-addr.arpa", "PTR", ["web.default.svc.cluster.local"]),
        ("2.0.244.10.in-addr.arpa", "PTR", ["db-0.db.default.svc.cluster.local"]),
        ("dns-version.cluster.local", "TXT", ["1.1.0"]),
        ("cluster.local", "SOA", ["ns.dns.cluster.local"]),
        ("cluster.local", "NS", ["ns.dns.cluster.local"]),
        ("ns.dns.cluster.local", "A", ["10.96.0.10"]),
    ],
)
def test_answers(name, kind, expected):
    assert data(name, kind) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("db.default.svc.cluster.local", "AAAA"),
        ("web.default.svc.cluster.local", "TXT"),
        ("empty.default.svc.cluster.local", "A"),
        ("empty.default.svc.cluster.local", "SRV"),
        ("default.svc.cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("cluster.local", "A"),
        ("_tcp.web.default.svc.cluster.local", "A"),
        ("_http._tcp.web.default.svc.cluster.local", "A"),
        ("20.0.96.10.in-addr.arpa", "A"),
    ],
)
def test_names_that_exist_without_the_type_are_empty_answers(name, kind):
    answer = ask(name, kind)
    assert answer.exists
    assert answer.records == []


@pytest.mark.parametrize(
    "name",
    [
        "none.default.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "example.com.default.svc.cluster.local",
        "db-9.db.default.svc.cluster.local",
        "x.web.default.svc.cluster.local",
        "_nope._tcp.web.default.svc.cluster.local",
        "not-an-ip.default.pod.cluster.local",
        "1-2-3-4.other.pod.cluster.local",
        "anything.cluster.local",
        "9.0.244.10.in-addr.arpa",
    ],
)
def test_unknown_names_do_not_exist(name):
    assert not ask(name).exists


def test_an_external_name_is_chased_outside():
    assert ask("out.default.svc.cluster.local").chase == "example.com"
    assert ask("out.default.svc.cluster.local", "TXT").chase == ""


def test_srv_brings_the_addresses_along():
    answer = ask("_sql._tcp.db.default.svc.cluster.local", "SRV")
    assert [record.data for record in answer.additional] == ["10.244.0.2", "10.244.0.3"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("web.default.svc.cluster.local", True),
        ("cluster.local", True),
        ("notcluster.local", False),
        ("example.com", False),
        ("1.0.244.10.in-addr.arpa", True),
        ("20.0.96.10.in-addr.arpa", True),
        ("8.8.8.8.in-addr.arpa", False),
    ],
)
def test_which_names_are_ours(name, ours):
    assert is_ours(Question(name, "A"), ZONE, Table()) is ours


def test_dashes_stand_for_addresses_of_both_families():
    assert undashed(dashed("10.1.2.3")) == "10.1.2.3"
    assert undashed(dashed("fd00::1")) == "fd00::1"
    assert reverse_address("1." + "0." * 29 + "d.f.ip6.arpa") == "fd00::1"


def test_endpoints_that_are_not_ready_have_no_name():
    ends = [make.endpoint("10.244.0.2", hostname="a"), make.endpoint("10.244.0.3", ready=False)]
    assert [address.name for address in read_slice(make.endpoint_slice("db", ends)).addresses] == ["a"]
