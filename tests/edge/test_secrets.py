"""Secrets by name: names that can be none delay nobody, and nobody has requests without end."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.resources import SECRETS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.edge import secrets
from sampan.edge.secrets import Secrets


async def test_a_reference_by_a_text_that_is_no_name_is_not_waited_for(api: Any) -> None:
    """A selector made of "a=b" is none: it would be asked for again and again, and everybody would wait for it."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pair", "namespace": "default"}}
    api.add(SECRETS, {**secret, "data": {"tls.crt": "eA=="}})
    followed = Secrets(Client(api), lambda namespace, name: None)
    running = tasks.detach(followed.run(), "secrets")
    try:
        followed.want([("default", "pair"), ("default", "a=b"), ("default", "pair,x=y"), ("a/b", "pair"), ("", "pair")])
        async with asyncio.timeout(secrets.SETTLE_SECONDS * 0.9):
            assert await followed.settled()
        assert followed.get("default", "a=b") is None
        assert followed.get("default", "pair,x=y") is None
        assert followed.get("a/b", "pair") is None
        found = followed.get("default", "pair")
        assert isinstance(found, dict)
        assert found["data"] == {"tls.crt": "eA=="}
    finally:
        await tasks.cancel_and_wait(running)


async def test_one_namespace_has_requests_with_a_bound_and_takes_none_from_another(api: Any) -> None:
    followed = Secrets(Client(api), lambda namespace, name: None)
    many = [("mine", f"n{number:04}") for number in range(5_000)]
    followed.want([*many, ("other", "pair")])
    assert len(followed._wanted) == 251
    assert ("other", "pair") in followed._wanted
    assert (followed.get(*many[-1]), followed.get(*many[0])) == (None, "unknown")
