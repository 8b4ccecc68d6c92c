"""In which format a refusal goes out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sampan.api import errors as api_errors
from sampan.api import protobuf
from sampan.server import errors
from sampan.server.request import Request

PROTOBUF, YAML = "application/vnd.kubernetes.protobuf", "application/yaml"


def asked(accept: str) -> Request:
    return Request("GET", "/api/v1/pods", {}, {"accept": accept})


@pytest.mark.parametrize("accept", ["", "text/html", "application/json;as=Table;g=meta.k8s.io;v=v1"])
async def test_who_asks_for_none_of_our_formats_is_refused_in_json(accept: str) -> None:
    answer = await errors.refusal(api_errors.NotFound("no"), asked(accept))
    assert (answer.status, answer.content_type) == (404, "application/json")
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body)["message"] == "no"


async def test_what_has_no_protobuf_form_is_told_in_json() -> None:
    error = api_errors.Forbidden("no", details={"causes": [{"message": 5}]})
    answer = await errors.refusal(error, asked(PROTOBUF))
    assert (answer.status, answer.content_type) == (403, "application/json")
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body)["details"] == {"causes": [{"message": 5}]}


async def test_a_long_refusal_is_encoded_aside_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    heavy: list[bool] = []

    async def paced(slow: bool, work: Any, *args: Any) -> Any:
        heavy.append(slow)
        return work(*args)

    monkeypatch.setattr(errors, "paced", paced)
    short, long = api_errors.NotFound("no"), api_errors.NotFound("no" * 100_000)
    answers = [await errors.refusal(error, asked(accept)) for accept in (YAML, PROTOBUF) for error in (short, long)]
    assert heavy == [True, True, False, True]
    assert [answer.content_type for answer in answers] == [YAML, YAML, PROTOBUF, PROTOBUF]
    assert isinstance(answers[3].body, bytes)
    assert protobuf.decode_object(answers[3].body)[0]["message"] == "no" * 100_000
