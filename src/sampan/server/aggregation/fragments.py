"""What an extension API server's OpenAPI v2 document adds to the one of the whole. Pure; for a thread, by its length.

Of the document only what is said of the APIService's own group version is taken: its paths, and the definitions that
they lead to, each under a name that nobody else can have. So whatever stands in it, it describes nothing of others.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import orjson

from sampan.api.reading import part, parts
from sampan.records import dataclass
from sampan.server.aggregation.remotes import Remote
from sampan.server.openapi import custom

#: of one APIService, encoded
FRAGMENT_BYTES: Final = 1 << 20
_REFERENCE = re.compile(rb'"\$ref":"#/definitions/([^"\\]+)"')
_PARAMETER: Final = "#/parameters/"
_GVK: Final = "x-kubernetes-group-version-kind"


class Unusable(ValueError):
    """Nothing of the document can be taken; says why."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """Members of ``paths`` and of ``definitions`` in JSON, and both as a message of protobuf."""

    paths: bytes = b""
    definitions: bytes = b""
    message: bytes = b""
    digest: str = ""

    @property
    def size(self) -> int:
        return len(self.paths) + len(self.definitions) + len(self.message)


def fragment_of(body: bytes, remote: Remote) -> Fragment:
    """Raises Unusable."""
    try:
        return _fragment_of(orjson.loads(body), remote)
    except orjson.JSONDecodeError as error:
        raise Unusable("the OpenAPI document is not JSON") from error
    except orjson.JSONEncodeError as error:
        raise Unusable("the OpenAPI document is nested too deeply") from error


def _fragment_of(document: Any, remote: Remote) -> Fragment:
    """Raises Unusable, orjson.JSONEncodeError."""
    shared = _Shared(part(document, "parameters"), remote.name)
    paths = {
        path: _with_parameters(item, shared)
        for path, item in part(document, "paths").items()
        if isinstance(item, dict) and (path == remote.path or path.startswith(f"{remote.path}/"))
    }
    declared = {name: orjson.dumps(value) for name, value in part(document, "definitions").items()}
    encoded = orjson.dumps(paths)
    wanted = set(_REFERENCE.findall(encoded))
    wanted |= {name.encode() for name, value in part(document, "definitions").items() if _is_of(value, remote)}
    found: dict[str, bytes] = {}
    size = len(encoded)
    while wanted:
        name = wanted.pop().decode()
        if name in declared and name not in found:
            found[name] = declared[name]
            size += len(declared[name])
            wanted.update(_REFERENCE.findall(declared[name]))
        if size > FRAGMENT_BYTES:
            raise Unusable(f"the OpenAPI document says more than {FRAGMENT_BYTES} bytes of {remote.name}")
    if not paths and not found:
        return Fragment()
    return _fragment(encoded, found, f"_{remote.name}".encode())


def _fragment(paths: bytes, definitions: dict[str, bytes], suffix: bytes) -> Fragment:
    def renamed(found: re.Match[bytes]) -> bytes:
        return b'"$ref":"#/definitions/' + found[1] + suffix + b'"'

    paths = _REFERENCE.sub(renamed, paths)
    listed = b",".join(
        orjson.dumps(name + suffix.decode()) + b":" + _REFERENCE.sub(renamed, definitions[name])
        for name in sorted(definitions)
    )
    try:
        message = custom.protobuf_v2(orjson.loads(b'{"paths":' + paths + b',"definitions":{' + listed + b"}}"))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Unusable("the OpenAPI document is not one of version 2") from error
    return Fragment(paths[1:-1], listed, message, hashlib.sha256(paths + listed).hexdigest())


class _Shared:
    """The document's own parameters. A long one that is written out often is more than anybody may say."""

    def __init__(self, parameters: dict[str, Any], name: str) -> None:
        self._parameters, self._name = parameters, name
        self._sizes: dict[str, int] = {}
        self._left = FRAGMENT_BYTES

    def written_out(self, parameter: Any) -> Any:
        """Raises Unusable."""
        reference = parameter.get("$ref") if isinstance(parameter, dict) else None
        if not isinstance(reference, str) or not reference.startswith(_PARAMETER):
            return parameter
        key = reference.removeprefix(_PARAMETER)
        if key not in self._parameters:
            return parameter
        if key not in self._sizes:
            self._sizes[key] = len(orjson.dumps(self._parameters[key]))
        self._left -= self._sizes[key]
        if self._left < 0:
            raise Unusable(f"the OpenAPI document says more than {FRAGMENT_BYTES} bytes of {self._name}")
        return self._parameters[key]


def _with_parameters(item: Any, shared: _Shared) -> Any:
    """A path's item with the parameters that it shares with others written out. Raises Unusable."""
    if not isinstance(item, dict):
        return item
    made = {}
    for key, value in item.items():
        if key == "parameters" and isinstance(value, list):
            value = [shared.written_out(parameter) for parameter in value]
        elif isinstance(value, dict) and isinstance(value.get("parameters"), list):
            value = {**value, "parameters": [shared.written_out(parameter) for parameter in value["parameters"]]}
        made[key] = value
    return made


def _is_of(definition: Any, remote: Remote) -> bool:
    return any(
        each.get("group") == remote.group and each.get("version") == remote.version for each in parts(definition, _GVK)
    )
