"""Who a request is from: tokens, certificates, nobody; and acting as somebody else."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sampan.api.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized
from sampan.api.resources import PODS, SERVICE_ACCOUNTS
from sampan.server.attributes import AuthorizationAttributes, Decision
from sampan.server.authn import jwt
from sampan.server.authn.impersonation import impersonate
from sampan.server.authn.serviceaccount import ServiceAccountTokens
from sampan.server.authn.stage import AuthenticationStage
from sampan.server.authn.x509 import CertificateAuthenticator
from sampan.server.request import Request, UserInfo
from sampan.server.tokens import OpenIdDocuments, TokenIssuer

ISSUER, AUDIENCE = "https://issuer", "api"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def request(**headers: str) -> Request:
    return Request("GET", "/api", {}, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture(params=[EC_KEY, RSA_KEY], ids=["ES256", "RS256"])
def key(request: Any) -> jwt.SigningKey:
    return jwt.SigningKey(request.param)


@pytest.fixture
def issuer(key: jwt.SigningKey, reader: Any, clock: Any) -> TokenIssuer:
    reader.put(SERVICE_ACCOUNTS, {"metadata": {"name": "sa", "namespace": "ns", "uid": "u1"}})
    pod = {"metadata": {"name": "p", "namespace": "ns", "uid": "u2"}, "spec": {"serviceAccountName": "sa"}}
    reader.put(PODS, pod)
    return TokenIssuer(key, ISSUER, [AUDIENCE], reader, clock, random.Random(1))


@pytest.fixture
def stage(key: jwt.SigningKey, reader: Any, clock: Any) -> AuthenticationStage:
    tokens = ServiceAccountTokens([key.verifying], [ISSUER], [AUDIENCE], reader, clock)
    return AuthenticationStage(CertificateAuthenticator(clock), tokens)


BOUND = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u2"}}


async def issue(issuer: TokenIssuer, **spec: Any) -> str:
    return str((await issuer.issue("ns", "sa", {"spec": spec}))["status"]["token"])


async def test_a_bound_token_says_whose_it_is(issuer: TokenIssuer, stage: AuthenticationStage) -> None:
    wanted = request(authorization=f"Bearer {await issue(issuer, **BOUND)}", x_remote_user="root")
    await stage.apply(wanted)
    assert wanted.user.name == "system:serviceaccount:ns:sa"
    assert wanted.user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert wanted.user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert wanted.user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    assert dict(wanted.headers) == {}  # nobody behind sees credentials


async def test_a_token_ends_with_its_pod(issuer: TokenIssuer, stage: AuthenticationStage, reader: Any) -> None:
    token = await issue(issuer, **BOUND)
    assert await stage.check_token(token, ())
    reader.remove(PODS, "ns", "p")
    assert await stage.check_token(token, ()) is None


async def test_a_token_ends_with_its_account_even_if_it_is_made_again(
    issuer: TokenIssuer, stage: AuthenticationStage, reader: Any
) -> None:
    token = await issue(issuer)
    reader.put(SERVICE_ACCOUNTS, {"metadata": {"name": "sa", "namespace": "ns", "uid": "other"}})
    assert await stage.check_token(token, ()) is None


async def test_a_token_expires(issuer: TokenIssuer, stage: AuthenticationStage, clock: Any) -> None:
    token = await issue(issuer, expirationSeconds=600)
    clock.set(clock.now() + timedelta(seconds=601))
    with pytest.raises(Unauthorized):
        await stage.apply(request(authorization=f"Bearer {token}"))


async def test_a_token_for_another_audience_is_refused(issuer: TokenIssuer, stage: AuthenticationStage) -> None:
    token = await issue(issuer, audiences=["vault"])
    assert await stage.check_token(token, ()) is None
    found = await stage.check_token(token, ["vault", "other"])
    assert found is not None
    assert found[1] == ("vault",)


async def test_a_changed_token_is_refused(issuer: TokenIssuer, stage: AuthenticationStage) -> None:
    head, claims, signature = (await issue(issuer)).split(".")
    forged = jwt.encode_segment(jwt.decode_segment(claims).replace(b"default", b"kube-sy").replace(b"ns", b"NS"))
    none = jwt.encode_segment(b'{"alg":"none"}')
    for token in (f"{head}.{forged}.{signature}", f"{none}.{claims}.", f"{head}.{claims}.", "abc", "a.b.c"):
        with pytest.raises(Unauthorized):
            await stage.apply(request(authorization=f"Bearer {token}"))


async def test_without_credentials_one_is_anonymous(stage: AuthenticationStage) -> None:
    wanted = request()
    await stage.apply(wanted)
    assert (wanted.user.name, wanted.user.groups) == ("system:anonymous", ("system:unauthenticated",))


async def test_credentials_of_a_scheme_that_is_not_served_count_for_nothing(stage: AuthenticationStage) -> None:
    wanted = request(authorization="Basic YTpi")
    await stage.apply(wanted)
    assert wanted.user.name == "system:anonymous"
    assert not wanted.headers


async def test_a_browser_may_bring_its_token_as_a_subprotocol(issuer: TokenIssuer, stage: AuthenticationStage) -> None:
    encoded = base64.urlsafe_b64encode((await issue(issuer)).encode()).rstrip(b"=").decode()
    offered = f"base64url.bearer.authorization.k8s.io.{encoded}, v4.channel.k8s.io"
    wanted = request(upgrade="websocket", sec_websocket_protocol=offered)
    await stage.apply(wanted)
    assert wanted.user.name == "system:serviceaccount:ns:sa"
    assert wanted.headers["sec-websocket-protocol"] == "v4.channel.k8s.io"


@pytest.mark.parametrize("token_first", [True, False])
async def test_credentials_in_repeated_headers_are_dropped_wherever_they_can_be_read(
    issuer: TokenIssuer, stage: AuthenticationStage, token_first: bool
) -> None:
    encoded = base64.urlsafe_b64encode((await issue(issuer)).encode()).rstrip(b"=").decode()
    offered = [f"base64url.bearer.authorization.k8s.io.{encoded}", "v5.channel.k8s.io"]
    lists = {"sec-websocket-protocol": offered if token_first else offered[::-1], "x-remote-group": ["a", "b"]}
    wanted = request(
        upgrade="websocket", **{name.replace("-", "_"): ", ".join(values) for name, values in lists.items()}
    )
    wanted.header_lists = lists
    await stage.apply(wanted)
    assert wanted.user.name == "system:serviceaccount:ns:sa"
    assert wanted.headers == {"upgrade": "websocket", "sec-websocket-protocol": "v5.channel.k8s.io"}
    assert wanted.header_values("sec-websocket-protocol") == ["v5.channel.k8s.io"]
    assert wanted.header_values("x-remote-group") == []


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({"expirationSeconds": 599}, Invalid),
        ({"expirationSeconds": 2**33}, Invalid),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "zz"}}, NotFound),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "no"}}, Conflict),
        ({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "p"}}, BadRequest),
    ],
)
async def test_bad_token_requests_are_refused(
    issuer: TokenIssuer, spec: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await issue(issuer, **spec)


async def test_the_published_keys_verify_tokens(key: jwt.SigningKey, issuer: TokenIssuer) -> None:
    body = OpenIdDocuments(ISSUER, f"{ISSUER}/openid/v1/jwks", [key.verifying]).jwks().body
    assert isinstance(body, bytes)
    assert f'"kid":"{key.verifying.key_id}"'.encode() in body
    assert jwt.verify(await issue(issuer), [key.verifying])["iss"] == ISSUER


def certificate(not_after: datetime) -> bytes:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "jane"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "devs"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ops"),
        ]
    )
    builder = x509.CertificateBuilder(subject, subject, EC_KEY.public_key(), 1)
    builder = builder.not_valid_before(datetime(2025, 1, 1, tzinfo=UTC)).not_valid_after(not_after)
    return builder.sign(EC_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


async def test_a_certificate_names_user_and_groups(stage: AuthenticationStage) -> None:
    wanted = Request("GET", "/", {}, {}, peer_certificate=certificate(datetime(2027, 1, 1, tzinfo=UTC)))
    await stage.apply(wanted)
    assert (wanted.user.name, wanted.user.groups) == ("jane", ("devs", "ops", "system:authenticated"))


async def test_an_expired_certificate_is_unauthorized(stage: AuthenticationStage) -> None:
    with pytest.raises(Unauthorized):
        await stage.apply(Request("GET", "/", {}, {}, peer_certificate=certificate(datetime(2025, 6, 1, tzinfo=UTC))))


class Allow:
    """Allows impersonating these (resource, name) pairs."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = allowed

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        assert attributes.verb == "impersonate"
        return Decision((attributes.resource, attributes.name) in self.allowed)


