"""Each built-in kind in protobuf: what is read in it is what JSON says, and can be written back in it unchanged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from kind_harness import KindCases
from test_kinds import TABLES, Asking, _prepare, ask  # noqa: F401  # the fixture

from sampan.api import protobuf, schema
from sampan.api.protobuf.numbers import message_of
from sampan.server.request import Request

WITH_NUMBERS = [cases for cases in TABLES if protobuf.encodable(cases.api_version, cases.kind)]


async def send(asking: Asking, method: str, url: str, body: bytes = b"") -> tuple[int, bytes]:
    headers = {"content-type": protobuf.CONTENT_TYPE, "accept": protobuf.CONTENT_TYPE}
    response = await asking._server.handler(Request(method, url, {}, headers, body))
    assert response.content_type == protobuf.CONTENT_TYPE
    assert isinstance(response.body, bytes)
    return response.status, response.body


def as_json(cases: KindCases, body: bytes) -> bytes:
    obj, unknown = protobuf.decode_object(body)
    assert unknown == []
    name = message_of(cases.api_version, cases.kind)
    assert name is not None
    return orjson.dumps(schema.normalise(schema.load().definition(name), obj), option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("base", ["minimal", "full"])
@pytest.mark.parametrize("cases", WITH_NUMBERS, ids=str)
async def test_protobuf_says_what_json_says_and_is_written_back_unchanged(
    ask: Asking,  # noqa: F811
    cases: KindCases,
    base: Any,
) -> None:
    await _prepare(ask, cases)
    made = await ask("POST", cases.url, cases.manifest(base))
    assert made.status == 201, made.obj
    url = f"{cases.url}/{made.obj['metadata']['name']}"
    status, body = await send(ask, "GET", url)
    for template in made.obj.get("spec", {}).get("volumeClaimTemplates", ()):
        del template["kind"], template["apiVersion"]  # objects inside of others say no kind in protobuf
    assert (status, as_json(cases, body)) == (200, orjson.dumps(made.obj, option=orjson.OPT_SORT_KEYS))
    status, again = await send(ask, "PUT", url, body)
    assert (status, as_json(cases, again)) == (200, as_json(cases, body))
