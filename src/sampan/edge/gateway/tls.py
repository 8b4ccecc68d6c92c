"""TLSRoutes as the data plane has them: connections by server name, each to the one Service of its route. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.reading import part, parts, texts, whole
from sampan.api.types import Obj
from sampan.edge.gateway.backends import Fault, Resolver
from sampan.edge.gateway.translation import Translated, owner_of
from sampan.edge.model import TlsRoute, Weighted


def tls_routes(obj: Obj, resolver: Resolver) -> tuple[Translated, Sequence[TlsRoute]]:
    """One for each host of the route; a listener's hosts come later (``composing``). Faults are in the first value."""
    spec, owner = part(obj, "spec"), owner_of(obj, "TLSRoute")
    found = Translated()
    backends: list[Weighted] = []
    for number, rule in enumerate(parts(spec, "rules")):
        found.rules += 1
        if sum(whole(ref, "weight") != 0 for ref in parts(rule, "backendRefs")) > 1:
            found.dropped[number] = "connections that are not looked into go to one back end; weights are not supported"
        for ref in parts(rule, "backendRefs"):
            backend = resolver.resolve(ref, "TLSRoute", owner.namespace)
            if isinstance(backend, Fault):
                found.unresolved.append(backend)
            weight = whole(ref, "weight")
            backends.append(Weighted(None if isinstance(backend, Fault) else backend, 1 if weight is None else weight))
    name = f"tlsroute/{owner.namespace}/{owner.name}"
    hosts = dict.fromkeys(each.lower() for each in texts(spec, "hostnames")) or {"": None}
    return found, [TlsRoute(name, owner, host, tuple(backends)) for host in hosts]
