"""A cluster as somebody wrote it down: files of objects, whatever made them. No network.

`kubectl get ... -o yaml` or `-o json`, `kubectl cluster-info dump --output-directory`, a folder of manifests. What is
of a kind that the dump does not hold at all was not written down, which is another thing than that there is none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from sampan.api import labels as selectors
from sampan.api.objects import get_path
from sampan.api.reading import moment, part, text, text_map
from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.why.world import Answer, Query

MOST_BYTES: Final = 512 * 1024 * 1024
_SUFFIXES: Final = (".yaml", ".yml", ".json")


class Unreadable(Exception):
    """A dump that cannot be read; the message says why."""


class Dump:
    """``taken_at``: the last moment that an object tells of."""

    def __init__(self, objects: Iterable[Obj]) -> None:
        self._by_kind: dict[tuple[str, str], list[Obj]] = {}
        self.taken_at: datetime | None = None
        for obj in objects:
            group = text(obj, "apiVersion").rpartition("/")[0]
            self._by_kind.setdefault((group, text(obj, "kind")), []).append(obj)
            for at in _moments(obj):
                if self.taken_at is None or at > self.taken_at:
                    self.taken_at = at

    def kind_named(self, word: str) -> Resource | None:
        """Of a kind that no rule knows."""
        for (group, kind), objects in self._by_kind.items():
            if word.lower() in (kind.lower(), f"{kind.lower()}s"):
                version = text(objects[0], "apiVersion").rpartition("/")[2]
                namespaced = bool(text(part(objects[0], "metadata"), "namespace"))
                return Resource(group, version, f"{kind.lower()}s", kind, namespaced)
        return None

    async def ask(self, query: Query) -> Answer:
        if query.subresource:
            return Answer()
        listed = self._by_kind.get((query.resource.group, query.resource.kind))
        if listed is None:
            return Answer(fault="the dump has no objects of this kind")
        return Answer(tuple(obj for obj in listed if _matches(query, obj)))


def _moments(obj: Obj) -> Iterator[datetime]:
    for holder, key in ((part(obj, "metadata"), "creationTimestamp"), (obj, "lastTimestamp"), (obj, "eventTime")):
        found = moment(holder, key)
        if found is not None:
            yield found


def _matches(query: Query, obj: Obj) -> bool:
    meta = part(obj, "metadata")
    if query.name and text(meta, "name") != query.name:
        return False
    if query.namespace and text(meta, "namespace") != query.namespace:
        return False
    if query.labels and not selectors.parse(query.labels).matches(text_map(meta, "labels")):
        return False
    for each in query.fields.split(",") if query.fields else ():
        path, _, value = each.partition("=")
        if (get_path(obj, *path.split("."), default="") or "") != value:
            return False
    return True


def read(place: str, stdin: IO[bytes]) -> Dump:
    """``-`` is ``stdin``. Raises Unreadable."""
    if place == "-":
        return Dump(_objects(stdin.read(MOST_BYTES + 1), "standard input"))
    path = Path(place)
    if not path.exists():
        raise Unreadable(f"{place} does not exist")
    # Of a folder plain files alone: a pipe in it would be waited for. Named by itself it is read (``-f <(kubectl)``).
    inside = (each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    files = sorted(inside) if path.is_dir() else [path]
    if not files:
        raise Unreadable(f"{place} holds no YAML or JSON files")
    return Dump(_of_files(files))


def _of_files(files: Iterable[Path]) -> Iterator[Obj]:
    left = MOST_BYTES
    for file in files:
        try:
            with file.open("rb") as opened:
                data = opened.read(left + 1)
        except OSError as error:
            raise Unreadable(f"{file} cannot be read: {error.strerror}") from None
        if len(data) > left:
            raise Unreadable(f"{file}: with it the dump is longer than {MOST_BYTES // 2**20} MiB")
        left -= len(data)
        yield from _objects(data, str(file))


def _objects(data: bytes, source: str) -> Iterator[Obj]:
    if len(data) > MOST_BYTES:
        raise Unreadable(f"{source} is longer than {MOST_BYTES // 2**20} MiB")
    for value in _values(data, source):
        if not isinstance(value, dict):
            continue
        items = value.get("items")
        if isinstance(items, list):
            kind = text(value, "kind").removesuffix("List")
            for item in items:
                if isinstance(item, dict):
                    own = {"apiVersion": text(value, "apiVersion"), "kind": kind} if kind else {}
                    yield {**own, **item}
        elif text(value, "kind"):
            yield value


def _values(data: bytes, source: str) -> Iterator[object]:
    if data.lstrip()[:1] in (b"{", b"["):
        import orjson

        try:
            yield orjson.loads(data)
            return
        except orjson.JSONDecodeError:
            pass  # several documents one after the other: YAML reads those with separators
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.load_all(_decoded(data), Loader=_untimed(loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # numbers that are none, braces without end
        where = str(error).splitlines()[0] if str(error) else ""
        raise Unreadable(f"{source} cannot be read: {where}") from None


def _decoded(data: bytes) -> str:
    return data.decode("utf-8-sig")


def _untimed(loader: type) -> type:
    """Times stay the text that they are in the API."""
    without = {
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in loader.yaml_implicit_resolvers.items()  # type: ignore[attr-defined]  # of PyYAML's loaders
    }
    return type("UntimedLoader", (loader,), {"yaml_implicit_resolvers": without})
