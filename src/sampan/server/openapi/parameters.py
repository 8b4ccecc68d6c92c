"""The query and path parameters of the API's operations, and which operation takes which. Data only.

kubectl finds out by these whether the server knows ``dryRun`` and ``fieldValidation``. Source: metav1's options types
and core/v1's options of connect subresources, v1.37.
"""

from __future__ import annotations

from typing import Literal

from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: Literal["string", "boolean", "integer"]
    description: str
    where: Literal["query", "path"] = "query"


def _index(*parameters: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


PRETTY = Parameter("pretty", "string", "'true': the output is indented.")
NAME = "name"
NAMESPACE = Parameter("namespace", "string", "The namespace of the object.", "path")
PROXY_PATH = Parameter("path", "string", "The rest of the URL, passed on as it is.", "path")

_GENERIC = _index(
    Parameter(
        "allowWatchBookmarks", "boolean", "A watch may send BOOKMARK events, which carry a resourceVersion only."
    ),
    Parameter("continue", "string", "The continue token of the page before, to get the next one of the same list."),
    Parameter("dryRun", "string", "'All': everything is done as for a real request, but nothing is stored."),
    Parameter("fieldManager", "string", "Who changes the fields: at most 128 printable characters."),
    Parameter(
        "fieldValidation",
        "string",
        "What to do about unknown and duplicate fields: 'Ignore' drops them, 'Warn' (the default) warns as well, "
        "'Strict' refuses the request.",
    ),
    Parameter("fieldSelector", "string", "Only objects whose fields match, for example metadata.name=web."),
    Parameter("force", "boolean", "Apply takes over fields that others manage. Only for apply patches."),
    Parameter("gracePeriodSeconds", "integer", "Seconds until the object is deleted; 0: at once. Default: its own."),
    Parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Deletes even an object that can no longer be read from storage, without finalizers or checks.",
    ),
    Parameter("labelSelector", "string", "Only objects whose labels match, for example app=web,tier in (a, b)."),
    Parameter("limit", "integer", "At most this many objects; the list carries a continue token when there are more."),
    Parameter("orphanDependents", "boolean", "Deprecated, see propagationPolicy. Whether dependents stay."),
    Parameter(
        "propagationPolicy",
        "string",
        "What happens to dependents: 'Orphan' leaves them, 'Background' deletes them afterwards, 'Foreground' before.",
    ),
    Parameter("resourceVersion", "string", "At which version to read; where to start a watch."),
    Parameter("resourceVersionMatch", "string", "How resourceVersion is meant: 'Exact' or 'NotOlderThan'."),
    Parameter("sendInitialEvents", "boolean", "A watch begins with all objects as ADDED events and then a bookmark."),
    Parameter("timeoutSeconds", "integer", "The list or watch ends after this many seconds."),
    Parameter("watch", "boolean", "Sends changes as a stream of events, from resourceVersion on."),
)

_CONNECT = _index(
    Parameter("command", "string", "The command and its arguments, one by one; it is not run in a shell."),
    Parameter("container", "string", "The container; may be left out when the pod has only one."),
    Parameter("stderr", "boolean", "Passes standard error on."),
    Parameter("stdin", "boolean", "Passes standard input on."),
    Parameter("stdout", "boolean", "Passes standard output on."),
    Parameter("tty", "boolean", "Allocates a terminal."),
    Parameter("ports", "integer", "The ports to forward."),
    Parameter("path", "string", "The part of the URL to pass on."),
    Parameter("follow", "boolean", "Goes on as the log grows."),
    Parameter("insecureSkipTLSVerifyBackend", "boolean", "Does not check the certificate of the node."),
    Parameter("limitBytes", "integer", "Ends after this many bytes, even within a line."),
    Parameter("previous", "boolean", "The log of the terminated container before this one."),
    Parameter("sinceSeconds", "integer", "Only lines of the last so many seconds."),
    Parameter("stream", "string", "'All' (the default), 'Stdout' or 'Stderr'."),
    Parameter("tailLines", "integer", "Only the last so many lines."),
    Parameter("timestamps", "boolean", "Begins every line with its time (RFC 3339)."),
)


def _generic(*names: str) -> tuple[Parameter, ...]:
    return tuple(_GENERIC[name] for name in names)


def _connect(*names: str) -> tuple[Parameter, ...]:
    return tuple(_CONNECT[name] for name in names)


WRITE = _generic("dryRun", "fieldManager", "fieldValidation")
PATCH = (*WRITE, *_generic("force"))
_SELECTION = (
    "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch",
    "sendInitialEvents", "timeoutSeconds",
)  # fmt: skip
LIST = _generic("allowWatchBookmarks", *_SELECTION, "watch")
DELETE = _generic(
    "dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents",
    "propagationPolicy",
)  # fmt: skip
DELETE_COLLECTION = (*DELETE, *_generic(*_SELECTION))
LOG = _connect(
    "container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "stream",
    "tailLines", "timestamps",
)  # fmt: skip
#: by the kind of options that a connect subresource takes
CONNECT = {
    "PodExecOptions": _connect("command", "container", "stderr", "stdin", "stdout", "tty"),
    "PodAttachOptions": _connect("container", "stderr", "stdin", "stdout", "tty"),
    "PodPortForwardOptions": _connect("ports"),
    "PodProxyOptions": _connect("path"),
    "ServiceProxyOptions": _connect("path"),
    "NodeProxyOptions": _connect("path"),
}


def name_of(kind: str) -> Parameter:
    return Parameter(NAME, "string", f"The name of the {kind}.", "path")
