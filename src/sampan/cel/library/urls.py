"""URLs (Kubernetes' library of URLs), read as Go's net/url reads those of requests."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote_plus

from sampan.cel.costs import slow, traversal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, function, member, plain
from sampan.cel.library.quoting import quoted
from sampan.cel.types import BOOL, STRING, list_of, map_of, opaque
from sampan.cel.values import Opaque
from sampan.records import dataclass

URL: Final = opaque("kubernetes.URL")

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_PORT: Final = re.compile(r":\d*", re.ASCII)
_HOST: Final = re.compile(r"""[A-Za-z0-9\-._~!$&'()*+,;=:\[\]<>"%]*|[^\x00-\x7f]""", re.ASCII)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: What stands unescaped in a path.
_IN_PATH: Final = "-_.~$&+,/:;=@!*'()[]%"


@dataclass(frozen=True, slots=True)
class Url(Opaque):
    type = URL
    text: str
    scheme: str
    host: str
    path: str
    query: str

    def size_of(self) -> int:
        return len(self.text)


def _fault(text: str, reason: str) -> EvaluationError:
    return EvaluationError(f"URL parse error during conversion from string: parse {quoted(text)}: {reason}")


def parse(text: str) -> Url:
    """Raises EvaluationError for what is no absolute URL or path."""
    if _CONTROL.search(text):
        raise _fault(text, "net/url: invalid control character in URL")
    if not text:
        raise _fault(text, "empty url")
    scheme, rest = "", text
    if match := _SCHEME.match(text):
        scheme, rest = match.group(1).lower(), text[match.end() :]
    elif text.startswith(":"):
        raise _fault(text, "missing protocol scheme")
    if not rest.startswith("/"):
        if not scheme or "/" in rest.partition("?")[0]:
            raise _fault(text, "invalid URI for request")
        return Url(text, scheme, "", "", rest.partition("#")[0].partition("?")[2])  # mailto:x
    rest, _, fragment = rest.partition("#")
    before, _, query = rest.partition("?")
    host, path = "", before
    if before.startswith("//") and (scheme or not before.startswith("///")):
        authority, slash, tail = before[2:].partition("/")
        host, path = _host(text, authority), slash + tail
    if bad := _BAD_ESCAPE.search(path):
        raise _fault(text, f"invalid URL escape {quoted(path[bad.start() : bad.start() + 3])}")
    if bad := _BAD_ESCAPE.search(fragment):
        raise _fault(text, f"invalid URL escape {quoted(fragment[bad.start() : bad.start() + 3])}")
    return Url(text, scheme, host, path, query)


def _host(text: str, authority: str) -> str:
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise _fault(text, "missing ']' in host")
        port = host[end + 1 :]
    else:
        port = host[host.rfind(":") :] if ":" in host else ""
    if port and not _PORT.fullmatch(port):
        raise _fault(text, f"invalid port {quoted(port)} after host")
    for char in host:
        if ord(char) < 128 and not _HOST.fullmatch(char):
            raise _fault(text, f"invalid character {quoted(char)} in host name")
    return host


def _hostname(url: Url) -> str:
    if url.host.startswith("["):
        return url.host[1 : url.host.rfind("]")]
    return url.host.partition(":")[0]


def _port(url: Url) -> str:
    return url.host[url.host.rfind("]") + 1 :].partition(":")[2]


def _query(url: Url) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in url.query.split("&"):
        if part and ";" not in part:
            key, _, value = part.partition("=")
            found.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return found


def _is_url(text: str) -> bool:
    try:
        parse(text)
    except EvaluationError:
        return False
    return True


LIBRARY: Final[Library] = (
    function("url", plain("string_to_url", [STRING], URL, parse, slow(traversal()))),
    function("isURL", plain("is_url_string", [STRING], BOOL, _is_url, slow(traversal()))),
    function("getScheme", member("url_get_scheme", [URL], STRING, lambda url: url.scheme)),
    function("getHost", member("url_get_host", [URL], STRING, lambda url: url.host)),
    function("getHostname", member("url_get_hostname", [URL], STRING, _hostname)),
    function("getPort", member("url_get_port", [URL], STRING, _port)),
    function(
        "getEscapedPath",
        member("url_get_escaped_path", [URL], STRING, lambda url: quote(url.path, safe=_IN_PATH), slow(traversal())),
    ),
    function(
        "getQuery", member("url_get_query", [URL], map_of(STRING, list_of(STRING)), _query, slow(traversal(times=4)))
    ),
)
