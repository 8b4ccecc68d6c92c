"""What clients send is not remembered: Secrets never, other texts only when short."""

from __future__ import annotations

import base64
import sys

import pytest

from sampan.api import schema


def held(definition: str, text: str) -> bool:
    """Whether anything refers to the text once its decoding is over."""
    node = schema.load().definition(definition)
    before = sys.getrefcount(text)
    node.settle(text)
    return sys.getrefcount(text) > before


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ("io.k8s.apimachinery.pkg.api.resource.Quantity", "1." + "0" * 500),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", "2024-01-01T00:00:00." + "0" * 5000 + "Z"),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "2024-01-01T00:00:00.000000+" + "0" * 5000),
    ],
)
def test_a_long_text_is_not_remembered(definition: str, text: str) -> None:
    assert not held(definition, text)


def test_no_secret_is_remembered_whatever_its_length() -> None:
    secret = schema.load().definition("io.k8s.api.core.v1.Secret")
    for size in (3, 3000):
        text = base64.b64encode(b"abc" * size).decode()
        before = sys.getrefcount(text)
        assert secret.settle({"data": {"key": text}})
        assert sys.getrefcount(text) == before