async def test_impersonation_needs_every_attribute_allowed() -> None:
    wanted = request(impersonate_user="bob", impersonate_group="dev")
    with pytest.raises(Forbidden) as caught:
        await impersonate(wanted, Allow(("users", "bob")))
    assert 'cannot impersonate resource "groups" in API group "" at the cluster scope' in caught.value.message
    await impersonate(wanted, Allow(("users", "bob"), ("groups", "dev")))
    assert (wanted.user.name, wanted.user.groups) == ("bob", ("dev", "system:authenticated"))
    assert wanted.impersonator is not None
    assert not wanted.headers


async def test_after_impersonation_no_spelling_of_its_headers_is_left() -> None:
    wanted = request(impersonate_user="bob", impersonate_group="dev, ops", accept="a, b")
    wanted.header_lists = {"impersonate-group": ["dev", "ops"], "accept": ["a", "b"]}
    await impersonate(wanted, Allow(("users", "bob"), ("groups", "dev"), ("groups", "ops")))
    assert wanted.user.groups == ("dev", "ops", "system:authenticated")
    assert (wanted.headers, wanted.header_lists) == ({"accept": "a, b"}, {"accept": ["a", "b"]})


async def test_impersonating_an_account_gives_its_groups() -> None:
    wanted = request(impersonate_user="system:serviceaccount:ns:sa")
    await impersonate(wanted, Allow(("serviceaccounts", "sa")))
    assert wanted.user == UserInfo(
        "system:serviceaccount:ns:sa", ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    )


