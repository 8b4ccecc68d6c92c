"""What a check is made of and what it gives: target, outcome, ports and addresses. Pure."""

from __future__ import annotations

from typing import Literal

from sampan.api.types import Obj
from sampan.records import dataclass

Result = Literal["success", "failure", "unknown"]
#: who asks: it shows in the user agent, and a hook asks only whether its request was taken
Purpose = Literal["probe", "lifecycle"]
OUTPUT_LIMIT_BYTES = 10 << 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """``warning``: it counts as a success, and its output is worth an event all the same."""

    result: Result
    output: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    container_id: str
    container: Obj
    pod_ip: str


class PortError(ValueError):
    """A named port that the container does not have, or a number that is no port; in upstream's words."""


def resolve_port(container: Obj, port: int | str) -> int:
    number = port if isinstance(port, int) else _named_port(container, port)
    if not 0 < number < 65536:
        raise PortError(f"invalid port number: {number}")
    return number


def _named_port(container: Obj, name: str) -> int:
    for entry in container.get("ports") or ():
        if entry.get("name") == name:
            return int(entry["containerPort"])
    if not (name.isascii() and name.isdecimal()):
        raise PortError(f'strconv.Atoi: parsing "{name}": invalid syntax')
    return int(name[:20])


def url_host(address: str) -> str:
    """An address as it stands in front of a port: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address
