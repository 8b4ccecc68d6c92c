"""Requests that nobody allowed: which rule would."""

from __future__ import annotations

import re
import shlex
from typing import Final

from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from sampan.api.types import Obj
from sampan.why.access import Request, granting_roles, grants, groups_of
from sampan.why.model import Action, Cause, Fix, Ref
from sampan.why.rules.refusals import Refused, refusal
from sampan.why.table import Found
from sampan.why.world import World

_RBAC: Final = "rbac.authorization.k8s.io"
_NO_ROLE: Final = re.compile(r'(clusterrole|role)\.rbac\.authorization\.k8s\.io "([^"]+)" not found')
_NAME: Final = re.compile(r'(\S+) "([^"]+)" is forbidden')


def _subject(user: str) -> Obj:
    if user.startswith("system:serviceaccount:"):
        _, _, namespace, name = user.split(":", 3)
        return {"kind": "ServiceAccount", "namespace": namespace, "name": name}
    return {"kind": "User", "name": user, "apiGroup": _RBAC}


def _short(user: str, request: Request) -> str:
    """A name for the role and its binding."""
    words = f"{user.rpartition(':')[2]}-{request.verb}-{request.resource or request.path}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60]


def _role(request: Request, name: str) -> tuple[Ref, Obj]:
    rule: Obj = {"verbs": [request.verb]}
    if request.path:
        rule["nonResourceURLs"] = [request.path]
    else:
        rule |= {"apiGroups": [request.group], "resources": [request.resource]}
        if request.name:
            rule["resourceNames"] = [request.name]
    resource = ROLES if request.namespace else CLUSTER_ROLES
    where = {"namespace": request.namespace} if request.namespace else {}
    role = {"apiVersion": f"{_RBAC}/v1", "kind": resource.kind, "metadata": {"name": name, **where}, "rules": [rule]}
    return Ref(resource, name, request.namespace), role


def allow(user: str, request: Request, *, heard: bool = False) -> Fix:
    """A role with this one rule, and its binding: the smallest right that will do. ``heard``: an Event says so, and
    whoever wrote that may want the right for himself."""
    if heard:
        return Fix(
            f"see whether {user} is to {request}, and who may (`sampan who-can`); an Event says so, and others than "
            "the API server write Events"
        )
    name = _short(user, request)
    ref, role = _role(request, name)
    resource = ROLE_BINDINGS if request.namespace else CLUSTER_ROLE_BINDINGS
    where = {"namespace": request.namespace} if request.namespace else {}
    binding = {
        "apiVersion": f"{_RBAC}/v1", "kind": resource.kind, "metadata": {"name": name, **where},
        "roleRef": {"apiGroup": _RBAC, "kind": ref.resource.kind, "name": name}, "subjects": [_subject(user)],
    }  # fmt: skip
    return Fix(
        f"if {user} is to {request}: allow just that",
        (Action("create", ref, role), Action("create", Ref(resource, name, request.namespace), binding)),
        f"it gives {user} a right" + ("" if request.namespace else " in the whole cluster"),
    )


@refusal(
    "forbidden",
    r'[Uu]ser "([^"]+)" cannot (\S+) (?:resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?'
    r'|path "([^"]+)")',
    "RBAC rules",
)
def forbidden(world: World, refused: Refused, found: re.Match[str]) -> Found:
    user = found[1]
    named = _NAME.search(refused.message)
    name = named[2] if named is not None and found[2] not in ("create", "list", "watch", "deletecollection") else ""
    request = Request(found[2], found[3] or "", found[4] or "", name, found[5] or "", found[6] or "")
    may = grants(world, request)
    groups = groups_of(user)
    for grant in may:
        plain = (
            f"system:serviceaccount:{grant.name.replace('/', ':')}" if grant.kind == "ServiceAccount" else grant.name
        )
        if (grant.kind == "Group" and plain in groups) or (grant.kind != "Group" and plain == user):
            yield Cause(
                f"User {user} may {request} by now: {grant.binding} allows it.",
                (f"{grant.binding} gives {grant.role}",),
                Fix("try again"),
                "likely",
                rank=0,
            )
            return
    roles = granting_roles(world, request)
    whom = ", ".join(dict.fromkeys(f"{grant.kind} {grant.name}" for grant in may[:5])) or "nobody but system:masters"
    asked = shlex.join(["sampan", "who-can", request.verb, request.resource or request.path])
    evidence = [f"it is allowed to {whom} (`{asked}`)"]
    if roles:
        evidence.append(f"roles that would allow it: {', '.join(map(str, roles[:4]))}")
    for kind, missing in _NO_ROLE.findall(refused.message):
        evidence.insert(0, f"a binding of theirs names the {kind} {missing}, which does not exist")
    yield Cause(
        f"User {user} may not {request}: no rule of a role that is bound to them allows it.",
        tuple(evidence),
        allow(user, request, heard=refused.heard),
        rank=0,
    )