async def test_a_group_alone_cannot_be_impersonated() -> None:
    with pytest.raises(BadRequest):
        await impersonate(request(impersonate_group="system:masters"), Allow())


# What is known of earlier requests


def with_token(token: str, **headers: str) -> Request:
    return request(authorization=f"Bearer {token}", **headers)


async def test_a_token_is_known_at_once_after_its_first_request(
    issuer: TokenIssuer, stage: AuthenticationStage
) -> None:
    token = await issue(issuer, **BOUND)
    assert stage.identify_now(with_token(token)) is None
    wanted = with_token(token)
    await stage.apply(wanted)
    known = stage.identify_now(with_token(token))
    assert known == wanted.user
    assert stage.identify_now(with_token(token)) is known
    for other in (f"{token}x", token[:-1], token.upper(), ""):
        assert stage.identify_now(with_token(other)) is None


async def test_identifying_leaves_the_request_as_it_is(issuer: TokenIssuer, stage: AuthenticationStage) -> None:
    token = await issue(issuer)
    await stage.apply(with_token(token))
    asked = with_token(token)
    assert stage.identify_now(asked) is not None
    assert asked.user.name == "system:anonymous"
    assert "authorization" in asked.headers


async def test_whoever_acts_as_another_is_not_identified_at_once(
    issuer: TokenIssuer, stage: AuthenticationStage
) -> None:
    token = await issue(issuer)
    await stage.apply(with_token(token))
    for header in ("impersonate_user", "impersonate_group", "impersonate_uid", "impersonate_extra_x"):
        assert stage.identify_now(with_token(token, **{header: "root"})) is None


@pytest.mark.parametrize("gone", [(SERVICE_ACCOUNTS, "sa"), (PODS, "p")])
@pytest.mark.parametrize("reborn", [False, True])
async def test_a_known_token_ends_with_what_it_stands_on_at_once(
    issuer: TokenIssuer, stage: AuthenticationStage, reader: Any, gone: Any, reborn: bool
) -> None:
    token = await issue(issuer, **BOUND)
    await stage.apply(with_token(token))
    assert stage.identify_now(with_token(token)) is not None
    resource, name = gone
    if reborn:
        reader.put(resource, {"metadata": {"name": name, "namespace": "ns", "uid": "new"}, "spec": {}})
    else:
        reader.remove(resource, "ns", name)
    assert stage.identify_now(with_token(token)) is None
    with pytest.raises(Unauthorized):
        await stage.apply(with_token(token))


async def test_a_change_that_matters_not_lets_a_token_live(
    issuer: TokenIssuer, stage: AuthenticationStage, reader: Any
) -> None:
    token = await issue(issuer, **BOUND)
    await stage.apply(with_token(token))
    pod = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u2"},
        "spec": {"serviceAccountName": "sa"},
        "status": {},
    }
    reader.put(PODS, pod)
    assert stage.identify_now(with_token(token)) is None  # it is looked at again
    await stage.apply(with_token(token))
    assert stage.identify_now(with_token(token)) is not None


