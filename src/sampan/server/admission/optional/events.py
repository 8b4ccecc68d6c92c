"""EventRateLimit: a component that talks too much does not fill the store with its events."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from sampan.api.errors import TooManyRequests
from sampan.api.reading import part, text
from sampan.records import dataclass
from sampan.server.admission.base import Plugin
from sampan.server.admission.fields import Fields
from sampan.server.attributes import AdmissionAttributes

API_GROUP: Final = "eventratelimit.admission.k8s.io"
_CACHE_SIZE = 4096
#: nobody needs more, and each key costs some bytes
_MOST_KEYS = 65_536


def _of_source_and_object(attributes: AdmissionAttributes) -> str:
    event = attributes.obj or {}
    source, about = part(event, "source"), part(event, "involvedObject")
    named = [text(source, key) for key in ("component", "host")]
    named += [text(about, key) for key in ("kind", "namespace", "name", "uid", "apiVersion")]
    return "".join(named)


_KEYS: Final[dict[str, Callable[[AdmissionAttributes], str]]] = {
    "Server": lambda attributes: "",
    "Namespace": lambda attributes: attributes.namespace,
    "User": lambda attributes: attributes.user.name,
    "SourceAndObject": _of_source_and_object,
}


@dataclass(frozen=True, slots=True)
class Limit:
    type: str
    qps: int
    burst: int
    cache_size: int = _CACHE_SIZE


def read(config: Fields) -> tuple[Limit, ...]:
    """Raises ConfigurationError."""
    config.expect_type(API_GROUP, ("v1alpha1",), "Configuration")
    limits = tuple(_limit(fields) for fields in config.each("limits"))
    if not limits:
        raise config.fault("limits", "Invalid value: must not be empty")
    config.finish()
    return limits


def _limit(fields: Fields) -> Limit:
    kind = fields.text("type")
    if kind not in _KEYS:
        listed = ", ".join(f'"{name}"' for name in sorted(_KEYS))
        raise fields.fault("type", f'Unsupported value: "{kind}": supported values: {listed}')
    numbers = {key: fields.whole(key) for key in ("burst", "qps")}
    for key, number in numbers.items():
        if number <= 0:
            raise fields.fault(key, f"Invalid value: {number}: must be positive")
    size = fields.whole("cacheSize") or _CACHE_SIZE
    if not 0 < size <= _MOST_KEYS:
        raise fields.fault("cacheSize", f"Invalid value: {size}: must be from 1 to {_MOST_KEYS}")
    fields.finish()
    return Limit(kind, numbers["qps"], numbers["burst"], size)


class Buckets:
    """A token bucket for each key; the one that was used least recently makes room."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        #: tokens that were left, and when
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> bool:
        """``now`` in seconds of any clock that does not go back."""
        tokens, since = self._left.pop(key, (float(self.limit.burst), now))
        tokens = min(float(self.limit.burst), tokens + (now - since) * self.limit.qps)
        allowed = tokens >= 1
        self._left[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._left) > self.limit.cache_size:
            self._left.popitem(last=False)
        return allowed


class EventRateLimit(Plugin):
    name = "EventRateLimit"
    resources = frozenset({("", "events"), ("events.k8s.io", "events")})

    def __init__(self, limits: tuple[Limit, ...] = ()) -> None:
        self._buckets = [Buckets(limit) for limit in limits]

    async def validate(self, attributes: AdmissionAttributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE") or attributes.dry_run:
            return
        now = asyncio.get_running_loop().time()
        over = []
        for buckets in self._buckets:
            key = _KEYS[buckets.limit.type](attributes)
            if not buckets.take(key, now):
                over.append(f"limit reached on type {buckets.limit.type} for key {key}")
        if over:
            raise TooManyRequests(over[0] if len(over) == 1 else f"[{', '.join(over)}]")
