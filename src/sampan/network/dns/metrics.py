"""The DNS process in the text format of Prometheus, under CoreDNS' names where it has one for the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.network.dns.server import DnsServer

_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def render(server: DnsServer, sizes: Mapping[str, int], silent_seconds: float) -> str:
    """``silent_seconds``: since the API server was heard last; negative: never."""
    counts, upstream = server.counts, server.upstream
    lines = [
        *_metric(
            "coredns_dns_requests_total",
            "counter",
            "Requests by transport.",
            [('proto="udp"', counts.udp), ('proto="tcp"', counts.tcp)],
        ),
        *_metric(
            "coredns_dns_responses_total",
            "counter",
            "Answers by code.",
            [(f'rcode="{_RCODES.get(code, code)}"', count) for code, count in sorted(counts.rcodes.items())],
        ),
        *_metric(
            "coredns_forward_requests_total",
            "counter",
            "Questions sent to the node's name servers.",
            [("", upstream.asked)],
        ),
        *_metric(
            "coredns_cache_hits_total",
            "counter",
            "Questions answered with what a name server said before.",
            [(f'type="{kind}"', hits) for kind, hits in upstream.cache.hits.items()],
        ),
        *_metric(
            "sampan_dns_forward_failures_total",
            "counter",
            "Questions that no name server answered.",
            [("", upstream.failed)],
        ),
        *_metric(
            "sampan_dns_requests_ignored_total", "counter", "Packets that were no request.", [("", counts.ignored)]
        ),
        *_metric(
            "sampan_dns_requests_shed_total",
            "counter",
            "Requests refused because too many were waiting.",
            [("", counts.shed)],
        ),
        *_metric(
            "sampan_dns_connections_refused_total",
            "counter",
            "TCP connections refused because of their number.",
            [("", counts.connections_refused)],
        ),
        *_metric(
            "coredns_panics_total", "counter", "Requests that met a fault of the server's own.", [("", counts.faults)]
        ),
        *_metric(
            "sampan_dns_known",
            "gauge",
            "Objects whose names are known.",
            [(f'resource="{name}"', size) for name, size in sizes.items()],
        ),
        *_metric(
            "sampan_dns_api_silence_seconds",
            "gauge",
            "Time since the API server was heard; -1: never.",
            [("", round(silent_seconds, 3))],
        ),
    ]
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, description: str, values: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP {name} {description}", f"# TYPE {name} {kind}"]
    return head + [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values]
