"""Which Secrets and ConfigMaps what serves Ingresses and Gateways may read: those that one of these refers to.

Kept in step by the caches' changes, at the cost of the references of the one object that changed. Only names are kept.
An API server tells the edge of a change after it has told this graph, so that whoever follows a reference that was just
made is not refused. Kinds of the Gateway API are custom resources: whether their definitions came, went or changed is
looked at with each question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sampan.api.reading import part, parts, text, text_map
from sampan.api.resources import INGRESSES, Resource
from sampan.api.transport import EventType
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
GATEWAYS: Final = Resource(GATEWAY_GROUP, "v1", "gateways", "Gateway", True)
POLICIES: Final = Resource(GATEWAY_GROUP, "v1", "backendtlspolicies", "BackendTLSPolicy", True)
GRANTS: Final = Resource(GATEWAY_GROUP, "v1beta1", "referencegrants", "ReferenceGrant", True)

_ANNOTATIONS: Final = "nginx.ingress.kubernetes.io/"
#: annotations whose Secret the edge reads
_SECRETS_OF_INGRESSES: Final = ("auth-secret", "proxy-ssl-secret")
_PLURALS: Final = {"Secret": "secrets", "ConfigMap": "configmaps"}

_Key = tuple[str, str]  # (namespace, name)
_Target = tuple[str, str, str]  # (resource, namespace, name)


class EdgeGraph:
    """``served``: what serves a resource now, None: nothing; another value once it is served anew."""

    def __init__(self, reader: ObjectReader, served: Callable[[Resource], object | None]) -> None:
        self._ingresses = _References(_of_ingress)
        self._gateways = _References(_of_gateway)
        self._policies = _References(_of_policy)
        self._grants = _Grants()
        self._followed = [
            _Followed(reader, served, resource, holder)
            for resource, holder in (
                (INGRESSES, self._ingresses),
                (GATEWAYS, self._gateways),
                (POLICIES, self._policies),
                (GRANTS, self._grants),
            )
        ]

    def start(self) -> None:
        """Idempotent. Must be called once the reader serves Ingresses."""
        for each in self._followed:
            each.look()

    def stop(self) -> None:
        for each in self._followed:
            each.end()

    def refers(self, resource: str, namespace: str, name: str) -> bool:
        """Whether anything that is served may refer to the object."""
        for each in self._followed:
            each.look()
        target = (resource, namespace, name)
        if any(namespace in each.users(target) for each in (self._ingresses, self._policies, self._gateways)):
            return True
        users = self._gateways.users(target)
        return bool(users) and self._grants.allow(users, target)


class _Followed:
    """One resource, from whatever serves it at the time."""

    def __init__(
        self,
        reader: ObjectReader,
        served: Callable[[Resource], object | None],
        resource: Resource,
        holder: _References | _Grants,
    ) -> None:
        self._reader, self._served = reader, served
        self._resource, self._holder = resource, holder
        self._source: object | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def look(self) -> None:
        source = self._served(self._resource)
        if source is self._source:
            return
        self.end()
        if source is None:
            return
        self._source = source
        self._unsubscribe = self._reader.subscribe(self._resource, self._changed, keep=False)
        for obj in self._reader.list(self._resource):
            self._changed("ADDED", obj, None, 0)

    def end(self) -> None:
        self._source = None
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._holder.clear()

    def _changed(self, event: EventType, obj: Obj, _previous: Obj | None, _revision: int) -> None:
        meta = part(obj, "metadata")
        key = text(meta, "namespace"), text(meta, "name")
        self._holder.put(key, None if event == "DELETED" else obj)


class _References:
    """What objects of one kind refer to. Invariant: ``_users`` is the inverse of ``_of``, by namespace."""

    def __init__(self, read: Callable[[Obj, str], Iterator[_Target]]) -> None:
        self._read = read
        self._of: dict[_Key, tuple[_Target, ...]] = {}
        #: → namespaces of those that refer to it, and how many in each
        self._users: dict[_Target, dict[str, int]] = {}

    def users(self, target: _Target) -> dict[str, int]:
        return self._users.get(target, {})

    def clear(self) -> None:
        self._of.clear()
        self._users.clear()

    def put(self, key: _Key, obj: Obj | None) -> None:
        namespace = key[0]
        targets = () if obj is None else tuple(dict.fromkeys(self._read(obj, namespace)))
        before = self._of.pop(key, ())
        if targets:
            self._of[key] = targets
        if targets == before:
            return
        for target in targets:
            users = self._users.setdefault(target, {})
            users[namespace] = users.get(namespace, 0) + 1
        for target in before:
            users = self._users[target]
            users[namespace] -= 1
            if not users[namespace]:
                del users[namespace]
                if not users:
                    del self._users[target]


class _Grants:
    """ReferenceGrants of what Gateways may refer to in other namespaces."""

    def __init__(self) -> None:
        #: namespace → name → (namespaces of Gateways, (resource, name; "": all))
        self._of: dict[str, dict[str, tuple[frozenset[str], frozenset[_Key]]]] = {}

    def clear(self) -> None:
        self._of.clear()

    def put(self, key: _Key, obj: Obj | None) -> None:
        namespace, name = key
        spec = part(obj, "spec")
        froms = frozenset(
            text(each, "namespace")
            for each in parts(spec, "from")
            if (text(each, "group"), text(each, "kind")) == (GATEWAY_GROUP, "Gateway")
        )
        targets = frozenset(
            (_PLURALS[text(each, "kind")], text(each, "name"))
            for each in parts(spec, "to")
            if not text(each, "group") and text(each, "kind") in _PLURALS
        )
        if froms and targets:
            self._of.setdefault(namespace, {})[name] = froms, targets
            return
        held = self._of.get(namespace, {})
        held.pop(name, None)
        if not held:
            self._of.pop(namespace, None)

    def allow(self, users: dict[str, int], target: _Target) -> bool:
        """Whether Gateways of one of these namespaces may refer to it."""
        resource, namespace, name = target
        for froms, targets in self._of.get(namespace, {}).values():
            if ((resource, "") in targets or (resource, name) in targets) and any(each in users for each in froms):
                return True
        return False


def _of_ingress(ingress: Obj, namespace: str) -> Iterator[_Target]:
    """An Ingress reaches no other namespace than its own; as ``sampan.edge.ingress.reading`` has it."""
    for tls in parts(part(ingress, "spec"), "tls"):
        if name := text(tls, "secretName"):
            yield "secrets", namespace, name
    annotations = text_map(part(ingress, "metadata"), "annotations")
    for key in _SECRETS_OF_INGRESSES:
        where, separator, name = annotations.get(_ANNOTATIONS + key, "").strip().rpartition("/")
        if name and (not separator or where == namespace):
            yield "secrets", namespace, name


def _of_gateway(gateway: Obj, namespace: str) -> Iterator[_Target]:
    spec = part(gateway, "spec")
    for listener in parts(spec, "listeners"):
        for each in parts(part(listener, "tls"), "certificateRefs"):
            yield from _target(each, "Secret", namespace)
    frontend = part(part(spec, "tls"), "frontend")
    for config in (part(frontend, "default"), *(part(each, "tls") for each in parts(frontend, "perPort"))):
        for each in parts(part(config, "validation"), "caCertificateRefs"):
            yield from _target(each, "ConfigMap", namespace)


def _target(reference: Obj, kind: str, namespace: str) -> Iterator[_Target]:
    """Nothing for a reference to another kind than this."""
    name = text(reference, "name")
    if name and not text(reference, "group") and text(reference, "kind") in ("", kind):
        yield _PLURALS[kind], text(reference, "namespace") or namespace, name


def _of_policy(policy: Obj, namespace: str) -> Iterator[_Target]:
    for each in parts(part(part(policy, "spec"), "validation"), "caCertificateRefs"):
        name = text(each, "name")
        if name and (text(each, "group"), text(each, "kind")) == ("", "ConfigMap"):
            yield "configmaps", namespace, name
