"""``metrics.k8s.io``, v1 and v1beta1: NodeMetrics and PodMetrics, made of the last two looks at each node.

Read-only: get and list, by label and field, as objects and as Tables. Objects, messages and columns are
metrics-server's; what is not known yet is left out, as it does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from sampan.api import errors, fields
from sampan.api.clock import Clock, format_time
from sampan.api.humanize import go_duration
from sampan.api.kind import Column, Kind
from sampan.api.nodes.usage import Looks, Rate
from sampan.api.quantity import format_quantity, parse
from sampan.api.resources import NODES, PODS, Resource
from sampan.api.types import Obj
from sampan.server.aggregation.hosted import HostedResource
from sampan.server.options import ListOptions, parse_list_options
from sampan.server.reader import ObjectReader
from sampan.server.request import Request, RequestInfo
from sampan.server.results import PlainResult, Result

GROUP: Final = "metrics.k8s.io"
VERSIONS: Final = ("v1", "v1beta1")
_VERBS: Final = ("get", "list")
_NOT_FOUND: Final = "the server could not find the requested resource"
#: objects looked at in one turn of the loop
_AT_ONCE: Final = 200

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
    return {"cpu": _nano_cores(rate.nano_cores), "memory": format_quantity(rate.memory_bytes, "BinarySI")}


def _nano_cores(amount: int) -> str:
    exponent = 0
    while amount and amount % 1000 == 0 and exponent < 3:
        amount, exponent = amount // 1000, exponent + 1
    return f"{amount}{'num '[exponent].strip()}" if amount else "0"


def _metrics(kind: Kind, meta: Obj, rate: Rate, now: datetime, more: Obj) -> Obj:
    """``rate``: the one whose moment and window stand for all."""
    own: Obj = {"name": meta["name"]}
    if kind.namespaced:
        own["namespace"] = meta["namespace"]
    own["creationTimestamp"] = format_time(now)
    if meta.get("labels"):
        own["labels"] = meta["labels"]
    timestamp = format_time(datetime.fromtimestamp(rate.time, UTC))
    return {"metadata": own, "timestamp": timestamp, "window": go_duration(round(rate.window_seconds, 3)), **more}


def node_metrics(kind: Kind, node: Obj, looks: Looks | None, now: datetime) -> Obj | None:
    """None: not known. Pure."""
    rate = looks.node() if looks is not None else None
    return _metrics(kind, node["metadata"], rate, now, {"usage": _usage(rate)}) if rate is not None else None


def pod_metrics(kind: Kind, pod: Obj, looks: Looks | None, now: datetime) -> Obj | None:
    """None: not known, or the pod does not run. Pure."""
    meta = pod["metadata"]
    if looks is None or (pod.get("status") or {}).get("phase") != "Running":
        return None
    rates = looks.pod((meta["namespace"], meta["name"]))
    if not rates:
        return None
    containers = [{"name": name, "usage": _usage(rate)} for name, rate in sorted(rates.items())]
    earliest = min(rates.values(), key=lambda rate: rate.time)
    return _metrics(kind, meta, earliest, now, {"containers": containers})


class ResourceMetricsApi:
    """``sampan.server.aggregation.hosted.HostedApi``. ``looks``: what is known of a node, None: nothing."""

    group = GROUP
    versions = VERSIONS
    resources = (
        HostedResource("nodes", "NodeMetrics", False, _VERBS),
        HostedResource("pods", "PodMetrics", True, _VERBS),
    )

    def __init__(self, reader: ObjectReader, clock: Clock, looks: Callable[[str], Looks | None]) -> None:
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
        obj = self._reader.get(resource, info.namespace, info.name)
        if obj is None:
            raise errors.not_found(resource.plural, info.name)
        found = self._of(kind, obj, {})
        if found is None:
            name = f"{info.namespace}/{info.name}" if kind.namespaced else info.name
            raise errors.not_found("podmetrics" if kind.namespaced else "nodemetrics", name, GROUP)
        named = {"kind": kind.kind, "apiVersion": kind.api_version, **found}
        return PlainResult(named, rows=(kind, [named]))

    async def _list(self, kind: Kind, info: RequestInfo, options: ListOptions) -> PlainResult:
        known: dict[str, Looks | None] = {}
        items: list[Obj] = []
        for number, obj in enumerate(await self._selected(PODS if kind.namespaced else NODES, info, options), 1):
            if (found := self._of(kind, obj, known)) is not None:
                items.append(found)
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
        items.sort(key=lambda item: (item["metadata"].get("namespace", ""), item["metadata"]["name"]))
        head: Obj = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": {}}
        named = [{"kind": kind.kind, "apiVersion": kind.api_version, **item} for item in items]
        return PlainResult({**head, "items": items}, rows=(kind, named))

    async def _selected(self, resource: Resource, info: RequestInfo, options: ListOptions) -> list[Obj]:
        if info.name:  # a selector that pins one
            namespace = info.namespace or options.fields.exact("metadata.namespace") or ""
            if namespace or resource is NODES:
                one = self._reader.get(resource, namespace, info.name)
                return [one] if one is not None and _matches(one, options) else []
        found: list[Obj] = []
        objects = iter(self._reader.list(resource, info.namespace or None))
        while some := list(islice(objects, _AT_ONCE)):
            found += some if options.everything else (obj for obj in some if _matches(obj, options))
            await asyncio.sleep(0)
        return found

    def _of(self, kind: Kind, obj: Obj, known: dict[str, Looks | None]) -> Obj | None:
        """``known``: the looks that this answer is made of; all of it is of one moment."""
        node = obj["spec"].get("nodeName", "") if kind.namespaced else obj["metadata"]["name"]
        if node not in known:
            known[node] = self._looks(node) if node else None
        make = pod_metrics if kind.namespaced else node_metrics
        return make(kind, obj, known[node], self._clock.now())


def _misplaced(kind: Kind, info: RequestInfo) -> bool:
    if kind.namespaced:
        return info.verb == "get" and not info.namespace
    return bool(info.namespace)


def _matches(obj: Obj, options: ListOptions) -> bool:
    by_label, by_field = options.labels, options.fields
    if not by_label.everything and not by_label.matches(obj["metadata"].get("labels") or {}):
        return False
    return by_field.everything or by_field.matches(fields.object_fields(obj, {}))
