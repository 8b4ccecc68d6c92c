"""What a conformance case is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.edge.gateway.world import GATEWAYS, SERVICES, Obj

V1, V2, V3 = (f"infra-backend-v{number}" for number in (1, 2, 3))


@dataclass(frozen=True)
class Ask:
    """A request and what comes of it: a back end, or a status. ``gets``: headers that the back end gets; ``lacks``:
    such as it does not; ``answers``: headers of the answer."""

    url: str
    expected: str | int
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""
    host: str = ""
    location: str = ""
    gets: dict[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """``routes``: (name, Accepted, ResolvedRefs) with reasons, of the route's only parent."""

    name: str
    objects: tuple[Obj, ...]
    asks: tuple[Ask, ...]
    gateway: str = "same-namespace"
    listener: int = 80
    accepted: dict[str, str] = field(default_factory=dict)
    resolved: dict[str, str] = field(default_factory=dict)
    services: tuple[Any, ...] = SERVICES


#: the Gateways that all cases have; each is served alone, for here they have one machine and not an address each
COMMON = {each["metadata"]["name"]: each for each in GATEWAYS}


def gateways_of(case: Case) -> tuple[Obj, ...]:
    if any(each["kind"] == "Gateway" for each in case.objects):
        return ()
    return (COMMON[case.gateway],)
