"""The DNS process in the text format of Prometheus, under CoreDNS' names where it has one for the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

from sampan.network.dns.counts import BUCKETS, SIZES, Counts
from sampan.network.dns.forward import Upstream
from sampan.network.dns.options import NameServer
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
    yield from _histogram(name, "How long requests took.", BUCKETS, [(_WHERE, counts.durations, counts.seconds)])
    for what, sizes in (("request", counts.asked), ("response", counts.told)):
        yield from _histogram(
            f"coredns_dns_{what}_size_bytes",
            f"Size of a {what}.",
            SIZES,
            [(f'{_WHERE},proto="{protocol}"', each.buckets, each.bytes) for protocol, each in sizes.items()],
        )
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
    yield from _metric(
        "coredns_cache_entries",
        "gauge",
        "Answers that are kept.",
        [(f'{_CACHE},type="{kind}"', count) for kind, count in cache.kept.items()],
    )
    for name, kind, description, value in (
        (
            "coredns_cache_requests_total",
            "counter",
            "Questions for which the cache was looked at.",
            cache.misses + sum(cache.hits.values()),
        ),
        ("coredns_cache_misses_total", "counter", "Questions whose answer was not kept.", cache.misses),
        ("coredns_cache_served_stale_total", "counter", "Answers that had ended and were given.", cache.stale),
    ):
        yield from _metric(name, kind, description, [(_CACHE, value)])
    yield from _metric("sampan_dns_cache_bytes", "gauge", "What the kept answers take.", [("", cache.bytes)])
    yield from _metric(
        "coredns_forward_requests_total", "counter", "Questions sent to name servers.", [("", upstream.asked)]
    )
    yield from _metric(
        "coredns_proxy_healthcheck_failures_total",
        "counter",
        "Probes that a name server did not answer.",
        [(_to(server), count) for server, count in upstream.probes_failed.items()],
    )
    yield from _metric(
        "coredns_forward_healthcheck_broken_total",
        "counter",
        "Questions that came while no name server answered probes.",
        [("", upstream.broken)],
    )
    yield from _histogram(
        "coredns_proxy_request_duration_seconds",
        "How long a name server took.",
        BUCKETS,
        [
            (f'{_to(server)},rcode="{_RCODES.get(code, code)}"', each.durations, each.seconds)
            for (server, code), each in upstream.exchanges.items()
        ],
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


def _to(server: NameServer) -> str:
    return f'proxy_name="forward",to="{server}"'


def _histogram(
    name: str, description: str, bounds: Iterable[float], values: Iterable[tuple[str, Iterable[int], float]]
) -> Iterable[str]:
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} histogram"
    named = (*map(str, bounds), "+Inf")
    for labels, counts, total in values:
        count = 0
        for bound, count in zip(named, accumulate(counts), strict=True):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{name}_sum{{{labels}}} {round(total, 6)}"
        yield f"{name}_count{{{labels}}} {count}"


def _metric(name: str, kind: str, description: str, values: Iterable[tuple[str, float]]) -> list[str]:
    head = [f"# HELP {name} {description}", f"# TYPE {name} {kind}"]
    return head + [f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in values]
