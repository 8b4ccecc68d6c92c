"""Reads that are answered at once: no coroutine, no task, and nothing parsed twice.

Most requests of a cluster are the same few reads, asked with the same bytes again and again. What those bytes mean
(which object, in which form) is resolved once and kept with the transport's template of them; who asks and whether they
may is looked up every time. Anything out of the ordinary (an unknown token, a missing object, a rendered form) is left
to the pipeline, which answers it as it answers everything: this module may only ever give the same answer sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Protocol

from sampan.api.clock import Random, random_uuid
from sampan.api.errors import ApiError
from sampan.records import dataclass
from sampan.server import requestinfo
from sampan.server.attributes import AuthorizationAttributes, Authorizer
from sampan.server.authz.stage import attributes_of
from sampan.server.lists import ListMemo
from sampan.server.metrics import Labels, request_labels
from sampan.server.negotiation import negotiate
from sampan.server.options import parse_list_options
from sampan.server.render import LIST_FORMS, OBJECT_FORMS, has_protobuf, pretty
from sampan.server.request import Request, RequestInfo, Response, UserInfo
from sampan.server.results import Page
from sampan.server.selection import Selection
from sampan.server.surface import Surface, Surfaces
from sampan.server.target import Target

#: of query parameters, those that a plan understands
_GET_PARAMETERS = frozenset({"resourceVersion", "pretty"})
#: Nobody has said yet who they are whose bytes are planned for, and a parsed selector takes fifty times as much.
_PLANNED_SELECTORS = 256
_LIST_PARAMETERS = _GET_PARAMETERS | {"labelSelector", "fieldSelector", "limit", "resourceVersionMatch"}


def no_fault() -> str | None:
    return None


class Identify(Protocol):
    def identify_now(self, request: Request) -> UserInfo | None: ...


@dataclass(slots=True, eq=False)
class _Plan:
    """What the bytes of a head mean on one surface. ``target`` None: nothing that can be answered here."""

    #: which one; what is planned for an older one must not keep that alive
    serial: int
    info: RequestInfo
    labels: Labels
    target: Target | None = None
    key: str = ""
    #: of a list
    selection: Selection | None = None
    #: resourceVersion=0: what the cache shows will do
    any_version: bool = False
    #: the last question about it, and so who asked it
    asked: AuthorizationAttributes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsNow:
    surfaces: Surfaces
    authentication: Identify
    authorizer: Authorizer
    lists: ListMemo
    random: Random
    #: the header lines that every JSON answer to this user has
    head: Callable[[UserInfo], bytes]
    #: is told of every answered request: its metric labels, code and seconds
    observe: Callable[[Labels, int, float], None]
    #: group versions that other API servers answer for, whatever this one has
    others: Mapping[tuple[str, str], object]
    #: why this server is not to be believed; None: it is
    fault: Callable[[], str | None] = no_fault

    def answer(self, request: Request) -> Response | None:
        """None: the pipeline has to answer this one. Never raises ApiError."""
        template = request.template
        if template is None:
            return None
        started = perf_counter()
        surface = self.surfaces.current
        plan = template.plan
        if plan is None or plan.serial != surface.serial:
            plan = template.plan = _plan(request, surface)
        target = plan.target
        if (
            target is None
            or self.fault() is not None
            or (self.others and (plan.info.group, plan.info.version) in self.others)
        ):
            return None
        user = self.authentication.identify_now(request)
        if user is None or not self._allowed(request, plan, user):
            return None
        cache = target.storage.cache
        if not plan.any_version and not cache.is_current():
            return None
        if plan.selection is None:
            entry = cache.get(plan.key)
            if entry is None or entry.damaged:
                return None
            body = target.view.served(entry.value, entry.revision) + b"\n"
        else:
            listed = self._list(target, plan.selection)
            if listed is None:
                return None
            body = listed
        request.audit_id = request.headers.get("audit-id") or random_uuid(self.random)
        self.observe(plan.labels, 200, perf_counter() - started)
        return Response(200, body, head=self.head(user))

    def _allowed(self, request: Request, plan: _Plan, user: UserInfo) -> bool:
        asked = plan.asked
        if asked is None or asked.user is not user:
            request.user, request.info = user, plan.info
            asked = plan.asked = attributes_of(request)
        decision = self.authorizer.decide_now(asked)
        return decision is not None and decision.allowed

    def _list(self, target: Target, selection: Selection) -> bytes | None:
        """None where it takes longer than the loop may stand still, or an entry cannot be read."""
        cache = target.storage.cache
        version = cache.version(selection.prefix)
        page = Page(selection.entries, cache.revision, question=selection.kept_as, version=version)
        return self.lists.body_now(target.view, page)


def _plan(request: Request, surface: Surface) -> _Plan:
    try:
        info = requestinfo.parse(request, surface.kinds)
    except ApiError:
        info = RequestInfo(False, "", "")
        return _Plan(surface.serial, info, request_labels(info))
    plan = _Plan(surface.serial, info, request_labels(info))
    kind = info.kind
    if (
        kind is None
        or info.subresource
        or info.verb not in ("get", "list")
        or info.verb not in kind.verbs
        or "watch" not in kind.verbs
        or kind.deprecation_warning
        or request.method != "GET"
        or (info.verb == "get" and kind.namespaced and not info.namespace)
    ):
        return plan
    query = request.query
    parameters = _GET_PARAMETERS if info.verb == "get" else _LIST_PARAMETERS
    if query and not (parameters.issuperset(query) and query.get("resourceVersion", "") in ("", "0")):
        return plan
    plan.any_version = query.get("resourceVersion") == "0"
    if query.get("limit", "0") != "0" or query.get("resourceVersionMatch"):
        return plan
    try:
        forms = OBJECT_FORMS if info.verb == "get" else LIST_FORMS
        media = negotiate(request.headers.get("accept", ""), forms, protobuf=has_protobuf(kind))
        if media.form or media.format != "json" or pretty(request, media):
            return plan
        view = surface.view(kind)
        if not view.spliced:
            return plan
        target = Target(view, info.namespace if kind.namespaced else "", info.name)
        if info.verb == "list":
            options = parse_list_options(query, kind, watch=False)
            if options.selectors_length > _PLANNED_SELECTORS:
                return plan
            plan.selection = Selection(target, options)
        else:
            plan.key = target.key
        plan.target = target
    except ApiError:
        return _Plan(surface.serial, info, plan.labels)
    return plan
