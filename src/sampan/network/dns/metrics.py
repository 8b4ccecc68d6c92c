"""The DNS process in the text format of Prometheus, under CoreDNS' names where it has one for the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

from sampan.network.dns.counts import BUCKETS, Counts
from sampan.network.dns.forward import Upstream
from sampan.network.dns.server import DnsServer

_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
#: CoreDNS has a server block and a zone; here it is always the one for everything.
_WHERE = 'server="dns://:53",zone=".",view=""'
_CACHE = 'server="dns://:53",zones=".",view=""'


def render(server: DnsServer, sizes: Mapping[str, int], silent_seconds: float) -> str:
    """``silent_seconds``: since the API server was heard last; negative: never."""
    lines = [*_requests(server.counts), *_upstream(server.upstream), *_state(server, sizes, silent_seconds)]
    return "\n".join(lines) + "\n"


def _requests(counts: Counts) -> Iterable[str]:
    yield from _metric(
        "coredns_dns_requests_total",
        "counter",
        "Requests by protocol, family (1: IPv4, 2: IPv6) and type.",
        [
            (f'{_WHERE},proto="{protocol}",family="{family}",type="{kind}"', count)
            for (protocol, family, kind), count in sorted(counts.requests.items())
        ],
    )
    yield from _metric(
        "coredns_dns_responses_total",
        "counter",
        "Answers by code.",
        [(f'{_WHERE},rcode="{_RCODES.get(code, code)}"', count) for code, count in sorted(counts.rcodes.items())],
    )
    name = "coredns_dns_request_duration_seconds"
    yield f"# HELP {name} How long requests took."
    yield f"# TYPE {name} histogram"
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), accumulate(counts.durations), strict=True):
        yield f'{name}_bucket{{{_WHERE},le="{bound}"}} {count}'
    yield f"{name}_sum{{{_WHERE}}} {counts.seconds:.6f}"
    yield f"{name}_count{{{_WHERE}}} {sum(counts.durations)}"
    yield from _metric(
        "coredns_panics_total", "counter", "Requests that met a fault of the server's own.", [("", counts.faults)]
    )


def _upstream(upstream: Upstream) -> Iterable[str]:
    cache = upstream.cache
    yield from _metric(
        "coredns_cache_hits_total",
        "counter",
        "Questions answered with what a name server said before.",
        [(f'{_CACHE},type="{kind}"', hits) for kind, hits in cache.hits.items()],
    )
    for name, kind, description, value in (
        ("coredns_cache_misses_total", "counter", "Questions whose answer was not kept.", cache.misses),
        ("coredns_cache_served_stale_total", "counter", "Answers that had ended and were given.", cache.stale),
    ):
        yield from _metric(name, kind, description, [(_CACHE, value)])
    yield from _metric("sampan_dns_cache_entries", "gauge", "Answers that are kept.", [("", len(cache))])
    yield from _metric("sampan_dns_cache_bytes", "gauge", "What they take.", [("", cache.bytes)])
    yield from _metric(
        "coredns_forward_requests_total", "counter", "Questions sent to name servers.", [("", upstream.asked)]
    )
    yield from _metric(
        "coredns_forward_healthcheck_failures_total",
        "counter",
        "Probes that a name server did not answer.",
        [("", upstream.probes_failed)],
    )
    yield from _metric(
        "sampan_dns_forward_failures_total",
        "counter",
        "Questions that no name server answered.",
        [("", upstream.failed)],
    )
    yield from _metric(
        "sampan_dns_forward_loops", "gauge", "Name servers that send our questions back.", [("", len(upstream.looping))]
    )


def _state(server: DnsServer, sizes: Mapping[str, int], silent_seconds: float) -> Iterable[str]:
    counts = server.counts
    for name, description, value in (
        ("sampan_dns_requests_ignored_total", "Packets that were no request.", counts.ignored),
        ("sampan_dns_requests_shed_total", "Requests refused because too many were waiting.", counts.shed),
        (
            "sampan_dns_connections_refused_total",
            "TCP connections refused because of their number.",
            counts.connections_refused,
        ),
    ):
        yield from _metric(name, "counter", description, [("", value)])
    yield from _metric(
        "sampan_dns_known",
        "gauge",
        "Objects whose names are known.",
        [(f'resource="{name}"', size) for name, size in sizes.items()],
    )
    yield from _metric(
        "sampan_dns_api_silence_seconds",
        "gauge",
        "Time since the API server was heard; -1: never.",
        [("", round(silent_seconds, 3))],
    )


def _metric(name: str, kind: str, description: str, values: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP {name} {description}", f"# TYPE {name} {kind}"]
    return head + [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values]
