"""From a request to the bytes of its answer: the cluster's own names at once, the rest after asking upstream.

Used by ``server`` for both transports. Knows no sockets. Bytes that a client sent never make it raise; objects of the
API whose names no message can carry are answered SERVFAIL, each by itself.
"""

from __future__ import annotations

from sampan.api.clock import Random
from sampan.network.dns import message, relay
from sampan.network.dns.forward import Upstream
from sampan.network.dns.known import Known
from sampan.network.dns.message import Request
from sampan.network.dns.names import Malformed, labels_of
from sampan.network.dns.resolve import Answer, Question, Record, Zone, is_ours, resolve, soa

#: Long answers are kept as long as nothing changed in the cluster: those of large headless Services.
_MAX_ANSWERS = 256
_LONG = 16
#: CNAME and addresses of one answer.
_MAX_CHASED = 64


class Answerer:
    def __init__(self, known: Known, zone: Zone, upstream: Upstream, random: Random) -> None:
        self._known = known
        self._zone = zone
        self._upstream = upstream
        self._random = random
        self._answers: dict[Question, Answer] = {}
        self._version = -1

    def answer_nowait(self, request: Request, *, tcp: bool) -> tuple[bytes | None, bool]:
        """The answer when the cluster or the protocol decides it, None when an upstream is needed; and whether the
        same question has the same answer until something changes in the cluster."""
        if request.refusal:
            return message.write_error(request, request.refusal), False
        if not is_ours(request.question, self._zone, self._known):
            return None, False
        answer = self._resolved(request.question)
        if answer.chase:
            return None, False
        return self._write(request, answer, tcp=tcp), len(answer.records) < 2

    async def answer(self, request: Request, *, tcp: bool) -> bytes:
        """The answer to what ``answer_nowait`` could not answer."""
        if is_ours(request.question, self._zone, self._known):
            return await self._answer_chased(request, tcp=tcp)
        found = await self._upstream.ask(request.asked)
        if found is None:
            return message.write_error(request, message.SERVFAIL)
        return relay.write_relayed(request, found.answer, found.age_seconds, tcp=tcp)

    async def _answer_chased(self, request: Request, *, tcp: bool) -> bytes:
        """ExternalName: the CNAME, and the addresses that the rest of the world knows for its target."""
        answer = self._resolved(request.question)
        records = list(answer.records)
        try:
            target = b"".join(bytes((len(label),)) + label for label in labels_of(answer.chase))
            found = await self._upstream.ask(target + b"\0" + request.asked[-4:])
            if found is not None:
                records += relay.addresses(found.answer)[:_MAX_CHASED]
        except Malformed:
            pass  # what can be told is told: the name of the target
        return self._write(request, Answer(exists=True, records=records), tcp=tcp)

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
        try:
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
