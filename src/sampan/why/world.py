"""What is known of a cluster: the answers to the questions asked so far. Pure; who needs more raises ``Wanted``.

Rules see objects through this alone. An answer that could not be had (no right to read it, too many objects) counts as
empty, and is told in the explanation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sampan.api.reading import moment, part, text
from sampan.api.resources import EVENTS, PODS, Resource
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.model import Ref, ref_of

#: of an EndpointSlice: whose it is (said here anew: the network's module of it costs a command 30 ms)
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
#: Of a list so many objects are read; beyond, the answer says that there are more.
MOST_OBJECTS: Final = 500


class Query(NamedTuple):
    """``name`` "": a list, of ``namespace`` or ("") of all of them. ``subresource`` ``attempts``: the scheduler's
    records of a pod."""

    resource: Resource
    name: str = ""
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        what = f" {self.name}" if self.name else ""
        of = f"{self.subresource} of " if self.subresource else ""
        return f"{of}{self.resource.plural}{what}{where}"


@dataclass(frozen=True, slots=True)
class Answer:
    """``fault``: why it could not be had. ``more``: the list was cut. ``total``: how many there are, if known."""

    objects: tuple[Obj, ...] = ()
    fault: str = ""
    more: bool = False
    total: int = 0


_NOT_ASKED: Final = Answer(fault="not looked at: that would be too much")


class Wanted(Exception):
    """A rule needs the answers to ``queries``."""

    def __init__(self, *queries: Query) -> None:
        super().__init__(", ".join(map(str, queries)))
        self.queries = queries


@dataclass(frozen=True, slots=True)
class World:
    """``memo``: what rules worked out of it, for other rules. ``about``: the object that a rule is asked of;
    ``closed``: nothing more is asked, and what is missing counts as not seen."""

    answers: Mapping[Query, Answer]
    now: datetime
    about: Ref | None = None
    closed: bool = False
    memo: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    def answer(self, query: Query) -> Answer:
        """Raises Wanted."""
        found = self.answers.get(query)
        if found is None and self.closed:
            return _NOT_ASKED
        if found is None:
            raise Wanted(query)
        return found

    def want(self, *queries: Query) -> None:
        """Several at once, so that they are asked for together. Raises Wanted."""
        missing = [query for query in queries if query not in self.answers]
        if missing and not self.closed:
            raise Wanted(*missing)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        """None: it is not there, or cannot be read (``fault``)."""
        if not name:
            return None
        found = self.answer(Query(resource, name, namespace if resource.namespaced else "")).objects
        return found[0] if found else None

    def fault(self, resource: Resource, name: str = "", namespace: str = "") -> str:
        return self.answer(Query(resource, name, namespace if resource.namespaced else "")).fault

    def absent(self, resource: Resource, name: str, namespace: str = "") -> bool:
        """It is certain that it is not there."""
        found = self.answer(Query(resource, name, namespace if resource.namespaced else ""))
        return not found.objects and not found.fault

    def all(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[Obj]:
        return self.answer(Query(resource, "", namespace, labels, fields)).objects

    def cut(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> bool:
        """Whether ``all`` does not show all."""
        found = self.answer(Query(resource, "", namespace, labels, fields))
        return found.more or bool(found.fault)

    def events(self, ref: Ref) -> list[Obj]:
        """About the object, the newest first."""
        namespace = ref.namespace or "default"
        chosen = f"involvedObject.kind={ref.resource.kind},involvedObject.name={ref.name}"
        return sorted(self.all(EVENTS, namespace, fields=chosen), key=_last, reverse=True)

    def events_of(self, resource: Resource, obj: Obj) -> list[Obj]:
        """Of this very object, not of a former one of its name."""
        uid = text(part(obj, "metadata"), "uid")
        found = self.events(ref_of(resource, obj))
        return [each for each in found if text(part(each, "involvedObject"), "uid") in ("", uid)]

    def attempts(self, pod: Obj) -> Sequence[Obj]:
        """What the scheduler recorded of the pod, the newest first; none where it keeps no records."""
        ref = ref_of(PODS, pod)
        return self.answer(Query(PODS, ref.name, ref.namespace, subresource="attempts")).objects

    @property
    def unseen(self) -> list[str]:
        """What could not be read, and why."""
        found: dict[str, None] = {f"the rest: {_NOT_ASKED.fault}": None} if self.closed else {}
        for query, answer in self.answers.items():
            if answer.fault and not query.subresource:
                found[f"{query}: {answer.fault}"] = None
            elif answer.more:
                found[f"{query}: only the first {len(answer.objects)} were looked at"] = None
        return list(found)


def _last(event: Obj) -> str:
    series = text(part(event, "series"), "lastObservedTime")
    return max(series, text(event, "lastTimestamp"), text(event, "eventTime"), text(event, "firstTimestamp"))


def age_seconds(world: World, obj: Obj) -> float:
    created = moment(part(obj, "metadata"), "creationTimestamp")
    return (world.now - created).total_seconds() if created is not None else 0.0
