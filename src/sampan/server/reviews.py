"""The review kinds: questions about identity and permission, answered and never stored.

The REST core calls ``Reviewer.review`` for a create of any kind whose verbs are create only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api import errors
from sampan.api.clock import Clock, format_time
from sampan.api.kind import Kind
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.server.attributes import AuthorizationAttributes, Authorizer
from sampan.server.authn.stage import AuthenticationStage
from sampan.server.authz.edge import EDGE_GROUP
from sampan.server.authz.node import is_node
from sampan.server.authz.rbac import RbacAuthorizer
from sampan.server.authz.stage import pinned_fields
from sampan.server.request import Request, UserInfo

_AUTHORIZATION_GROUP = "authorization.k8s.io"


class Reviewer:
    def __init__(
        self, authentication: AuthenticationStage, authorizer: Authorizer, rbac: RbacAuthorizer, clock: Clock
    ) -> None:
        self._authentication, self._authorizer = authentication, authorizer
        self._rbac, self._clock = rbac, clock

    async def review(self, kind: Kind, obj: Obj, request: Request) -> Obj:
        """The object with its status filled. Raises BadRequest, Invalid."""
        spec: Obj = obj.get("spec") or {}
        match kind.kind:
            case "TokenReview":
                status = await self._token(spec, obj)
            case "SelfSubjectReview":
                status = {"userInfo": user_wire(request.user)}
            case "SelfSubjectRulesReview":
                status = self._rules(spec, request.user)
                obj = spec = {}  # upstream answers with nothing of the question
            case "SubjectAccessReview" | "LocalSubjectAccessReview":
                status = await self._access(kind, spec, _subject(kind, spec), request.info.namespace)
            case "SelfSubjectAccessReview":
                status = await self._access(kind, spec, request.user, "")
            case _:
                raise errors.MethodNotAllowed(f"the server does not review {kind.kind}")
        metadata = {**(obj.get("metadata") or {})}
        if kind.kind == "SelfSubjectReview":
            metadata["creationTimestamp"] = format_time(self._clock.now())
        answer: Obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        if kind.kind != "SelfSubjectReview":
            answer["spec"] = spec
        return {**answer, "status": status}

    async def _token(self, spec: Obj, obj: Obj) -> Obj:
        token = spec.get("token")
        if not token:
            raise errors.BadRequest("token is required for TokenReview in authentication")
        found = await self._authentication.check_token(token, spec.get("audiences") or ())
        if found is None:
            return {"user": {}, "error": "invalid bearer token"}
        user, audiences = found
        return {"authenticated": True, "user": user_wire(user), "audiences": list(audiences)}

    async def _access(self, kind: Kind, spec: Obj, user: UserInfo, namespace: str) -> Obj:
        question = _question(kind, spec, user, namespace)
        decision = await self._authorizer.authorize(question)
        status: Obj = {"allowed": decision.allowed}
        if decision.denied:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        return status

    def _rules(self, spec: Obj, user: UserInfo) -> Obj:
        namespace = spec.get("namespace")
        if not namespace:
            raise errors.BadRequest("no namespace on request")
        partial: Obj = {"incomplete": False}
        if is_node(user) or EDGE_GROUP in user.groups:
            fault = f"{'node' if is_node(user) else 'edge'} authorizer does not support user rule resolution"
            partial = {"incomplete": True, "evaluationError": fault}
        resource_rules, path_rules = [], []
        for rule in self._rbac.rules_for(user, namespace):
            wire = rule.wire()
            if rule.resources:
                resource_rules.append({key: value for key, value in wire.items() if key != "nonResourceURLs"})
            if rule.paths:
                path_rules.append({"verbs": wire["verbs"], "nonResourceURLs": wire["nonResourceURLs"]})
        return {"resourceRules": resource_rules, "nonResourceRules": path_rules, **partial}


def user_wire(user: UserInfo) -> Obj:
    """authentication.k8s.io/v1 UserInfo."""
    wire: Obj = {"username": user.name}
    if user.uid:
        wire["uid"] = user.uid
    if user.groups:
        wire["groups"] = list(user.groups)
    if user.extra:
        wire["extra"] = {key: list(values) for key, values in user.extra.items()}
    return wire


def _subject(kind: Kind, spec: Obj) -> UserInfo:
    if not spec.get("user") and not spec.get("groups"):
        fault = errors.invalid("spec.user", "", "at least one of user or group must be specified")
        raise errors.invalid_object(kind.kind, "", [fault], _AUTHORIZATION_GROUP)
    extra: Mapping[str, Any] = spec.get("extra") or {}
    return UserInfo(
        spec.get("user", ""),
        tuple(spec.get("groups") or ()),
        spec.get("uid", ""),
        {key: tuple(values or ()) for key, values in extra.items()},
    )


def _question(kind: Kind, spec: Obj, user: UserInfo, namespace: str) -> AuthorizationAttributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        fault = errors.invalid("spec.resourceAttributes", None, text)
        raise errors.invalid_object(kind.kind, "", [fault], _AUTHORIZATION_GROUP)
    if path is not None:
        return AuthorizationAttributes(user, path.get("verb", ""), path=path.get("path", ""))
    assert resource is not None
    if namespace and resource.get("namespace", "") != namespace:
        text = f"spec.resourceAttributes.namespace must match namespace: {namespace}"
        raise errors.BadRequest(text)
    return AuthorizationAttributes(
        user,
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("version", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
        fields=_pinned(resource),
    )


def _pinned(resource: Obj) -> tuple[tuple[str, str], ...]:
    """The fields that the question's selector pins to one value."""
    selector = part(resource, "fieldSelector")
    if text(selector, "rawSelector"):
        return pinned_fields(text(selector, "rawSelector"))
    return tuple(
        (text(term, "key"), str(term["values"][0]))
        for term in parts(selector, "requirements")
        if term.get("operator") == "In" and len(term.get("values") or ()) == 1
    )
