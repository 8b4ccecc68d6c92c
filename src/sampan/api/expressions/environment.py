"""The environments of Kubernetes' expressions: the libraries of v1.37 (apiserver ``cel/environment/base.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from sampan.api.expressions import authorizer, formats, quantity
from sampan.cel.costs import traversal
from sampan.cel.environment import Environment
from sampan.cel.functions import Library, function, plain
from sampan.cel.library import lists, network, optionals, regex, semver, sets, strings, urls
from sampan.cel.types import STRING, Type

_LIBRARIES: Final[tuple[Library, ...]] = (
    urls.LIBRARY,
    regex.LIBRARY,
    lists.LIBRARY,
    authorizer.LIBRARY,
    optionals.LIBRARY,
    quantity.LIBRARY,
    strings.LIBRARY,
    sets.LIBRARY,
    network.LIBRARY,
    formats.LIBRARY,
    semver.LIBRARY,
)

_TYPES: Final[Mapping[str, Type]] = {
    **network.TYPES,
    **authorizer.TYPES,
    **{kind.name: kind for kind in (urls.URL, quantity.QUANTITY, formats.FORMAT, semver.SEMVER)},
}

#: Only where JSON patches are made.
_JSON_PATCH: Final[Library] = (
    function(
        "jsonpatch.escapeKey",
        plain(
            "string_jsonpatch_escapeKey_string",
            [STRING],
            STRING,
            lambda text: text.replace("~", "~0").replace("/", "~1"),
            traversal(),
        ),
    ),
)


@lru_cache(maxsize=2)
def _base(*, patches: bool) -> Environment:
    return Environment({}, (*_LIBRARIES, _JSON_PATCH) if patches else _LIBRARIES, _TYPES)


def environment(
    variables: Mapping[str, Type], types: Mapping[str, Type] | None = None, *, patches: bool = False
) -> Environment:
    """An environment with these variables. ``patches``: expressions make JSON patches in it."""
    return _base(patches=patches).extended(variables, types)
