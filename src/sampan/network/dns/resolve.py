"""Answers from records. Pure: a question and records in, an answer out.

Sources: Kubernetes DNS specification 1.1.0; RFC 1034, 2308 (negative answers carry the zone's SOA); CoreDNS where the
specification is silent. Names that exist without the asked type answer NOERROR and nothing; unknown names NXDOMAIN.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Literal, TypeAlias

from sampan.network.dns.records import NamedEndpoint, NamedPort, NamedService, Records, undashed
from sampan.records import dataclass

RecordType: TypeAlias = Literal["A", "AAAA", "CNAME", "SRV", "PTR", "SOA", "NS", "TXT"]

#: Seconds a client may keep an answer: Services seldom change their address, endpoints come and go.
SERVICE_TTL = 30
ENDPOINT_TTL = 5
NEGATIVE_TTL = 5
#: Endpoints in one answer: about what the longest message holds.
MAX_ADDRESSES = 4096
MAX_TARGETS = 1024
#: ExternalNames that lead to each other
MAX_ALIASES = 8
#: Version of the specification, answered at ``dns-version.<domain>``.
SPECIFICATION_VERSION = "1.1.0"


@dataclass(frozen=True, slots=True)
class Question:
    """``name`` in lower case without the final dot; ``type`` as DNS writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Record:
    """``data``: an address, a name, a text, or (priority, weight, port, target) of SRV."""

    name: str
    type: RecordType
    ttl: int
    data: str | tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class Zone:
    """``dns_ip`` and ``cluster_pod_cidr``: one of each family, separated by a comma."""

    domain: str
    dns_ip: str
    cluster_pod_cidr: str = ""


@dataclass(slots=True)
class Answer:
    """``chase``: a name outside the zone whose addresses belong to the answer too (the target of ExternalName)."""

    exists: bool = False
    records: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)
    chase: str = ""


def is_ours(question: Question, zone: Zone, records: Records) -> bool:
    """Whether this server answers by itself. Reverse names are ours only for the cluster's own addresses."""
    name = question.name
    if name == zone.domain or name.endswith("." + zone.domain):
        return True
    ip = reverse_address(name)
    if not ip:
        return False
    address, ranges = ipaddress.ip_address(ip), filter(None, zone.cluster_pod_cidr.split(","))
    return any(address in ipaddress.ip_network(each) for each in ranges) or bool(records.names_of(ip))


def resolve(question: Question, zone: Zone, records: Records) -> Answer:
    """The answer to a question that ``is_ours``."""
    ip = reverse_address(question.name)
    if ip:
        return _reverse(question, ip, zone, records)
    labels = question.name.removesuffix(zone.domain).rstrip(".").split(".") if question.name != zone.domain else []
    return _Lookup(question, zone, records).answer(labels)


