"""Three large sets of CustomResourceDefinitions, in the structure of what operators ship: certificates with their
issuers (after cert-manager), gateways and routes in several versions (after the Gateway API), and monitoring with whole
pod templates (after the Prometheus operator). Dozens of versions, tens of thousands of lines, built here of ``parts``.

    for definition in sets.SETS["certificates"](): ...

Also examples of their objects. Each call builds anew: callers may change what they get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.customresources.sets.certificates import certificate, certificates
from tests.customresources.sets.gateways import GATEWAYS, gateways, http_route
from tests.customresources.sets.monitoring import monitoring, prometheus

SETS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {
    "certificates": certificates,
    "gateways": gateways,
    "monitoring": monitoring,
}
EXAMPLES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "certificate": certificate,
    "http route": http_route,
    "prometheus": prometheus,
}

__all__ = ["EXAMPLES", "GATEWAYS", "SETS", "certificate", "http_route", "prometheus"]
