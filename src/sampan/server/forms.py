"""From a value to the bytes of an answer, in the format that was negotiated. Pure.

Used by ``render`` for results and by ``errors`` for refusals.
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api import errors, protobuf
from sampan.api.types import Obj
from sampan.server.negotiation import Media


def encode(value: Any, media: Media, *, indented: bool = False) -> bytes:
    """Raises NotAcceptable: it has no protobuf form."""
    if media.format == "protobuf":
        try:
            return protobuf.encode_object(value)
        except protobuf.NotEncodable as error:
            raise errors.NotAcceptable(str(error)) from error
    if media.format == "yaml":
        import yaml  # late: hardly anybody asks the server for it

        text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        return text.encode()
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0) + b"\n"


def in_version(shown: Obj, media: Media) -> Obj:
    """A Table, or metadata alone, in the version of meta.k8s.io that was asked for; may change the argument."""
    if media.version != "v1":
        shown["apiVersion"] = f"meta.k8s.io/{media.version}"
        for row in shown.get("rows", ()):
            if row.get("object", {}).get("kind") == "PartialObjectMetadata":
                row["object"]["apiVersion"] = shown["apiVersion"]
    return shown
