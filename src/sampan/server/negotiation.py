"""Content negotiation: which form of an answer a client accepts (apiserver ``negotiation`` package).

Pure, and cached by header value: a client sends the same Accept header with every request.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from sampan.api import errors
from sampan.records import dataclass

Form = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]
Format = Literal["json", "yaml", "protobuf"]

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_FORMATS: Final[dict[str, Format]] = {
    "application/json": "json",
    "application/yaml": "yaml",
    PROTOBUF: "protobuf",
}
_CONTENT_TYPES: Final[dict[Format, str]] = {each: media_type for media_type, each in _FORMATS.items()}
ACCEPTED: Final = ", ".join(_FORMATS)
#: the formats in which one event follows another
_STREAMED: Final = ("json", "protobuf")
ACCEPTED_STREAMS: Final = ", ".join(f"{_CONTENT_TYPES[each]};stream=watch" for each in _STREAMED)
#: of an Accept header no more is read, nor remembered: anybody may send one, known to us or not
_READ_CHARACTERS: Final = 2048
_READ_CLAUSES: Final = 64


@dataclass(frozen=True, slots=True)
class Media:
    """The chosen form. ``form`` "" is the object itself."""

    format: Format = "json"
    form: Form = ""
    pretty: bool = False
    version: str = "v1"

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self.format]


@dataclass(frozen=True, slots=True)
class Clause:
    """One item of an Accept header."""

    media_type: str
    params: tuple[tuple[str, str], ...]
    quality: float


def not_acceptable(accepted: str = ACCEPTED) -> errors.NotAcceptable:
    return errors.NotAcceptable(f"only the following media types are accepted: {accepted}")


def parse_accept(header: str) -> tuple[Clause, ...]:
    """The clauses of an Accept header, most wanted first: by quality, then by how specific they are. What is beyond
    some thousand characters is not looked at."""
    return _clauses(header[:_READ_CHARACTERS])


@lru_cache(maxsize=256)
def _clauses(header: str) -> tuple[Clause, ...]:
    clauses: list[Clause] = []
    for item in header.split(",", _READ_CLAUSES)[:_READ_CLAUSES]:
        media_type, *rest = (part.strip() for part in item.split(";"))
        if not media_type:
            continue
        quality = 1.0
        params: list[tuple[str, str]] = []
        for param in rest:
            key, _, value = param.partition("=")
            if key.strip() == "q":
                quality = _quality(value)
            elif key.strip():
                params.append((key.strip(), value.strip()))
        clauses.append(Clause(media_type.lower(), tuple(params), quality))
    return tuple(sorted(clauses, key=lambda c: (-c.quality, c.media_type.count("*"))))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def negotiate(accept: str, forms: frozenset[str], *, protobuf: bool = True, stream: bool = False) -> Media:
    """The first acceptable clause. ``forms``: the ``as=`` forms this endpoint offers. ``protobuf``: its objects
    themselves have that form (what has their metadata alone always has it, and a Table never). ``stream``: of a watch.
    Raises NotAcceptable."""
    return _negotiated(accept[:_READ_CHARACTERS], forms, protobuf, stream)


@lru_cache(maxsize=1024)
def _negotiated(accept: str, forms: frozenset[str], protobuf: bool, stream: bool) -> Media:
    if not accept.strip():
        return Media()
    for clause in _clauses(accept):
        if clause.quality == 0:
            continue
        media = _match(clause, forms, protobuf)
        if media is not None:
            if stream and media.format not in _STREAMED:
                break  # upstream chooses first, and asks for a stream of what it chose
            return media
    raise not_acceptable(ACCEPTED_STREAMS if stream else ACCEPTED)


def _match(clause: Clause, forms: frozenset[str], protobuf: bool) -> Media | None:
    chosen = _FORMATS.get(clause.media_type)
    if chosen is None:
        if clause.media_type not in ("*/*", "application/*"):
            return None
        chosen = "json"
    params = dict(clause.params)
    form = params.get("as", "")
    if form and (form not in forms or params.get("g") != "meta.k8s.io" or params.get("v") not in ("v1", "v1beta1")):
        return None
    if chosen == "protobuf" and (form == "Table" or not (form or protobuf)):
        return None
    if params.get("stream", "") and (chosen not in _STREAMED or params["stream"] != "watch"):
        return None
    if params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        return None
    pretty = params.get("pretty", "") in ("1", "true")
    version = params["v"] if form else "v1"  # of nothing else: what watchers of one form are sent is kept for each
    return Media(chosen, form, pretty, version)  # type: ignore[arg-type]  # form was checked against forms


def wants_pretty(query_value: str | None, user_agent: str) -> bool:
    """People read indented JSON, programs do not (``?pretty`` decides, else the user agent)."""
    if query_value:
        return query_value.lower() in ("1", "t", "true")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))
