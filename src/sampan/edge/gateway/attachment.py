"""Which listeners a route attaches to, and why not to others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sampan.api.reading import part, parts, text, texts, whole
from sampan.api.types import Obj
from sampan.edge.gateway.conditions import Condition
from sampan.edge.gateway.hostnames import Names, shared
from sampan.edge.gateway.listeners import Gateway, Listener
from sampan.edge.gateway.names import GROUP
from sampan.edge.gateway.observed import Key
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Attachment:
    """``bound``: listeners that took the route, each with the hosts by which it is reached there; (): ``refused``
    says why none did."""

    parent: Obj
    gateway: Gateway
    bound: tuple[tuple[Listener, tuple[str, ...]], ...]
    refused: Condition | None


class Attaching:
    """Routes are to be given by their age: of an HTTPRoute and a GRPCRoute with a host of one listener in common, the
    older one has it."""

    def __init__(self, gateways: Iterable[Gateway], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._gateways = {each.key: each for each in gateways}
        self._namespaces = namespaces
        #: (Gateway, listener, kind of route) → hosts that routes of it have there
        self._hosts: dict[tuple[Key, str, str], Names] = {}

    def attach(self, route: Obj, kind: str) -> Iterator[Attachment]:
        """One for each parent that is a Gateway of ours."""
        namespace = text(part(route, "metadata"), "namespace")
        for parent in parts(part(route, "spec"), "parentRefs"):
            if (text(parent, "group") or GROUP, text(parent, "kind") or "Gateway") != (GROUP, "Gateway"):
                continue
            gateway = self._gateways.get((text(parent, "namespace") or namespace, text(parent, "name")))
            if gateway is not None:
                yield self._attach(route, kind, namespace, parent, gateway)

    def _attach(self, route: Obj, kind: str, namespace: str, parent: Obj, gateway: Gateway) -> Attachment:
        def refused(reason: str, message: str) -> Attachment:
            return Attachment(parent, gateway, (), Condition("Accepted", False, reason, message))

        section, port = text(parent, "sectionName"), whole(parent, "port")
        fitting = [
            each
            for each in gateway.listeners
            if (not section or each.name == section) and (port is None or each.port == port)
        ]
        if not fitting:
            return refused("NoMatchingParent", "the Gateway has no listener of that name and port")
        found = self._namespaces.get(namespace, {})
        allowing = [each for each in fitting if kind in each.kinds and each.allows(namespace, found)]
        if not allowing:
            return refused("NotAllowedByListeners", f"no listener takes a {kind} of namespace {namespace}")
        wanted = tuple(texts(part(route, "spec"), "hostnames"))
        bound = [(each, hosts) for each in allowing if (hosts := shared(each.hostname, wanted))]
        if not bound:
            return refused("NoMatchingListenerHostname", "no listener has one of the route's hosts")
        kept = [(each, hosts) for each, hosts in bound if self._is_free(each, kind, hosts)]
        if not kept:
            return refused(
                "HostnameConflict", "an older route of the other kind, HTTPRoute or GRPCRoute, has its hosts"
            )
        for each, hosts in kept:
            names = self._hosts.setdefault((each.gateway, each.name, kind), Names())
            for host in hosts:
                names.add(host)
        return Attachment(parent, gateway, tuple(kept), None)

    def _is_free(self, listener: Listener, kind: str, hosts: Iterable[str]) -> bool:
        other = {"HTTPRoute": "GRPCRoute", "GRPCRoute": "HTTPRoute"}.get(kind)
        names = self._hosts.get((listener.gateway, listener.name, other)) if other else None
        return names is None or not any(map(names.meets, hosts))
