"""Links in HTML that comes through a proxy are led back through it, as the reference's proxy transport does.

Pure, and incremental: ``LinkRewriter`` is fed the document in pieces and gives back what is certain so far. Only
attributes that hold one URL are touched, and only their first bytes: a path from the backend's root gets the proxy's
path in front, an address of the backend itself becomes such a path. Scripts, styles and comments stay as they are.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

#: a tag (or comment) longer than this is passed on unread
MAX_TAG_BYTES = 64 << 10
#: what is looked at, or inflated, in one go: keeps the event loop below some milliseconds
PIECE_BYTES = 2 << 10

_ATTRIBUTES: dict[bytes, frozenset[bytes]] = {
    tag.encode(): frozenset(attribute.encode() for attribute in attributes.split())
    for tag, attributes in {
        "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
        "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src",
        "form": "action", "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
        "img": "longdesc src usemap", "input": "src usemap formaction", "ins": "cite", "link": "href",
        "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src", "track": "src",
        "video": "poster src",
    }.items()
}  # fmt: skip
#: elements whose content is text and not markup
_RAW = {
    name: re.compile(b"(?i:</" + name + b")")
    for name in (b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
}
_COMMENT_END = re.compile(b"-->")
#: the longest end that is looked for may be cut by the end of a piece
_LONGEST_END = max(len(name) for name in _RAW) + 2
_OPENING = re.compile(rb"<(?:[a-zA-Z]|!--|!?-?\Z)")
_NAME = re.compile(rb"<([a-zA-Z][^\s/>]{0,32})")
# Every repetition is possessive or begins behind a boundary: hostile tags take linear time.
_ATTRIBUTE = re.compile(rb"""(?<=[\s"'/])([^\s"'<>/=]++)\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s"'>][^\s>]*+)""")
_TAG_END = re.compile(rb"""[^>"'=]*+(?:=\s*+(?:"[^"]*+"|'[^']*+'|(?!["']))[^>"'=]*+|["'][^>"'=]*+)*+>""")
_ABSOLUTE = re.compile(rb"(?:https?:)?//([^/?#]*)", re.IGNORECASE)


def rewrite_link(value: str, prefix: str, hosts: frozenset[str]) -> str:
    """Where a link of a backend called any of ``hosts`` points to for a client that came through ``prefix``."""
    return rewrite_raw(value.encode(), prefix.encode(), frozenset(host.encode() for host in hosts)).decode()


def rewrite_raw(value: bytes, prefix: bytes, hosts: frozenset[bytes]) -> bytes:
    found = _ABSOLUTE.match(value)
    if found is not None:
        if found[1].lower() not in hosts:
            return value
        value = value[found.end() :]
        if not value.startswith(b"/"):
            value = b"/" + value
    if not value.startswith(b"/") or value == prefix or value.startswith(prefix + b"/"):
        return value
    return prefix + value


class LinkRewriter:
    """One document. Invariant: what is in ``_held`` is the beginning of a tag, a comment or raw text's end."""

    def __init__(self, prefix: str, hosts: frozenset[str]) -> None:
        self._prefix = prefix.encode()
        self._hosts = frozenset(host.encode() for host in hosts)
        self._held = b""
        self._until: re.Pattern[bytes] | None = None  # passing through up to the end of a comment or raw element

    def feed(self, data: bytes) -> bytes:
        data, self._held = self._held + data, b""
        out: list[bytes] = []
        position = 0
        while position < len(data):
            if self._until is not None:
                position = self._pass_through(self._until, data, position, out)
            else:
                position = self._markup(data, position, out)
            if position < 0:
                break
        return b"".join(out)

    def finish(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _pass_through(self, until: re.Pattern[bytes], data: bytes, position: int, out: list[bytes]) -> int:
        found = until.search(data, position)
        if found is None:
            kept = max(position, len(data) - _LONGEST_END + 1)
            out.append(data[position:kept])
            self._held = data[kept:]
            return -1
        self._until = None
        end = found.end() if until is _COMMENT_END else found.start()
        out.append(data[position:end])
        return end

    def _markup(self, data: bytes, position: int, out: list[bytes]) -> int:
        found = _OPENING.search(data, position)
        if found is None:
            out.append(data[position:])
            return -1
        start = found.start()
        out.append(data[position:start])
        if found[0] == b"<!--":
            self._until = _COMMENT_END
            out.append(b"<!--")
            return start + 4
        name = _NAME.match(data, start)
        if name is None:  # cut where a comment may begin
            self._held = data[start:]
            return -1
        end = _TAG_END.match(data, name.end())
        if end is None:
            if len(data) - start < MAX_TAG_BYTES:
                self._held = data[start:]
            else:
                out.append(data[start:])
            return -1
        tag = name[1].lower()
        wanted = _ATTRIBUTES.get(tag)
        out.append(self._rewritten(data[start : end.end()], wanted) if wanted else data[start : end.end()])
        self._until = _RAW.get(tag)
        return end.end()

    def _rewritten(self, text: bytes, wanted: frozenset[bytes]) -> bytes:
        def replace(found: re.Match[bytes]) -> bytes:
            if found[1].lower() not in wanted:
                return found[0]
            value = found[2]
            quote = value[:1] if value[:1] in (b'"', b"'") else b""
            bare = value[1:-1] if quote else value
            link = rewrite_raw(bare.strip(), self._prefix, self._hosts)
            return found[0][: len(found[0]) - len(value)] + quote + link + quote

        return _ATTRIBUTE.sub(replace, text)


class Inflater:
    """A body of content encoding gzip or deflate, in bounded pieces: a bomb is only ever a long document."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._object: zlib._Decompress | None = None

    @property
    def ended(self) -> bool:
        """False while the compressed data is not whole."""
        return self._object is None or self._object.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises ValueError for data that is not what the encoding says."""
        if self._object is None:
            self._object = zlib.decompressobj(_window(self._encoding, data))
        try:
            while data and not self._object.eof:
                piece = self._object.decompress(data, PIECE_BYTES)
                data = self._object.unconsumed_tail
                if piece:
                    yield piece
        except zlib.error as error:
            raise ValueError("broken compressed data") from error


def _window(encoding: str, data: bytes) -> int:
    """zlib's name for the format. ``deflate`` is zlib by the standard and raw by many servers."""
    if encoding == "gzip":
        return zlib.MAX_WBITS | 16
    return zlib.MAX_WBITS if data[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS
