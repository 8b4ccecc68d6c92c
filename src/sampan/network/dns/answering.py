"""From a request to the bytes of its answer: the cluster's own names at once, the rest after asking upstream.

Used by ``server`` for both transports. Knows no sockets. Bytes that a client sent never make it raise; objects of the
API whose names no message can carry are answered SERVFAIL, each by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sampan.api.clock import Random
from sampan.network.dns import autopath, message, relay
from sampan.network.dns.forward import Upstream
from sampan.network.dns.known import Known
from sampan.network.dns.message import Request
from sampan.network.dns.names import Malformed, labels_of
from sampan.network.dns.resolve import SERVICE_TTL, Answer, Question, Record, Zone, is_ours, resolve, soa

#: Long answers are kept as long as nothing changed in the cluster: those of large headless Services.
_MAX_ANSWERS = 256
_LONG = 16
#: CNAME and addresses of one answer.
_MAX_CHASED = 64
#: of an answer that has ended: nobody is to keep it
_ALL_AGES = 1 << 31


class Answerer:
    def __init__(self, known: Known, zone: Zone, upstream: Upstream, random: Random) -> None:
        self._known = known
        self._zone = zone
        self._upstream = upstream
        self._random = random
        self._answers: dict[Question, Answer] = {}
        self._version = -1

    def answer_nowait(self, request: Request, *, tcp: bool, client: str = "") -> tuple[bytes | None, bool]:
        """The answer when the cluster, the protocol or what is kept decides it, None when an upstream is needed; and
        whether the same question has the same answer until something changes in the cluster. ``client``: who asks."""
        if request.refusal:
            return message.write_error(request, request.refusal), False
        if not is_ours(request.question, self._zone, self._known):
            hosts = self._upstream.options.hosts
            if request.question.name not in hosts:
                # What is kept is given whoever else waits for name servers, and costs no task.
                kept = self._upstream.kept(request.asked, dnssec=request.dnssec_ok)
                return (relay.write_relayed(request, kept.answer, kept.age_seconds, tcp=tcp) if kept else None), False
            return self._write_host(request, hosts[request.question.name], tcp=tcp), False
        answer = self._resolved(request.question)
        if answer.chase:
            return None, False
        if answer.exists or not self._upstream.options.autopath:
            return self._write(request, answer, tcp=tcp), len(answer.records) < 2
        # What one client's search path finds is nobody else's answer.
        if not self._names_ahead(request, client):
            return self._write(request, answer, tcp=tcp), False
        found = self._follow_inside(request, client)
        return (None if found is None else self._write(request, found, tcp=tcp)), False

    async def answer(self, request: Request, *, tcp: bool, client: str = "") -> bytes:
        """The answer to what ``answer_nowait`` could not answer."""
        if is_ours(request.question, self._zone, self._known):
            answer = self._resolved(request.question)
            if answer.chase:
                return await self._answer_chased(request, answer, tcp=tcp)
            return await self._follow_outside(request, answer, client, tcp=tcp)
        found = await self._upstream.ask(request.asked, name=request.question.name, dnssec=request.dnssec_ok)
        if found is None:
            return message.write_error(request, message.SERVFAIL)
        age = _ALL_AGES if found.stale else found.age_seconds
        return relay.write_relayed(request, found.answer, age, tcp=tcp)

    def _write_host(self, request: Request, ips: Sequence[str], *, tcp: bool) -> bytes:
        """A name that the options have; of another type there is nothing, whatever the world says."""
        question = request.question
        records = _host_records(question.name, question.type, ips)
        if not records:
            return message.write_answer(request, message.NOERROR, ())
        return message.write_addresses(request, records, start=self._first(records), tcp=tcp)

    # The search path, followed for a pod

    def _names_ahead(self, request: Request, client: str) -> tuple[str, ...]:
        question = request.question
        if question.type not in ("A", "AAAA"):
            return ()
        namespace = self._known.namespace_of_pod(client)
        return autopath.names_ahead(question.name, namespace, self._zone.domain, self._upstream.searches)

    def _follow_inside(self, request: Request, client: str) -> Answer | None:
        """None: names of others have to be asked for. The first name that there is decides, as for the pod itself."""
        question = request.question
        for name in self._names_ahead(request, client):
            onward = Question(name, question.type)
            if not is_ours(onward, self._zone, self._known):
                return None
            answer = self._resolved(onward)
            if answer.chase:
                return None
            if answer.exists:
                alias = Record(question.name, "CNAME", SERVICE_TTL, name)
                return Answer(exists=True, records=[alias, *answer.records])
        return Answer()

    async def _follow_outside(self, request: Request, nothing: Answer, client: str, *, tcp: bool) -> bytes:
        """With nothing found the pod is told so, and goes on by itself."""
        question = request.question
        for name in self._names_ahead(request, client):
            onward = Question(name, question.type)
            records: list[Record] = []
            if is_ours(onward, self._zone, self._known):
                answer = self._resolved(onward)
                records = list(answer.records)
                if answer.chase:
                    records += await self._addresses_of(answer.chase, request)
            else:
                records = await self._addresses_of(name, request)
            if records:
                alias = Record(question.name, "CNAME", min(record.ttl for record in records), name)
                return self._write(request, Answer(exists=True, records=[alias, *records]), tcp=tcp)
        return self._write(request, nothing, tcp=tcp)

    # ExternalName

    async def _answer_chased(self, request: Request, answer: Answer, *, tcp: bool) -> bytes:
        """The CNAME, and the addresses that the rest of the world knows for its target."""
        records = [*answer.records, *await self._addresses_of(answer.chase, request)]
        return self._write(request, Answer(exists=True, records=records), tcp=tcp)

    async def _addresses_of(self, name: str, request: Request) -> list[Record]:
        """What can be told: nothing, when nobody answers or the name is none that can be asked for."""
        if (ips := self._upstream.options.hosts.get(name)) is not None:
            return _host_records(name, request.question.type, ips)
        try:
            target = b"".join(bytes((len(label),)) + label for label in labels_of(name))
            found = await self._upstream.ask(target + b"\0" + request.asked[-4:], name=name)
            if found is None or not found.answer.decided:
                return []
            told = relay.leading_from(name, relay.addresses(found.answer))[:_MAX_CHASED]
            age = _ALL_AGES if found.stale else found.age_seconds
            return [dataclasses.replace(record, ttl=max(0, record.ttl - age)) for record in told]
        except Malformed:
            return []

    def _resolved(self, question: Question) -> Answer:
        if self._version != self._known.version:
            self._version = self._known.version
            self._answers.clear()
        answer = self._answers.get(question)
        if answer is None:
            answer = resolve(question, self._zone, self._known)
            if len(answer.records) + len(answer.additional) >= _LONG:
                # Others are sooner made than kept, and would let whoever asks for them by the thousand take the room.
                if len(self._answers) >= _MAX_ANSWERS:
                    del self._answers[next(iter(self._answers))]
                self._answers[question] = answer
        return answer

    def _write(self, request: Request, answer: Answer, *, tcp: bool) -> bytes:
        rcode = message.NOERROR if answer.exists else message.NXDOMAIN
        name, records = request.question.name, answer.records
        if not records and name.endswith(self._zone.domain):
            return message.write_denial(request, rcode, self._zone.domain)
        try:
            own = (each.name == name and each.type in ("A", "AAAA") for each in records)
            if records and not answer.additional and all(own):
                return message.write_addresses(request, records, start=self._first(records), tcp=tcp)
            return message.write_answer(
                request,
                rcode,
                answer.records,
                start=self._first(answer.records),
                additional=answer.additional,
                authority=() if answer.records else (soa(self._zone),),
                tcp=tcp,
            )
        except Malformed:
            return message.write_error(request, message.SERVFAIL)

    def _first(self, records: list[Record]) -> int:
        """Clients take the first address: in another order each time, all endpoints get their share. A CNAME stays in
        front of what it leads to."""
        if len(records) < 2 or records[0].type == "CNAME":
            return 0
        return self._random.randrange(len(records))


def _host_records(name: str, asked: str, ips: Sequence[str]) -> list[Record]:
    typed = [Record(name, "AAAA" if ":" in ip else "A", SERVICE_TTL, ip) for ip in ips]
    return [record for record in typed if asked in (record.type, "ANY")]
