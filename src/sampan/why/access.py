"""Who may do what, by RBAC: every subject that a rule grants it to, and by which binding. Pure.

Not asked: authorizers other than RBAC. The two that every cluster has are told beside it: the group system:masters, to
whom nothing is forbidden, and nodes, which may read what the pods on them need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sampan.api.reading import part, parts, text, texts
from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.model import Ref, ref_of
from sampan.why.world import Query, World

#: what nodes may read of the pods bound to them (the node authorizer)
_OF_NODES: Final = ("secrets", "configmaps", "persistentvolumeclaims", "persistentvolumes", "resourceclaims")

#: what kubectl knows of resources: what requests for them can be, and what only roles name (`escalate` and the like)
VERBS: Final = (
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "escalate",
    "bind", "approve", "sign", "attest", "use", "proxy", "*",
)  # fmt: skip
#: of requests for paths
PATH_VERBS: Final = ("get", "head", "post", "put", "patch", "delete", "options", "*")


@dataclass(frozen=True, slots=True)
class Request:
    """``path``: of a request that is of no resource. ``resource`` may have a subresource: ``pods/log``."""

    verb: str
    resource: str = ""
    group: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        name = f" {self.name}" if self.name else ""
        group = f".{self.group}" if self.group else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{group}{name}{where}"


@dataclass(frozen=True, slots=True)
class Grant:
    """``kind``: User, Group or ServiceAccount, and for the latter ``name`` is NAMESPACE/NAME."""

    kind: str
    name: str
    binding: Ref | None
    role: Ref | None
    because: str = ""


def allows(rule: Obj, request: Request) -> bool:
    if not _in(rule, "verbs", request.verb):
        return False
    if request.path:
        return any(
            each == "*" or each == request.path or (each.endswith("*") and request.path.startswith(each[:-1]))
            for each in texts(rule, "nonResourceURLs")
        )
    base, _, sub = request.resource.partition("/")
    wanted = {request.resource, "*", *((f"*/{sub}",) if sub else ())}
    if not wanted & set(texts(rule, "resources")) or not _in(rule, "apiGroups", request.group):
        return False
    names = list(texts(rule, "resourceNames"))
    return bool(base) and (not names or request.name in names)


def _in(rule: Obj, key: str, value: str) -> bool:
    listed = list(texts(rule, key))
    return "*" in listed or value in listed


def grants(world: World, request: Request) -> list[Grant]:
    """Bindings of the whole cluster first. Raises Wanted."""
    namespaced = request.namespace and not request.path
    queries = [Query(CLUSTER_ROLES), Query(CLUSTER_ROLE_BINDINGS)]
    if namespaced:
        queries += [Query(ROLES, "", request.namespace), Query(ROLE_BINDINGS, "", request.namespace)]
    world.want(*queries)
    cluster = {text(part(each, "metadata"), "name"): each for each in world.all(CLUSTER_ROLES)}
    found = list(_bound(world.all(CLUSTER_ROLE_BINDINGS), CLUSTER_ROLE_BINDINGS, cluster, {}, request))
    if namespaced:
        own = {text(part(each, "metadata"), "name"): each for each in world.all(ROLES, request.namespace)}
        bindings = world.all(ROLE_BINDINGS, request.namespace)
        found += _bound(bindings, ROLE_BINDINGS, cluster, own, request)
    return found


def _bound(
    bindings: Sequence[Obj], resource: object, cluster: dict[str, Obj], own: dict[str, Obj], request: Request
) -> Iterator[Grant]:
    of = ROLE_BINDINGS if resource == ROLE_BINDINGS else CLUSTER_ROLE_BINDINGS
    for binding in bindings:
        role_ref = part(binding, "roleRef")
        roles, kind = (cluster, CLUSTER_ROLES) if text(role_ref, "kind") == "ClusterRole" else (own, ROLES)
        role = roles.get(text(role_ref, "name"))
        if role is None or not any(allows(rule, request) for rule in parts(role, "rules")):
            continue
        for subject in parts(binding, "subjects"):
            name = text(subject, "name")
            if text(subject, "kind") == "ServiceAccount":
                name = f"{text(subject, 'namespace')}/{name}"
            yield Grant(text(subject, "kind"), name, ref_of(of, binding), ref_of(kind, role))


def always(request: Request) -> Iterator[Grant]:
    """Whom no rule of RBAC has to allow it."""
    yield Grant("Group", "system:masters", None, None, "nothing is forbidden to this group")
    if request.verb in ("get", "list", "watch") and request.resource in _OF_NODES:
        yield Grant("Group", "system:nodes", None, None, "each node, of what its pods refer to")


def granting_roles(world: World, request: Request) -> list[Ref]:
    """Roles that would allow it, those with the fewest rules first."""
    found = [(CLUSTER_ROLES, each) for each in world.all(CLUSTER_ROLES)]
    if request.namespace:
        found += [(ROLES, each) for each in world.all(ROLES, request.namespace)]
    fitting = [
        (len(parts(role, "rules")), resource, role)
        for resource, role in found
        if any(allows(rule, request) for rule in parts(role, "rules"))
    ]
    return [ref_of(resource, role) for _, resource, role in sorted(fitting, key=lambda each: each[0])]


def groups_of(user: str) -> set[str]:
    """What groups a name alone says."""
    found = {"system:authenticated"}
    if user.startswith("system:serviceaccount:"):
        namespace = user.split(":")[2]
        found |= {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    if user.startswith("system:node:"):
        found.add("system:nodes")
    return found
