"""What follows from the folder, from what runs, and from the mirrors that the API server has. Pure.

A static pod of another content waits until its predecessor of the same name has ended. A mirror that is deleted, or
that shows another pod, is taken away and made anew; one that shows nothing goes when nothing of its pod is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.api.types import Obj
from sampan.node.staticpods.manifests import hash_of
from sampan.records import dataclass

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    #: static pods that begin
    begin: tuple[Obj, ...] = ()
    #: uids of static pods that end
    end: tuple[str, ...] = ()
    #: static pods whose mirrors are made
    show: tuple[Obj, ...] = ()
    #: mirrors that go
    hide: tuple[Obj, ...] = ()
    #: files that name a pod which another file has named: their pods' names
    doubled: tuple[Name, ...] = ()


def name_of(pod: Obj) -> Name:
    return str(pod["metadata"]["namespace"]), str(pod["metadata"]["name"])


def make(wanted: Iterable[Obj], working: Mapping[str, Obj], mirrors: Iterable[Obj]) -> Plan:
    """``working``: static pods of which something is there, by uid."""
    pods: dict[Name, Obj] = {}
    doubled = []
    for pod in wanted:
        if pods.setdefault(name_of(pod), pod) is not pod:
            doubled.append(name_of(pod))
    uids = {pod["metadata"]["uid"] for pod in pods.values()}
    busy = {name_of(pod) for pod in working.values()}
    known = {name_of(mirror): mirror for mirror in mirrors}
    return Plan(
        begin=tuple(pod for name, pod in pods.items() if name not in busy),
        end=tuple(uid for uid in working if uid not in uids),
        show=tuple(
            pod for name, pod in pods.items() if name not in known and (name not in busy or _works(pod, working))
        ),
        hide=tuple(mirror for name, mirror in known.items() if _is_outdated(mirror, pods.get(name), name in busy)),
        doubled=tuple(doubled),
    )


def _works(pod: Obj, working: Mapping[str, Obj]) -> bool:
    return pod["metadata"]["uid"] in working


def _is_outdated(mirror: Obj, pod: Obj | None, busy: bool) -> bool:
    if pod is None:
        return not busy
    return bool(mirror["metadata"].get("deletionTimestamp")) or hash_of(mirror) != hash_of(pod)