async def test_a_pod_on_its_way_out_keeps_its_token_for_a_minute(
    issuer: TokenIssuer, stage: AuthenticationStage, reader: Any, clock: Any
) -> None:
    token = await issue(issuer, **BOUND)
    meta = {"name": "p", "namespace": "ns", "uid": "u2", "deletionTimestamp": "2026-01-01T00:00:30Z"}
    reader.put(PODS, {"metadata": meta, "spec": {"serviceAccountName": "sa"}})
    for seconds, good in ((60, True), (29, True), (2, False)):
        clock.set(clock.now() + timedelta(seconds=seconds))
        assert (await stage.check_token(token, ()) is not None) is good
        assert (stage.identify_now(with_token(token)) is not None) is good


async def test_a_known_token_expires(issuer: TokenIssuer, stage: AuthenticationStage, clock: Any) -> None:
    token = await issue(issuer, expirationSeconds=600)
    clock.set(clock.now() + timedelta(seconds=595))
    await stage.apply(with_token(token))
    assert stage.identify_now(with_token(token)) is not None
    clock.set(clock.now() + timedelta(seconds=6))
    assert stage.identify_now(with_token(token)) is None
    with pytest.raises(Unauthorized):
        await stage.apply(with_token(token))


async def test_a_token_for_another_audience_is_never_known_to_be_for_this_one(
    issuer: TokenIssuer, stage: AuthenticationStage
) -> None:
    token = await issue(issuer, audiences=["vault"])
    assert await stage.check_token(token, ["vault"]) is not None
    assert stage.identify_now(with_token(token)) is None


async def test_tokens_are_kept_by_hash_and_not_without_bound(
    issuer: TokenIssuer, stage: AuthenticationStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.authn.serviceaccount.KNOWN_TOKENS", 3)
    tokens = [await issue(issuer) for _ in range(5)]
    for token in tokens:
        await stage.apply(with_token(token))
    known = stage._tokens
    assert len(known._known) == 3
    assert sum(map(len, known._on.values())) == 3
    assert all(len(digest) == 32 for digest in known._known)
    assert stage.identify_now(with_token(tokens[0])) is None
    assert stage.identify_now(with_token(tokens[4])) is not None


async def test_long_tokens_take_the_place_of_many(
    issuer: TokenIssuer, stage: AuthenticationStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.server.authn.serviceaccount.KNOWN_BYTES", 200_000)
    many = [AUDIENCE, *(str(number) for number in range(1500))]
    tokens = [await issue(issuer, audiences=many) for _ in range(3)]
    known = stage._tokens
    for token in tokens:
        await stage.apply(with_token(token))
        assert len(known._known) == 1
        assert known._bytes == sum(one.bytes for one in known._known.values()) <= 200_000
    known.stop()
    assert not (known._known or known._on or known._bytes)


async def test_a_certificate_is_known_at_once(stage: AuthenticationStage, clock: Any) -> None:
    der = certificate(datetime(2026, 1, 2, tzinfo=UTC))
    asked = Request("GET", "/", {}, {}, peer_certificate=der)
    known = stage.identify_now(asked)
    assert known is not None
    assert (known.name, known.groups) == ("jane", ("devs", "ops", "system:authenticated"))
    assert stage.identify_now(asked) is known
    clock.set(datetime(2026, 1, 3, tzinfo=UTC))
    assert stage.identify_now(asked) is None


def test_nobody_is_known_at_once_and_nonsense_is_not(stage: AuthenticationStage) -> None:
    nobody = stage.identify_now(request())
    assert nobody is not None
    assert nobody.name == "system:anonymous"
    for headers in ({"authorization": "Basic YTpi"}, {"authorization": "Bearer"}, {"upgrade": "websocket"}):
        assert stage.identify_now(request(**headers)) is None


async def test_a_token_request_says_whose_it_is_or_nothing(issuer: TokenIssuer) -> None:
    for meta, error, text in (
        ({"name": "other"}, Invalid, 'metadata.name: Invalid value: "other": must match the service account name'),
        ({"namespace": "other"}, Invalid, 'Invalid value: "other": must match the service account namespace'),
        ({"uid": "other"}, Conflict, "the UID in the token request (other) does not match the UID of the service"),
    ):
        with pytest.raises(error) as caught:
            await issuer.issue("ns", "sa", {"metadata": meta, "spec": {}})
        assert text in caught.value.message
    answer = await issuer.issue("ns", "sa", {"metadata": {"name": "sa", "namespace": "ns", "uid": "u1"}, "spec": {}})
    assert answer["metadata"]["uid"] == "u1"
