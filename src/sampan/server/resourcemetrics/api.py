"""``metrics.k8s.io``, v1 and v1beta1: NodeMetrics and PodMetrics, made of the last two looks at each node.

Read-only: get and list, by label and field, as objects and as Tables. Objects, messages and columns are
metrics-server's; what is not known yet is left out, as it does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sampan.api import errors
from sampan.api.clock import Clock, format_time
from sampan.api.humanize import go_duration
from sampan.api.kind import Column, Kind
from sampan.api.nodes.usage import Looks, Rate
from sampan.api.quantity import format_quantity, parse
from sampan.api.resources import NODES, PODS, Resource
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.aggregation.hosted import HostedResource
from sampan.server.options import ListOptions, parse_list_options
from sampan.server.request import Request, RequestInfo
from sampan.server.results import PlainResult, Result
from sampan.store.cache import CachedEntry

GROUP: Final = "metrics.k8s.io"
VERSIONS: Final = ("v1", "v1beta1")
_VERBS: Final = ("get", "list")
_NOT_FOUND: Final = "the server could not find the requested resource"
#: objects that a selector looks at, and objects and containers that an answer is made of, in one turn of the loop
_LOOKED_AT, _MADE_AT_ONCE = 200, 200
_DECIMAL: Final = ("n", "u", "m", "")
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")

_COLUMNS: Final = (
    Column("Name", format="name", description="Name of the resource"),
    Column("cpu", format="quantity"),
    Column("memory", format="quantity"),
    Column("Window", format="duration"),
)


def _node_row(obj: Obj, now: datetime) -> Sequence[Any]:
    return obj["metadata"]["name"], obj["usage"]["cpu"], obj["usage"]["memory"], obj["window"]


def _pod_row(obj: Obj, now: datetime) -> Sequence[Any]:
    usages = [container["usage"] for container in obj["containers"]]
    cpu = format_quantity(sum(parse(usage["cpu"]) for usage in usages))
    memory = format_quantity(sum(parse(usage["memory"]) for usage in usages), "BinarySI")
    return obj["metadata"]["name"], cpu, memory, obj["window"]


def _kind(version: str, name: str, plural: str, row: Callable[[Obj, datetime], Sequence[Any]]) -> Kind:
    return Kind(
        group=GROUP, version=version, kind=name, plural=plural, singular="", namespaced=plural == "pods", schema="",
        verbs=_VERBS, columns=_COLUMNS, row=row,
    )  # fmt: skip


_KINDS: Final[Mapping[tuple[str, str], Kind]] = {
    (version, plural): _kind(version, name, plural, row)
    for version in VERSIONS
    for name, plural, row in (("NodeMetrics", "nodes", _node_row), ("PodMetrics", "pods", _pod_row))
}


def _usage(rate: Rate) -> Obj:
    return {"cpu": _nano_cores(rate.nano_cores), "memory": _bytes(rate.memory_bytes)}


def _nano_cores(amount: int) -> str:
    exponent = 0
    while amount and amount % 1000 == 0 and exponent < 3:
        amount, exponent = amount // 1000, exponent + 1
    return f"{amount}{_DECIMAL[exponent]}" if amount else "0"


def _bytes(amount: int) -> str:
    """As ``format_quantity`` has it, which takes any number and so takes longer."""
    if amount < 1024:
        return format_quantity(amount, "BinarySI")
    exponent = 0
    while amount % 1024 == 0 and exponent < len(_BINARY) - 1:
        amount, exponent = amount // 1024, exponent + 1
    return f"{amount}{_BINARY[exponent]}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What an answer takes from a Node or a Pod. ``node``: the one whose looks count."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    node: str
    runs: bool


def _seen(resource: Resource, entry: CachedEntry) -> Seen:
    """Of what selectors see: nothing is decoded."""
    fields = entry.fields
    name = fields["metadata.name"]
    if resource is NODES:
        return Seen(name, "", entry.labels, name, True)
    runs = fields["status.phase"] == "Running"
    return Seen(name, fields["metadata.namespace"], entry.labels, fields["spec.nodeName"], runs)


def _metrics(seen: Seen, rate: Rate, created: str, more: Obj) -> Obj:
    """``rate``: the one whose moment and window stand for all."""
    own: Obj = {"name": seen.name}
    if seen.namespace:
        own["namespace"] = seen.namespace
    own["creationTimestamp"] = created
    if seen.labels:
        own["labels"] = dict(seen.labels)
    timestamp = format_time(datetime.fromtimestamp(rate.time, UTC))
    return {"metadata": own, "timestamp": timestamp, "window": go_duration(rate.window_seconds), **more}


def metrics_of(seen: Seen, looks: Looks | None, created: str) -> Obj | None:
    """None: not known, or the pod does not run. Pure."""
    if looks is None or not seen.runs:
        return None
    if not seen.namespace:
        rate = looks.node()
        return _metrics(seen, rate, created, {"usage": _usage(rate)}) if rate is not None else None
    rates = looks.pod((seen.namespace, seen.name))
    if not rates:
        return None
    containers = [{"name": name, "usage": _usage(rate)} for name, rate in sorted(rates.items())]
    earliest = min(rates.values(), key=lambda rate: rate.time)
    return _metrics(seen, earliest, created, {"containers": containers})


class EntryReader(Protocol):
    """The part of ``sampan.server.surface.SurfaceReader`` that is needed."""

    def entry(self, resource: Resource, namespace: str, name: str) -> CachedEntry | None: ...

    def entries(self, resource: Resource, namespace: str) -> Sequence[CachedEntry]:
        """``namespace`` "": of all."""
        ...


class ResourceMetricsApi:
    """``sampan.server.aggregation.hosted.HostedApi``. ``looks``: what is known of a node, None: nothing."""

    group = GROUP
    versions = VERSIONS
    resources = (
        HostedResource("nodes", "NodeMetrics", False, _VERBS),
        HostedResource("pods", "PodMetrics", True, _VERBS),
    )

    def __init__(self, reader: EntryReader, clock: Clock, looks: Callable[[str], Looks | None]) -> None:
        self._reader, self._clock, self._looks = reader, clock, looks

    async def serve(self, request: Request) -> Result:
        info = request.info
        kind = _KINDS.get((info.version, info.resource))
        if kind is None or info.subresource or _misplaced(kind, info):
            raise errors.NotFound(_NOT_FOUND)
        if info.verb == "get":
            return self._get(kind, info)
        if info.verb == "list":
            return await self._list(kind, info, parse_list_options(request.query, kind, watch=False))
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")

    def _get(self, kind: Kind, info: RequestInfo) -> PlainResult:
        """Raises NotFound."""
        resource = PODS if kind.namespaced else NODES
        entry = self._reader.entry(resource, info.namespace, info.name)
        if entry is None or entry.damaged:
            raise errors.not_found(resource.plural, info.name)
        seen = _seen(resource, entry)
        found = metrics_of(seen, self._looks(seen.node), format_time(self._clock.now()))
        if found is None:
            name = f"{info.namespace}/{info.name}" if kind.namespaced else info.name
            raise errors.not_found("podmetrics" if kind.namespaced else "nodemetrics", name, GROUP)
        named = {"kind": kind.kind, "apiVersion": kind.api_version, **found}
        return PlainResult(named, rows=(kind, [named]))

    async def _list(self, kind: Kind, info: RequestInfo, options: ListOptions) -> PlainResult:
        """What it says of one node and its pods is of one moment: each node is looked up once."""
        known: dict[str, Looks | None] = {}
        items: list[Obj] = []
        created = format_time(self._clock.now())
        made = 0
        for seen in await self._selected(PODS if kind.namespaced else NODES, info, options):
            if seen.node not in known:
                known[seen.node] = self._looks(seen.node) if seen.node else None
            if (found := metrics_of(seen, known[seen.node], created)) is not None:
                items.append(found)
            made += 1 + len(found.get("containers", ())) if found is not None else 1
            if made >= _MADE_AT_ONCE:
                made = 0
                await asyncio.sleep(0)
        head: Obj = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": {}}
        return PlainResult({**head, "items": items}, rows=(kind, items))

    async def _selected(self, resource: Resource, info: RequestInfo, options: ListOptions) -> list[Seen]:
        """In the order of their keys, as the API lists them."""
        if info.name and (info.namespace or resource is NODES):  # a selector that pins one
            one = self._reader.entry(resource, info.namespace, info.name)
            entries: Sequence[CachedEntry] = [one] if one is not None else []
        else:
            entries = self._reader.entries(resource, info.namespace)
        found: list[Seen] = []
        for at in range(0, len(entries), _LOOKED_AT):
            found += [
                _seen(resource, entry)
                for entry in entries[at : at + _LOOKED_AT]
                if not entry.damaged and options.labels.matches(entry.labels) and options.fields.matches(entry.fields)
            ]
            if at:
                await asyncio.sleep(0)
        return found


def _misplaced(kind: Kind, info: RequestInfo) -> bool:
    if kind.namespaced:
        return info.verb == "get" and not info.namespace
    return bool(info.namespace)
