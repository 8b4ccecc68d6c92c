"""Tokens that stand in Secrets: upstream's claims, what ends them, who is warned, and the day of their last use."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.resources import SECRETS, SERVICE_ACCOUNTS
from sampan.metrics.text import text
from sampan.server.authn import jwt, legacy
from sampan.server.authn.serviceaccount import ServiceAccountTokens, TokenRefused
from sampan.server.authn.stage import AuthenticationStage
from sampan.server.authn.uses import MOST_WAITING, TokenUses
from sampan.server.authn.x509 import CertificateAuthenticator
from sampan.server.request import Request

KEY = jwt.SigningKey(ec.generate_private_key(ec.SECP256R1()))
ACCOUNT: dict[str, Any] = {"metadata": {"name": "sa", "namespace": "ns", "uid": "u1"}}
TOKEN = KEY.sign(legacy.claims_of(ACCOUNT, "s"))


def secret(token: str = TOKEN, **labels: str) -> dict[str, Any]:
    metadata = {"name": "s", "namespace": "ns", "uid": "u2", "labels": labels}
    return {
        "metadata": metadata,
        "type": legacy.SECRET_TYPE,
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }


@pytest.fixture
def uses(clock: Any) -> TokenUses:
    return TokenUses(clock)


@pytest.fixture
def tokens(reader: Any, clock: Any, uses: TokenUses) -> ServiceAccountTokens:
    reader.put(SERVICE_ACCOUNTS, ACCOUNT)
    reader.put(SECRETS, secret())
    return ServiceAccountTokens([KEY.verifying], ["https://issuer"], ["api"], reader, clock, uses)


async def refusal(tokens: ServiceAccountTokens, token: str = TOKEN) -> str:
    with pytest.raises(TokenRefused) as caught:
        await tokens.check(token, ["api"])
    return str(caught.value)


def counts(uses: TokenUses) -> dict[str, float]:
    lines = [line.split() for line in text(uses.copy()()).decode().splitlines() if line[:1] != "#"]
    return {
        name.removeprefix("serviceaccount_"): float(value) for name, value in lines if not name.endswith("_created")
    }


def test_its_claims_are_upstreams() -> None:
    assert jwt.unverified_claims(TOKEN) == {
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "ns",
        "kubernetes.io/serviceaccount/secret.name": "s",
        "kubernetes.io/serviceaccount/service-account.name": "sa",
        "kubernetes.io/serviceaccount/service-account.uid": "u1",
        "sub": "system:serviceaccount:ns:sa",
    }


async def test_it_is_its_account_for_this_server_alone_and_never_expires(tokens: Any, clock: Any) -> None:
    clock.set(clock.now() + timedelta(days=10_000))
    found = await tokens.check(TOKEN, ["api", "vault"])
    assert (found[0].name, found[0].uid, dict(found[0].extra)) == ("system:serviceaccount:ns:sa", "u1", {})
    assert found[1] == ("api",)
    with pytest.raises(TokenRefused):
        await tokens.check(TOKEN, ["vault"])


async def test_it_ends_with_its_secret(tokens: Any, reader: Any) -> None:
    await tokens.check(TOKEN, ["api"])
    reader.remove(SECRETS, "ns", "s")
    assert await refusal(tokens) == "Token has been invalidated"


async def test_it_ends_while_its_secret_is_on_its_way_out(tokens: Any, reader: Any) -> None:
    going = secret()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    reader.put(SECRETS, going)
    assert await refusal(tokens) == "Token has been invalidated"


async def test_it_ends_when_its_secret_holds_another(tokens: Any, reader: Any) -> None:
    await tokens.check(TOKEN, ["api"])
    reader.put(SECRETS, secret("another"))
    assert await refusal(tokens) == "Token does not match server's copy"


async def test_it_ends_with_its_account(tokens: Any, reader: Any) -> None:
    reader.put(SERVICE_ACCOUNTS, {"metadata": {**ACCOUNT["metadata"], "uid": "u9"}})
    assert await refusal(tokens) == "ServiceAccount UID (u9) does not match claim (u1)"
    reader.put(SERVICE_ACCOUNTS, {"metadata": {**ACCOUNT["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert await refusal(tokens) == "ServiceAccount ns/sa has been deleted"
    reader.remove(SERVICE_ACCOUNTS, "ns", "sa")
    assert await refusal(tokens) == 'serviceaccounts "sa" not found'


@pytest.mark.parametrize(
    ("claim", "value", "why"),
    [
        ("sub", None, "sub claim is missing"),
        ("sub", "system:serviceaccount:ns:root", "sub claim is invalid"),
        ("kubernetes.io/serviceaccount/namespace", "", "namespace claim is missing"),
        ("kubernetes.io/serviceaccount/secret.name", 1, "secretName claim is missing"),
        ("kubernetes.io/serviceaccount/service-account.name", [], "serviceAccountName claim is missing"),
        ("kubernetes.io/serviceaccount/service-account.uid", None, "serviceAccountUID claim is missing"),
    ],
)
async def test_a_token_that_lacks_a_claim_is_refused(tokens: Any, claim: str, value: Any, why: str) -> None:
    assert await refusal(tokens, KEY.sign({**legacy.claims_of(ACCOUNT, "s"), claim: value})) == why


async def test_a_token_that_somebody_else_signed_is_refused(tokens: Any) -> None:
    stranger = jwt.SigningKey(ec.generate_private_key(ec.SECP256R1()))
    await refusal(tokens, stranger.sign(legacy.claims_of(ACCOUNT, "s")))


async def test_one_that_is_marked_invalid_is_refused_and_says_how_to_use_it_for_now(
    tokens: Any, reader: Any, uses: TokenUses
) -> None:
    await tokens.check(TOKEN, ["api"])
    reader.put(SECRETS, secret(**{legacy.INVALID_SINCE: "2026-01-01"}))
    assert await refusal(tokens) == (
        "the token in secret ns/s for service account ns/sa has been marked invalid. Use tokens from the TokenRequest "
        "API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label "
        "from the secret to temporarily allow use of this token"
    )
    assert counts(uses)["invalid_legacy_auto_token_uses_total"] == 1


async def test_every_user_of_one_that_was_made_for_its_account_is_warned(
    tokens: Any, reader: Any, clock: Any, uses: TokenUses
) -> None:
    stage = AuthenticationStage(CertificateAuthenticator(clock), tokens)

    async def warnings() -> list[str]:
        request = Request("GET", "/api", {}, {"authorization": f"Bearer {TOKEN}"})
        if stage.identify_now(request) is None:
            await stage.apply(request)
        return request.warnings

    assert [await warnings(), await warnings()] == [[], []]
    reader.put(SERVICE_ACCOUNTS, {**ACCOUNT, "secrets": [{"name": "s"}]})
    told = (
        "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated "
        "secret-based tokens."
    )
    assert [await warnings(), await warnings()] == [[told], [told]]
    assert counts(uses) == {
        "legacy_auto_token_uses_total": 1,
        "legacy_manual_token_uses_total": 1,
        "invalid_legacy_auto_token_uses_total": 0,
    }


class Recorder:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def call(self, call: Any) -> Any:
        self.calls.append((call.method, call.path, call.body))
        return {}


async def written(uses: TokenUses, virtual_turns: int = 5) -> list[Any]:
    import asyncio

    recorder = Recorder()
    task = asyncio.ensure_future(uses.run(recorder))  # type: ignore[arg-type]
    for _ in range(virtual_turns):
        await asyncio.sleep(0)
    task.cancel()
    return recorder.calls


async def test_the_day_of_a_use_is_written_once_a_day(tokens: Any, reader: Any, clock: Any, uses: TokenUses) -> None:
    for _ in range(3):
        await tokens.check(TOKEN, ["api"])
    body = {"metadata": {"uid": "u2", "labels": {legacy.LAST_USED: "2026-01-01"}}}
    assert await written(uses) == [("PATCH", "/api/v1/namespaces/ns/secrets/s", body)]
    for day in ("2026-01-01", "2026-01-02"):  # another server's clock may be ahead
        reader.put(SECRETS, secret(**{legacy.LAST_USED: day}))
        await tokens.check(TOKEN, ["api"])
        assert await written(uses) == []
    clock.set(clock.now() + timedelta(days=2))
    await tokens.check(TOKEN, ["api"])
    assert (await written(uses))[0][2]["metadata"]["labels"] == {legacy.LAST_USED: "2026-01-03"}


async def test_a_flood_of_uses_waits_in_a_bounded_room(uses: TokenUses) -> None:
    for number in range(MOST_WAITING + 10):
        found = secret()
        found["metadata"]["name"] = f"s{number}"
        uses.used(found, "legacy_manual_token_uses")
    assert len(await written(uses, MOST_WAITING + 10)) == MOST_WAITING
