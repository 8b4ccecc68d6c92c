"""Puts more into OpenAPI documents as they lie there, without reading them. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def merge_json_v2(base: bytes, parts: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The document with more members in ``paths`` and ``definitions``. ``parts``: of either, without braces."""
    found = [base]
    # The places are looked for before anything is put there: what is put there may look like one.
    for at, marker in reversed(list(enumerate((b'"paths":{', b'"definitions":{')))):
        head, sign, tail = found[0].partition(marker)
        if not sign:
            raise ValueError("the OpenAPI v2 document has no place for more")
        more = b",".join(part[at] for part in parts if part[at])
        comma = b"," if more and not tail.startswith(b"}") else b""
        found[:1] = [head, sign, more, comma, tail]
    return b"".join(found)
