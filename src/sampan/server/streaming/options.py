"""What the streaming subresources accept: container choice, log and exec options, with upstream's refusals. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlencode

from sampan.api import errors
from sampan.api.clock import parse_time
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.request import Request

_LOG_KEYS = (
    "follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream",
)  # fmt: skip
#: as upstream reads a boolean parameter: present, and neither of these
_FALSE = frozenset({"false", "0"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Streams:
    """Which streams a command has (PodExecOptions)."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


def names(containers: Iterable[Obj]) -> list[str]:
    return [str(container["name"]) for container in containers]


def choose_container(pod: Obj, wanted: str) -> str:
    """The container meant by ``wanted``, "" being the only one. Raises BadRequest."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    regular, init, ephemeral = (
        names(spec.get(key) or ()) for key in ("containers", "initContainers", "ephemeralContainers")
    )
    if wanted:
        if wanted not in (*regular, *init, *ephemeral):
            raise errors.BadRequest(f"container {wanted} is not valid for pod {pod_name}")
        return wanted
    if len(regular) == 1:
        return regular[0]
    text = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(regular)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise errors.BadRequest(text)


def flag(query: Mapping[str, str], key: str) -> bool:
    return key in query and query[key].lower() not in _FALSE


def log_query(request: Request, pod_name: str) -> str:
    """The validated query for the node. Raises BadRequest (not a number), Invalid."""
    query = request.query
    faults = []
    for key, least, text in (
        ("sinceSeconds", 1, "must be greater than 0"),
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ):
        value = _integer(query, key)
        if value is not None and value < least:
            faults.append(errors.invalid(key, value, text))
    if query.get("sinceTime"):
        _check_time(query["sinceTime"])
        if query.get("sinceSeconds"):
            faults.append(errors.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    stream = query.get("stream", "")
    if stream and stream not in ("All", "Stdout", "Stderr"):
        faults.append(errors.not_supported("stream", stream, ["All", "Stderr", "Stdout"]))
    elif stream in ("Stdout", "Stderr") and query.get("tailLines"):
        faults.append(errors.forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"))
    if faults:
        raise errors.invalid_object("PodLogOptions", pod_name, faults)
    kept = {key: query[key] for key in _LOG_KEYS if query.get(key)}
    return urlencode(kept)


def integer(text: str, *, bits: int = 64) -> int:
    """A number as upstream's query decoder reads it. Raises BadRequest."""
    shown = text[:_SHOWN_CHARACTERS]
    if not _INTEGER.fullmatch(text):
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{shown}": invalid syntax')
    number = int(text)
    if not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{shown}": value out of range')
    return number


def _integer(query: Mapping[str, str], key: str) -> int | None:
    text = query.get(key, "")
    return integer(text) if text else None


def _check_time(text: str) -> None:
    try:
        parse_time(text)
    except ValueError as error:
        shown = text[:_SHOWN_CHARACTERS]
        raise errors.BadRequest(f'parsing time "{shown}": not an RFC 3339 time') from error


def exec_streams(request: Request, subresource: str) -> Streams:
    """Which streams are asked for. Raises BadRequest when none is."""
    values = _stream_values(request, subresource)
    streams = Streams(flag(values, "stdin"), flag(values, "stdout"), flag(values, "stderr"), flag(values, "tty"))
    if streams.tty and streams.stderr:
        streams = Streams(streams.stdin, streams.stdout, False, True)  # a terminal has one output
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise errors.BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return streams


def _stream_values(request: Request, subresource: str) -> Mapping[str, str]:
    """The query with upstream's defaults: attach has both outputs unless told otherwise, exec has none."""
    defaults = {"stdout": "true", "stderr": "true"} if subresource == "attach" else {}
    return {**defaults, **request.query}


def exec_query(request: Request, subresource: str, streams: Streams) -> str:
    """The query of the node API: ``input``, ``output``, ``error``, ``tty``, ``command``. Raises BadRequest."""
    pairs: list[tuple[str, str]] = [
        (name, "1")
        for name, wanted in (
            ("input", streams.stdin), ("output", streams.stdout), ("error", streams.stderr), ("tty", streams.tty),
        )
        if wanted
    ]  # fmt: skip
    if subresource == "exec":
        words = commands(request)
        if not words:
            raise errors.BadRequest("you must specify a command for the container")
        pairs += [("command", word) for word in words]
    return urlencode(pairs)


def node_path(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


#: the kind of the options object of each CONNECT, by (resource, subresource)
CONNECT_KINDS = {
    ("pods", "exec"): "PodExecOptions",
    ("pods", "attach"): "PodAttachOptions",
    ("pods", "portforward"): "PodPortForwardOptions",
    ("pods", "proxy"): "PodProxyOptions",
    ("services", "proxy"): "ServiceProxyOptions",
    ("nodes", "proxy"): "NodeProxyOptions",
}
_PROXY_PATH = re.compile(r"/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy(/.*)?")


def connect_options(request: Request) -> Obj | None:
    """What admission gets to see as the object of a CONNECT: the query as the kind that upstream decodes it into.

    None: the request connects to nothing (pods/log is a read). Fields that are empty are left out, as upstream's types
    do. Raises BadRequest for a query that cannot be decoded.
    """
    info = request.info
    kind = CONNECT_KINDS.get((info.resource, info.subresource)) if not info.group else None
    if kind is None:
        return None
    found: Obj = {"kind": kind, "apiVersion": "v1"}
    query = request.query
    if info.subresource in ("exec", "attach"):
        values = _stream_values(request, info.subresource)
        found |= {key: True for key in ("stdin", "stdout", "stderr", "tty") if flag(values, key)}
        if query.get("container"):
            found["container"] = query["container"]
        if info.subresource == "exec":
            found |= {"command": words} if (words := commands(request)) else {}
    elif info.subresource == "portforward":
        ports = [integer(text, bits=32) for text in _listed(request, "ports")]
        found |= {"ports": ports} if ports else {}
    else:
        matched = _PROXY_PATH.fullmatch(request.raw_path)
        path = unquote(matched[1]) if matched is not None and matched[1] else ""
        found |= {"path": path} if path else {}
    return found


def commands(request: Request) -> list[str]:
    return _listed(request, "command")


def _listed(request: Request, key: str) -> list[str]:
    return list(request.query_lists.get(key) or ([request.query[key]] if key in request.query else []))
