"""What the streaming subresources accept: container choice, log and exec options, with upstream's refusals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlencode

from sampan.api import errors
from sampan.api.clock import parse_time
from sampan.api.types import Obj
from sampan.server.request import Request
from sampan.server.streaming.translate import Streams

_LOG_KEYS = (
    "follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream",
)  # fmt: skip
_TRUE = frozenset({"1", "t", "true"})


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
    return query.get(key, "").lower() in _TRUE


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


def _integer(query: Mapping[str, str], key: str) -> int | None:
    text = query.get(key, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _check_time(text: str) -> None:
    try:
        parse_time(text)
    except ValueError as error:
        raise errors.BadRequest(f'parsing time "{text}": not an RFC 3339 time') from error


def exec_streams(request: Request, subresource: str) -> Streams:
    """Which streams are asked for. Raises BadRequest when none is."""
    query = request.query
    defaults = "true" if subresource == "attach" else ""
    values = {"stdout": defaults, "stderr": defaults, **query}
    streams = Streams(flag(values, "stdin"), flag(values, "stdout"), flag(values, "stderr"), flag(values, "tty"))
    if streams.tty and streams.stderr:
        streams = Streams(streams.stdin, streams.stdout, False, True)  # a terminal has one output
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise errors.BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return streams


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
        commands = request.query_lists.get("command") or (
            [request.query["command"]] if "command" in request.query else []
        )
        if not commands:
            raise errors.BadRequest("you must specify a command for the container")
        pairs += [("command", command) for command in commands]
    return urlencode(pairs)


def node_path(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)
