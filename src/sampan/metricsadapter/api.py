"""Answers requests for metrics: which objects are meant, what Prometheus says of them, as the APIs have it.

Keeps the catalog of metrics (``run``). Who may ask was decided by the API server in front.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, ParamSpec
from urllib.parse import unquote

from sampan.api import labels
from sampan.api.clock import Clock
from sampan.api.errors import ApiError, BadRequest, InternalError, MethodNotAllowed, NotFound
from sampan.api.reading import part, text
from sampan.api.transport import Call
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.metricsadapter import answers, catalog, promql, resources
from sampan.metricsadapter.catalog import Catalog, CustomMetric, Known, Resources, Series, Source
from sampan.metricsadapter.prometheus import Prometheus, Sample, Unanswered
from sampan.metricsadapter.promql import NotSayable
from sampan.metricsadapter.rules import Config, Rule

log = logging.getLogger(__name__)

P = ParamSpec("P")

#: between two looks at which metrics there are, and how far back a series counts
LOOK_SECONDS: Final = 30.0
SERIES_AGE_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 2.0
MOST_OBJECTS: Final = 5_000
_MANY: Final = 200
_NOT_FOUND: Final = "the server could not find the requested resource"
_EMPTY: Final = Catalog({}, {})


class MetricsApi:
    def __init__(self, config: Config, prometheus: Prometheus, client: Client, clock: Clock) -> None:
        self._config, self._prometheus, self._client, self._clock = config, prometheus, client, clock
        self._catalog = _EMPTY
        self._resources = Resources(())
        #: what each query found the last time
        self._series: dict[str, Sequence[Series]] = {}
        #: set when a catalog has been made
        self.ready = asyncio.Event()

    # -- the catalog ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            good = await self.look()
            await asyncio.sleep(LOOK_SECONDS if good else _RETRY_SECONDS)

    async def look(self) -> bool:
        """Makes the catalog anew. False: it could not be found out in full; what was known stays."""
        good = True
        try:
            self._resources = await resources.served(self._client)
        except ApiError as error:
            log.warning("it cannot be found out what the cluster serves: %s", error.message)
            good = False
        now = self._clock.now().timestamp()
        for query in {rule.series_query: None for rule in (*self._config.custom, *self._config.external)}:
            try:
                self._series[query] = await self._prometheus.series(query, now - SERIES_AGE_SECONDS, now)
            except Unanswered as error:
                log.warning("Prometheus does not tell the series of %s: %s", query, error)
                good = False
        self._catalog = await asyncio.to_thread(catalog.build, self._config, self._of_rule, self._resources)
        if good:
            self.ready.set()
        return good

    def _of_rule(self, rule: Rule) -> Sequence[Series]:
        return self._series.get(rule.series_query, ())

    # -- requests ------------------------------------------------------------------------------------------------

    async def answer(self, method: str, path: str, query: Mapping[str, str]) -> Obj:
        """``path`` as it was sent. Raises ApiError."""
        segments = [unquote(segment) for segment in path.strip("/").split("/")]
        if segments[:1] != ["apis"]:
            raise NotFound(_NOT_FOUND)
        match segments[1:]:
            case []:
                found = answers.group_list()
            case [group] if group in answers.VERSIONS:
                found = answers.group(group)
            case [group, version] if version in answers.VERSIONS.get(group, ()):
                found = await asyncio.to_thread(answers.resource_list, self._catalog, group, version)
            case [answers.CUSTOM, version, *rest] if version in answers.CUSTOM_VERSIONS:
                return await self._custom(method, version, rest, query)
            case [answers.EXTERNAL, version, "namespaces", namespace, metric] if version in answers.EXTERNAL_VERSIONS:
                _only_read(method)
                return await self._external(namespace, metric, query)
            case _:
                raise NotFound(_NOT_FOUND)
        _only_read(method)
        return found

    async def _custom(self, method: str, version: str, rest: list[str], query: Mapping[str, str]) -> Obj:
        """Raises ApiError."""
        _only_read(method)
        match rest:
            case ["namespaces", namespace, "metrics", metric]:
                return await self._values(version, "namespaces", "", namespace, metric, query)
            case ["namespaces", namespace, resource, name, metric]:
                return await self._values(version, resource, namespace, name, metric, query)
            case [resource, name, metric]:
                return await self._values(version, resource, "", name, metric, query)
        raise NotFound(_NOT_FOUND)

    async def _values(
        self, version: str, resource: str, namespace: str, name: str, metric: str, query: Mapping[str, str]
    ) -> Obj:
        """``name`` ``*``: of all objects that the selector takes. Raises ApiError."""
        known = self._resources.parse(resource)
        if known is None:
            raise answers.no_metric(metric, resource)
        source = self._catalog.custom.get(CustomMetric(known.resource, bool(namespace), metric))
        if source is None:
            raise answers.no_metric(metric, str(known.resource))
        requirements = _selector(query.get("metricLabelSelector", ""), "metricLabelSelector").requirements
        names = [name]
        if name == "*":
            names = await self._names(known, namespace, query.get("labelSelector", ""))
        space = (source.namespace_label, namespace) if namespace else None
        if not names:
            return answers.custom_list(version, ())
        try:
            asked = promql.of_objects(source.rule, source.series, source.label, names, space, requirements)
        except NotSayable as error:
            raise BadRequest(f"metricLabelSelector: {error}") from None
        values = _by_name(await self._ask(asked), source, names)
        if not values and name != "*":
            raise answers.no_metric(metric, str(known.resource), name)
        # As upstream's API server writes what was asked for beside the name of the metric.
        selector = _written(query.get("metricLabelSelector", ""))
        items = (
            answers.custom_value(version, metric, known, namespace, each, values[each], selector)
            for each in names
            if each in values
        )
        return await _paced(len(values), answers.custom_list, version, items)

    async def _names(self, known: Known, namespace: str, selector: str) -> list[str]:
        """Raises ApiError."""
        _selector(selector, "labelSelector")
        group = f"/apis/{known.resource.group}" if known.resource.group else "/api"
        space = f"/namespaces/{namespace}" if namespace else ""
        path = f"{group}/{known.version}{space}/{known.resource.resource}"
        asked = {"limit": str(MOST_OBJECTS), **({"labelSelector": selector} if selector else {})}
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
        try:
            found = await self._client.transport.call(Call("GET", path, asked, accept=accept))
        except ApiError as error:
            log.warning("objects of %s cannot be listed: %s", known.resource, error.message)
            raise InternalError("Internal error occurred: unable to list matching resources") from None
        return [text(part(item, "metadata"), "name") for item in found.get("items") or ()]

    async def _external(self, namespace: str, metric: str, query: Mapping[str, str]) -> Obj:
        """Raises ApiError."""
        requirements = _selector(query.get("labelSelector", ""), "labelSelector").requirements
        source = self._catalog.external.get(metric)
        if source is None:
            raise answers.no_metric(metric, "namespaces" if namespace == "default" else "")
        space = (source.namespace_label, namespace) if source.namespace_label else None
        try:
            asked = promql.of_external(source.rule, source.series, space, requirements)
        except NotSayable as error:
            raise BadRequest(f"labelSelector: {error}") from None
        samples = await self._ask(asked)
        return await _paced(len(samples), answers.external_list, metric, samples)

    async def _ask(self, query: str) -> list[Sample]:
        """Raises InternalError, which says no more: queries are the administrator's matter."""
        try:
            return await self._prometheus.query(query, self._clock.now().timestamp())
        except Unanswered as error:
            log.warning("Prometheus does not answer %s: %s", query[:500], error)
            raise InternalError("Internal error occurred: unable to fetch metrics") from None