class _Lookup:
    def __init__(self, question: Question, zone: Zone, records: Records) -> None:
        self.question = question
        self.zone = zone
        self.records = records

    def answer(self, labels: list[str]) -> Answer:
        match labels:
            case []:
                return self._apex()
            case ["dns-version"]:
                return self._only("TXT", [Record(self.question.name, "TXT", SERVICE_TTL, SPECIFICATION_VERSION)])
            case ["dns"]:
                return Answer(exists=True)
            case ["ns", "dns"]:
                return self._addresses(self.zone.dns_ip.split(","), SERVICE_TTL)
            case ["svc"] | ["pod"]:
                return Answer(exists=True)
            case [namespace, "svc" | "pod"]:
                return Answer(exists=self.records.namespace_exists(namespace))
            case [dashed_ip, namespace, "pod"]:
                return self._pod(dashed_ip, namespace)
            case [*names, name, namespace, "svc"]:
                service = self.records.service(namespace, name)
                return Answer() if service is None else self._service(service, names)
        return Answer()

    def _apex(self) -> Answer:
        name = self.question.name
        if self.question.type == "NS":
            return self._only("NS", [Record(name, "NS", SERVICE_TTL, f"ns.dns.{self.zone.domain}")])
        return self._only("SOA", [soa(self.zone)])

    def _pod(self, dashed_ip: str, namespace: str) -> Answer:
        # As CoreDNS' "pods insecure": the address is in the name, only the namespace is looked up.
        ip = undashed(dashed_ip)
        if not ip or not self.records.namespace_exists(namespace):
            return Answer()
        return self._addresses([ip], ENDPOINT_TTL)

    def _service(self, service: NamedService, names: list[str]) -> Answer:
        match names:
            case []:
                return self._service_itself(service)
            case [port, protocol] if port.startswith("_") and protocol.startswith("_"):
                return self._srv(service, lambda entry: entry.protocol == protocol[1:] and entry.name == port[1:])
            case [protocol] if protocol.startswith("_"):
                known = any(port.protocol == protocol[1:] and port.name for port in self._ports(service))
                return Answer(exists=known)
            case [endpoint_name]:
                found = [
                    endpoint
                    for endpoint in self.records.endpoints(service.namespace, service.name)
                    if endpoint.name.lower() == endpoint_name and not service.external_name
                ]
                return self._addresses([endpoint.ip for endpoint in found], ENDPOINT_TTL) if found else Answer()
        return Answer()

    def _service_itself(self, service: NamedService) -> Answer:
        if service.external_name:
            return self._external(service)
        if self.question.type == "SRV":
            return self._srv(service, lambda _: True)
        if not service.headless:
            return self._addresses(service.cluster_ips, SERVICE_TTL)
        endpoints = self.records.endpoints(service.namespace, service.name)[:MAX_ADDRESSES]
        return self._addresses([endpoint.ip for endpoint in endpoints], ENDPOINT_TTL)

    def _external(self, service: NamedService) -> Answer:
        if self.question.type not in ("A", "AAAA", "CNAME", "ANY"):
            return Answer(exists=True)
        target = service.external_name.lower()
        answer = Answer(exists=True, records=[Record(self.question.name, "CNAME", SERVICE_TTL, target)])
        if self.question.type not in ("A", "AAAA"):
            return answer
        seen = {self.question.name}
        while target not in seen and len(seen) < MAX_ALIASES:
            seen.add(target)
            if target != self.zone.domain and not target.endswith("." + self.zone.domain):
                answer.chase = target
                break
            key = _service_key(target, self.zone)
            onward = self.records.service(*key) if key[0] else None
            if onward is None or not onward.external_name:
                answer.records += resolve(Question(target, self.question.type), self.zone, self.records).records
                break
            # One ExternalName names another; some name each other.
            name, target = target, onward.external_name.lower()
            answer.records.append(Record(name, "CNAME", SERVICE_TTL, target))
        return answer

    def _ports(self, service: NamedService) -> Sequence[NamedPort]:
        if not service.headless:
            return () if service.external_name else service.ports
        endpoints = self.records.endpoints(service.namespace, service.name)
        return list(dict.fromkeys(port for endpoint in endpoints for port in endpoint.ports))

    def _srv(self, service: NamedService, wanted: Callable[[NamedPort], bool]) -> Answer:
        name = f"{service.name}.{service.namespace}.svc.{self.zone.domain}"
        if service.external_name:
            return Answer()
        if not service.headless:
            targets = [(port.port, name) for port in service.ports if wanted(port)]
            additional = self._typed(name, service.cluster_ips, SERVICE_TTL)
            return self._srv_answer(targets, additional, SERVICE_TTL)
        targets, additional = [], []
        for endpoint in self.records.endpoints(service.namespace, service.name)[:MAX_TARGETS]:
            ports = [port.port for port in endpoint.ports if wanted(port)]
            targets += [(port, _endpoint_name(endpoint, name)) for port in ports]
            if ports:
                additional += self._typed(_endpoint_name(endpoint, name), [endpoint.ip], ENDPOINT_TTL)
        answer = self._srv_answer(targets, additional, ENDPOINT_TTL)
        # A headless Service without ready endpoints is there all the same.
        answer.exists = answer.exists or self.question.name == name
        return answer

    def _srv_answer(self, targets: list[tuple[int, str]], additional: list[Record], ttl: int) -> Answer:
        if not targets:
            return Answer()
        if self.question.type not in ("SRV", "ANY"):
            return Answer(exists=True)
        weight = max(1, 100 // len(targets))
        name = self.question.name
        records = [Record(name, "SRV", ttl, (0, weight, port, target)) for port, target in targets]
        return Answer(exists=True, records=records, additional=list(dict.fromkeys(additional)))

    def _addresses(self, ips: Iterable[str], ttl: int) -> Answer:
        records = self._typed(self.question.name, ips, ttl)
        asked = self.question.type
        return Answer(exists=True, records=[record for record in records if asked in (record.type, "ANY")])

    def _only(self, kind: RecordType, records: list[Record]) -> Answer:
        return Answer(exists=True, records=records if self.question.type in (kind, "ANY") else [])

    @staticmethod
    def _typed(name: str, ips: Iterable[str], ttl: int) -> list[Record]:
        return [Record(name, "AAAA" if ":" in ip else "A", ttl, ip) for ip in ips]


def soa(zone: Zone) -> Record:
    """The other data are in ``message``: serial and timers mean nothing where nobody transfers the zone."""
    return Record(zone.domain, "SOA", NEGATIVE_TTL, f"ns.dns.{zone.domain}")


def _reverse(question: Question, ip: str, zone: Zone, records: Records) -> Answer:
    names = records.names_of(ip)
    if not names:
        return Answer()
    if question.type not in ("PTR", "ANY"):
        return Answer(exists=True)
    found = [Record(question.name, "PTR", ENDPOINT_TTL, f"{name}.svc.{zone.domain}") for name in names]
    return Answer(exists=True, records=found)


def reverse_address(name: str) -> str:
    """``10.96.0.1`` of ``1.0.96.10.in-addr.arpa``; "" for any other name."""
    if name.endswith(".in-addr.arpa"):
        text = ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
    elif name.endswith(".ip6.arpa"):
        digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
        text = ":".join(digits[start : start + 4] for start in range(0, len(digits), 4))
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _endpoint_name(endpoint: NamedEndpoint, service_name: str) -> str:
    return f"{endpoint.name.lower()}.{service_name}"


def _service_key(name: str, zone: Zone) -> tuple[str, str]:
    """(namespace, name) of a Service's own name, ("", "") of others."""
    labels = name.removesuffix(f".{zone.domain}").split(".")
    return (labels[1], labels[0]) if len(labels) == 3 and labels[2] == "svc" else ("", "")
