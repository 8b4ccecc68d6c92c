"""What the DNS server counts, in the words of CoreDNS' metrics. An answer costs it one or two microseconds."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import field

from sampan.network.dns.message import TYPE_NAMES
from sampan.records import dataclass

#: Upper bounds of the durations' buckets, in seconds, as CoreDNS has them: from a quarter of a millisecond, doubled.
BUCKETS = tuple(0.00025 * 2**step for step in range(16))
#: Of sizes in bytes, as CoreDNS has them.
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16000, 32000, 48000, 64000)


@dataclass(slots=True)
class Sizes:
    """``buckets``: how many fell into each, the last being beyond all of them."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SIZES) + 1))
    bytes: int = 0

    def add(self, size: int) -> None:
        self.buckets[bisect_left(SIZES, size)] += 1
        self.bytes += size


@dataclass(slots=True)
class Exchanges:
    """What one name server answered with one code: ``durations`` by bucket, and their sum."""

    durations: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.durations[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Counts:
    """``faults``: requests that met a fault of ours; ``shed``: refused since too many were waiting. ``requests`` by
    protocol, family and type; ``durations``: how many fell into each bucket, the last being beyond all of them."""

    ignored: int = 0
    shed: int = 0
    faults: int = 0
    connections_refused: int = 0
    requests: dict[tuple[str, str, str], int] = field(default_factory=dict)
    rcodes: dict[int, int] = field(default_factory=dict)
    durations: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    #: of requests and of answers, by protocol
    asked: dict[str, Sizes] = field(default_factory=lambda: {"tcp": Sizes(), "udp": Sizes()})
    told: dict[str, Sizes] = field(default_factory=lambda: {"tcp": Sizes(), "udp": Sizes()})

    @property
    def udp(self) -> int:
        return sum(count for (protocol, *_), count in self.requests.items() if protocol == "udp")

    @property
    def tcp(self) -> int:
        return sum(count for (protocol, *_), count in self.requests.items() if protocol == "tcp")

    def answered(self, protocol: str, client: str, kind: str, size: int, packet: bytes, seconds: float) -> None:
        """``size``: of the request; ``kind``: the type of the question: those that nobody names are 65,000, and
        they count as one."""
        key = protocol, "2" if ":" in client else "1", kind if kind in TYPE_NAMES else "other"
        self.requests[key] = self.requests.get(key, 0) + 1
        self.asked[protocol].add(size)
        self.told[protocol].add(len(packet))
        rcode = packet[3] & 0xF
        self.rcodes[rcode] = self.rcodes.get(rcode, 0) + 1
        self.durations[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
