"""What the cluster serves, by all names: labels of series name resources in the singular or the plural.

The groups of metrics are left out: asking for them would ask this server itself.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api.reading import part, parts, text
from sampan.api.transport import Call
from sampan.client.client import Client
from sampan.metricsadapter.catalog import Known, Resources
from sampan.metricsadapter.rules import GroupResource

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_METRICS: Final = ".metrics.k8s.io"


async def served(client: Client) -> Resources:
    """Raises ApiError."""
    found: list[Known] = []
    for path in ("/api", "/apis"):
        document = await client.transport.call(Call("GET", path, accept=_AGGREGATED))
        found += read(document)
    return Resources(found)


def read(document: Any) -> list[Known]:
    """Of an APIGroupDiscoveryList; each resource in its preferred version. Pure."""
    found: dict[GroupResource, Known] = {}
    for item in parts(document, "items"):
        group = text(part(item, "metadata"), "name")
        if group.endswith(_METRICS) or group == _METRICS[1:]:
            continue
        for served_version in parts(item, "versions"):
            for each in parts(served_version, "resources"):
                named = GroupResource(group, text(each, "resource"))
                kind = text(part(each, "responseKind"), "kind")
                version, scope = text(served_version, "version"), text(each, "scope")
                singular = text(each, "singularResource") or kind.lower()
                if named.resource and kind:
                    found.setdefault(named, Known(named, singular, kind, version, scope == "Namespaced"))
    return list(found.values())
