"""Who a bootstrap token is for the API server, and what ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sampan.api import bootstraptokens
from sampan.api.bootstraptokens import Token
from sampan.api.resources import SECRETS
from sampan.server.authn.bootstraptokens import BootstrapTokens

TOKEN = "abcdef.0123456789abcdef"


@pytest.fixture
def tokens(reader: Any, clock: Any) -> BootstrapTokens:
    return BootstrapTokens(reader, clock)


def secret(**properties: Any) -> dict[str, Any]:
    return bootstraptokens.secret_of(Token("abcdef", "0123456789abcdef", **properties))


def test_its_holder_is_a_bootstrapper_in_the_groups_of_its_secret(tokens: Any, reader: Any) -> None:
    reader.put(SECRETS, secret())
    user = tokens.check(TOKEN)
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups == (
        "system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", "system:authenticated",
    )  # fmt: skip


def test_it_is_over_at_its_end_and_with_its_secret(tokens: Any, reader: Any, clock: Any) -> None:
    reader.put(SECRETS, secret(expires=clock.now() + timedelta(hours=1)))
    assert tokens.check(TOKEN) is not None
    clock.set(clock.now() + timedelta(hours=1))
    assert tokens.check(TOKEN) is None
    reader.put(SECRETS, secret())
    assert tokens.check(TOKEN) is not None
    reader.remove(SECRETS, "kube-system", "bootstrap-token-abcdef")
    assert tokens.check(TOKEN) is None


def without(key: str) -> dict[str, Any]:
    made = secret()
    del made["data"][key]
    return made


@pytest.mark.parametrize(
    "held",
    [
        secret(usages=("signing",)),
        secret(groups=("system:masters",)),
        secret() | {"type": "Opaque"},
        {**secret(), "metadata": {**secret()["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        without("token-id"),
        without("token-secret"),
    ],
    ids=["for signing alone", "a group of others", "another type", "on its way out", "no id", "no secret"],
)
def test_a_secret_that_does_not_make_it_a_token_lets_nobody_in(tokens: Any, reader: Any, held: Any) -> None:
    reader.put(SECRETS, held)
    assert tokens.check(TOKEN) is None


@pytest.mark.parametrize("token", ["", "abcdef", "abcdef.0123456789abcdeg", "ABCDEF.0123456789abcdef", TOKEN + "\n"])
def test_what_is_no_token_or_another_is_nobody_s(tokens: Any, reader: Any, token: str) -> None:
    reader.put(SECRETS, secret())
    assert tokens.check(token) is None


def test_a_secret_reads_back_as_the_token_that_it_was_made_of(clock: Any) -> None:
    token = Token("abcdef", "0123456789abcdef", "for Thursday", clock.now(), ("signing",), ("system:bootstrappers:a",))
    assert bootstraptokens.read(bootstraptokens.secret_of(token)) == token
