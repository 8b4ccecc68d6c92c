"""Files of a volume that would lie over each other: two keys at one path, or one inside the other.

Upstream: ``warningsForOverlappingVirtualPaths``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sampan.api.errors import quoted
from sampan.api.types import Obj

#: Pairs that are named of one volume, and steps of a path that are looked at: more would not fit into an answer.
_MOST: Final = 100
_DEEPEST: Final = 64


def warnings(volumes: Sequence[Obj]) -> list[str]:
    return [text for volume in volumes for text in _of_volume(volume)]


def _of_volume(volume: Obj) -> Iterator[str]:
    name = quoted(volume.get("name", ""))
    if (source := volume.get("configMap")) is not None and source.get("items"):
        yield from _overlaps(_paths(source, ""), name, f"ConfigMap {quoted(source.get('name', ''))}")
    if (source := volume.get("secret")) is not None and source.get("items"):
        yield from _overlaps(_paths(source, ""), name, f"Secret {quoted(source.get('secretName', ''))}")
    if (source := volume.get("downwardAPI")) is not None and source.get("items"):
        yield from _overlaps(_paths(source, ""), name, "DownwardAPI")
    if (source := volume.get("projected")) is not None:
        projections = source.get("sources") or ()
        yield from (f"volume {name} (Projected) has no sources provided" for each in projections if not each)
        yield from _overlaps((entry for each in projections for entry in _projected(each)), name, "Projected")


def _paths(source: Obj, shown: str) -> list[tuple[str, str]]:
    return [(item.get("path", ""), shown) for item in source.get("items") or ()]


def _projected(projection: Obj) -> list[tuple[str, str]]:
    """The paths of one source, each with what it comes from."""
    for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if (source := projection.get(key)) is not None and source.get("items"):
            return _paths(source, f" ({kind} {quoted(source.get('name', ''))})")
    if (source := projection.get("downwardAPI")) is not None and source.get("items"):
        return _paths(source, " (DownwardAPI)")
    if (source := projection.get("serviceAccountToken")) is not None:
        return [(source.get("path", ""), " (ServiceAccountToken)")]
    if (source := projection.get("clusterTrustBundle")) is not None:
        name = source.get("name") if source.get("name") is not None else source.get("signerName", "")
        return [(source.get("path", ""), f" (ClusterTrustBundle {quoted(name)})")]
    return []


def _overlaps(paths: Iterable[tuple[str, str]], volume: str, source: str) -> Iterator[str]:
    seen: list[str] = []
    at: dict[str, list[int]] = {}
    below: dict[str, list[int]] = {}
    named = 0
    for text, shown in paths:
        path = text.rstrip("/")
        if not path:
            continue
        above = _above(path)
        hits = [*below.get(path, ())[:_MOST]]
        for place in above:
            hits += at.get(place, ())[:_MOST]
        for hit in sorted(hits):
            named += 1
            if named > _MOST:
                return
            yield f"volume {volume} ({source}): overlapping paths: {quoted(path)}{shown} with {seen[hit]}"
        at.setdefault(path, []).append(len(seen))
        for place in (*above, path):
            below.setdefault(place, []).append(len(seen))
        seen.append(quoted(path) + shown)


def _above(path: str) -> list[str]:
    """The directories in which a path lies."""
    steps = path.split("/", _DEEPEST)
    return ["/".join(steps[:count]) for count in range(1, min(len(steps), _DEEPEST))]