async def _paced(number: int, work: Callable[P, Obj], *args: P.args, **kwargs: P.kwargs) -> Obj:
    """In a thread, if so many values take some milliseconds."""
    return await asyncio.to_thread(work, *args, **kwargs) if number > _MANY else work(*args, **kwargs)


def _by_name(samples: Sequence[Sample], source: Source, names: Sequence[str]) -> dict[str, Sample]:
    """Only of the objects that were asked for: a name in a regular expression may match others too."""
    wanted = set(names)
    found: dict[str, Sample] = {}
    for sample in samples:
        name = sample.labels.get(source.label, "")
        if name in wanted:
            found.setdefault(name, sample)
    return found


def _selector(said: str, parameter: str) -> labels.Selector:
    """Raises BadRequest."""
    try:
        return labels.parse(said)
    except labels.SelectorError as error:
        raise BadRequest(f"{parameter}: {error}") from None


def _written(selector: str) -> Obj | None:
    """The selector as an object; None: there is none."""
    found = labels.parse(selector)
    if not found.requirements:
        return None
    equal = {each.key: each.values[0] for each in found.requirements if each.operator in ("=", "==")}
    operators = {"in": "In", "notin": "NotIn", "!=": "NotIn", "exists": "Exists", "!": "DoesNotExist"}
    others = [
        {
            "key": each.key,
            "operator": operators[each.operator],
            **({"values": list(each.values)} if each.values else {}),
        }
        for each in found.requirements
        if each.operator in operators
    ]
    return {**({"matchLabels": equal} if equal else {}), **({"matchExpressions": others} if others else {})}


def _only_read(method: str) -> None:
    """Raises MethodNotAllowed."""
    if method not in ("GET", "HEAD"):
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
